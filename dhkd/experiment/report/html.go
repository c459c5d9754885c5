package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// Options are choices of the page.
type Options struct {
	Title    string   // in place of one made from the experiment's name
	Commands []string // shell commands that make these records again, a line each; may be empty
}

var (
	//go:embed report.html
	page string
	//go:embed report.css
	style string

	pageTemplate = template.Must(template.New("report").Parse(page))
)

// HTML writes the report: one page that needs no other file and no network. The error is that of [plots.Summarize] or
// of w; after an error of the former nothing has been written.
func HTML(w io.Writer, records []*record.Record, o Options) error {
	s, err := plots.Summarize(records)
	if err != nil {
		return err
	}
	v, err := newView(s, records, o)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, v); err != nil {
		return fmt.Errorf("cannot make the report: %w", err)
	}
	_, err = b.WriteTo(w)
	return err
}

// Save writes the report to the file at path, which is whole or, after an error, as it was before.
func Save(path string, records []*record.Record, o Options) error {
	return safefile.Write(path, func(w io.Writer) error { return HTML(w, records, o) })
}

// view is what the template shows.
type view struct {
	Style        template.CSS
	Title        string
	Profile      string
	Caption      string
	Made         string // days of the runs
	Verdict      *Judgement
	Rows         []row
	Figures      []figure
	Rates        []string // learning rates that any search tried
	Searches     []search
	Recipes      []recipe
	Teachers     []fields
	Environments []fields
	Data         fields
	Digests      []field
	Commit       string // when all records agree on one without changes
	Commands     string
	Notes        []string
	Records      int
}

type figure struct {
	Title        string
	Wide, Narrow template.HTML // <svg>
	Missing      string        // why there is none
}

type field struct{ Name, Value string }

// fields is a table of names and values, and which runs they are of.
type fields struct {
	Of     string
	Fields []field
}

type recipe struct{ Label, Name, Seeds, YAML string }

// search is a line of the table of learning rates: a cell per rate of view.Rates.
type search struct {
	Label string
	Cells []searchCell
	How   string
}

type searchCell struct {
	Top1   string
	Chosen bool
}

func newView(s *plots.Summary, records []*record.Record, o Options) (*view, error) {
	v := &view{
		Style:    template.CSS(style),
		Title:    plots.Printable(o.Title, 120),
		Profile:  s.Profile,
		Caption:  s.Caption(),
		Made:     days(records),
		Verdict:  unbroken(judge(s)),
		Rows:     rows(s),
		Figures:  figures(records),
		Commands: visible(strings.Join(o.Commands, "\n")),
		Notes:    notes,
		Records:  len(records),
	}
	if v.Title == "" {
		v.Title = "Experiment " + s.Experiment
	}
	v.Rates, v.Searches = searches(s)
	runs := s.Students
	if s.Teacher != nil {
		runs = append([]*plots.Run{s.Teacher}, runs...)
	}
	for _, run := range runs {
		text, err := run.Recipe.YAML()
		if err != nil {
			return nil, err
		}
		var seeds []string
		for _, r := range run.Records {
			seeds = append(seeds, strconv.FormatUint(r.Recipe.Seed, 10))
		}
		plural := "seed "
		if len(seeds) > 1 {
			plural = "seeds "
		}
		v.Recipes = append(v.Recipes, recipe{
			Label: run.Label,
			Name:  plots.Printable(run.Name, 60),
			Seeds: plural + strings.Join(seeds, ", "),
			YAML:  visible(string(text)),
		})
	}
	v.Environments = group(runs, environmentOf)
	v.Teachers = group(runs, teacherOf)
	v.Data, v.Digests = dataOf(s)
	v.Commit = commit(records)
	return v, nil
}

// unbroken keeps a value on one line with its spread and unit.
func unbroken(j *Judgement) *Judgement {
	keep := strings.NewReplacer(" ± ", "\u00a0±\u00a0", " %", "\u00a0%", " points)", "\u00a0points)")
	j.Headline = keep.Replace(j.Headline)
	for i := range j.Details {
		j.Details[i] = keep.Replace(j.Details[i])
	}
	return j
}

// visible keeps line breaks and shows other characters that do not print, or that turn text around, as U+FFFD.
func visible(s string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, s)
}

// figures are drawn for wide and for narrow windows; the style sheet shows one of the two.
func figures(records []*record.Record) []figure {
	var result []figure
	for _, f := range []struct {
		title string
		draw  func([]*record.Record, plots.Options) (*plots.Figure, error)
	}{
		{"Test accuracy", plots.AccuracyBars},
		{"Test accuracy during training", plots.TrainingCurves},
		{"Loss terms during training", plots.LossCurves},
	} {
		svg := func(width float64) (template.HTML, error) {
			drawn, err := f.draw(records, plots.Options{Width: width})
			if err != nil {
				return "", err
			}
			text, err := drawn.InlineSVG()
			return template.HTML(text), err // every text in it was escaped
		}
		wide, err := svg(8.6)
		if err != nil {
			result = append(result, figure{Title: f.title, Missing: err.Error()})
			continue
		}
		narrow, err := svg(3.9)
		if err != nil {
			result = append(result, figure{Title: f.title, Missing: err.Error()})
			continue
		}
		result = append(result, figure{Title: f.title, Wide: wide, Narrow: narrow})
	}
	return result
}

// maxRates is how many learning rates the table of searches has columns for.
const maxRates = 16

// searches is the table of learning rates that were tried; empty when none was, or too many for a table.
func searches(s *plots.Summary) (rates []string, result []search) {
	var values []float64
	for _, run := range s.Students {
		if t := run.Recipe.Tuning; t != nil {
			for _, c := range t.Candidates {
				values = append(values, c.LearningRate)
			}
		}
	}
	slices.Sort(values)
	values = slices.Compact(values)
	if len(values) == 0 || len(values) > maxRates {
		return nil, nil
	}
	for _, rate := range values {
		rates = append(rates, strconv.FormatFloat(rate, 'g', 6, 64))
	}
	for _, run := range s.Students {
		line := search{Label: run.Label, How: chosen(run.Recipe)}
		for _, rate := range values {
			cell := searchCell{Chosen: rate == run.Recipe.Optimizer.LearningRate && run.Recipe.Tuning != nil}
			if t := run.Recipe.Tuning; t != nil {
				for _, c := range t.Candidates {
					if c.LearningRate == rate {
						cell.Top1 = plots.NewStat(c.Top1...).String()
					}
				}
			}
			line.Cells = append(line.Cells, cell)
		}
		result = append(result, line)
	}
	return rates, result
}

// days are the first and last day of the runs, in UTC.
func days(records []*record.Record) string {
	var first, last time.Time
	for _, r := range records {
		if !r.Started.IsZero() && (first.IsZero() || r.Started.Before(first)) {
			first = r.Started
		}
		if r.Finished.After(last) {
			last = r.Finished
		}
	}
	const day = "2 January 2006"
	switch a, b := first.UTC().Format(day), last.UTC().Format(day); {
	case first.IsZero():
		return ""
	case a == b || last.IsZero():
		return a
	default:
		return a + " to " + b
	}
}

// commit is the commit that every record names, when it is one and was not changed.
func commit(records []*record.Record) string {
	c := records[0].Environment.Commit
	for _, r := range records {
		if r.Environment.Commit != c || strings.HasSuffix(c, "-dirty") {
			return ""
		}
	}
	return plots.Printable(c, 64)
}
