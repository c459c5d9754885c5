package onnx_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/onnx"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

func TestX(t *testing.T) {
	m, err := zoo.New(zoo.Config{Name: os.Getenv("NET"), Classes: 10})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := m.Initial(devicetest.Go(t).Backend, [3]int{m.Side, m.Side, 3}, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := &train.Network{Model: m, Weights: map[string]*tensors.Tensor{}}
	for _, w := range ws {
		n.Weights[w.Name] = w.Value
	}
	if err := onnx.Export(filepath.Join("/work/scratch/onnx", "x.onnx"), n, onnx.Options{Image: [3]int{m.Side, m.Side, 3}, FoldBatchNorm: os.Getenv("FOLD") != ""}); err != nil {
		t.Fatal(err)
	}
}
