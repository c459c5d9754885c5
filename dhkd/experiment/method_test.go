package experiment

import (
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
)

// TestSelectMethod puts every method, as published, in place of the first run's, with the teacher and the head that it needs.
func TestSelectMethod(t *testing.T) {
	e, err := Open("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range distill.Names() {
		recipes, err := Select(e, Selection{Runs: []string{"kd"}, Method: name})
		if err != nil || len(recipes) != 1 {
			t.Errorf("%s: %d recipes, error %v", name, len(recipes), err)
			continue
		}
		r := recipes[0]
		m, err := distill.New(r.Method)
		if err != nil {
			t.Fatal(err)
		}
		if r.Name != name || r.Method.Name != name || r.Tuning != nil || (r.Model.AuxHead != "none") != m.Needs().AuxHead {
			t.Errorf("%s: run %s of %s, head %s", name, r.Name, r.Method.Name, r.Model.AuxHead)
		}
		if (r.Teacher != nil) != m.Needs().Teacher {
			t.Errorf("%s has teacher %v", name, r.Teacher)
		}
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	recipes, err := Select(e, Selection{Runs: []string{"dhkd"}, Method: "dkd", Set: []string{"beta=6", "method.alpha=2"}})
	if err != nil || recipes[0].Method.Beta != 6 || recipes[0].Method.Alpha != 2 {
		t.Errorf("%+v, error %v", recipes, err)
	}
	for _, s := range []Selection{{Method: "dkkd"}, {Method: "dkd", Set: []string{"gama=1"}}, {Method: "ce", Set: []string{"alpha=1"}}} {
		s.Runs = []string{"kd"}
		if recipes, err := Select(e, s); err == nil || !strings.Contains(err.Error(), "method") && !strings.Contains(err.Error(), "gama") {
			t.Errorf("%+v: %+v, error %v", s, recipes, err)
		}
	}
}
