package claim

import (
	"fmt"
	"os"
	"strings"
	"time"
)

// self is this process as an owner.
func self() Owner {
	o := Owner{PID: os.Getpid(), Since: time.Now().UTC().Truncate(time.Second), Machine: machine()}
	o.Host, _ = os.Hostname()
	o.Processes, _ = os.Readlink("/proc/self/ns/pid")
	o.Start, _ = started(o.PID)
	if job := os.Getenv("SLURM_ARRAY_JOB_ID"); job != "" {
		o.Job = job + "_" + os.Getenv("SLURM_ARRAY_TASK_ID")
	} else {
		o.Job = os.Getenv("SLURM_JOB_ID")
	}
	return o
}

// machine names one booting of this machine; empty where that is not known.
func machine() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err == nil {
		return strings.TrimSpace(string(id))
	}
	host, err := os.Hostname()
	if err != nil {
		return ""
	}
	return "host " + host
}

// gone says whether an owner's process has ended, where one who looks from me can know it: a lock of this machine that
// could be had is one that the owner, were it here, would hold. Of containers on one machine nothing is known: each may
// have mounted the directory on its own, by a file system in user space whose locks end there.
func (o Owner) gone(me Owner, locked bool) (gone, known bool) {
	switch {
	case o.Machine == "" || o.Machine != me.Machine || o.Processes != me.Processes:
		return false, false
	case locked:
		return true, true
	case o.Processes == "" || o.Start == "":
		return false, false
	}
	start, lives := started(o.PID)
	return !lives || start != o.Start, true
}

// started is when a process of this machine was started, in a form of its own, and whether it lives.
func started(pid int) (start string, lives bool) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", false
	}
	// The name, in brackets, may hold anything. After it come the state, field 3, and the start, field 22.
	text := string(stat)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return "", false
	}
	return fields[19], fields[0] != "Z" && fields[0] != "X"
}
