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

// deployed is a trained network on a device with one program: images in, what it computes of them out.
type deployed struct {
	network *Network
	trainer *Trainer // holds the variables; trains nothing
	program program
}

// deploy puts a network on the device. forward builds it on normalised images, [n, height, width, channels], and gives the
// program's outputs, of a row an image each. A program is compiled for each size of batch, when it is first used.
func deploy(backend compute.Backend, data *dataset.Set, n *Network,
	forward func(variables *model.Scope, images *Node) []*Node) (_ *deployed, err error) {
	defer catch(&err)
	d := &deployed{network: n, trainer: &Trainer{Config: Config{Backend: backend, Data: data, Step: Step{Model: n.Model}},
		store: model.NewStore(), compiled: map[string]bool{}}}
	if err = d.trainer.load(studentScope, n); err == nil {
		d.program, err = newProgram(d.trainer, func(variables *model.Scope, pixels *Node) []*Node {
			return forward(variables, Normalize(pixels, data.Mean, data.Std))
		}, 1)
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Close frees the network and its programs.
func (d *deployed) Close() {
	d.program.close()
	d.trainer.Close()
}

// compute gives copies of the outputs of images [n, height, width, channels], row-major.
func (d *deployed) compute(pixels []uint8) (rows [][]float32, err error) {
	defer catch(&err)
	set := d.trainer.Data
	n := len(pixels) / (set.Height * set.Width * set.Channels)
	images := tensors.FromFlatDataAndDimensions(pixels, n, set.Height, set.Width, set.Channels)
	defer images.FinalizeAll()
	outputs, err := d.trainer.call(d.program, [][]any{{images}})
	if err != nil {
		return nil, err
	}
	for _, out := range outputs {
		defer out.FinalizeAll()
	}
	for _, out := range outputs {
		values, err := tensors.CopyFlatData[float32](out)
		if err != nil {
			return nil, err
		}
		rows = append(rows, values)
	}
	return rows, nil
}

// Inference is a trained network on a device, for one of its heads: images in, logits out. It is not safe for
// concurrent use.
type Inference struct {
	*deployed
	head string
}

// NewInference puts a network on the device. The head is [record.MainHead] or [record.AuxHead]. Of the data set it
// takes the shape of the images and what they are normalised with. A program is compiled for each size of batch, when
// it is first used.
func NewInference(backend compute.Backend, data *dataset.Set, n *Network, head string) (*Inference, error) {
	if head == record.AuxHead && n.Model.AuxHead == "none" {
		return nil, fmt.Errorf("the %s has no auxiliary head", n.Model.Name)
	}
	if n.Model.Classes != data.Classes {
		return nil, fmt.Errorf("the network has %d classes, data set %s has %d", n.Model.Classes, data.Name, data.Classes)
	}
	i := &Inference{head: head}
	var err error
	i.deployed, err = deploy(backend, data, n, func(variables *model.Scope, images *Node) []*Node {
		return []*Node{i.logitsOf(n.forward(variables, nn.Options{}, images))}
	})
	if err != nil {
		return nil, err
	}
	return i, nil
}

func (i *Inference) logitsOf(out zoo.Outputs) *Node {
	if i.head == record.AuxHead {
		return out.AuxLogits
	}
	return out.Logits
}

// Logits returns the logits, [n, classes], of images [n, height, width, channels], row-major.
func (i *Inference) Logits(pixels []uint8) ([]float32, error) {
	rows, err := i.compute(pixels)
	if err != nil {
		return nil, err
	}
	return rows[0], nil
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
	return i.each(ctx, s, batch, func(rows [][]float32, labels []int32) error { return f(rows[0], labels) })
}

// each gives what the network computes of the images of a split to f, in order and batch by batch, without files that
// were skipped: outputs of a row an image.
func (d *deployed) each(ctx context.Context, s dataset.Split, batch int,
	f func(rows [][]float32, labels []int32) error) error {
	imageSize := d.trainer.Data.Height * d.trainer.Data.Width * d.trainer.Data.Channels
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
		pixels := append(b.Pixels, make([]uint8, (batch-len(b.Labels))*imageSize)...)
		rows, err := d.compute(pixels)
		if err != nil {
			return err
		}
		n := 0
		for k, label := range b.Labels {
			if label < 0 {
				continue
			}
			if n < k { // a file before it was skipped
				for _, values := range rows {
					width := len(values) / batch
					copy(values[n*width:], values[k*width:(k+1)*width])
				}
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
