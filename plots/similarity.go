package plots

import (
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// StageSimilarity draws the linear CKA between the stages of student and teacher, 0 to 1, a map for each analysis: rows
// are the student's stages, the first on top, columns the teacher's. The error says which run has no CKA and how to get
// it, or what option is bad.
func StageSimilarity(analyses []*record.Analysis, o Options) (*Figure, error) {
	o, titles, caption, err := resolveAnalyses(analyses, "Similarity of stages", o)
	if err != nil {
		return nil, err
	}
	scale := amounts(0, 1, "CKA")
	var maps []*heat
	alt := "Heat maps of linear CKA."
	for i, a := range analyses {
		if a.CKA == nil {
			return nil, lacking(a, "CKA between its stages and a teacher's", withTeacher)
		}
		h := &heat{title: titles[i], values: a.CKA.Values, rows: printables(a.CKA.Student),
			columns: printables(a.CKA.Teacher), xLabel: "teacher's stage", yLabel: "student's stage", scale: scale, aspect: 0.7}
		h.text = func(row, column int) []string { return []string{fmt.Sprintf("%.2f", h.values[row][column])} }
		maps = append(maps, h)
		alt += " " + titles[i] + ":" + h.alt(func(v float64) string { return fmt.Sprintf("%.2f", v) })
	}
	f := newFrame(o, fmt.Sprintf("Linear centred kernel alignment of %s test images' maps: 1 where they are the same "+
		"but for a rotation and a factor.", Thousands(analyses[0].CKA.Images)), caption)
	return f.heats(o, alt+" "+caption+".", o.columnsFor(3), maps...), nil
}

// withTeacher is how an analysis gets what compares it with a teacher.
const withTeacher = " --teacher FILE"

func printables(names []string) (shown []string) {
	for _, name := range names {
		shown = append(shown, Printable(name, 40))
	}
	return shown
}
