package golden

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/golden/fixture"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// checkpointCase is what case.json says of the files of one network.
type checkpointCase struct {
	files []struct {
		File, Format, Prefix string
		Exact                bool // the weights are stored in float32
	}
	order []struct {
		Name  string
		Shape []int
	}
}

// verifyCheckpoints reads each file, compares its tensors with sums and first values of the reference, and runs the
// network with them.
func verifyCheckpoints(ctx context.Context, backend compute.Backend, c *fixture.Case, r *Result) error {
	m, err := readModel(c)
	if err != nil {
		return err
	}
	var cc checkpointCase
	if err := c.Field("files", &cc.files); err != nil {
		return err
	}
	if err := c.Field("state_order", &cc.order); err != nil {
		return err
	}
	images, image, err := readImages(c, dtypes.Float32, "input")
	if err != nil {
		return err
	}
	want, err := m.Undrawn(backend, image)
	if err != nil {
		return err
	}
	for _, f := range cc.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !filepath.IsLocal(f.File) {
			return fmt.Errorf("%s: the file name %q leads out of the case", c.Dir, f.File)
		}
		checkpoint, err := weights.Load(filepath.Join(c.Dir, f.File))
		if err != nil {
			return err
		}
		r.Require(f.File+" format", checkpoint.Format == "pytorch "+f.Format)
		removed := slices.ContainsFunc(checkpoint.Notes, func(n string) bool { return strings.Contains(n, f.Prefix) })
		r.Require(f.File+" prefix", removed || f.Prefix == "")
		if f.Exact {
			if err := cc.compareState(c, checkpoint, f.File, r); err != nil {
				return err
			}
		}
		fitted, err := checkpoint.Fit(want, weights.FitOptions{})
		if err != nil {
			return fmt.Errorf("%s: %w", f.File, err)
		}
		tolerance, err := c.Tolerance(map[bool]string{true: "value", false: "half"}[f.Exact])
		if err != nil {
			return err
		}
		if err := compareLogits(backend, c, m, fitted.Tensors, images, f.File, tolerance, r); err != nil {
			return err
		}
	}
	return nil
}

// compareState compares names, order, shapes and values; the tolerance of the sums is that of a sum in another order.
func (cc checkpointCase) compareState(c *fixture.Case, checkpoint *weights.Checkpoint, file string, r *Result) error {
	var names []string
	var sums, first []float64
	for _, t := range cc.order {
		names = append(names, t.Name)
		value := checkpoint.Tensors[t.Name]
		if value == nil || !slices.Equal(value.Shape().Dimensions, t.Shape) {
			return fmt.Errorf("%s has no tensor %s of shape %v", file, t.Name, t.Shape)
		}
		flat, err := flatNumbers(value)
		if err != nil {
			return err
		}
		sum := 0.0
		for _, v := range flat {
			sum += v
		}
		sums = append(sums, sum)
		first = append(first, append(flat, 0, 0, 0, 0)[:4]...)
	}
	r.Require(file+" order of names", slices.Equal(checkpoint.Names, names))
	refSums, err := c.Floats("state_summary/sum", len(names))
	if err != nil {
		return err
	}
	refFirst, err := c.Floats("state_summary/first4", len(names), 4)
	if err != nil {
		return err
	}
	r.PerEntry(file+" sums", sums, refSums, 1e-12, 1e-12)
	r.Require(file+" first values", slices.Equal(first, refFirst))
	return nil
}

// flatNumbers are the values of a tensor of floats or of int64.
func flatNumbers(t *tensors.Tensor) ([]float64, error) {
	if t.DType() != dtypes.Int64 {
		return fixture.Flat(t)
	}
	whole, err := tensors.CopyFlatData[int64](t)
	flat := make([]float64, len(whole))
	for i, v := range whole {
		flat[i] = float64(v)
	}
	return flat, err
}

// compareLogits runs the network in inference.
func compareLogits(backend compute.Backend, c *fixture.Case, m *zoo.Model, values map[string]*tensors.Tensor,
	images *tensors.Tensor, file string, tolerance float64, r *Result) error {
	store := model.NewStore()
	for name, value := range values {
		if _, err := store.CreateVariable(studentScope+"/"+name, value); err != nil {
			return err
		}
	}
	exec, err := model.NewExec(backend, store, func(variables *model.Scope, images *Node) []*Node {
		out := m.Forward(nn.New(variables.At("student"), nn.Options{}), channelsLast(images))
		if out.AuxLogits == nil {
			return []*Node{out.Logits}
		}
		return []*Node{out.Logits, out.AuxLogits}
	})
	if err != nil {
		return err
	}
	defer exec.Finalize()
	outputs, err := exec.Call(images)
	if err != nil {
		return err
	}
	for i, output := range outputs {
		name := []string{"main", "aux"}[i]
		got, err := fixture.Flat(output)
		if err != nil {
			return err
		}
		ref, err := c.Floats("eval_f64/"+name, output.Shape().Dimensions...)
		if err != nil {
			return err
		}
		r.MaxRelative(file+" "+name, got, ref, tolerance)
	}
	return nil
}
