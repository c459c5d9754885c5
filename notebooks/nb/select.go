package nb

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Only are the records of some runs, as far as there are any.
func Only(records []*record.Record, runs ...string) []*record.Record {
	return slices.DeleteFunc(slices.Clone(records), func(r *record.Record) bool { return !slices.Contains(runs, r.Recipe.Name) })
}

// Together are the records of several experiments as if they were one, the first, so that a figure can show them: runs
// of one setting that have different files, such as the controls of runs that are there already. A record that is in
// several sets counts once. The cell ends where accuracies cannot be compared, since data, batch size, schedule or the
// teacher's weights are not the same, or where one name stands for different runs.
func Together(sets ...[]*record.Record) []*record.Record {
	return Must(together(sets...))
}

func together(sets ...[]*record.Record) (all []*record.Record, err error) {
	type run struct {
		name string
		seed uint64
	}
	taken := map[run]*record.Record{}
	var first, student *record.Record // of all, and of those that have a teacher
	for _, r := range slices.Concat(sets...) {
		key := run{r.Recipe.Name, r.Recipe.Seed}
		first = cmp.Or(first, r)
		if r.Teacher != nil {
			student = cmp.Or(student, r)
		}
		if other := taken[key]; other != nil {
			if reflect.DeepEqual(other.Recipe, r.Recipe) {
				continue
			}
			return nil, fmt.Errorf("Together: run %s seed %d is one of experiment %s and another one of %s: leave one out", key.name,
				key.seed, other.Recipe.Experiment, r.Recipe.Experiment)
		}
		taken[key] = r
		if difference := unlike(first, student, r); difference != "" {
			return nil, fmt.Errorf("Together: run %s of experiment %s cannot be compared with %s of %s: their %s", r.Recipe.Name,
				r.Recipe.Experiment, first.Recipe.Name, first.Recipe.Experiment, difference)
		}
		all = append(all, r)
	}
	for i, r := range all {
		if r.Recipe.Experiment == first.Recipe.Experiment {
			continue
		}
		renamed := *r
		renamed.Recipe.Experiment = first.Recipe.Experiment
		if t := r.Recipe.Teacher; t != nil && t.Experiment == first.Recipe.Experiment { // it is no other one any more
			own := *t
			own.Experiment = ""
			renamed.Recipe.Teacher = &own
		}
		all[i] = &renamed
	}
	return all, nil
}

// unlike says in what two settings differ, and whether a student has another teacher; empty if in nothing.
func unlike(first, student, r *record.Record) string {
	a, b := first.Recipe, r.Recipe
	switch {
	case a.Profile != b.Profile:
		return "profiles differ"
	case !reflect.DeepEqual(a.Dataset, b.Dataset) || !reflect.DeepEqual(first.Data.SHA256, r.Data.SHA256):
		return "data differ"
	case a.BatchSize != b.BatchSize:
		return "batch sizes differ"
	case !reflect.DeepEqual(a.Schedule, b.Schedule):
		return "schedules differ"
	case r.Teacher != nil && r.Teacher.SHA256 != student.Teacher.SHA256:
		return "teachers have other weights"
	}
	return ""
}
