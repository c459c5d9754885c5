package report_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
)

// Where the repository's records and its report are.
const (
	repositoryRecords = "../../../notebooks/records"
	docs              = "../../../docs"
)

// run is a completed run of the experiment m, of seeds 1, 2 and so on.
func run(name string, top1 ...float64) (files []record.File) {
	for i, v := range top1 {
		r := &record.Record{Status: record.Completed, Last: 1,
			Recipe: record.Recipe{Experiment: "m", Profile: "offline", Name: name, Seed: uint64(i + 1)},
			Epochs: []record.Epoch{{Epoch: 1, Metrics: record.Metrics{record.MetricStudentTest: v}}}}
		files = append(files, record.File{Path: fmt.Sprintf("runs/m/offline/%s-seed%d/record.json", name, i+1), Record: r})
	}
	return files
}

func ExampleReproduce() {
	files := append(run("ce", 63.2, 63.0, 63.4), run("ce+binarykl", 65.7, 65.5, 65.8)...) // invented
	r, err := report.Reproduce(files, "runs")
	if err != nil {
		log.Fatal(err)
	}
	c := r.Claims[0]
	fmt.Println(c.Title)
	fmt.Printf("%s: %s, %s\n", c.Tests[0].Title, c.Tests[0].Verdict, c.Tests[0].Parts)
	fmt.Println(c.Tests[0].Rows[0].Words, c.Tests[0].Rows[0].Interval())
	// Output:
	// CE + BinaryKL on one head is worse than either loss alone
	// Ordinary setting: not seen, 1 of 2 comparisons with the opposite seen, 1 without runs yet
	// CE is better than CE + BinaryKL on one head -2.47 [-2.61, -2.32]
}

// The committed report is that of the committed records.
func TestReproductionIsOfTheRecords(t *testing.T) {
	r := reproduction(t)
	for name, write := range map[string]func(io.Writer) error{"reproduction.md": r.Markdown, "reproduction.html": r.HTML} {
		committed, err := os.ReadFile(filepath.Join(docs, name))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), committed) {
			t.Errorf("docs/%s is not the report of notebooks/records as they are now: write it anew with \"make report\"", name)
		}
	}
}

func reproduction(t *testing.T) *report.Reproduction {
	t.Helper()
	files, problems := record.LoadFiles(repositoryRecords)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	r, err := report.Reproduce(files, docs)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every record that the report links to is there, in Markdown and in HTML.
func TestReproductionLinks(t *testing.T) {
	r := reproduction(t)
	for name, find := range map[string]struct {
		write func(io.Writer) error
		link  string
	}{"Markdown": {r.Markdown, `\]\(([^#)]*)\)`}, "HTML": {r.HTML, `href="([^#"]*)"`}} {
		var b strings.Builder
		if err := find.write(&b); err != nil {
			t.Fatal(err)
		}
		links := regexp.MustCompile(find.link).FindAllStringSubmatch(b.String(), -1)
		if len(links) < r.Records {
			t.Errorf("%s: %d links to %d records", name, len(links), r.Records)
		}
		for _, link := range links {
			path, err := url.PathUnescape(strings.ReplaceAll(link[1], "&#43;", "+"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(filepath.Join(docs, path)); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

func TestReproductionOfNothing(t *testing.T) {
	r, err := report.Reproduce(nil, ".")
	if err != nil {
		t.Fatal(err)
	}
	var text, markdown strings.Builder
	if err := r.Text(&text); err != nil {
		t.Fatal(err)
	}
	if err := r.Markdown(&markdown); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "(i) CE + BinaryKL on one head") || strings.Contains(text.String(), "seen") {
		t.Error(text.String())
	}
	for _, want := range []string{"There are no records", "`scripts/evidence.sh m` makes them", "39.56 %"} {
		if !strings.Contains(markdown.String(), want) {
			t.Errorf("no %q in\n%s", want, markdown.String())
		}
	}
	if strings.Contains(markdown.String(), "| comparison |") {
		t.Error("a table of nothing")
	}
}

// What is said of an undecided comparison, of one seed, and of runs that are missing.
func TestWhatWouldDecide(t *testing.T) {
	files := append(run("ce+binarykl", 60, 60, 60), run("ce", 60, 60.5, 61)...)
	files = append(files, run("binarykl", 62)...)
	r, err := report.Reproduce(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	open := strings.Join(r.Claims[0].Open, "\n")
	for _, want := range []string{
		"“CE is better than CE + BinaryKL on one head”: a difference of 0.2 points would take about 52 seeds to find",
		"as over these 3 (standard deviation 0.500 points)",
		"a second seed, of “BinaryKL alone is better than CE + BinaryKL on one head”.",
		"still to be run, of experiment collapse: binarykl, ce, ce+binarykl. `scripts/evidence.sh collapse` makes them"} {
		if !strings.Contains(open, want) {
			t.Errorf("no %q in\n%s", want, open)
		}
	}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	want := `"claimed_larger":62,"claimed_smaller":60,"difference":2,"low":null,"high":null,"seeds":[1],` +
		`"verdict":"undecided"`
	if !strings.Contains(string(data), want) {
		t.Errorf("no %s in the JSON", want)
	}
}

func TestReproductionOfHostileRecords(t *testing.T) {
	files := append(run("ce+binarykl", 60, 60, 60), run("ce", 60, 60.5, 61)...)
	for i := range files {
		files[i].Path = hostileLabel + "/record.json"
		files[i].Record.Environment = record.Environment{Commit: hostile, CPU: hostile, Backend: hostile}
	}
	r, err := report.Reproduce(files, ".")
	if err != nil {
		t.Fatal(err)
	}
	for name, write := range map[string]func(io.Writer) error{"Markdown": r.Markdown, "HTML": r.HTML} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		bad := []string{"<script", "<img", "\x1b", "ZgotmplZ"}
		if name == "Markdown" {
			bad = append(bad, "*_[x]")
		}
		for _, bad := range bad {
			if strings.Contains(b.String(), bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
	}
}
