package weights_test

import (
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// initial returns the weights of a network of 10 classes.
func initial(t testing.TB, name string, head dhkd.AuxHead) []zoo.Weight {
	t.Helper()
	return initialOf(t, zoo.Config{Name: name, Classes: 10, AuxHead: head})
}

func initialOf(t testing.TB, c zoo.Config) []zoo.Weight {
	t.Helper()
	m, err := zoo.New(c)
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.Initial(devicetest.Go(t).Backend, [3]int{m.Side, m.Side, 3}, 1)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func asMap(all []zoo.Weight) map[string]*tensors.Tensor {
	m := map[string]*tensors.Tensor{}
	for _, w := range all {
		m[w.Name] = w.Value
	}
	return m
}

// asCheckpoint is a file of these weights, whose names have been changed by rename.
func asCheckpoint(all []zoo.Weight, rename func(string) string) *weights.Checkpoint {
	c := &weights.Checkpoint{Tensors: map[string]*tensors.Tensor{}}
	for _, w := range all {
		name := rename(w.Name)
		c.Names = append(c.Names, name)
		c.Tensors[name] = w.Value
		if stem, ok := strings.CutSuffix(name, "running_var"); ok {
			c.Names = append(c.Names, stem+"num_batches_tracked")
			c.Tensors[stem+"num_batches_tracked"] = tensors.FromScalar(int64(7))
		}
	}
	return c
}

func same(name string) string { return name }

func TestMatch(t *testing.T) {
	want := initial(t, "resnet8", dhkd.LinearAuxHead)
	vector := func(values ...float32) *tensors.Tensor {
		return tensors.FromFlatDataAndDimensions(values, len(values))
	}
	inf := float32(math.Inf(-1))
	bad := make([]float32, 640)
	bad[130] = float32(math.NaN())
	for _, test := range []struct {
		name   string
		change func(m map[string]*tensors.Tensor)
		want   string // "" if it matches
	}{
		{"equal", func(map[string]*tensors.Tensor) {}, ""},
		{"counters", func(m map[string]*tensors.Tensor) { m["bn1.num_batches_tracked"] = tensors.FromScalar(int64(1)) }, ""},
		{"missing", func(m map[string]*tensors.Tensor) { delete(m, "layer2.0.bn1.running_var") },
			"the weights are not the network's: missing: layer2.0.bn1.running_var"},
		{"unexpected", func(m map[string]*tensors.Tensor) { m["extra"] = vector(1) }, "unexpected: extra"},
		{"shape", func(m map[string]*tensors.Tensor) { m["fc.bias"] = vector(1, 2) },
			"fc.bias has shape [2], the network needs [10]"},
		{"type", func(m map[string]*tensors.Tensor) {
			m["fc.bias"] = tensors.FromFlatDataAndDimensions(make([]int64, 10), 10)
		}, "fc.bias has type int64, the network needs float32"},
		{"similar names", func(m map[string]*tensors.Tensor) {
			m["fc.beta"], m["zz.running_mean"] = m["fc.bias"], m["bn1.running_mean"]
			delete(m, "bn1.running_mean")
			delete(m, "fc.bias")
		}, "missing: bn1.running_mean (the file has zz.running_mean), fc.bias (the file has fc.beta); " +
			"unexpected: fc.beta, zz.running_mean"},
		{"many", func(m map[string]*tensors.Tensor) { clear(m) }, " more"},
		{"infinite", func(m map[string]*tensors.Tensor) { m["fc.bias"] = vector(0, 1, 2, inf, 4, 5, 6, 7, 8, 9) },
			"tensor fc.bias holds -Inf at [3]"},
		{"no number", func(m map[string]*tensors.Tensor) {
			m["fc.weight"] = tensors.FromFlatDataAndDimensions(bad, 10, 64)
		}, "tensor fc.weight holds NaN at [2 2]"},
	} {
		got := asMap(want)
		test.change(got)
		err := weights.Match(want, got)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.want)
		}
	}
}

// TestMatchManyNames bounds the time for a file with many names.
func TestMatchManyNames(t *testing.T) {
	got := map[string]*tensors.Tensor{}
	x := tensors.FromScalar(float32(1))
	for i := range 60000 {
		got[fmt.Sprint(strings.Repeat("n", 250), i)] = x
	}
	if err := weights.Match(initial(t, "resnet110", dhkd.NoAuxHead), got); err == nil || len(err.Error()) > 5000 {
		t.Error(err)
	}
}

func TestFitAuxHead(t *testing.T) {
	single, dual := initial(t, "vgg8", dhkd.NoAuxHead), initial(t, "vgg8", dhkd.NonlinearAuxHead)
	for _, test := range []struct {
		name    string
		file    []zoo.Weight
		want    []zoo.Weight
		options weights.FitOptions
		note    string // or the error
		ok      bool
	}{
		{"head is missing", single, dual, weights.FitOptions{DropAuxHead: true}, "the file has none", false},
		{"new head", single, dual, weights.FitOptions{NewAuxHead: true}, "the auxiliary head is new", true},
		{"head too many", dual, single, weights.FitOptions{NewAuxHead: true}, "the network has none", false},
		{"head dropped", dual, single, weights.FitOptions{DropAuxHead: true}, "the auxiliary head was dropped", true},
		{"another main head", initialOf(t, zoo.Config{Name: "vgg8", Classes: 10, Head: dhkd.NonlinearHead}), single,
			weights.FitOptions{}, "missing: classifier.bias (the file has classifier.net.4.bias)", false},
		{"another head", initial(t, "vgg8", dhkd.LinearAuxHead), dual,
			weights.FitOptions{NewAuxHead: true, DropAuxHead: true}, "missing: classifier2.net", false},
	} {
		fitted, err := asCheckpoint(test.file, same).Fit(test.want, test.options)
		if (err == nil) != test.ok {
			t.Errorf("%s: error %v", test.name, err)
		} else if err != nil && !strings.Contains(err.Error(), test.note) {
			t.Errorf("%s: error %v, want %q", test.name, err, test.note)
		} else if err == nil && !strings.Contains(fmt.Sprint(fitted.Notes), test.note) {
			t.Errorf("%s: notes %q, want %q", test.name, fitted.Notes, test.note)
		}
	}
}

func TestFitRounds(t *testing.T) {
	want := initial(t, "resnet8", dhkd.NoAuxHead)
	c := asCheckpoint(want, same)
	wide := make([]float64, 10)
	wide[3] = 0.1
	c.Tensors["fc.bias"] = tensors.FromFlatDataAndDimensions(wide, 10)
	fitted, err := c.Fit(want, weights.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	narrow, err := tensors.CopyFlatData[float32](fitted.Tensors["fc.bias"])
	if err != nil || narrow[3] != 0.1 {
		t.Errorf("%v, error %v", narrow, err)
	}
	notes := []string{"9 counts of batches left out", "1 tensors rounded from float64 to float32"}
	if diff := cmp.Diff(notes, fitted.Notes); diff != "" {
		t.Error(diff)
	}
}

// TestNameMaps translates all names of the networks that a map is for, there and back, and loads a file with those
// names.
func TestNameMaps(t *testing.T) {
	examples := map[string]map[string]string{ // the file's name: the zoo's; as in the programs' sources
		"torchvision or timm ResNet with a CIFAR stem": {
			"conv1.weight": "conv1.weight", "layer2.0.downsample.0.weight": "layer2.0.shortcut.0.weight",
			"layer4.0.downsample.1.running_var": "layer4.0.shortcut.1.running_var", "fc.bias": "linear.bias",
		},
		"CRD MobileNetV2": {
			"classifier.0.weight": "classifier.weight", "blocks.1.0.conv.0.weight": "blocks.1.0.conv.0.weight",
		},
		"mdistiller MobileNetV1": {"fc.weight": "classifier.weight", "model.3.1.bias": "model.3.1.bias"},
		"torchdistill Wide ResNet": {
			"layer2.3.conv1.weight": "block2.layer.3.conv1.weight", "fc.weight": "fc.weight", "bn1.bias": "bn1.bias",
			"layer1.0.shortcut.0.weight": "block1.layer.0.convShortcut.weight",
		},
	}
	models := map[string][]string{
		"torchvision or timm ResNet with a CIFAR stem": {"ResNet18", "ResNet50"}, "CRD MobileNetV2": {"MobileNetV2"},
		"mdistiller MobileNetV1": {"MobileNetV1"}, "torchdistill Wide ResNet": {"wrn_16_2"},
	}
	for _, m := range weights.NameMaps {
		if len(examples[m.Name]) == 0 || len(models[m.Name]) == 0 {
			t.Errorf("map %q has no test", m.Name)
		}
		for file, ours := range examples[m.Name] {
			if got, back := m.ToZoo(file), m.ToFile(ours); got != ours || back != file {
				t.Errorf("%s: %s is %s in the zoo, want %s; back %s", m.Name, file, got, ours, back)
			}
		}
		for _, model := range models[m.Name] {
			want := initial(t, model, dhkd.NonlinearAuxHead)
			for _, w := range want {
				if got := m.ToZoo(m.ToFile(w.Name)); got != w.Name {
					t.Errorf("%s: %s becomes %s", m.Name, w.Name, got)
				}
			}
			fitted, err := asCheckpoint(want, m.ToFile).Fit(want, weights.FitOptions{})
			switch {
			case m.Differs != "":
				if err == nil || !strings.Contains(err.Error(), m.Differs) {
					t.Errorf("%s: error %v", m.Name, err)
				}
			case err != nil:
				t.Errorf("%s: %v", m.Name, err)
			case fitted.NameMap != m.Name || fitted.Tensors["conv1.weight"] != asMap(want)["conv1.weight"]:
				t.Errorf("%s: %+v", m.Name, fitted)
			}
			if fitted, err := asCheckpoint(want, same).Fit(want, weights.FitOptions{}); err != nil || fitted.NameMap != "" {
				t.Errorf("%s's own names: %+v, error %v", model, fitted, err)
			}
		}
	}
}

func TestDetect(t *testing.T) {
	for _, want := range []zoo.Config{
		{Name: "ShuffleV2", Classes: 10, Head: dhkd.LinearHead, AuxHead: dhkd.NonlinearAuxHead},
		{Name: "resnet14", Classes: 10, Head: dhkd.NonlinearHead, AuxHead: dhkd.LinearAuxHead},
		{Name: "MobileNetV2", Classes: 10, Head: dhkd.NonlinearHead, AuxHead: dhkd.NoAuxHead},
	} {
		c := asCheckpoint(initialOf(t, want), same)
		got, err := weights.Detect(devicetest.Go(t).Backend, c)
		if err != nil || !slices.Equal(got, []zoo.Config{want}) {
			t.Errorf("%v, want %v alone; error %v", got, want, err)
		}
	}
	c, err := weights.Load(filepath.Join("testdata", "torch", "views.pth"))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := weights.Detect(devicetest.Go(t).Backend, c); err != nil || got != nil {
		t.Errorf("%v, error %v", got, err)
	}
}
