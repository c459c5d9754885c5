package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// steadyCase is the step that -steady runs, of DHKD with alignment. What a step leaves behind does not depend on its batch,
// so that is small.
var steadyCase = growthJob{Student: "resnet8", Teacher: "resnet20", Size: 16, Batches: []int{8}}

// steadySamples is how often memory is looked at: after each of so many equal parts of the steps.
const steadySamples = 100

// steady is the memory of a process that trains, as -steady leaves it.
type steady struct {
	Machine record.BenchMachine `json:"machine"`
	Student string              `json:"student"`
	Teacher string              `json:"teacher"`
	Size    int                 `json:"size"` // of an image, pixels a side
	Method  string              `json:"method"`
	Batch   int                 `json:"batch"`
	Samples []steadySample      `json:"samples"`
}

// steadySample is the memory of the process after so many steps, in MiB.
type steadySample struct {
	Steps    int     `json:"steps"`
	Resident float64 `json:"rss_mib"`
	GoHeap   float64 `json:"go_heap_mib"` // in use, after a collection
}

// runSteady runs the steps, prints the memory now and then, and keeps it.
func runSteady(ctx context.Context, o options) error {
	d, err := device.Open(ctx, device.Options{})
	if err != nil {
		return err
	}
	defer d.Close()
	s := steady{Student: steadyCase.Student, Teacher: steadyCase.Teacher, Size: steadyCase.Size, Method: "dhkd-aligned",
		Batch: steadyCase.Batches[0]}
	s.Machine = machineOf(ctx, d)
	s.Machine.Versions["Go"] = runtime.Version()
	steps, err := steadyCase.networkSteps(d.Backend, &grown{})
	if err != nil {
		return err
	}
	for i := range o.steady {
		if err := ctx.Err(); err != nil {
			return err
		}
		if _, err := steps[0].run(); err != nil {
			return err
		}
		done := i + 1
		if done*steadySamples/o.steady == i*steadySamples/o.steady {
			continue
		}
		now := memoryNow(done)
		s.Samples = append(s.Samples, now)
		fmt.Printf("%6d steps: %.1f MiB resident, %.1f MiB in Go's heap\n", now.Steps, now.Resident, now.GoHeap)
	}
	if o.json == "" {
		return nil
	}
	data, err := json.MarshalIndent(s, "", " ")
	if err != nil {
		return err
	}
	return write(o.json, append(data, '\n'))
}

func memoryNow(steps int) steadySample {
	runtime.GC()
	runtime.GC() // what finalizers freed
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return steadySample{steps, residentMiB(), float64(m.HeapAlloc) / (1 << 20)}
}

// residentMiB is the process's memory; 0 where the system does not tell.
func residentMiB() float64 {
	text, _ := os.ReadFile("/proc/self/statm")
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, _ := strconv.Atoi(fields[1])
	return float64(pages*os.Getpagesize()) / (1 << 20)
}
