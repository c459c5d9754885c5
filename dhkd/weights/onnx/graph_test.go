package onnx

import (
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"
	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

func TestUnknownLayer(t *testing.T) {
	backend, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Finalize()
	x := graph.Parameter(graph.NewGraph(backend, "x"), "x", shapes.Make(dtypes.Float32, 2, 8, 8, 3))
	y := graph.Neg(x)
	b := &builder{values: map[*graph.Node]string{}}
	layers := []nn.Layer{{Op: imagesName, Output: x}, {Op: "Swish", Name: "layer1.0", Inputs: []*graph.Node{x}, Output: y}}
	err = b.build(layers, Options{}, map[string]*graph.Node{logitsName: y})
	if err == nil || !strings.Contains(err.Error(), "layer layer1.0 Swish: Swish has no counterpart in ONNX") {
		t.Errorf("an unknown layer: %v", err)
	}
}
