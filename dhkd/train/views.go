package train

import (
	"context"
	"errors"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// Views is the number of different images that augmentation with this padding makes of one: every crop, mirrored or not.
// It is 1 without augmentation, pad = 0.
func Views(pad int) int {
	if pad == 0 {
		return 1
	}
	crops := 2*pad + 1 // of each axis
	return crops * crops * 2
}

// view is the choice of [CropFlip] for each image: [N] int32.
type view struct{ top, left, flip *Node }

// drawViews draws a view for each of n images and returns the new state of the generator.
func drawViews(rng *Node, n, pad int) (newRNG *Node, v view) {
	shape := shapeOf(dtypes.Int32, n)
	rng, v.top = RandomIntN(rng, int32(2*pad+1), shape)
	rng, v.left = RandomIntN(rng, int32(2*pad+1), shape)
	rng, v.flip = RandomIntN(rng, int32(2), shape)
	return rng, v
}

// number is the place of a view among all, 0 to Views(pad)-1.
func (v view) number(pad int) *Node {
	return Add(MulScalar(Add(MulScalar(v.top, 2*pad+1), v.left), 2), v.flip)
}

// viewOf is the view with that number.
func viewOf(number *Node, pad int) view {
	crop := DivScalar(number, 2)
	return view{top: DivScalar(crop, 2*pad+1), left: ModScalar(crop, 2*pad+1), flip: ModScalar(number, 2)}
}

// ViewLogits computes a network's logits of every view of the training images, in inference mode: what augmentation can
// show a teacher is a finite set, and small where the padding is. Row Views(pad) i + v is view v of image i. It is not
// safe for concurrent use.
type ViewLogits struct {
	trainer *Trainer // holds the variables and the images; trains nothing
	program program
	batch   int
}

// NewViewLogits puts the network and the training images on the device.
func NewViewLogits(backend compute.Backend, data *dataset.Set, n *Network, pad int) (_ *ViewLogits, err error) {
	defer catch(&err)
	if data.Train.Files != nil {
		return nil, fmt.Errorf("the views of images are computed of sets in memory: %s is decoded as it is needed", data.Name)
	}
	t := &Trainer{Config: Config{Backend: backend, Data: data, Teacher: n, Pad: pad}, store: model.NewStore(),
		compiled: map[string]bool{}}
	l := &ViewLogits{trainer: t, batch: EvaluationBatch(data)}
	if err = t.load(teacherScope, n); err == nil {
		if t.train, err = t.upload(data.Train); err == nil {
			l.program, err = newProgram(t, l.forward, 0)
		}
	}
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("teacher %s: %w", n.Model.Name, err)
	}
	return l, nil
}

// Close frees the network, the images and the program.
func (l *ViewLogits) Close() {
	l.program.close()
	l.trainer.Close()
}

// Rows is the number of views of all images.
func (l *ViewLogits) Rows() int { return l.trainer.train.n * Views(l.trainer.Pad) }

// Batch is the number of rows that one call of the program computes.
func (l *ViewLogits) Batch() int { return l.batch }

// All computes the logits of all rows, for [Config.TeacherLogits].
func (l *ViewLogits) All(ctx context.Context) (*tensors.Tensor, error) {
	classes := l.trainer.Data.Classes
	flat := make([]float32, l.Rows()*classes)
	err := l.Compute(ctx, 0, flat)
	return tensors.FromFlatDataAndDimensions(flat, l.Rows(), classes), err
}

// Compute fills in the logits [n, classes] of n consecutive rows, batch by batch. It ends with the error of ctx.
func (l *ViewLogits) Compute(ctx context.Context, first int, logits []float32) (err error) {
	defer catch(&err)
	classes := l.trainer.Data.Classes
	n := len(logits) / classes
	if first < 0 || n == 0 || n*classes != len(logits) || first+n > l.Rows() {
		return fmt.Errorf("%d logits from row %d on: want whole rows of %d, up to row %d", len(logits), first, classes, l.Rows())
	}
	for start := 0; start < n; start += l.batch {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows := make([]int32, l.batch) // beyond n they repeat the last, since another shape would be another program
		for i := range rows {
			rows[i] = int32(first + min(start+i, n-1))
		}
		inputs := []any{l.trainer.train.pixels, tensors.FromFlatDataAndDimensions(rows, l.batch)}
		out, err := l.trainer.call1(l.program, [][]any{inputs})
		if err != nil {
			return err
		}
		err = out.ConstFlatData(func(flat any) { copy(logits[start*classes:], flat.([]float32)) })
		if err := errors.Join(err, out.FinalizeAll()); err != nil {
			return err
		}
	}
	return nil
}

func (l *ViewLogits) forward(variables *model.Scope, pixels, rows *Node) *Node {
	t := l.trainer
	views := Views(t.Pad)
	images := Gather(pixels, ExpandAxes(DivScalar(rows, views), -1))
	if views > 1 {
		v := viewOf(ModScalar(rows, views), t.Pad)
		images = CropFlip(images, v.top, v.left, v.flip, t.Pad)
	}
	images = Normalize(images, t.Data.Mean, t.Data.Std)
	return t.Teacher.Model.Forward(nn.New(variables.At(teacherScope), nn.Options{}), images).Logits
}
