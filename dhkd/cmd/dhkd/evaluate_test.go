package main

import (
	"compress/gzip"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestEvaluateScripts runs testdata/evaluate/*.txtar on the Go backend, with files of untrained networks
// (dual.safetensors of both heads, plain.safetensors of one, nan.safetensors whose logits are NaN,
// ten-classes.safetensors, unnamed.safetensors without metadata on its data) and 20 images in the format of
// Fashion-MNIST.
func TestEvaluateScripts(t *testing.T) {
	backend := devicetest.Go(t).Backend
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/evaluate",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exitsWith},
		Setup: func(e *testscript.Env) error {
			e.Setenv(compute.ConfigEnvVar, "go")
			e.Setenv("DHKD_CACHE", filepath.Join(e.WorkDir, ".cache"))
			for _, proxy := range []string{"HTTP_PROXY", "HTTPS_PROXY"} { // nothing listens there
				e.Setenv(proxy, "http://127.0.0.1:1")
			}
			if err := writeFashion(filepath.Join(e.WorkDir, "data"), 20); err != nil {
				return err
			}
			recipe := `{"dataset":{"name":"fashion-pairs-100","test":8,"seed":1}}`
			pairs := map[string]string{"dataset": "fashion-pairs-100", "mean": "[0.286,0.286,0.286]",
				"std": "[0.353,0.353,0.353]", "test_top1": "12.5", "recipe": recipe}
			for name, n := range map[string]struct {
				classes, channels int
				head              dhkd.AuxHead
				nan               bool
				metadata          map[string]string
			}{
				"dual.safetensors":        {100, 3, dhkd.NonlinearAuxHead, false, pairs},
				"plain.safetensors":       {100, 3, dhkd.NoAuxHead, false, pairs},
				"nan.safetensors":         {100, 3, dhkd.NoAuxHead, true, pairs},
				"ten-classes.safetensors": {10, 1, dhkd.NoAuxHead, false, map[string]string{"dataset": "fashion-mnist"}},
				"unnamed.safetensors":     {10, 1, dhkd.NoAuxHead, false, nil},
			} {
				m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: n.classes, AuxHead: n.head})
				if err != nil {
					return err
				}
				initial, err := m.Initial(backend, [3]int{16, 16, n.channels}, 1)
				if err != nil {
					return err
				}
				network := &train.Network{Model: m, Weights: map[string]*tensors.Tensor{}}
				for _, w := range initial {
					network.Weights[w.Name] = w.Value
				}
				if n.nan {
					network.Weights["fc.bias"].MustMutableFlatData(func(flat any) { flat.([]float32)[7] = float32(math.NaN()) })
				}
				metadata := map[string]string{}
				for key, value := range n.metadata {
					metadata[key] = value
				}
				if err := train.SaveNetwork(filepath.Join(e.WorkDir, name), network, metadata); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// writeFashion writes the four files of Fashion-MNIST with n images each.
func writeFashion(dir string, n int) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, split := range []string{"train", "t10k"} {
		images, labels := make([]byte, n*28*28), make([]byte, n)
		for i := range images {
			images[i] = byte(i * i / 7)
		}
		for i := range labels {
			labels[i] = byte(i % 10)
		}
		if err := writeIDX(filepath.Join(dir, split+"-images-idx3-ubyte.gz"), images, n, 28, 28); err != nil {
			return err
		}
		if err := writeIDX(filepath.Join(dir, split+"-labels-idx1-ubyte.gz"), labels, n); err != nil {
			return err
		}
	}
	return nil
}

func writeIDX(path string, content []byte, dims ...int) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	z := gzip.NewWriter(f)
	header := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		header = binary.BigEndian.AppendUint32(header, uint32(d))
	}
	for _, part := range [][]byte{header, content} {
		if _, err := z.Write(part); err != nil {
			return err
		}
	}
	return z.Close()
}
