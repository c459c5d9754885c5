package distill

import (
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// simKD reuses the teacher's classifier (SimKD, arXiv 2203.14001): the student learns the teacher's last map through a
// projector, and the network that results is the student's backbone, the projector and the teacher's classifier.
//
//	L = alpha mse(Projector(f), ft)      logits = Wt mean(Projector(f)) + bt
//
// No label is used, and the student's own head is not trained. f is the student's map of the last stage, ft the
// teacher's map that its classifier reads the mean of; the larger is averaged to the size of the smaller. Published:
// alpha 1, a projector of half the teacher's channels (the authors' train_student.py -c 0 -d 0 -b 1,
// helper/loops.py).
type simKD struct{ record.Method }

func init() {
	registry["simkd"] = entry{
		make:       func(p record.Method) Method { return simKD{p} },
		parameters: []HyperParameter{positive("alpha", 1, "weight of the maps' mean squared error")},
		what:       "SimKD: the student and a projector learn the teacher's last map, and the teacher's classifier reads it",
		source:     "Chen et al. 2022, CVPR, arXiv 2203.14001",
	}
}

func (m simKD) Name() string { return m.Method.Name }

func (simKD) Needs() Needs {
	return Needs{Teacher: true, Features: true, Modules: true, Classifier: true}
}

func (m simKD) Losses(b Batch) Losses {
	projected, target := m.project(b)
	return Losses{
		Terms:  []Term{{Name: "simkd", Value: ReduceAllMean(Square(Sub(projected, target))), Weight: m.Alpha}},
		Logits: classify(projected, b),
	}
}

// Predict is what the trained network says, see [Predictor].
func (m simKD) Predict(b Batch) *Node {
	projected, _ := m.project(b)
	return classify(projected, b)
}

func (m simKD) project(b Batch) (projected, target *Node) {
	student, target := sameSize(b.Features[len(b.Features)-1], b.Teacher.Last)
	return Projector(b.Scope, student, target.Shape().Dim(3)), target
}

func classify(projected *Node, b Batch) *Node {
	return b.Teacher.Classifier.Logits(ReduceMean(projected, 1, 2))
}

// Projector is SimKD's: it gives a map [N, H, W, c] as many channels as asked for, by convolutions 1x1, 3x3 and 1x1
// without bias, the first two to half as many channels, each with batch norm and ReLU. Modules: transfer.0, 3 and 6
// (convolutions), 1, 4 and 7 (batch norms). Source: Chen et al. 2022 (arXiv 2203.14001), figure 2; the authors'
// models/util.py, SimKD.
func Projector(s *nn.Scope, student *Node, channels int) *Node {
	checkFeatures("Projector", student, student, 4)
	x := student
	for _, layer := range []struct {
		conv, norm string
		nn.Conv
	}{
		{"0", "1", nn.Conv{Channels: channels / 2, Kernel: 1}},
		{"3", "4", nn.Conv{Channels: channels / 2, Kernel: 3, Padding: 1}},
		{"6", "7", nn.Conv{Channels: channels, Kernel: 1}},
	} {
		layer.Weight = nn.KaimingUniform
		x = nn.ConvWith(s.In("transfer."+layer.conv), x, layer.Conv)
		x = nn.ReLU(s, nn.BatchNorm(s.In("transfer."+layer.norm), x))
	}
	return x
}
