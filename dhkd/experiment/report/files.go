package report

import (
	"errors"
	"path/filepath"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// Files are what [Write] made.
type Files struct {
	Report  string   `json:"report"`  // the page
	Figures []string `json:"figures"` // PNG and SVG
}

// Write makes the page and its figures as files in a directory: report.html, figures/accuracy.png and so on. A figure that the
// records have no numbers for is left out.
func Write(dir string, records []*record.Record, o Options) (Files, error) {
	files := Files{Report: filepath.Join(dir, "report.html")}
	if err := Save(files.Report, records, o); err != nil {
		return files, err
	}
	var failed []error
	for _, f := range []struct {
		name string
		draw func([]*record.Record, plots.Options) (*plots.Figure, error)
	}{{"accuracy", plots.AccuracyBars}, {"training", plots.TrainingCurves}, {"losses", plots.LossCurves}} {
		figure, err := f.draw(records, plots.Options{})
		if err != nil {
			continue // the page says why
		}
		for _, extension := range []string{".png", ".svg"} {
			path := filepath.Join(dir, "figures", f.name+extension)
			failed = append(failed, figure.Save(path))
			files.Figures = append(files.Figures, path)
		}
	}
	return files, errors.Join(failed...)
}
