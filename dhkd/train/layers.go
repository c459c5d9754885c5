package train

import (
	"fmt"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// HeadLayer is the last linear layer of a head, and what it reads of n images in inference mode: of a linear head the
// pooled features, of a nonlinear one those of its hidden layer.
type HeadLayer struct {
	Width    int
	Features []float32 // [n, Width]
	Labels   []int32   // [n]
	Weight   []float32 // [classes, Width]
	Bias     []float32 // [classes]
}

// headInput is where the last linear layer of a head is, and what it reads.
type headInput struct {
	head, layer string // record.MainHead or record.AuxHead; the layer's name
	features    *Node  // [N, width]
}

// listenToHeads finds the last linear layer of each head among the layers that are built in the scope until stop is
// called. The main head comes first.
func listenToHeads(s *nn.Scope) (stop func() []headInput) {
	found := map[string]headInput{}
	unlisten := s.Listen(func(l nn.Layer) {
		if l.Op != "Linear" || !zoo.InHead(l.Name) {
			return
		}
		head := record.AuxHead
		if zoo.InMainHead(l.Name) {
			head = record.MainHead
		}
		found[head] = headInput{head, l.Name, l.Inputs[0]} // of a nonlinear head the last one stays
	})
	return func() (heads []headInput) {
		unlisten()
		for _, head := range []string{record.MainHead, record.AuxHead} {
			if h, ok := found[head]; ok {
				h.features = nn.Result(s, h.features)
				heads = append(heads, h)
			}
		}
		return heads
	}
}

// headProgram is the program of [Trainer.HeadLayers].
type headProgram struct {
	program
	heads []headInput // without their nodes
}

// HeadLayers are those of the student as it is now, by [record.MainHead] and [record.AuxHead], with n
// training images, those of [dataset.Spread], not augmented; without a main head where a [distill.Predictor] stands in
// for it. Nothing of the state of the training changes.
func (t *Trainer) HeadLayers(n int) (layers map[string]HeadLayer, err error) {
	defer catch(&err)
	if n < 1 || n > t.train.n {
		return nil, fmt.Errorf("cannot take %d images: there are %d training images", n, t.train.n)
	}
	if distill.PredictorOf(t.Step.Method) != nil && t.Step.Model.AuxHead == dhkd.NoAuxHead {
		return nil, nil
	}
	if t.heads == nil {
		p := &headProgram{}
		p.program, err = newProgram(t, func(variables *model.Scope, inputs []*Node) (features []*Node) {
			images, _, _ := t.train.images(inputs)
			scope := nn.New(variables.At(studentScope), nn.Options{})
			stop := listenToHeads(scope)
			t.Step.Model.Forward(scope, Normalize(images, t.Data.Mean, t.Data.Std))
			p.heads = nil
			for _, h := range stop() {
				if h.head == record.MainHead && distill.PredictorOf(t.Step.Method) != nil {
					continue // it is not trained: something else predicts
				}
				features = append(features, h.features)
				p.heads = append(p.heads, headInput{head: h.head, layer: h.layer})
			}
			return features
		}, ofBatch)
		if err != nil {
			return nil, err
		}
		t.heads = p
	}
	layers = map[string]HeadLayer{}
	images := dataset.Spread(t.train.n, n)
	rest := images
	for batch, err := range t.train.batchesOf(images) {
		if err != nil {
			return nil, err
		}
		outputs, err := t.call(t.heads.program, batch.inputs)
		batch.free()
		if err != nil {
			return nil, err
		}
		counts := batch.weights
		now := rest[:min(len(counts), len(rest))]
		rest = rest[len(now):]
		for i, h := range t.heads.heads {
			l := layers[h.head]
			l.Width = outputs[i].Shape().Dim(1)
			features := tensors.MustCopyFlatData[float32](outputs[i])
			outputs[i].FinalizeAll()
			for k, image := range now {
				if counts[k] > 0 {
					l.Features = append(l.Features, features[k*l.Width:][:l.Width]...)
					l.Labels = append(l.Labels, t.Data.Train.Labels[image])
				}
			}
			layers[h.head] = l
		}
	}
	for _, h := range t.heads.heads {
		l := layers[h.head]
		if l.Weight, l.Bias, err = t.linear(studentScope, h.layer); err != nil {
			return nil, err
		}
		layers[h.head] = l
	}
	return layers, nil
}

// linear returns copies of a linear layer's weight and bias.
func (t *Trainer) linear(scope, layer string) (weight, bias []float32, err error) {
	var values [2][]float32
	for i, name := range []string{"weight", "bias"} {
		v := t.store.GetVariable("/" + scope + "/" + layer + "." + name)
		if v == nil {
			return nil, nil, fmt.Errorf("layer %s has no %s", layer, name)
		}
		value, err := v.Value()
		if err != nil {
			return nil, nil, err
		}
		if value, err = value.LocalClone(); err != nil { // the original may be donated to the next step
			return nil, nil, err
		}
		if values[i], err = tensors.CopyFlatData[float32](value); err != nil {
			return nil, nil, err
		}
		value.FinalizeAll()
	}
	return values[0], values[1], nil
}
