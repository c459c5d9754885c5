package train

import (
	"maps"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/gomlx/compute"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/ml/model"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// TestDevicesAgreeInFloat64 compares losses, gradients' norm and state on several devices with those on one, where rounding
// hides no difference: of methods that amplify it, or of all of them with DHKD_ALL_METHODS=1, which takes minutes.
func TestDevicesAgreeInFloat64(t *testing.T) {
	methods := smokeMethods()
	names := []string{"dhkd", "dist"}
	if os.Getenv("DHKD_ALL_METHODS") != "" {
		names = slices.Sorted(maps.Keys(methods))
	}
	for _, name := range names {
		t.Run(name, func(t *testing.T) {
			const tolerance = 1e-9
			devices := 2
			if name == "dhkd" {
				devices = 4
			}
			backend := several(t, devices).Backend
			want, wantState := float64Steps(t, backend, methods[name], 1)
			got, gotState := float64Steps(t, backend, methods[name], devices)
			for i := range want {
				if !(math.Abs(got[i]-want[i]) <= tolerance*math.Abs(want[i])) {
					t.Errorf("losses and norms %v, want %v", got, want)
					break
				}
			}
			d, of := distance(t, gotState, wantState)
			t.Logf("at most %.1e apart (%s)", d, of)
			if !(d <= tolerance) {
				t.Errorf("%s is %.1e apart", of, d)
			}
		})
	}
}

// float64Steps are the losses and the norms of the gradient of three steps, and what they leave.
func float64Steps(t *testing.T, backend compute.Backend, m record.Method, devices int) (values []float64,
	left map[string]*tensors.Tensor) {
	t.Helper()
	const images, pixels = 12, 8 * 8
	method, err := distill.New(m)
	if err != nil {
		t.Fatal(err)
	}
	head := smokeHead(t, m)
	step := Step{Model: newNetwork(t, head), Method: method, SGD: SGD{Momentum: 0.9, WeightDecay: 5e-4}, Measure: true}
	set, needs := tinySet(), method.Needs()
	trainer := &Trainer{Config: Config{Backend: backend, Devices: devices}, store: model.NewStore(), compiled: map[string]bool{}}
	defer trainer.store.Finalize()
	program, err := newProgram(trainer, func(variables *model.Scope, inputs []*Node) *Node {
		in := StepInputs{Images: inputs[0], Labels: inputs[1], Indices: inputs[2], LearningRate: inputs[3], RNG: inputs[4],
			Epoch: inputs[5], TrainLabels: set.Train.Labels}
		if needs.Teacher {
			in.Teacher = newNetwork(t, "none").Forward(nn.New(variables.At(teacherScope), nn.Options{Seed: 99}), in.Images)
		}
		result := step.Build(variables, 7, in)
		return Stack([]*Node{result.Loss, result.Norm}, 0)
	}, ofBatch)
	if err != nil {
		t.Fatal(err)
	}
	defer program.close()
	for number := range 3 {
		var inputs [][]any
		for part := range slices.Chunk(order(tinyTrain, 1, number+1)[:images], images/devices) {
			n := len(part)
			x, labels := make([]float64, n*pixels), make([]int32, n)
			for i, image := range part {
				labels[i] = set.Train.Labels[image]
				for p := range pixels {
					x[i*pixels+p] = (float64(set.Train.Pixels[int(image)*pixels+p])/255 - 0.3) / 0.3
				}
			}
			inputs = append(inputs, []any{
				tensors.FromFlatDataAndDimensions(x, n, 8, 8, 1), tensors.FromFlatDataAndDimensions(labels, n),
				tensors.FromFlatDataAndDimensions(part, n), tensors.FromScalar(0.05),
				tensors.FromFlatDataAndDimensions([]uint64{1, 2, uint64(number)}, 3), tensors.FromScalar(float64(smokeEpoch))})
		}
		out, err := trainer.call1(program, inputs)
		if err != nil {
			t.Fatal(err)
		}
		values = append(values, tensors.MustCopyFlatData[float64](out)...)
	}
	return values, state(t, trainer)
}
