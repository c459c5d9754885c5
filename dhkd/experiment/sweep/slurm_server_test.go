package sweep

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

const (
	sigTERM = syscall.SIGTERM
	sigUSR1 = syscall.SIGUSR1
)

// startSlurm starts a Slurm on this machine: munged, slurmctld and slurmd, with all their files in a folder of their
// own, until the test ends. It needs root, and Debian's slurm-wlm and munge.
func startSlurm(t *testing.T) {
	t.Helper()
	dir, err := os.MkdirTemp("", "slurm") // short: a socket's path has a limit
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, name := range []string{"state", "spool", "munge"} {
		check(t, os.Mkdir(at(name), 0o755))
	}
	key := make([]byte, 1024)
	rand.Read(key)
	check(t, os.WriteFile(at("munge.key"), key, 0o400))
	host, err := os.Hostname()
	check(t, err)
	config := fmt.Sprintf(`ClusterName=test
SlurmctldHost=%[1]s(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge/socket
CredType=cred/munge
SlurmctldPort=%[3]d
SlurmdPort=%[4]d
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool
SlurmctldPidFile=%[2]s/slurmctld.pid
SlurmdPidFile=%[2]s/slurmd.pid
SlurmctldLogFile=%[2]s/slurmctld.log
SlurmdLogFile=%[2]s/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=batch_sched_delay=0,sched_interval=1
ReturnToService=2
KillWait=5
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
NodeName=%[1]s NodeAddr=127.0.0.1 CPUs=%[5]d State=UNKNOWN
PartitionName=main Nodes=%[1]s Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
`, host, dir, freePort(t), freePort(t), runtime.NumCPU())
	check(t, os.WriteFile(at("slurm.conf"), []byte(config), 0o644))
	t.Setenv("SLURM_CONF", at("slurm.conf"))
	daemon(t, "munged", "--foreground", "--force", "--socket="+at("munge/socket"), "--key-file="+at("munge.key"),
		"--pid-file="+at("munged.pid"), "--log-file="+at("munged.log"), "--seed-file="+at("munge.seed"))
	wait(t, "munged", func() bool { _, err := os.Stat(at("munge/socket")); return err == nil })
	daemon(t, "slurmctld", "-D", "-f", at("slurm.conf"))
	daemon(t, "slurmd", "-D", "-f", at("slurm.conf"), "-N", host)
	wait(t, "slurmd", func() bool {
		out, err := command(context.Background(), "sinfo", "--noheader", "--format=%T")
		return err == nil && out == "idle"
	})
}

// daemon starts a server that is ended with the test. What it printed is shown if the test fails.
func daemon(t *testing.T, name string, args ...string) {
	t.Helper()
	var out bytes.Buffer
	c := exec.Command(name, args...)
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatalf("%v: scripts/need.sh slurm installs Slurm", err)
	}
	t.Cleanup(func() {
		c.Process.Signal(syscall.SIGTERM)
		ended := make(chan bool)
		go func() { c.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			c.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s: %s", name, out.Bytes()[max(0, out.Len()-4000):])
		}
	})
}

func wait(t *testing.T, what string, ready func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ready(); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s is not ready after a minute", what)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
