package train

import (
	"maps"
	"slices"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// What the last layers read, times their weights, is the logits: of a linear head and of a nonlinear one, while
// training and from the trained network.
func TestHeadLayers(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, dualHead, dhkd.NonlinearAuxHead, 0)
	trainer := newTrainer(t, c)
	if _, err := trainer.RunStep([]int32{1, 2, 3, 4}, 0.1, 1, 1, 0); err != nil {
		t.Fatal(err)
	}
	const images = 13
	layers, err := trainer.HeadLayers(images)
	if err != nil {
		t.Fatal(err)
	}
	network, err := trainer.Network()
	if err != nil {
		t.Fatal(err)
	}
	split, err := c.Data.Train.Spread(images)
	if err != nil {
		t.Fatal(err)
	}
	seen := lookAt(t, c, network, split, false)
	for head, width := range map[string]int{record.MainHead: 64, record.AuxHead: 200} {
		l := layers[head]
		if l.Width != width || !slices.Equal(l.Labels, split.Labels) || len(l.Bias) != tinyClasses {
			t.Fatalf("%s: width %d, labels %v, %d biases", head, l.Width, l.Labels, len(l.Bias))
		}
		var logits []float32
		for i := range images {
			for k, z := range l.Bias {
				for j, w := range l.Weight[k*width:][:width] {
					z += w * l.Features[i*width+j]
				}
				logits = append(logits, z)
			}
		}
		close := cmpopts.EquateApprox(1e-4, 1e-4)
		if diff := cmp.Diff(seen.Logits[head], logits, close); diff != "" {
			t.Errorf("%s: the logits (-) and what the layer makes of its input (+): %s", head, diff)
		}
		if diff := cmp.Diff(seen.Inputs[head], l.Features, close); diff != "" {
			t.Errorf("%s: inputs of the trained network (-) and while training (+): %s", head, diff)
		}
	}
	if diff := cmp.Diff(seen.Pooled, seen.Inputs[record.MainHead]); diff != "" {
		t.Errorf("a linear head reads the pooled features: %s", diff)
	}
	for _, n := range []int{0, tinyTrain + 1} {
		if _, err := trainer.HeadLayers(n); err == nil {
			t.Errorf("%d images of %d", n, tinyTrain)
		}
	}
}

// lookAt collects the activations of a split.
func lookAt(t *testing.T, c Config, n *Network, s dataset.Split, stages bool) (all Activation) {
	t.Helper()
	a, err := NewActivations(c.Backend, c.Data, n, stages)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	all = Activation{Logits: map[string][]float32{}, Inputs: map[string][]float32{}}
	err = a.Each(t.Context(), s, 5, func(part Activation) error { // 5 does not divide 13
		all.Labels, all.Pooled = append(all.Labels, part.Labels...), append(all.Pooled, part.Pooled...)
		for head := range part.Logits {
			all.Logits[head] = append(all.Logits[head], part.Logits[head]...)
		}
		for head := range part.Inputs {
			all.Inputs[head] = append(all.Inputs[head], part.Inputs[head]...)
		}
		for k, x := range part.Stages {
			if k == len(all.Stages) {
				all.Stages = append(all.Stages, nil)
			}
			all.Stages[k] = append(all.Stages[k], x...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	weight, bias, err := a.Last(record.MainHead)
	if err != nil || len(weight) != 64*tinyClasses || len(bias) != tinyClasses {
		t.Errorf("%d weights, %d biases, %v", len(weight), len(bias), err)
	}
	return all
}

// The maps of all stages are there, and the pooled features are the mean of the last.
func TestActivationStages(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, plain, dhkd.NoAuxHead, 0)
	network, err := newTrainer(t, c).Network()
	if err != nil {
		t.Fatal(err)
	}
	seen := lookAt(t, c, network, c.Data.Test, true)
	var sizes []int
	for _, x := range seen.Stages {
		sizes = append(sizes, len(x)/tinyTest)
	}
	if want := []int{8 * 8 * 16, 8 * 8 * 16, 4 * 4 * 32, 2 * 2 * 64}; !slices.Equal(sizes, want) {
		t.Fatalf("sizes %v, want %v", sizes, want)
	}
	last := seen.Stages[3]
	for i := range tinyTest {
		for k := range 64 {
			mean := (last[i*256+k] + last[i*256+64+k] + last[i*256+128+k] + last[i*256+192+k]) / 4
			if d := mean - seen.Pooled[i*64+k]; d > 1e-5 || d < -1e-5 {
				t.Fatalf("image %d: channel %d has the mean %g, pooled %g", i, k, mean, seen.Pooled[i*64+k])
			}
		}
	}
	if _, ok := seen.Logits[record.AuxHead]; ok || len(seen.Inputs) != 1 {
		t.Errorf("heads %v, %v", slices.Collect(maps.Keys(seen.Logits)), slices.Collect(maps.Keys(seen.Inputs)))
	}
}

// Looking at the heads between steps changes nothing of the training.
func TestHeadLayersLeaveTraining(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, dualHead, dhkd.NonlinearAuxHead, 1)
	run := func(look bool) map[string]*tensors.Tensor {
		trainer := newTrainer(t, c)
		for step := range 3 {
			if look {
				if _, err := trainer.HeadLayers(tinyTrain); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := trainer.RunStep([]int32{0, 1, 2, 3, 4, 5}, 0.1, 1, 1, step); err != nil {
				t.Fatal(err)
			}
		}
		return weightsOf(t, trainer)
	}
	want, got := run(false), run(true)
	for name, w := range want {
		if !w.Equal(got[name]) {
			t.Errorf("%s differs", name)
		}
	}
}

// Where modules of a method predict, the student's own main head is not trained, and there is nothing to see of it.
func TestHeadLayersOfPredictor(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, distill.Defaults("simkd"), dhkd.NoAuxHead, 0)
	trainer := newTrainer(t, c)
	if layers, err := trainer.HeadLayers(4); err != nil || len(layers) != 0 {
		t.Errorf("%d layers, %v", len(layers), err)
	}
	network, err := trainer.Network()
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewActivations(c.Backend, c.Data, network, false)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	err = a.Each(t.Context(), c.Data.Test, tinyTest, func(part Activation) error {
		if len(part.Inputs) != 0 || len(part.Logits[record.MainHead]) != tinyTest*tinyClasses {
			t.Errorf("%d inputs, %d logits", len(part.Inputs), len(part.Logits[record.MainHead]))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := a.Last(record.MainHead); err == nil {
		t.Error("it has a last layer")
	}
}
