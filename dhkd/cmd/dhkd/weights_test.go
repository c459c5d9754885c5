package main

import (
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestWeightsScripts runs testdata/weights*.txtar on the Go backend. There are files of untrained networks
// (dual.safetensors with a linear auxiliary head; nan.safetensors; lies.safetensors, whose accuracy is wrong;
// short.safetensors, which lacks a tensor; grey.safetensors for one channel), the same as others write them
// (plain.safetensors, in the list teachers.yaml; extra.safetensors with a tensor too many), 20 images in the format of Fashion-MNIST in data, and
// the PyTorch files of package weights in $TORCH, which are of no network of the zoo, and $HOSTILE.
func TestWeightsScripts(t *testing.T) {
	backend := devicetest.Go(t).Backend
	scripts, err := filepath.Glob("testdata/weights*.txtar")
	if err != nil {
		t.Fatal(err)
	}
	fixtures, err := filepath.Abs("../../weights/testdata")
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Files:               scripts,
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exitsWith},
		Setup: func(e *testscript.Env) error {
			for name, value := range map[string]string{
				compute.ConfigEnvVar: "go", "DHKD_CACHE": filepath.Join(e.WorkDir, ".cache"),
				"TORCH": filepath.Join(fixtures, "torch"), "HOSTILE": filepath.Join(fixtures, "hostile"),
				"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", // nothing listens there
			} {
				e.Setenv(name, value)
			}
			if err := writeFashion(filepath.Join(e.WorkDir, "data"), 20); err != nil {
				return err
			}
			return writeNetworks(backend, e.WorkDir)
		},
	})
}

func writeNetworks(backend compute.Backend, dir string) error {
	pairs := map[string]string{"dataset": "fashion-pairs-100", "mean": "[0.286,0.286,0.286]", "std": "[0.353,0.353,0.353]",
		"recipe": `{"dataset":{"name":"fashion-pairs-100","test":8,"seed":1}}`}
	lies := maps.Clone(pairs)
	lies["test_top1"] = "99"
	dual, err := untrained(backend, 3, zoo.Config{Classes: 100, AuxHead: dhkd.LinearAuxHead})
	if err != nil {
		return err
	}
	grey, err := untrained(backend, 1, zoo.Config{Classes: 10})
	if err != nil {
		return err
	}
	control, err := untrained(backend, 3, zoo.Config{Classes: 100, Head: dhkd.NonlinearHead})
	if err != nil {
		return err
	}
	projected, err := predictor(backend)
	if err != nil {
		return err
	}
	reuses := maps.Clone(pairs)
	reuses["recipe"] = `{"dataset":{"name":"fashion-pairs-100","test":8,"seed":1},"method":{"name":"simkd","alpha":1},` +
		`"teacher":{"model":"resnet8"}}`
	torn := *projected
	torn.Weights = maps.Clone(torn.Weights)
	delete(torn.Weights, "method.transfer.3.weight")
	broken := &train.Network{Model: dual.Model, Weights: maps.Clone(dual.Weights)}
	broken.Weights["fc.bias"] = tensors.FromValue(make([]float32, 100))
	broken.Weights["fc.bias"].MustMutableFlatData(func(flat any) { flat.([]float32)[7] = float32(math.NaN()) })
	short := &train.Network{Model: dual.Model, Weights: maps.Clone(dual.Weights)}
	delete(short.Weights, "fc2.bias")
	for name, n := range map[string]struct {
		network  *train.Network
		metadata map[string]string
	}{
		"control.safetensors": {control, pairs}, "dual.safetensors": {dual, pairs}, "lies.safetensors": {dual, lies}, "nan.safetensors": {broken, pairs},
		"simkd.safetensors": {projected, reuses}, "torn.safetensors": {&torn, reuses}, "short.safetensors": {short, pairs}, "grey.safetensors": {grey, map[string]string{"dataset": "fashion-mnist"}},
	} {
		if err := train.SaveNetwork(filepath.Join(dir, name), n.network, maps.Clone(n.metadata)); err != nil {
			return err
		}
	}
	if err := weights.SaveSafetensors(filepath.Join(dir, "plain.safetensors"), dual.Weights, nil); err != nil {
		return err
	}
	digest, _, err := fileSHA256(filepath.Join(dir, "plain.safetensors"))
	if err != nil {
		return err
	}
	list := "teachers:\n  - {reference: own:plain, model: resnet8, classes: 100, dataset: cifar-100, mean: [0, 0, 0], " +
		"std: [1, 1, 1], page: 'https://example.org', sha256: " + digest +
		", top1: 71.5, top1_source: test, licence: MIT, note: An untrained network.}\n"
	if err := os.WriteFile(filepath.Join(dir, "teachers.yaml"), []byte(list), 0o644); err != nil {
		return err
	}
	extra := maps.Clone(dual.Weights)
	extra["layer9.weight"] = tensors.FromValue([]float32{1})
	return weights.SaveSafetensors(filepath.Join(dir, "extra.safetensors"), extra, nil)
}

// untrained is a resnet8 with initial values.
func untrained(backend compute.Backend, channels int, c zoo.Config) (*train.Network, error) {
	c.Name = "resnet8"
	m, err := zoo.New(c)
	if err != nil {
		return nil, err
	}
	initial, err := m.Initial(backend, [3]int{16, 16, channels}, 1)
	if err != nil {
		return nil, err
	}
	n := &train.Network{Model: m, Weights: map[string]*tensors.Tensor{}}
	for _, w := range initial {
		n.Weights[w.Name] = w.Value
	}
	return n, nil
}

// predictor is a resnet8 as SimKD trains it, with weights of zero.
func predictor(backend compute.Backend) (*train.Network, error) {
	n, err := untrained(backend, 3, zoo.Config{Classes: 100})
	if err != nil {
		return nil, err
	}
	method, err := distill.New(distill.Defaults("simkd"))
	if err != nil {
		return nil, err
	}
	n.Predictor = &train.Predictor{Method: method, Teacher: n.Model}
	all, err := n.Undrawn(backend, [3]int{16, 16, 3})
	for _, w := range all {
		n.Weights[w.Name] = w.Value
	}
	return n, err
}

// Of the networks that fit a file, the flags choose one or the error lists them.
func TestOnlyArchitecture(t *testing.T) {
	small := zoo.Config{Name: "resnet8", Classes: 10, AuxHead: dhkd.NoAuxHead}
	other := zoo.Config{Name: "vgg8", Classes: 10, AuxHead: dhkd.NoAuxHead}
	for _, test := range []struct {
		flags   architecture
		fitting []zoo.Config
		fault   string // "" = small is chosen
	}{
		{architecture{}, []zoo.Config{small}, ""},
		{architecture{Classes: 10, AuxHead: "none"}, []zoo.Config{small}, ""},
		{architecture{}, nil, "fits no network"},
		{architecture{Classes: 100}, []zoo.Config{small}, "--classes and --aux-head say: it fits resnet8, 10 classes"},
		{architecture{AuxHead: "linear"}, []zoo.Config{small}, "it is not as --classes and --aux-head say"},
		{architecture{}, []zoo.Config{small, other}, "resnet8, 10 classes, one head; vgg8, 10 classes, one head; choose"},
	} {
		got, err := test.flags.only(test.fitting)
		switch {
		case test.fault == "" && (err != nil || got != small):
			t.Errorf("%+v of %v: %v, error %v", test.flags, test.fitting, got, err)
		case test.fault != "" && (err == nil || !strings.Contains(err.Error(), test.fault)):
			t.Errorf("%+v of %v: error %v, want %q", test.flags, test.fitting, err, test.fault)
		}
	}
}
