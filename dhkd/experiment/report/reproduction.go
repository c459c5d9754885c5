package report

import (
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/claims"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/plots"
)

// Reproduction is which of the paper's claims hold in records.
type Reproduction struct {
	Claims  []ReproducedClaim `json:"claims"`
	Records int               `json:"records"` // behind the comparisons
	Others  int               `json:"others"`  // in the same place, of which no claim makes use
	Days    string            `json:"days"`    // on which they were made
	Commits []string          `json:"commits"` // of this module, that the records name
	Devices []string          `json:"devices"`
}

// ReproducedClaim is a claim of the paper with its tests.
type ReproducedClaim struct {
	Number string           `json:"claim"`
	Title  string           `json:"title"`
	Claim  claims.Claim     `json:"-"`
	Tests  []ReproducedTest `json:"tests"`
	Open   []string         `json:"open"` // what would decide those that are undecided or have no runs
}

// ReproducedTest is a claim's test in one setting.
type ReproducedTest struct {
	Test       claims.Test     `json:"-"`
	Title      string          `json:"setting"`
	Experiment string          `json:"experiment"`
	Profile    string          `json:"profile"`
	Verdict    claims.Verdict  `json:"verdict"`
	Parts      string          `json:"-"` // the verdicts on its comparisons, counted
	Rows       []ReproducedRow `json:"comparisons"`
	Missing    []string        `json:"missing"` // runs without a completed record, "m/dhkd"
	Runs       []ReproducedRun `json:"records"`
}

// ReproducedRow is a comparison. Numbers are nil where there are no seeds for them.
type ReproducedRow struct {
	Words      string         `json:"words"`
	Beside     bool           `json:"beside"` // the claim
	More       *float64       `json:"claimed_larger"`
	Less       *float64       `json:"claimed_smaller"`
	Difference *float64       `json:"difference"`
	Low        *float64       `json:"low"` // of the 95 % interval
	High       *float64       `json:"high"`
	Seeds      []uint64       `json:"seeds"`
	Verdict    claims.Verdict `json:"verdict"`
	result     claims.Result
	scale      float64 // the largest number of the test's intervals
}

// ReproducedRun is a run and where its records lie.
type ReproducedRun struct {
	Name  string           `json:"run"` // "m/dhkd"
	Seeds []ReproducedSeed `json:"seeds"`
}

// ReproducedSeed is a record.
type ReproducedSeed struct {
	Seed uint64 `json:"seed"`
	Link string `json:"link"` // from the report's directory
}

// Reproduce tests the paper's claims on records, see [claims.Judge]. Links to the records are relative to dir, where the
// report will be.
func Reproduce(files []record.File, dir string) (*Reproduction, error) {
	var records []*record.Record
	links := map[*record.Record]string{}
	for _, f := range files {
		link, err := relative(dir, f.Path)
		if err != nil {
			return nil, err
		}
		records, links[f.Record] = append(records, f.Record), link
	}
	judgements, err := claims.Judge(records)
	if err != nil {
		return nil, err
	}
	r := &Reproduction{}
	var used []*record.Record
	for _, j := range judgements {
		c := ReproducedClaim{Claim: j.Claim, Number: j.Number, Title: j.Title}
		for _, tested := range j.Tests {
			for _, result := range tested.Results {
				for _, p := range result.Pairs {
					used = append(used, p.More, p.Less)
				}
			}
			c.Tests = append(c.Tests, newReproducedTest(tested, links))
			if tested.Profile != claims.ProfilePaper {
				c.Open = append(c.Open, open(tested)...)
			}
		}
		r.Claims = append(r.Claims, c)
	}
	used = slices.DeleteFunc(slices.Clone(records), func(r *record.Record) bool { return !slices.Contains(used, r) })
	r.Records, r.Others = len(used), len(records)-len(used)
	if len(used) > 0 {
		r.Days = days(used)
	}
	for _, u := range used {
		e := u.Environment
		r.Commits = append(r.Commits, plots.Printable(e.Commit, 64))
		r.Devices = append(r.Devices, plots.Printable(strings.Trim(e.Backend+", "+e.CPU, ", "), 120))
	}
	for _, list := range []*[]string{&r.Commits, &r.Devices} {
		slices.Sort(*list)
		*list = slices.DeleteFunc(slices.Compact(*list), func(s string) bool { return s == "" })
	}
	return r, nil
}

// relative is the path of a file from a directory, as a link has it.
func relative(dir, path string) (string, error) {
	from, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	to, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	link, err := filepath.Rel(from, to)
	if err != nil {
		return "", err
	}
	return (&url.URL{Path: filepath.ToSlash(link)}).String(), nil
}

func newReproducedTest(t claims.Tested, links map[*record.Record]string) ReproducedTest {
	r := ReproducedTest{Test: t.Test, Title: t.Title, Experiment: t.Experiment, Profile: t.Profile, Verdict: t.Verdict,
		Parts: parts(t.Counted()), Missing: t.Missing()}
	scale := 0.0
	for _, result := range t.Results {
		d := result.Difference
		for _, v := range []float64{d.Mean, d.Low, d.High} {
			if !math.IsNaN(v) {
				scale = max(scale, math.Abs(v))
			}
		}
	}
	for _, result := range t.Results {
		d := result.Difference
		row := ReproducedRow{Words: result.Words, Beside: result.Beside, More: orNil(result.MeanMore),
			Less: orNil(result.MeanLess), Difference: orNil(d.Mean), Low: orNil(d.Low), High: orNil(d.High),
			Verdict: result.Verdict, result: result, scale: scale}
		for _, p := range result.Pairs {
			row.Seeds = append(row.Seeds, p.More.Recipe.Seed)
			r.use(p.More, links)
			r.use(p.Less, links)
		}
		r.Rows = append(r.Rows, row)
	}
	return r
}

func orNil(v float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	return &v
}

// use adds a record to those that are linked to.
func (r *ReproducedTest) use(u *record.Record, links map[*record.Record]string) {
	name := plots.Printable(u.Recipe.Experiment+"/"+u.Recipe.Name, 120)
	i := slices.IndexFunc(r.Runs, func(run ReproducedRun) bool { return run.Name == name })
	if i < 0 {
		i = len(r.Runs)
		r.Runs = append(r.Runs, ReproducedRun{Name: name})
	}
	seed := ReproducedSeed{u.Recipe.Seed, links[u]}
	if !slices.Contains(r.Runs[i].Seeds, seed) {
		r.Runs[i].Seeds = append(r.Runs[i].Seeds, seed)
	}
}

// parts counts verdicts: "3 of 4 comparisons seen, 1 undecided".
func parts(results []claims.Result) string {
	var counts []string
	for _, v := range []claims.Verdict{claims.Seen, claims.Opposite, claims.NotSeen, claims.Undecided, claims.NoRuns} {
		n := 0
		for _, r := range results {
			if r.Verdict == v {
				n++
			}
		}
		what := string(v)
		if v == claims.Opposite {
			what = "with the opposite seen"
		} else if v == claims.NoRuns {
			what = "without runs yet"
		}
		switch {
		case n == 0:
		case len(counts) > 0:
			counts = append(counts, fmt.Sprintf("%d %s", n, what))
		case len(results) == 1:
			counts = append(counts, "the comparison is "+what)
		default:
			counts = append(counts, fmt.Sprintf("%d of %d comparisons %s", n, len(results), what))
		}
	}
	return strings.Join(counts, ", ")
}

// open says what is missing for a verdict, a sentence for each thing.
func open(t claims.Tested) (sentences []string) {
	var experiments, runs []string
	for _, run := range t.Missing() {
		experiment, name, _ := strings.Cut(run, "/")
		if !slices.Contains(experiments, experiment) {
			experiments, runs = append(experiments, experiment), append(runs, name)
			continue
		}
		runs[len(runs)-1] += ", " + name
	}
	for i, experiment := range experiments {
		sentences = append(sentences, fmt.Sprintf("%s: still to be run, of experiment %s: %s. "+
			"`scripts/evidence.sh %[2]s` makes them.", t.Title, experiment, runs[i]))
	}
	var single []string
	for _, r := range t.Counted() {
		d, unit := r.Difference, ""
		if r.Comparison.More.Of == nil {
			unit = " points"
		}
		switch needed := r.Needed(); {
		case d.N == 1:
			single = append(single, "“"+r.Words+"”")
		case needed > 0:
			sentences = append(sentences, fmt.Sprintf("%s: “%s”: a difference of %g%s would take about %s seeds to find, if "+
				"differences spread as over these %d (standard deviation %s%s).", t.Title, r.Words, r.Least, unit,
				plots.Thousands(needed), d.N, claims.Digits(d.SD), unit))
		}
	}
	if len(single) > 0 {
		sentences = append(sentences, fmt.Sprintf("%s: a second seed, of %s.", t.Title, list(single, "and")))
	}
	return sentences
}
