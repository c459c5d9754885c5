package plotstest

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Analyses invents what can be seen in the students of two runs and in their teacher: with one head, whose logits are
// far from the teacher's, and with two.
func Analyses(classes int) []*record.Analysis {
	runs := Quickstart()
	var analyses []*record.Analysis
	for i, r := range Records([]Run{runs[4], runs[6]}, 1) {
		random := rand.New(rand.NewPCG(11, uint64(i)))
		r.Data.Classes = classes
		a := &record.Analysis{Schema: record.AnalysisSchema, Recipe: r.Recipe, Data: r.Data, Environment: r.Environment,
			Weights: record.WeightsFile{Name: "example.safetensors", SHA256: strings.Repeat("1a", 32), Model: "resnet8",
				Classes: classes},
			Teacher: &record.WeightsFile{Name: "example-teacher.safetensors", SHA256: strings.Repeat("0e", 32),
				Model: "resnet20", Classes: classes},
		}
		teacher := logits(classes, 0, 1, rand.New(rand.NewPCG(12, 0)))
		student := blend(teacher, logits(classes, 2, 0.8, random), 0.5+0.2*float64(i))
		a.Logits = append(a.Logits, summary(record.MainHead, student))
		if r.Recipe.Method.Name == "dhkd" {
			a.Logits = append(a.Logits, summary(record.AuxHead, blend(teacher, logits(classes, 0, 0.9, random), 0.9)))
		}
		a.Logits = append(a.Logits, summary(record.TeacherNetwork, teacher))
		a.Collapse = []record.Collapse{collapse(record.MainHead, 1, random)}
		if r.Recipe.Method.Name == "dhkd" {
			a.Collapse = append(a.Collapse, collapse(record.AuxHead, 1.6, random))
		}
		a.Embeddings = pictures(classes, random)
		a.CKA = &record.CKA{Images: 1000, Student: []string{"layer1", "layer2", "layer3"},
			Teacher: []string{"layer1", "layer2", "layer3"}}
		for s := range 3 {
			row := make([]float64, 3)
			for t := range row {
				row[t] = math.Exp(-0.4*math.Abs(float64(s-t))) * (0.85 + 0.1*float64(i))
			}
			a.CKA.Values = append(a.CKA.Values, row)
		}
		analyses = append(analyses, a)
	}
	return analyses
}

func addCollapse(e *record.Epoch, dual bool, progress float64, random *rand.Rand) {
	for i, measure := range []string{
		record.NC1, record.NC2Norms, record.NC2Angles, record.NC3, record.NC4, record.ETFClassifier,
	} {
		last := []float64{2, 0.15, 0.12, 0.2, 0.05, 0.3}[i]
		noise := 1 + 0.04*random.NormFloat64()
		v := last * (1 + 3*math.Exp(-4*progress)) * noise
		switch {
		case dual:
			e.Metrics[record.CollapseMetric(record.AuxHead, measure)] = 1.6 * v
		case measure == record.NC3:
			v *= 1.9
		}
		e.Metrics[record.CollapseMetric(record.MainHead, measure)] = v
	}
}

func collapse(of string, size float64, random *rand.Rand) record.Collapse {
	c := record.Collapse{Of: of, Images: 2000, Classes: 100, Width: 64, Measures: record.Metrics{}}
	for _, measure := range record.CollapseMeasures {
		c.Measures[measure] = size * (0.1 + 0.1*random.Float64())
	}
	return c
}

// logits are mean logits, [label][class].
func logits(classes int, offset, scale float64, random *rand.Rand) [][]float64 {
	rows := make([][]float64, classes)
	for label := range rows {
		rows[label] = make([]float64, classes)
		for class := range rows[label] {
			rows[label][class] = offset + scale*1.5*random.NormFloat64()
		}
		rows[label][label] += scale * 9
		rows[label][(label+1)%classes] += scale * 3
	}
	return rows
}

// blend is share of a and the rest of b.
func blend(a, b [][]float64, share float64) [][]float64 {
	rows := make([][]float64, len(a))
	for i := range a {
		for j := range a[i] {
			rows[i] = append(rows[i], share*a[i][j]+(1-share)*b[i][j])
		}
	}
	return rows
}

// summary takes the map's entries for the logits of one image of each class.
func summary(of string, rows [][]float64) record.Logits {
	var all, label, offset []float64
	for i, row := range rows {
		all, label = append(all, row...), append(label, row[i])
		offset = append(offset, stat.Mean(row, nil))
	}
	ece := 0.1
	return record.Logits{Of: of, Images: len(rows), Top1: 54, CrossEntropy: 1.9, ECE: ece,
		Bins: []record.Bin{{Low: 0, High: 1, Images: len(rows), Confidence: 0.64, Accuracy: 0.54}},
		All:  distribution(all), Label: distribution(label), Offset: distribution(offset), Map: rows}
}

func distribution(values []float64) record.Distribution {
	slices.Sort(values)
	d := record.Distribution{Values: len(values), Low: values[0] - 1, High: values[len(values)-1] + 1,
		Counts: []int{len(values)}}
	d.Mean, d.SD = stat.PopMeanStdDev(values, nil)
	for _, share := range record.QuantileLevels {
		d.Quantiles = append(d.Quantiles, stat.Quantile(share, stat.Empirical, values, nil))
	}
	return d
}

// pictures has twenty images of each class, in groups.
func pictures(classes int, random *rand.Rand) *record.Embeddings {
	classes = min(classes, 20)
	e := &record.Embeddings{}
	for range 20 {
		for class := range classes {
			e.Labels = append(e.Labels, class)
		}
	}
	for _, of := range []string{record.StudentNetwork, record.TeacherNetwork} {
		spread := map[string]float64{record.StudentNetwork: 4, record.TeacherNetwork: 2.5}[of]
		tsne := record.Embedding{Of: of, Kind: record.TSNE, Perplexity: 30, Seed: 1, KL: 0.9}
		pca := record.Embedding{Of: of, Kind: record.PCA, Explained: []float64{0.31, 0.12}}
		for _, class := range e.Labels {
			angle := 2 * math.Pi * float64(class) / float64(classes)
			point := func(size float64) [2]float64 {
				return [2]float64{size*math.Cos(angle) + spread*random.NormFloat64(),
					size*math.Sin(2*angle) + spread*random.NormFloat64()}
			}
			tsne.Points, pca.Points = append(tsne.Points, point(30)), append(pca.Points, point(12))
		}
		e.All = append(e.All, tsne, pca)
	}
	return e
}
