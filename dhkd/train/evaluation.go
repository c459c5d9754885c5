package train

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Inference is a trained network on a device, for one of its heads: images in, logits out. It is not safe for
// concurrent use.
type Inference struct {
	network *Network
	trainer *Trainer // holds the variables; trains nothing
	exec    *model.Exec
	head    string
}

// NewInference puts a network on the device. The head is [record.MainHead] or [record.AuxHead]. Of the data set it
// takes the shape of the images and what they are normalised with. A program is compiled for each size of batch, when
// it is first used.
func NewInference(backend compute.Backend, data *dataset.Set, n *Network, head string) (_ *Inference, err error) {
	defer catch(&err)
	if head == record.AuxHead && n.Model.AuxHead == "none" {
		return nil, fmt.Errorf("the %s has no auxiliary head", n.Model.Name)
	}
	if n.Model.Classes != data.Classes {
		return nil, fmt.Errorf("the network has %d classes, data set %s has %d", n.Model.Classes, data.Name, data.Classes)
	}
	t := &Trainer{Config: Config{Backend: backend, Data: data, Step: Step{Model: n.Model}}, store: model.NewStore(),
		compiled: map[string]bool{}}
	made := &Inference{network: n, trainer: t, head: head}
	if err = t.load(studentScope, n); err == nil {
		made.exec, err = model.NewExec(backend, t.store, made.forward)
	}
	if err != nil {
		made.Close()
		return nil, err
	}
	return made, nil
}

// Close frees the network and its programs.
func (i *Inference) Close() {
	if i.exec != nil {
		i.exec.Finalize()
	}
	i.trainer.Close()
}

func (i *Inference) forward(variables *model.Scope, pixels *Node) *Node {
	d := i.trainer.Data
	images := Normalize(pixels, d.Mean, d.Std)
	return i.logitsOf(i.network.forward(variables, nn.Options{}, images))
}

func (i *Inference) logitsOf(out zoo.Outputs) *Node {
	if i.head == record.AuxHead {
		return out.AuxLogits
	}
	return out.Logits
}

// Logits returns the logits, [n, classes], of images [n, height, width, channels], row-major.
func (i *Inference) Logits(pixels []uint8) (logits []float32, err error) {
	defer catch(&err)
	d := i.trainer.Data
	n := len(pixels) / (d.Height * d.Width * d.Channels)
	images := tensors.FromFlatDataAndDimensions(pixels, n, d.Height, d.Width, d.Channels)
	defer images.FinalizeAll()
	inputs := []any{images}
	if err := i.trainer.compile(i.exec, inputs); err != nil {
		return nil, err
	}
	out, err := i.exec.Call1(inputs...)
	if err != nil {
		return nil, err
	}
	defer out.FinalizeAll()
	return tensors.CopyFlatData[float32](out)
}

// EvaluationBatch is the size of batch to evaluate images of this shape with: [Inference.Each] then needs a few hundred
// megabytes, whatever the images.
func EvaluationBatch(d *dataset.Set) int {
	const pixels = evaluationBatch * 32 * 32
	return max(8, min(evaluationBatch, pixels/(d.Height*d.Width)))
}

// Each gives the logits, [n, classes], and the labels of all images of a split to f, in order and batch by batch,
// without files that were skipped: neither the images nor the logits are ever on the device at once. It ends with the
// error of ctx, of f, or of a file.
func (i *Inference) Each(ctx context.Context, s dataset.Split, batch int,
	f func(logits []float32, labels []int32) error) error {
	compute := func(pixels []uint8) ([][]float32, error) {
		logits, err := i.Logits(pixels)
		return [][]float32{logits}, err
	}
	return eachBatch(ctx, s, i.trainer.Data, batch, compute, func(rows [][]float32, labels []int32) error {
		return f(rows[0], labels)
	})
}

// eachBatch gives what compute makes of the images of a split to f, in order and batch by batch, without files that
// were skipped: tensors of a row an image.
func eachBatch(ctx context.Context, s dataset.Split, d *dataset.Set, batch int,
	compute func(pixels []uint8) ([][]float32, error), f func(rows [][]float32, labels []int32) error) error {
	order := make([]int32, s.Len())
	for i := range order {
		order[i] = int32(i)
	}
	stream := s.Stream(ctx, order, batch, nil)
	defer stream.Close()
	for {
		b, err := stream.Next()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		// a smaller batch is filled up with black, since another shape would be another program
		pixels := append(b.Pixels, make([]uint8, (batch-len(b.Labels))*d.Height*d.Width*d.Channels)...)
		rows, err := compute(pixels)
		if err != nil {
			return err
		}
		n := 0
		for k, label := range b.Labels {
			if label < 0 {
				continue
			}
			for _, values := range rows {
				width := len(values) / batch
				copy(values[n*width:], values[k*width:(k+1)*width])
			}
			b.Labels[n] = label
			n++
		}
		for t, values := range rows {
			rows[t] = values[:n*(len(values)/batch)]
		}
		if err := f(rows, b.Labels[:n]); err != nil {
			return err
		}
	}
}

// Time measures calls of [Inference.Logits] on these images, after three that do not count: at most a hundred, and
// after the fifth no more than fit into the budget.
func (i *Inference) Time(ctx context.Context, pixels []uint8, budget time.Duration) (calls []time.Duration, err error) {
	const warmUp, least, most = 3, 5, 100
	var total time.Duration
	for n := range warmUp + most {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		start := time.Now()
		if _, err := i.Logits(pixels); err != nil {
			return nil, err
		}
		if n < warmUp {
			continue
		}
		calls = append(calls, time.Since(start))
		if total += calls[len(calls)-1]; len(calls) >= least && total >= budget {
			break
		}
	}
	return calls, nil
}

// Parameters counts the network's trained values: all, and those that the logits of this head depend on.
func (i *Inference) Parameters() (all, used int, err error) {
	defer catch(&err)
	t := i.trainer
	g := NewGraph(t.Backend, t.Step.Model.Name)
	defer g.Finalize()
	model.SetStore(g, t.store)
	d := t.Data
	images := Parameter(g, "images", shapes.Make(dtypes.Float32, 1, d.Height, d.Width, d.Channels))
	needed := map[*Node]bool{}
	pending := []*Node{i.logitsOf(i.network.forward(t.store.Scope("/"), nn.Options{}, images))}
	for len(pending) > 0 {
		node := pending[len(pending)-1]
		pending = pending[:len(pending)-1]
		if !needed[node] {
			needed[node] = true
			pending = append(pending, node.Inputs()...)
		}
	}
	for v := range t.store.Scope("/").IterVariables() {
		if !v.Trainable {
			continue
		}
		all += v.Shape().Size()
		if v.InUseByGraph(g) && needed[v.NodeValue(g)] {
			used += v.Shape().Size()
		}
	}
	return all, used, nil
}
