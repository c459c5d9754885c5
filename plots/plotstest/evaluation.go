package plotstest

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/metric"
)

// Evaluation invents an evaluation with so many classes; the same arguments give the same. The network is
// overconfident, and takes each class most often for one of the next two.
func Evaluation(classes, images int) *record.Evaluation {
	random := rand.New(rand.NewPCG(uint64(classes), uint64(images)))
	c := metric.NewClassification(classes)
	skill := make([]float64, classes)
	for i := range skill {
		skill[i] = 1 + 4*random.Float64()
	}
	for i := range images {
		label := i % classes
		logits := make([]float32, classes)
		for j := range logits {
			logits[j] = float32(1.3 * random.NormFloat64())
		}
		logits[label] += float32(skill[label])
		logits[(label+1)%classes] += 1.5
		logits[(label+2)%classes]++
		for j := range logits {
			logits[j] *= 2
		}
		if err := c.Add(logits, []int32{int32(label)}); err != nil {
			panic(err) // the logits fit
		}
	}
	names := make([]string, classes)
	for i := range names {
		names[i] = fmt.Sprintf("example class %d", i)
	}
	return &record.Evaluation{
		Schema: record.EvaluationSchema, Model: "resnet8", Head: record.MainHead, Split: record.TestSplit,
		Weights: record.WeightsFile{Name: "example.safetensors", SHA256: strings.Repeat("0e", 32), Model: "resnet8",
			Classes: classes, AuxHead: "none"},
		Data:       record.Data{Name: "example-data", Classes: classes, Shape: [3]int{3, 16, 16}, Test: images, Evaluation: "test"},
		Scores:     c.Scores(names),
		Parameters: 84004, InferenceParameters: 84004,
	}
}
