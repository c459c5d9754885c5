package report_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/report"
	"github.com/dhkd-lab/dhkd-go/plots/plotstest"
)

// records invents finished records whose last-epoch accuracies are exactly those given, a value per seed.
func records(top1 map[string][]float64) []*record.Record {
	var result []*record.Record
	for _, run := range plotstest.Quickstart() {
		values, ok := top1[run.Name]
		if !ok {
			continue
		}
		run.FailStep = 0
		for i, r := range plotstest.Records([]plotstest.Run{run}, len(values)) {
			r.Epochs[len(r.Epochs)-1].Metrics[record.MetricStudentTest] = values[i]
			plotstest.Recount(r)
			result = append(result, r)
		}
	}
	return result
}

func each(all []*record.Record, name string, change func(*record.Record)) []*record.Record {
	for _, r := range all {
		if r.Recipe.Name == name || name == "" {
			change(r)
			plotstest.Recount(r)
		}
	}
	return all
}

func fail(r *record.Record) {
	r.Status, r.Epochs = record.Failed, r.Epochs[:16]
	r.Failure = &record.Failure{Message: "example", Term: "binarykl", Epoch: 17, Step: 533}
}

func TestVerdict(t *testing.T) {
	type accuracies = map[string][]float64
	for _, test := range []struct {
		name     string
		records  []*record.Record
		headline string
		details  []string // each must be in the details
		never    []string // none may be anywhere
	}{
		{
			name:    "DHKD ahead of all, one seed",
			records: records(accuracies{"ce": {50}, "kd": {52}, "ce-binarykl": {53}, "dhkd": {56}}),
			headline: "DHKD, two heads, at 56.0 %, is ahead of CE (+6.0 points), " +
				"KD (+4.0 points) and CE + BinaryKL, one head (+3.0 points).",
			details: []string{"With one seed a run and 10,000 test images, differences below about 1.4 points " +
				"(two standard errors of sampling) cannot be told apart; " +
				"how much the accuracy varies from seed to seed was not measured."},
			never: []string{"behind", "highest mean"},
		},
		{
			name:    "DHKD level with all, one seed",
			records: records(accuracies{"ce": {55.2}, "kd": {54.9}, "ce-binarykl": {55.8}, "dhkd": {55.6}}),
			headline: "DHKD, two heads, at 55.6 %, cannot be told apart from CE (+0.4 points), " +
				"KD (+0.7 points) or CE + BinaryKL, one head (−0.2 points).",
			details: []string{"The highest mean is that of CE + BinaryKL, one head, 55.8 %."},
			never:   []string{"ahead", "behind"},
		},
		{
			name:     "a baseline wins",
			records:  records(accuracies{"ce": {55}, "kd": {58}, "dhkd": {55.5}}),
			headline: "DHKD, two heads, at 55.5 %, is behind KD (−2.5 points) and cannot be told apart from CE (+0.5 points).",
			details:  []string{"The highest mean is that of KD, 58.0 %."},
			never:    []string{"ahead"},
		},
		{
			name: "every outcome at once, three seeds",
			records: records(accuracies{"ce": {51.5, 51.7, 51.9}, "kd": {55.5, 55.6, 55.7},
				"ce-binarykl": {59, 59.1, 59.2}, "dhkd": {55.4, 55.6, 55.8}}),
			headline: "DHKD, two heads, at 55.6 ± 0.2 %, is behind CE + BinaryKL, one head (−3.5 points), " +
				"is ahead of CE (+3.9 points) and cannot be told apart from KD (±0.0 points).",
			details: []string{"With 3 seeds a run and 10,000 test images, differences below about 1.5 points " +
				"(sampling error and spread over seeds)"},
		},
		{
			name:     "a wide spread over seeds hides what one seed would show",
			records:  records(accuracies{"ce": {49, 52, 55}, "dhkd": {53, 56, 59}}),
			headline: "DHKD, two heads, at 56.0 ± 3.0 %, cannot be told apart from CE (+4.0 points).",
			never:    []string{"ahead"},
		},
		{
			name:     "few test images",
			records:  each(records(accuracies{"ce": {40}, "dhkd": {60}}), "", func(r *record.Record) { r.Data.Test = 20 }),
			headline: "DHKD, two heads, at 60.0 %, cannot be told apart from CE (+20.0 points).",
			details:  []string{"20 test images"},
		},
		{
			name: "held-out images count, not test images",
			records: each(records(accuracies{"ce": {54}, "dhkd": {57}}), "", func(r *record.Record) {
				r.Data.Evaluation, r.Recipe.Dataset.Holdout = "holdout", 500
			}),
			headline: "DHKD, two heads, at 57.0 %, cannot be told apart from CE (+3.0 points).",
		},
		{
			name:     "unknown number of test images",
			records:  each(records(accuracies{"ce": {10}, "dhkd": {90}}), "", func(r *record.Record) { r.Data.Test = 0 }),
			headline: "DHKD, two heads, at 90.0 %, cannot be told apart from CE (+80.0 points).",
			details:  []string{"do not say how many test images there were, so no difference can be judged"},
			never:    []string{"Inf", "NaN"},
		},
		{
			name: "the literal formula failed",
			records: each(records(accuracies{"ce": {50}, "ce-binarykl-literal": {54}, "dhkd": {56}}),
				"ce-binarykl-literal", fail),
			headline: "DHKD, two heads, at 56.0 %, is ahead of CE (+6.0 points).",
			details: []string{"CE + BinaryKL, one head, literal float32 formula, T = 1: failed at step 533, " +
				"where the loss term binarykl was not finite; until then its best epoch was at "},
		},
		{
			name: "the literal formula collapsed and went on",
			records: each(records(accuracies{"ce": {50}, "ce-binarykl-literal": {1}, "dhkd": {56}}),
				"ce-binarykl-literal", func(r *record.Record) {
					for _, e := range r.Epochs[16:] {
						e.Metrics[record.MetricNonFinite], e.Metrics["loss/binarykl"] = 32, math.NaN()
					}
					r.Epochs[14].Metrics[record.MetricStudentTest] = 54.3
				}),
			headline: "DHKD, two heads, at 56.0 %, is ahead of CE (+6.0 points).",
			details: []string{"literal float32 formula, T = 1: loss not finite from epoch 17; " +
				"last epoch 1.0 %, best epoch "},
		},
		{
			name:     "a literal run that wins is named, though it is no baseline",
			records:  records(accuracies{"ce": {50}, "ce-binarykl-literal": {60}, "dhkd": {56}}),
			headline: "DHKD, two heads, at 56.0 %, is ahead of CE (+6.0 points).",
			details:  []string{"The highest mean is that of CE + BinaryKL, one head, literal float32 formula, T = 1, 60.0 %."},
		},
		{
			name:     "DHKD failed",
			records:  each(records(accuracies{"ce": {50}, "dhkd": {56}}), "dhkd", fail),
			headline: "DHKD, two heads has no finished run to compare (failed at step 533).",
			details:  []string{"The highest mean is that of CE, 50.0 %.", "DHKD, two heads: failed at step 533"},
			never:    []string{"ahead", "apart"},
		},
		{
			name: "one seed of DHKD failed",
			records: each(records(accuracies{"ce": {50, 50.2, 50.1}, "dhkd": {56, 56.1, 56.2}}), "dhkd", func(r *record.Record) {
				if r.Recipe.Seed == 2 {
					fail(r)
				}
			}),
			headline: "DHKD, two heads, at 56.1 ± 0.1 % over the 2 of 3 seeds that finished, is ahead of CE (+6.0 points).",
			details:  []string{"failed at step 533 in 1 of 3 seeds"},
		},
		{
			name:     "no DHKD",
			records:  records(accuracies{"ce": {50}, "kd": {56}}),
			headline: "There is no DHKD run among these records, so nothing is said about it.",
			details:  []string{"The highest mean is that of KD, 56.0 %."},
			never:    []string{"ahead"},
		},
		{
			name:     "DHKD alone",
			records:  records(accuracies{"dhkd": {56}}),
			headline: "DHKD, two heads reaches 56.0 %; no other run finished, so there is nothing to compare it with.",
		},
		{
			name: "learning rate not searched for",
			records: each(records(accuracies{"ce": {50}, "dhkd": {56}}), "ce",
				func(r *record.Record) { r.Recipe.Tuning = nil }),
			headline: "DHKD, two heads, at 56.0 %, is ahead of CE (+6.0 points).",
			details: []string{"The learning rate of CE was given, not chosen by a search: " +
				"a difference may be the learning rate's."},
		},
		{
			name: "smoke",
			records: each(records(accuracies{"ce": {50}, "dhkd": {56}}), "",
				func(r *record.Record) { r.Recipe.Profile = "smoke" }),
			headline: "DHKD, two heads, at 56.0 %, is ahead of CE (+6.0 points).",
			details:  []string{"This is a smoke run: it shows that the program works, not which method is better."},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := report.Verdict(test.records)
			if err != nil {
				t.Fatal(err)
			}
			if got.Headline != test.headline {
				t.Errorf("headline\n got %s\nwant %s", got.Headline, test.headline)
			}
			details := strings.Join(got.Details, "\n")
			for _, want := range test.details {
				if !strings.Contains(details, want) {
					t.Errorf("details without %q:\n%s", want, details)
				}
			}
			for _, never := range test.never {
				if strings.Contains(got.String(), never) {
					t.Errorf("it says %q: %s", never, got)
				}
			}
		})
	}
}

// Whatever the accuracies, a difference within two binomial standard errors is never called one, nor is one within what
// the spread over seeds explains; and the words agree with the numbers.
func TestVerdictNeverClaimsNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		images := rapid.IntRange(1, 20_000).Draw(t, "images")
		seeds := rapid.IntRange(1, 4).Draw(t, "seeds")
		base := rapid.Float64Range(0, 100).Draw(t, "base")
		spread := rapid.Float64Range(0, 5).Draw(t, "spread")
		values := func(name string) []float64 {
			v := make([]float64, seeds)
			for i := range v {
				v[i] = min(100, max(0, base+rapid.Float64Range(-spread, spread).Draw(t, name)))
			}
			return v
		}
		ce, dhkd := values("ce"), values("dhkd")
		all := each(records(map[string][]float64{"ce": ce, "dhkd": dhkd}), "",
			func(r *record.Record) { r.Data.Test = images })
		got, err := report.Verdict(all)
		if err != nil {
			t.Fatal(err)
		}
		c := got.Comparisons[0]
		a, va := meanAndError(dhkd)
		b, vb := meanAndError(ce)
		variance := func(p float64) float64 { return p / 100 * (1 - p/100) / float64(images) }
		sampling := 200 * math.Sqrt(variance(a)+variance(b))
		if math.Abs(a-b) <= math.Max(sampling, 2*math.Sqrt(va+vb)) && c.Outcome() != 0 {
			t.Fatalf("%v and %v on %d images: a claim within the noise: %s", dhkd, ce, images, got)
		}
		words := map[int]string{1: "is ahead of CE", 0: "cannot be told apart from CE", -1: "is behind CE"}
		for outcome, text := range words {
			if strings.Contains(got.Headline, text) != (outcome == c.Outcome()) {
				t.Fatalf("outcome %d, but: %s", c.Outcome(), got.Headline)
			}
		}
	})
}

// meanAndError are the mean and its squared standard error, 0 for one value.
func meanAndError(v []float64) (mean, variance float64) {
	n := float64(len(v))
	for _, x := range v {
		mean += x / n
	}
	if n < 2 {
		return mean, 0
	}
	for _, x := range v {
		variance += (x - mean) * (x - mean) / (n - 1) / n
	}
	return mean, variance
}

// Two runs of the same true accuracy are called different at most about as often as the two standard errors promise.
func TestVerdictFalseClaims(t *testing.T) {
	for _, seeds := range []int{1, 2, 3} {
		t.Run(fmt.Sprint(seeds, " seeds"), func(t *testing.T) {
			random := rand.New(rand.NewPCG(1, uint64(seeds)))
			const trials, images = 600, 1000
			claims := 0
			for range trials {
				draw := func() []float64 {
					sampling := 100 * math.Sqrt(0.55*0.45/images) * random.NormFloat64() // shared by the seeds of a run
					v := make([]float64, seeds)
					for i := range v {
						v[i] = 55 + sampling
						if seeds > 1 {
							v[i] += 0.8 * random.NormFloat64()
						}
					}
					return v
				}
				all := each(records(map[string][]float64{"ce": draw(), "dhkd": draw()}), "",
					func(r *record.Record) { r.Data.Test = images })
				got, err := report.Verdict(all)
				if err != nil {
					t.Fatal(err)
				}
				if got.Comparisons[0].Outcome() != 0 {
					claims++
				}
			}
			t.Logf("%d claims in %d", claims, trials)
			if claims > trials*8/100 {
				t.Errorf("%d false claims in %d comparisons", claims, trials)
			}
		})
	}
}
