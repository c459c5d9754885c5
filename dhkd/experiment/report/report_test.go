package report_test

import (
	"bytes"
	"errors"
	"log"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// The table and the verdict on a terminal.
func ExampleText() {
	runs := plotstest.Quickstart() // invented
	records := plotstest.Records([]plotstest.Run{runs[1], runs[2], runs[5], runs[6]}, 1)
	if err := report.Text(os.Stdout, records); err != nil {
		log.Fatal(err)
	}
	// Output:
	// Profile: offline (a small setting, not the paper's) · fashion-pairs-100, 2,000 training and 10,000
	// test images · resnet8 from resnet20 · 1 seed
	//
	// run                  last epoch  best epoch  vs CE  seeds   LR    time  images/s  status
	// ce                   51.9        52.0               1       0.3   30 s  3,754     completed
	// kd                   54.4        54.7        +2.5   1       0.1   22 s  3,600     completed
	// ce-binarykl-literal  –           –                  0 of 1  0.05  28 s  3,608     failed at step 533
	// dhkd                 55.3        55.6        +3.4   1       0.05  28 s  3,566     completed
	//
	// DHKD, two heads, at 55.3 %, is ahead of CE (+3.4 points) and cannot be told apart from KD (+0.9
	// points). With one seed a run and 10,000 test images, differences below about 1.4 points (two
	// standard errors of sampling) cannot be told apart; how much the accuracy varies from seed to seed
	// was not measured. CE + BinaryKL, one head, literal float32 formula, T = 1: failed at step 533, where
	// the loss term binarykl was not finite; until then its best epoch was at 42.1 %. The learning rate of
	// CE is the smallest or the largest that was tried: a better one may lie beyond.
	//
	// Accuracies are top-1 in per cent, mean ± standard deviation over the seeds that finished. The last
	// epoch's is the result; the best epoch's is selected on the test images and only shown beside it.
	//
	// A difference is “within noise” when it is not larger than two standard errors of sampling the test
	// images, and, with two or more seeds, the spread between them.
}

// hostile is a text that would do harm wherever it is not shown as text.
const hostile = `</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>"'` +
	"`|*_[x](javascript:alert(3))\x1b[31m\n\u202e{{.}}"

// hostileLabel is as much of it as a record's label may have.
const hostileLabel = `</pre></title><script>alert(1)</script><img src=x onerror=alert(2)>"'|*_[x](y)`

// hostileRecords are valid and mean harm.
func hostileRecords() []*record.Record {
	all := plotstest.Records(plotstest.Quickstart(), 1)
	for _, r := range all {
		r.Recipe.Label = hostileLabel
		r.Recipe.Dataset.Name = hostile
		r.Recipe.Method.Name, r.Recipe.Model.Name = r.Recipe.Method.Name+hostile, hostile
		r.Environment = record.Environment{Go: hostile, Commit: hostile, CPU: hostile, Device: hostile, XLAFlags: hostile}
		r.Data.Name, r.Data.SHA256 = hostile, map[string]string{hostile: hostile}
		if r.Teacher != nil {
			r.Teacher.Model, r.Teacher.Checkpoint, r.Teacher.SHA256 = hostile, hostile, hostile
		}
		if r.Failure != nil {
			r.Failure.Term, r.Failure.Message = hostile, hostile
		}
		for _, e := range r.Epochs {
			e.Metrics["loss/"+hostile] = 1
		}
	}
	return all
}

func TestHTMLOfHostileRecords(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, hostileRecords(), report.Options{Title: hostile, Commands: []string{hostile}}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, bad := range []string{"<script", "<img", "\x1b", "ZgotmplZ"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := strings.Count(page, "<svg "); n != 6 {
		t.Errorf("%d figures, want 6: three for wide windows and three for narrow ones", n)
	}
}

// The page must not lean on anything outside it.
func TestHTMLIsSelfContained(t *testing.T) {
	var b bytes.Buffer
	if err := report.HTML(&b, plotstest.Records(plotstest.Quickstart(), 2), report.Options{}); err != nil {
		t.Fatal(err)
	}
	page := b.String()
	for _, reference := range regexp.MustCompile(`(?i)(src|href|action|@import|url)\s*[=(]`).FindAllString(page, -1) {
		t.Errorf("the page refers to something: %s", reference)
	}
	for _, want := range []string{
		"<title>Experiment example</title>", "default-src 'none'", "prefers-color-scheme: dark", "@media print",
		`<th scope="col"`, `<th scope="row"`, `role="img" aria-label="Bar chart`, "offline profile",
		"failed at step 533 in all 2 seeds", "learning_rate: 0.3", strings.Repeat("ab", 32)} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestSameRecordsSamePage(t *testing.T) {
	all := plotstest.Records(plotstest.Quickstart(), 3)
	var a, b bytes.Buffer
	if err := report.HTML(&a, all, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if err := report.HTML(&b, all, report.Options{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Error("two pages of the same records differ")
	}
}

// Records of runs that have only begun still make a page.
func TestHTMLOfUnfinishedRuns(t *testing.T) {
	all := plotstest.Records(plotstest.Quickstart(), 1)
	for _, r := range all {
		r.Status, r.Failure, r.Epochs = record.Running, nil, nil
		plotstest.Recount(r)
	}
	var b bytes.Buffer
	if err := report.HTML(&b, all, report.Options{}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"no figure (no record has an epoch", "unfinished: epoch 0 of 40", "has no finished run to compare"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}

func TestMarkdown(t *testing.T) {
	var b strings.Builder
	if err := report.Markdown(&b, plotstest.Records(plotstest.Quickstart(), 1)); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"**DHKD, two heads, at 55.5 %", "| run | method |", "| KD | kd | 54.6 |", "Profile: offline"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	b.Reset()
	if err := report.Markdown(&b, hostileRecords()); err != nil {
		t.Fatal(err)
	}
	columns := regexp.MustCompile(`(^|[^\\])\|`)
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "|") && len(columns.FindAllString(line, -1)) != 12 {
			t.Errorf("a row of another number of cells: %s", line)
		}
		if strings.ContainsAny(line, "<>\x1b") {
			t.Errorf("HTML or control characters: %q", line)
		}
	}
}

func TestTextOfHostileRecords(t *testing.T) {
	var b strings.Builder
	if err := report.Text(&b, hostileRecords()); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\u202e") {
		t.Error("control characters reach the terminal")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	if err := report.Save(file, nil, report.Options{}); err == nil || !strings.Contains(err.Error(), "no records") {
		t.Errorf("Save of nothing: %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("a failed Save left a file")
	}
	all := plotstest.Records(plotstest.Quickstart(), 1)
	for name, err := range map[string]error{
		"HTML":     report.HTML(brokenWriter{}, all, report.Options{}),
		"Text":     report.Text(brokenWriter{}, all),
		"Markdown": report.Markdown(brokenWriter{}, all),
	} {
		if err == nil || !strings.Contains(err.Error(), "disk full") {
			t.Errorf("%s to a full disk: %v", name, err)
		}
	}
}
