package report_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/browsertest"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// measure looks for what a reader would see as broken. Figures hidden for this width are not counted.
const measure = `(() => {
  const shown = e => e.getClientRects().length > 0;
  const figures = [...document.querySelectorAll("figure svg")].filter(shown);
  const scrolls = e => e && (getComputedStyle(e).overflowX == "auto" || scrolls(e.parentElement));
  return {
    width: document.documentElement.clientWidth,
    overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tooWide: [...document.querySelectorAll("main *")].filter(e => shown(e) && !scrolls(e)
      && !e.closest("svg, .hidden, caption")
      && e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).map(e => e.outerHTML.slice(0, 80)),
    figures: figures.length,
    emptyFigures: figures.filter(f => f.getBoundingClientRect().height < 100 || !f.getAttribute("aria-label")).length,
    brokenImages: [...document.images].filter(i => !i.complete || i.naturalWidth == 0).length,
    smallText: Math.min(...figures.flatMap(f => [...f.querySelectorAll("text")])
      .map(t => t.getBoundingClientRect().height)),
    headings: [...document.querySelectorAll("h1, h2")].map(h => h.textContent).join("|"),
  };
})()`

// looks are the windows that reports are looked at in.
var looks = map[string]browsertest.View{
	"wide":  {Width: 1280, Height: 900},
	"phone": {Width: 390, Height: 844, Mobile: true},
	"small": {Width: 320, Height: 600, Mobile: true, Dark: true},
	"dark":  {Width: 1280, Height: 900, Dark: true},
	"print": {Width: 794, Height: 1123, Print: true},
}

func TestReportInABrowser(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	options := report.Options{
		Title:    "Example: six ways to train one student",
		Commands: []string{"git checkout 0000000example", "make demo"},
	}
	if err := report.Save(file, plotstest.Records(plotstest.Quickstart(), 3), options); err != nil {
		t.Fatal(err)
	}
	for name, view := range looks {
		t.Run(name, func(t *testing.T) {
			got := look(t, "report-"+name, file, view)
			if got.Figures != 3 || got.EmptyFigures > 0 || got.BrokenImages > 0 {
				t.Errorf("figures: %+v", got)
			}
			if got.SmallText < 7 {
				t.Errorf("text in a figure is only %.1f pixels high", got.SmallText)
			}
		})
	}
}

func TestReproductionInABrowser(t *testing.T) {
	files, err := reproduction(t).Save(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, view := range looks {
		t.Run(name, func(t *testing.T) {
			if got := look(t, "reproduction-"+name, files[1], view); strings.Count(got.Headings, "|") != 8 {
				t.Errorf("want a heading for the page, the overview and seven claims, got %s", got.Headings)
			}
		})
	}
}

// measured is what the script measures.
type measured struct {
	Width, Overflow, Figures, EmptyFigures, BrokenImages int
	SmallText                                            float64
	TooWide                                              []string
	Headings                                             string
}

// look opens a page, and checks what holds of every page.
func look(t *testing.T, name, file string, view browsertest.View) (got measured) {
	t.Helper()
	view.Script = measure
	page := browsertest.OpenTest(t, name, "file://"+file, view)
	if err := json.Unmarshal(page.Value, &got); err != nil {
		t.Fatal(err)
	}
	t.Logf("%+v", got)
	if got.Width != view.Width || got.Overflow > 0 || len(got.TooWide) > 0 {
		t.Errorf("the page is wider than its window: %+v", got)
	}
	if len(page.Console) > 0 {
		t.Errorf("the browser complained: %q", page.Console)
	}
	if len(page.Requests) > 0 {
		t.Errorf("the page asked for %q", page.Requests)
	}
	return got
}
