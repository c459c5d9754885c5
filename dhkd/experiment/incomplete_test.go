package experiment

import (
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// A file with only a part of the network that was trained says so.
func TestIncomplete(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	teacher, recipe := resolve(t, e, "teacher"), resolve(t, e, "dhkd")
	recipe.Name, recipe.Method = "simkd", distill.Defaults("simkd")
	_, err := r.RunAll(t.Context(), []record.Recipe{teacher, recipe})
	check(t, err)
	for of, want := range map[string]bool{WeightsPath(r.Dir, teacher): false, WeightsPath(r.Dir, recipe): true} {
		_, metadata, err := LoadNetwork(of)
		check(t, err)
		if got := strings.Contains(metadata["incomplete"], "method simkd"); got != want {
			t.Errorf("%s: %q", of, metadata["incomplete"])
		}
		if _, err := OpenCandidate(of, EvaluateOptions{}); (err != nil) != want {
			t.Errorf("%s: error %v", of, err)
		}
	}
}
