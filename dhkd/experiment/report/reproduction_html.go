package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/claims"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

var (
	//go:embed reproduction.html
	reproductionPage string

	reproductionTemplate = template.Must(template.New("reproduction").Funcs(template.FuncMap{
		"code": code, "interval": intervalSVG, "class": verdictClass,
	}).Parse(reproductionPage))
)

// HTML writes the report as one page that needs no other file, but for the records that it links to.
func (r *Reproduction) HTML(w io.Writer) error {
	var b bytes.Buffer
	err := reproductionTemplate.Execute(&b, map[string]any{
		"Style": template.CSS(style), "Title": reproductionTitle, "Intro": reproductionIntro, "Rules": howToRead, "Report": r,
		"Offline": claims.ProfileOffline, "Paper": claims.ProfilePaper, "SmallSetting": smallSetting,
		"PaperSetting": paperSetting, "Origin": r.origin(),
	})
	if err != nil {
		return fmt.Errorf("cannot make the report: %w", err)
	}
	_, err = b.WriteTo(w)
	return err
}

// Save writes reproduction.md and reproduction.html in a directory, and returns their paths.
func (r *Reproduction) Save(dir string) (files []string, err error) {
	for _, f := range []struct {
		name  string
		write func(io.Writer) error
	}{{"reproduction.md", r.Markdown}, {"reproduction.html", r.HTML}} {
		path := filepath.Join(dir, f.name)
		if err := safefile.Write(path, f.write); err != nil {
			return nil, err
		}
		files = append(files, path)
	}
	return files, nil
}

// code is text in which what stands between backticks is code.
func code(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		if part = template.HTMLEscapeString(part); i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String()) // every part was escaped
}

// verdictClass is the style of a verdict; its words are there too, so that no colour needs to be seen.
func verdictClass(v claims.Verdict) string {
	switch v {
	case claims.Seen:
		return "seen"
	case claims.Opposite, claims.NotSeen:
		return "refuted"
	}
	return "open"
}

// intervalSVG draws a difference with its interval around zero, on one scale for a test.
func intervalSVG(row ReproducedRow) template.HTML {
	const half, height = 60.0, 14.0 // the picture is twice as wide
	if row.Difference == nil || row.scale == 0 {
		return ""
	}
	x := func(v float64) float64 { return half + v/row.scale*(half-4) }
	var b strings.Builder
	fmt.Fprintf(&b, `<svg class="interval" viewBox="0 0 %g %g" aria-hidden="true"><path class="zero" d="M%g 0V%g"/>`, 2*half,
		height, half, height)
	if row.Low != nil {
		fmt.Fprintf(&b, `<path class="range" d="M%.1f %gH%.1f"/>`, x(*row.Low), height/2, x(*row.High))
	}
	fmt.Fprintf(&b, `<circle cx="%.1f" cy="%g" r="3"/></svg>`, x(*row.Difference), height/2)
	return template.HTML(b.String())
}
