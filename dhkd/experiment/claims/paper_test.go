package claims_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/claims"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func TestPaper(t *testing.T) {
	var numbers []string
	for _, c := range claims.Paper() {
		numbers = append(numbers, c.Number)
		if (c.Quote == "") == (c.Reported == "") {
			t.Errorf("%s: want the paper's words or what is reported of them", c.Number)
		}
		for what, text := range map[string]string{"title": c.Title, "source": c.Source, "published": c.Published,
			"question": c.Question, "decides": c.Decides} {
			if text == "" {
				t.Errorf("%s: no %s", c.Number, what)
			}
		}
		profiles := map[string]bool{}
		for _, test := range c.Tests {
			profiles[test.Profile] = true
		}
		if c.Tests[0].Profile != "offline" || !profiles["paper"] {
			t.Errorf("%s: want the main test to be of the offline profile, and one of the paper's", c.Number)
		}
	}
	if got := strings.Join(numbers, " "); got != "i ii iii iv v vi vii" {
		t.Errorf("the claims are %s", got)
	}
	if got := claims.Numbered("iv").Number; got != "iv" {
		t.Errorf("claim iv has the number %s", got)
	}
}

// Every run that a claim compares is one of a recipe, of the test's profile, and both sides have the same images, network
// and schedule.
func TestRunsOfClaims(t *testing.T) {
	for _, c := range claims.Paper() {
		for _, test := range c.Tests {
			if !slices.ContainsFunc(test.Comparisons, func(c claims.Comparison) bool { return !c.Beside }) {
				t.Errorf("%s, %s: no comparison counts", c.Number, test.Title)
			}
			for _, comparison := range test.Comparisons {
				a, b := recipeOf(t, test, comparison.More), recipeOf(t, test, comparison.Less)
				if a.Dataset != b.Dataset || a.Model.Name != b.Model.Name || a.BatchSize != b.BatchSize ||
					a.Schedule.Epochs != b.Schedule.Epochs || !slices.Equal(a.Schedule.Milestones, b.Schedule.Milestones) ||
					a.Teacher != nil && b.Teacher != nil && a.Teacher.Model != b.Teacher.Model {
					t.Errorf("%s, %s, %q: the settings of the two runs differ:\n%+v\n%+v", c.Number, test.Title, comparison.Words, a, b)
				}
			}
		}
	}
}

func recipeOf(t *testing.T, test claims.Test, q claims.Quantity) record.Recipe {
	t.Helper()
	name := q.Experiment
	if name == "" {
		name = test.Experiment
	}
	r, err := open(t, name).Resolve(q.Run, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Profile != test.Profile {
		t.Errorf("%s: %s/%s is of profile %s, want %s", test.Title, name, q.Run, r.Profile, test.Profile)
	}
	return r
}

func open(t *testing.T, name string) *record.Experiment {
	t.Helper()
	e, err := experiment.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// The commands that are advised name runs that there are.
func TestAdvice(t *testing.T) {
	command := regexp.MustCompile("`dhkd (train|distill) (\\S+?)(?: --run (\\S+?))?(?: --measure gradients)?`")
	for _, c := range claims.Paper() {
		found := command.FindAllStringSubmatch(c.Decides, -1)
		if len(found) != strings.Count(c.Decides, "`dhkd ") {
			t.Errorf("%s: a command of another form in %s", c.Number, c.Decides)
		}
		for _, match := range found {
			s := experiment.Selection{Fit: func(r record.Recipe) bool { return (r.Teacher == nil) == (match[1] == "train") }}
			if match[3] != "" {
				s.Runs = strings.Split(match[3], ",")
			}
			if _, err := experiment.Select(open(t, match[2]), s); err != nil {
				t.Errorf("%s: %s: %v", c.Number, match[0], err)
			}
		}
	}
}
