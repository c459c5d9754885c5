package plots

import (
	"fmt"
	"math"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// LogitDifferences draws, for each analysis, the teacher's mean logits less those of the student's head ("main" or
// "aux"), a row for each true class and a column for each class's logit, on one colour scale: blue where the teacher's
// is higher, brown where the student's is. With centred, each row of both is taken less its own mean first, so that
// the common offset, which softmax hides, does not count. A panel's title has the mean size of its differences. The
// scale ends where 99 % of them do. The error says which run has no mean logits, of which head, and how to get them,
// or what option is bad.
func LogitDifferences(analyses []*record.Analysis, head string, centred bool, o Options) (*Figure, error) {
	o, titles, caption, err := resolveAnalyses(analyses, "Logits of the teacher less those of the student", o)
	if err != nil {
		return nil, err
	}
	var maps []*heat
	var sizes []float64
	for i, a := range analyses {
		teacher, student := a.LogitsOf(record.TeacherNetwork), a.LogitsOf(head)
		if teacher == nil || student == nil || len(teacher.Map) == 0 || len(student.Map) == 0 {
			return nil, lacking(a, "mean logits of the teacher and of the "+Printable(head, 20)+" head", withTeacher)
		}
		h := &heat{aspect: 1, xLabel: "class of the logit", yLabel: "true class"}
		sum, n := 0.0, 0
		for label := range teacher.Map {
			row := differences(teacher.Map[label], student.Map[label], len(teacher.Map), centred)
			for _, v := range row {
				switch {
				case math.IsNaN(v): // there is no image of that label
				case !drawable(v):
					return nil, fmt.Errorf("analysis of run %q: mean logits are %g apart, which no figure shows",
						Printable(a.Recipe.Name, 60), v)
				default:
					sizes = append(sizes, math.Abs(v))
					sum += math.Abs(v)
					n++
				}
			}
			h.values = append(h.values, row)
			h.rows = append(h.rows, fmt.Sprint(label))
		}
		h.columns = h.rows
		h.sparseRows, h.sparseColumns = len(h.rows) > 12, len(h.rows) > 12
		h.title = fmt.Sprintf("%s: mean size %.2f", titles[i], sum/math.Max(1, float64(n)))
		maps = append(maps, h)
	}
	scale := bothSigns(math.Max(quantile(sizes, 0.99), 1e-6), "logits")
	alt := "Heat maps of mean logits, teacher less student."
	for _, h := range maps {
		h.scale = scale
		alt += " " + h.title + "."
	}
	subtitle := "Mean over each true class's test images; blue: the teacher's logit is higher, brown: the student's."
	if centred {
		subtitle += " Each row less its own mean."
	}
	f := newFrame(o, subtitle, caption)
	return f.heats(o, alt+" "+caption+".", o.columnsFor(4), maps...), nil
}

func teacherFirst(logits []record.Logits) []record.Logits {
	logits = slices.Clone(logits)
	slices.SortStableFunc(logits, func(a, b record.Logits) int {
		switch {
		case a.Of == record.TeacherNetwork:
			return -1
		case b.Of == record.TeacherNetwork:
			return 1
		}
		return 0
	})
	return logits
}

// differences are a row of n mean logits less another; without images of that label they are NaN.
func differences(a, b []float64, n int, centred bool) []float64 {
	row := make([]float64, n)
	shift := 0.0
	for j := range row {
		if len(a) != n || len(b) != n {
			row[j] = math.NaN()
			continue
		}
		row[j] = a[j] - b[j]
		shift += row[j] / float64(n)
	}
	if centred {
		for j := range row {
			row[j] -= shift
		}
	}
	return row
}

// quantile of values, which it sorts.
func quantile(values []float64, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return stat.Quantile(share, stat.Empirical, values, nil)
}

// LogitDistributions draws how logits are spread, a row for teacher, main and auxiliary head of each analysis: of all
// logits, of the one of the true class, and of an image's mean over classes, the common offset that softmax hides. A
// box is the middle half with the median, thick lines go from the 5 to the 95 %, thin ones from the 1 to the 99 %. A
// teacher that several analyses share has one row. The error says which run has no distributions, or what option is
// bad.
func LogitDistributions(analyses []*record.Analysis, o Options) (*Figure, error) {
	o, titles, caption, err := resolveAnalyses(analyses, "How logits are spread", o)
	if err != nil {
		return nil, err
	}
	b := rowPanels{panels: []rowPanel{{title: "All logits", label: "logit"}, {title: "True class's logit", label: "logit"},
		{title: "Offset (mean logit)", label: "logit"}}}
	teachers := map[string]bool{}
	alt := "Box plots of logits, median and middle 90 %."
	for i, a := range analyses {
		if len(a.Logits) == 0 {
			return nil, lacking(a, "distributions of logits", "")
		}
		for _, l := range teacherFirst(a.Logits) {
			label, colour := titles[i]+", "+headWords[l.Of], accents[1]
			switch l.Of {
			case record.TeacherNetwork:
				label, colour = "Teacher", others[0]
				if a.Teacher != nil {
					if teachers[a.Teacher.SHA256] {
						continue
					}
					teachers[a.Teacher.SHA256] = true
				}
				if len(teachers) > 1 {
					label += " of " + titles[i]
				}
			case record.MainHead:
				colour = accents[0]
			}
			b.labels, b.colours = append(b.labels, label), append(b.colours, colour)
			for k, d := range []record.Distribution{l.All, l.Label, l.Offset} {
				b.panels[k].values = append(b.panels[k].values, d.Quantiles)
				alt += fmt.Sprintf(" %s, %s: %.1f, %.1f to %.1f.", label, b.panels[k].title, d.Quantiles[4], d.Quantiles[2],
					d.Quantiles[6])
			}
		}
	}
	f := newFrame(o, "Test images. Box: middle half and median; thick line: middle 90\u00a0%, thin: middle 98\u00a0%.", caption)
	return b.figure(f, o, alt+" "+caption+".", 3), nil
}
