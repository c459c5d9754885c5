package plotstest

import (
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Measured invents records of two runs with measured gradients and measures of neural collapse: one head, in which the
// two losses come to oppose each other, and two heads.
func Measured(seeds int) []*record.Record {
	runs := Quickstart()
	records := Records([]Run{runs[4], runs[6]}, seeds)
	for i, r := range records {
		random, others := rand.New(rand.NewPCG(3, uint64(i))), rand.New(rand.NewPCG(4, uint64(i)))
		for j := range r.Epochs {
			progress := float64(j) / float64(len(r.Epochs))
			addCollapse(&r.Epochs[j], r.Recipe.Method.Name == "dhkd", progress, others)
			if j%2 == 0 {
				r.Epochs[j].Gradients = gradients(r.Recipe.Method.Name == "dhkd", progress, random)
			}
		}
	}
	return records
}

func gradients(dual bool, progress float64, random *rand.Rand) *record.Gradients {
	const steps = 3
	part := func(kind, name string, cosine float64) record.GradientPart {
		mean := math.Max(-0.8, math.Min(0.8, cosine+0.03*random.NormFloat64()))
		return record.GradientPart{Kind: kind, Name: name, Dot: mean, Cosine: record.Spread{
			Steps: steps, Mean: mean, Std: 0.06, Min: mean - 0.1, Max: mean + 0.1,
			Negative: math.Max(0, math.Min(1, 0.3-2*mean))}}
	}
	backbone, head := 0.55-0.15*progress, 0.3-0.4*progress
	g := &record.Gradients{Steps: steps, Terms: []string{"ce", "binarykl"}}
	pull := func(term string, scale float64) record.Pull {
		return record.Pull{Term: term, TruePull: scale * (0.9 - 0.7*progress), OtherPush: scale * (0.01 - 0.006*progress)}
	}
	labels, teacher := pull("ce", 1), pull("binarykl", 0.8)
	teacher.TruePush, teacher.OtherPull = 0.3*progress, 0.01*progress
	if dual {
		g.Terms[1], teacher.Term = "binarykl_norm", "binarykl_norm"
		g.Disjoint = []string{record.PartClassifier}
		g.Coefficient = &record.Spread{Steps: steps, Mean: 0.01, Max: 0.03}
		g.Heads = []record.HeadGradients{{Head: record.HeadMain, Losses: []record.Pull{labels}},
			{Head: record.HeadAux, Losses: []record.Pull{teacher}}}
	} else {
		g.Parts = append(g.Parts, part(record.PartClassifier, "", head))
		g.Heads = []record.HeadGradients{{Head: record.HeadMain, Losses: []record.Pull{labels, teacher},
			Oppose: &record.Oppositions{All: 0.4, True: 0.3, Other: 0.4}}}
	}
	g.Parts = append(g.Parts, part(record.PartBackbone, "", backbone))
	for stage := 1; stage <= 3; stage++ {
		g.Parts = append(g.Parts, part(record.PartStage, fmt.Sprintf("layer%d", stage), backbone-0.08*float64(stage)))
	}
	for stage := 1; stage <= 3; stage++ {
		for _, name := range []string{"conv1.weight", "bn1.weight", "bn1.bias", "conv2.weight", "bn2.weight", "bn2.bias"} {
			name = fmt.Sprintf("layer%d.0.%s", stage, name)
			g.Parts = append(g.Parts, part(record.PartLayer, name, backbone-0.1*float64(stage)))
		}
	}
	if !dual {
		g.Parts = append(g.Parts, part(record.PartLayer, "fc.weight", head), part(record.PartLayer, "fc.bias", head-0.15))
	}
	return g
}

// Sweep invents records of the four combinations of one or two heads with BinaryKL or BinaryKL-Norm over four weights
// alpha and four learning rates, one of which kills some.
func Sweep(seeds int) []*record.Record {
	var runs []Run
	for _, combination := range []struct{ method, label string }{
		{"ce+binarykl", "BinaryKL, one head"}, {"dual-binarykl", "BinaryKL, two heads"},
		{"ce+binarykl-norm", "BinaryKL-Norm, one head"}, {"dhkd", "BinaryKL-Norm, two heads"},
	} {
		for _, alpha := range []float64{0.1, 0.5, 1, 3} {
			for _, rate := range []float64{0.02, 0.05, 0.1, 0.14} {
				run := Run{Name: fmt.Sprintf("%s-a%g-lr%g", combination.method, alpha, rate), Label: combination.label, LR: rate,
					Method: record.Method{Name: combination.method, Gamma: 1, Alpha: alpha, Temperature: 2}}
				run.Top1 = 58 - 9*math.Abs(math.Log10(rate/0.08)) - 2*math.Abs(math.Log10(alpha))
				limit := 0.12 // of what the step size bears
				if combination.method == "dhkd" || combination.method == "ce+binarykl-norm" {
					limit *= 2.5
				}
				switch size := alpha * rate; {
				case size > 2*limit:
					run.FailStep = 100
				case size > limit:
					run.Top1 = 3.5
				}
				runs = append(runs, run)
			}
		}
	}
	records := Records(runs, seeds)
	for _, r := range records {
		r.Recipe.Tuning = nil
		switch r.Recipe.Method.Name {
		case "dhkd", "dual-binarykl":
			r.Recipe.Model.AuxHead = "linear"
		default:
			r.Recipe.Model.AuxHead = "none"
		}
	}
	return records
}
