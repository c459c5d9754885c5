package train

import (
	"fmt"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// A block more is as many nodes more, however deep the network is.
func TestNodesGrowLinearlyWithDepth(t *testing.T) {
	unaligned := dualHead
	unaligned.Align = false
	for _, m := range []record.Method{plain, hinton, unaligned, dualHead} {
		for _, family := range []string{"resnet%d 8 14 20 26 32", "wrn_%d_1 10 16 22 28"} {
			names := strings.Fields(family)
			t.Run(fmt.Sprintf("%s align=%t %s", m.Name, m.Align, names[0]), func(t *testing.T) {
				var nodes []int
				for _, depth := range names[1:] {
					nodes = append(nodes, stepNodes(t, m, strings.Replace(names[0], "%d", depth, 1)))
				}
				for i := 2; i < len(nodes); i++ {
					if nodes[i]-nodes[i-1] != nodes[1]-nodes[0] || nodes[1] <= nodes[0] {
						t.Fatalf("nodes by depth: %v", nodes)
					}
				}
			})
		}
	}
}

// stepNodes counts the nodes of the step's graph, which is not compiled.
func stepNodes(t *testing.T, m record.Method, student string) int {
	t.Helper()
	head := dhkd.NoAuxHead
	if m.Name == "dhkd" {
		head = dhkd.LinearAuxHead
	}
	c := newConfig(t, devicetest.Go(t).Backend, m, head, 1)
	var err error
	if c.Step.Model, err = zoo.New(zoo.Config{Name: student, Classes: tinyClasses, AuxHead: head}); err != nil {
		t.Fatal(err)
	}
	trainer, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	g := graph.NewGraph(c.Backend, "step")
	defer g.Finalize()
	model.SetStore(g, trainer.store)
	var inputs []*graph.Node
	for i, x := range trainer.stepInputs(trainer.train.shaped(4), 0.1, 0, 0, 0)[0] {
		inputs = append(inputs, graph.Parameter(g, strconv.Itoa(i), x.(*tensors.Tensor).Shape()))
	}
	trainer.buildStep(trainer.store.RootScope(), inputs)
	return len(g.Nodes())
}

// The variables that a step replaces are given to it: afterwards the old ones are no more. On a CPU the new ones are in the
// memory of the old if they are large: it does not double.
func TestVariablesAreDonated(t *testing.T) {
	d := devicetest.Open(t)
	trainer := newTrainer(t, wideConfig(t, d.Backend))
	step := func(number int) {
		t.Helper()
		if _, err := trainer.RunStep([]int32{0, 1, 2, 3}, 0.1, 0, 1, number); err != nil {
			t.Fatal(err)
		}
	}
	variables := func() map[string]*tensors.Tensor {
		all := map[string]*tensors.Tensor{}
		for _, scope := range []string{studentScope, momentumScope} {
			for v := range trainer.store.Scope("/" + scope).IterVariables() {
				all[v.Path()] = v.MustValue()
			}
		}
		return all
	}
	step(0) // which brings them to the device
	old := variables()
	places := addresses(t, d, old)
	step(1)
	for path, value := range old {
		if value.IsOnAnyDevice() || value.HasLocal() {
			t.Errorf("%s: its old value is still there", path)
		}
	}
	if len(old) < 20 {
		t.Errorf("only %d variables", len(old))
	}
	if d.Name == "xla:cpu" && runtime.GOOS == "linux" && (len(places) < 4 || !slices.Equal(addresses(t, d, variables()), places)) {
		t.Error("the new values are elsewhere than the old ones were")
	}
}

// wideConfig is of a student that has large variables.
func wideConfig(t *testing.T, backend compute.Backend) Config {
	t.Helper()
	c := newConfig(t, backend, dualHead, dhkd.LinearAuxHead, 1)
	var err error
	if c.Step.Model, err = zoo.New(zoo.Config{Name: "resnet8x4", Classes: c.Data.Classes, AuxHead: dhkd.LinearAuxHead}); err != nil {
		t.Fatal(err)
	}
	return c
}

// isLarge tells whether a step's result takes the memory of the tensor, see [device.DonateVariables].
func isLarge(x *tensors.Tensor) bool { return x.Shape().Size() >= 64<<10/4 }

// addresses are where the device has the large tensors, sorted: values of one shape may change places.
func addresses(t *testing.T, d *device.Device, of map[string]*tensors.Tensor) (all []uintptr) {
	t.Helper()
	if d.Name != "xla:cpu" {
		return nil
	}
	for _, x := range of {
		if !isLarge(x) {
			continue
		}
		buffer, err := x.Buffer(d.Backend, 0)
		if err != nil {
			t.Fatal(err)
		}
		data, err := buffer.Data()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, reflect.ValueOf(data).Pointer())
	}
	slices.Sort(all)
	return all
}

// A program that reads a variable and does not replace it leaves it as it was, though it has results of the same shape.
func TestVariablesThatAreOnlyRead(t *testing.T) {
	store := model.NewStore()
	defer store.Finalize()
	v := store.Scope("/"+studentScope).VariableWithValue("x", []float32{1, 2, 3})
	exec, err := model.NewExec(devicetest.Open(t).Backend, store, func(_ *model.Scope, y *graph.Node) *graph.Node {
		return graph.Add(v.NodeValue(y.Graph()), y)
	})
	if err != nil {
		t.Fatal(err)
	}
	defer exec.Finalize()
	for range 3 {
		sum, err := exec.Call1([]float32{10, 20, 30})
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(sum.Value(), v.MustValue().Value()); got != "[11 22 33] [1 2 3]" {
			t.Error(got)
		}
	}
}

// Neither memory of the process nor of Go's heap grows with the steps. DHKD_LONG_STEPS sets another number of them.
func TestStepsLeaveNothingBehind(t *testing.T) {
	steps := 400
	if text := os.Getenv("DHKD_LONG_STEPS"); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil {
			t.Fatal(err)
		}
	}
	trainer, err := New(newConfig(t, devicetest.Open(t).Backend, dualHead, dhkd.LinearAuxHead, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer trainer.Close()
	run := func(n int) (heap, resident int) {
		for i := range n {
			if _, err := trainer.RunStep([]int32{0, 1, 2, 3}, 0.01, 0, 1, i); err != nil {
				t.Fatal(err)
			}
		}
		runtime.GC()
		runtime.GC() // what finalizers freed
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapAlloc), residentBytes()
	}
	heap, resident := run(100)
	heapThen, residentThen := run(steps)
	t.Logf("%d steps: heap %+d KiB to %d KiB, resident %+d KiB to %d KiB", steps, (heapThen-heap)>>10, heapThen>>10,
		(residentThen-resident)>>10, residentThen>>10)
	if grown := heapThen - heap; grown > 512<<10 {
		t.Errorf("Go's heap grew by %d KiB", grown>>10)
	}
	// A step's variables are 0.6 MB: one set in 20 steps that is not freed is more than this.
	if grown := residentThen - resident; grown > 10<<20 {
		t.Errorf("the process grew by %d KiB", grown>>10)
	}
}

// residentBytes is the process's memory; 0 where the system does not tell.
func residentBytes() int {
	text, _ := os.ReadFile("/proc/self/statm")
	if fields := strings.Fields(string(text)); len(fields) > 1 {
		pages, _ := strconv.Atoi(fields[1])
		return pages * os.Getpagesize()
	}
	return 0
}
