package train

import (
	"fmt"
	"maps"
	"math"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// several returns XLA with at least n devices.
func several(t *testing.T, n int) *device.Device {
	t.Helper()
	d := devicetest.Open(t)
	there := d.Backend.NumDevices()
	if there >= n {
		return d
	}
	text := fmt.Sprintf("%s has %d devices, this needs %d: XLA_FLAGS=--xla_force_host_platform_device_count=%d", d.Name, there, n, n)
	if os.Getenv("CI") != "" {
		t.Fatal(text)
	}
	t.Skip(text)
	return nil
}

// distance is the norm of the difference of two sets of tensors by the norm of the second, of the tensor for which it is
// greatest. Of tensors that are almost zero it is by a thousandth a value.
func distance(t *testing.T, got, want map[string]*tensors.Tensor) (greatest float64, of string) {
	t.Helper()
	if !slices.Equal(slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want))) {
		t.Fatal("the tensors have other names")
	}
	for name, x := range want {
		a, b := flat(t, got[name]), flat(t, x)
		var difference, size float64
		for i := range b {
			difference += (a[i] - b[i]) * (a[i] - b[i])
			size += b[i]*b[i] + 1e-6
		}
		if d := math.Sqrt(difference / size); !(d <= greatest) {
			greatest, of = d, name
		}
	}
	return greatest, of
}

// flat are a tensor's values as float64.
func flat(t *testing.T, x *tensors.Tensor) (values []float64) {
	t.Helper()
	switch x.DType() {
	case dtypes.Float64:
		return tensors.MustCopyFlatData[float64](x)
	default:
		for _, v := range tensors.MustCopyFlatData[float32](x) {
			values = append(values, float64(v))
		}
	}
	return values
}

// state is all that a trainer's steps change.
func state(t *testing.T, trainer *Trainer) map[string]*tensors.Tensor {
	t.Helper()
	all := map[string]*tensors.Tensor{}
	for _, scope := range []string{studentScope, methodScope, momentumScope} {
		copies, err := trainer.copies(scope)
		if err != nil {
			t.Fatal(err)
		}
		for name, x := range copies {
			all[scope+"/"+name] = x
		}
	}
	return all
}

// TestDevicesAgree trains by methods of all kinds on one device and on several: augmentation, dropout, two gradients that are
// aligned, a memory bank, modules and buffers, the teacher's logits computed before.
func TestDevicesAgree(t *testing.T) {
	methods := smokeMethods()
	for _, test := range []struct {
		name, method string
		head         dhkd.AuxHead
		devices      int
		edit         func(c *Config)
	}{
		{"ce on 4 devices", "ce", dhkd.NoAuxHead, 4, nil},
		{"kd, logits computed before", "kd", dhkd.NoAuxHead, 2, func(c *Config) { *c = withTeacherLogits(t, *c) }},
		{"dhkd with dropout, aligned", "dhkd", dhkd.NonlinearAuxHead, 2, func(c *Config) { c.Step.SGD.ClipNorm = 1 }},
		{"crd", "crd", dhkd.NoAuxHead, 2, nil},
		{"reviewkd", "reviewkd", dhkd.NoAuxHead, 2, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := newConfig(t, several(t, test.devices).Backend, methods[test.method], test.head, 1)
			if test.edit != nil {
				test.edit(&c)
			}
			agree(t, c, test.devices)
		})
	}
}

// agree compares metrics and state after three steps.
func agree(t *testing.T, c Config, devices int) {
	t.Helper()
	const steps, tolerance = 3, 1e-4
	one := newTrainer(t, c)
	c.Devices = devices
	many := newTrainer(t, c)
	for step := range steps {
		indices := order(tinyTrain, 1, step+1)[:8]
		want, err := one.RunStep(indices, 0.05, 1, smokeEpoch, step)
		if err != nil {
			t.Fatal(err)
		}
		got, err := many.RunStep(indices, 0.05, 1, smokeEpoch, step)
		if err != nil {
			t.Fatal(err)
		}
		for i, m := range want {
			if d := math.Abs(got[i].Value - m.Value); got[i].Name != m.Name || !(d <= tolerance*max(1, math.Abs(m.Value))) {
				t.Errorf("step %d: %s is %g, on one device %g", step+1, m.Name, got[i].Value, m.Value)
			}
		}
	}
	d, of := distance(t, state(t, many), state(t, one))
	t.Logf("after %d steps at most %.1e apart (%s)", steps, d, of)
	if !(d <= tolerance) {
		t.Errorf("%s is %.1e apart", of, d)
	}
}

// TestDevicesOnFiles decodes images for several devices.
func TestDevicesOnFiles(t *testing.T) {
	set, _ := folderSet(t, true)
	c := folderConfig(t, set, plain, dhkd.NoAuxHead, 0)
	c.Backend = several(t, 2).Backend
	p, want := fit(t, newTrainer(t, c), tinyPlan)
	c.Devices = 2
	q, got := fit(t, newTrainer(t, c), tinyPlan)
	if d, of := distance(t, got, want); !(d <= 1e-3) {
		t.Errorf("%s is %.1e apart", of, d)
	}
	last := len(p.Epochs) - 1
	a, b := q.Epochs[last].Metrics[record.MetricTestLoss], p.Epochs[last].Metrics[record.MetricTestLoss]
	if math.Abs(a-b) > 1e-3 {
		t.Errorf("a test loss of %g, on one device %g", a, b)
	}
}

// TestHeadLayersOnDevices compares features and weights.
func TestHeadLayersOnDevices(t *testing.T) {
	c := newConfig(t, several(t, 4).Backend, plain, dhkd.NoAuxHead, 0)
	var found []HeadLayer
	for _, c.Devices = range []int{1, 4} {
		layers, err := newTrainer(t, c).HeadLayers(tinyTrain - 1)
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, layers[record.MainHead])
	}
	want, got := found[0], found[1]
	if !slices.Equal(got.Labels, want.Labels) || !slices.Equal(got.Weight, want.Weight) || len(got.Features) != len(want.Features) {
		t.Error("other labels or weights")
	}
	if d := differ(t, got.Features, want.Features); !(d <= 1e-4) {
		t.Errorf("features differ by %g", d)
	}
}

// TestDividedVariablesAreDonated: on each device the new values of large variables are in the memory of the old.
func TestDividedVariablesAreDonated(t *testing.T) {
	d := several(t, 2)
	if d.Name != "xla:cpu" || runtime.GOOS != "linux" {
		t.Skip("it is known of CPUs under Linux alone")
	}
	c := wideConfig(t, d.Backend)
	c.Devices = 2
	trainer := newTrainer(t, c)
	places := func(number int) (all []uintptr) {
		if _, err := trainer.RunStep([]int32{0, 1, 2, 3}, 0.1, 0, 1, number); err != nil {
			t.Fatal(err)
		}
		for _, scope := range []string{studentScope, momentumScope} {
			for v := range trainer.store.Scope("/" + scope).IterVariables() {
				value, err := v.DistributedValue()
				if err != nil {
					t.Fatal(err)
				}
				for at, shard := range value.Shards() {
					if !isLarge(shard) {
						continue
					}
					buffer, err := shard.Buffer(d.Backend, compute.DeviceNum(at))
					if err != nil {
						t.Fatal(err)
					}
					data, err := buffer.Data()
					if err != nil {
						t.Fatal(err)
					}
					all = append(all, reflect.ValueOf(data).Pointer())
				}
			}
		}
		slices.Sort(all)
		return all
	}
	places(0)
	if before := places(1); len(before) < 8 || !slices.Equal(before, places(2)) {
		t.Error("the new values are elsewhere than the old ones were")
	}
}

func TestDevicesErrors(t *testing.T) {
	for _, test := range []struct {
		backend compute.Backend
		devices int
		want    string
	}{
		{devicetest.Go(t).Backend, 2, "2 devices: the backend (Go Backend) has 1, which "},
		{several(t, 2).Backend, 1000, "1000 devices: the backend (xla) has "},
		{several(t, 2).Backend, -1, "-1 devices: must be at least 1"},
	} {
		c := newConfig(t, test.backend, plain, dhkd.NoAuxHead, 0)
		c.Devices = test.devices
		if _, err := New(c); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
	c := newConfig(t, several(t, 2).Backend, plain, dhkd.NoAuxHead, 0)
	c.Devices = 2
	plan := tinyPlan
	plan.BatchSize = 7
	err := newTrainer(t, c).Fit(t.Context(), plan, &Progress{}, Hooks{})
	if err == nil || !strings.Contains(err.Error(), "batch_size 7: 2 devices do not divide it, choose a multiple of 2") {
		t.Error(err)
	}
}
