package plots

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"gonum.org/v1/gonum/stat"
	"gonum.org/v1/gonum/stat/distuv"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Summary is what the records of one experiment say together.
type Summary struct {
	Experiment string
	Profile    string
	Dataset    record.Dataset
	Data       record.Data // as first read; every record agrees on it
	// Students are the compared runs: methods in the order CE, KD, BinaryKL, CE + BinaryKL, its literal form, with
	// BinaryKL-Norm, with two heads, DHKD, others.
	Students []*Run
	Teacher  *Run // the run that trained the students' teacher; nil when its record is not there
	// TeacherTop1 is the teacher's top-1 accuracy in per cent: of its own run's last epoch, or else as the students
	// re-evaluated it. N is 0 when there is no teacher.
	TeacherTop1 Stat
}

// Run is one run name of an experiment: a record per seed.
type Run struct {
	Name    string
	Label   string           // for readers; printable, at most 80 characters
	Recipe  record.Recipe    // of the first seed
	Records []*record.Record // by ascending seed
	Done    []*record.Record // those of Records that finished all epochs
	Last    Stat             // last-epoch student/test_top1 over Done, per cent
	Best    Stat             // best-epoch student/test_top1 over Done, per cent: selected on the test images
}

// Stat is a sample's size, mean and standard deviation.
type Stat struct {
	N    int
	Mean float64 // NaN when N is 0
	SD   float64 // with Bessel's correction; NaN when N is below 2
}

// String returns "55.6 ± 0.7", "55.6" for a single value and "–" for none.
func (s Stat) String() string {
	switch {
	case s.N == 0:
		return "–"
	case s.N == 1:
		return fmt.Sprintf("%.1f", s.Mean)
	}
	return fmt.Sprintf("%.1f ± %.1f", s.Mean, s.SD)
}

// NewStat summarises values.
func NewStat(values ...float64) Stat {
	s := Stat{N: len(values), Mean: math.NaN(), SD: math.NaN()}
	if s.N >= 1 {
		s.Mean = stat.Mean(values, nil)
	}
	if s.N >= 2 {
		s.SD = stat.StdDev(values, nil)
	}
	return s
}

// Interval is half the width of the 95 % confidence interval of the mean (Student's t); NaN when N is below 2.
func (s Stat) Interval() float64 {
	if s.N < 2 {
		return math.NaN()
	}
	t := distuv.StudentsT{Mu: 0, Sigma: 1, Nu: float64(s.N - 1)}.Quantile(0.975)
	return t * s.SD / math.Sqrt(float64(s.N))
}

// Summarize groups records by run name. Records are untrusted: the error names the run and seed of a record that is
// damaged, repeated, or not comparable with the others (another experiment, profile, data, or a run name whose recipes
// differ in more than the seed). A figure or table of runs that cannot be compared is refused, never drawn.
func Summarize(records []*record.Record) (*Summary, error) {
	if len(records) == 0 {
		return nil, fmt.Errorf("no records: nothing to show")
	}
	for i, r := range records {
		if r == nil {
			return nil, fmt.Errorf("record %d of %d is nil", i+1, len(records))
		}
		if err := check(r); err != nil {
			return nil, fmt.Errorf("run %q seed %d: %w", Printable(r.Recipe.Name, 60), r.Recipe.Seed, err)
		}
	}
	if err := checkComparable(records); err != nil {
		return nil, err
	}
	first := records[0]
	s := &Summary{
		Experiment: Printable(first.Recipe.Experiment, 60),
		Profile:    Printable(first.Recipe.Profile, 20),
		Dataset:    first.Recipe.Dataset,
		Data:       first.Data,
	}
	s.Dataset.Name = Printable(s.Dataset.Name, 40)
	for _, group := range record.Groups(records) {
		run, err := newRun(group)
		if err != nil {
			return nil, err
		}
		s.Students = append(s.Students, run)
	}
	s.takeTeacher()
	slices.SortStableFunc(s.Students, func(a, b *Run) int {
		return cmp.Compare(rank(a.Recipe.Method), rank(b.Recipe.Method))
	})
	return s, nil
}

// check refuses a record that no run can have left.
func check(r *record.Record) error {
	if err := r.Validate(); err != nil {
		return err
	}
	if r.Status != record.Completed {
		return nil
	}
	if r.Last != r.Recipe.Schedule.Epochs {
		return fmt.Errorf("completed, but its last epoch is %d of %d", r.Last, r.Recipe.Schedule.Epochs)
	}
	if _, ok := r.Value(record.MetricStudentTest, record.AtLast); !ok {
		return fmt.Errorf("completed, but its last epoch has no %s", record.MetricStudentTest)
	}
	return nil
}

// checkComparable refuses records whose accuracies do not belong in one figure.
func checkComparable(records []*record.Record) error {
	a := records[0]
	for _, b := range records[1:] {
		for _, field := range []struct {
			name string
			a, b any
		}{
			{"experiment", a.Recipe.Experiment, b.Recipe.Experiment},
			{"profile", a.Recipe.Profile, b.Recipe.Profile},
			{"dataset name", a.Recipe.Dataset.Name, b.Recipe.Dataset.Name},
			{"dataset train", a.Recipe.Dataset.Train, b.Recipe.Dataset.Train},
			{"dataset holdout", a.Recipe.Dataset.Holdout, b.Recipe.Dataset.Holdout},
			{"dataset test", a.Recipe.Dataset.Test, b.Recipe.Dataset.Test},
			{"dataset seed", a.Recipe.Dataset.Seed, b.Recipe.Dataset.Seed},
			{"number of test images", a.Data.Test, b.Data.Test},
			{"evaluated images", a.Data.Evaluation, b.Data.Evaluation},
			{"SHA-256 of the data", a.Data.SHA256, b.Data.SHA256},
		} {
			if !reflect.DeepEqual(field.a, field.b) {
				return fmt.Errorf("runs %q and %q cannot be compared: their %s differs (%s, %s)",
					Printable(a.Recipe.Name, 60), Printable(b.Recipe.Name, 60), field.name,
					Printable(fmt.Sprint(field.a), 60), Printable(fmt.Sprint(field.b), 60))
			}
		}
	}
	return nil
}

// newRun sorts the group's records by seed, checks that they are one recipe, and computes the statistics.
func newRun(group record.Group) (*Run, error) {
	slices.SortStableFunc(group.Records, func(a, b *record.Record) int {
		return cmp.Compare(a.Recipe.Seed, b.Recipe.Seed)
	})
	run := &Run{Name: group.Name, Recipe: group.Records[0].Recipe, Records: group.Records}
	run.Label = labelOf(run.Recipe)
	for i, r := range run.Records {
		if i > 0 && r.Recipe.Seed == run.Records[i-1].Recipe.Seed {
			return nil, fmt.Errorf("two records of run %q seed %d", run.Name, r.Recipe.Seed)
		}
		if !reflect.DeepEqual(withoutSeeds(r.Recipe), withoutSeeds(run.Recipe)) {
			return nil, fmt.Errorf("run %q: the recipes of seeds %d and %d differ in more than the seed",
				run.Name, run.Recipe.Seed, r.Recipe.Seed)
		}
		if r.Status == record.Completed {
			run.Done = append(run.Done, r)
		}
	}
	run.Last.Mean, run.Last.SD, run.Last.N = group.Stat(record.MetricStudentTest, record.AtLast)
	run.Best.Mean, run.Best.SD, run.Best.N = group.Stat(record.MetricStudentTest, record.AtBest)
	return run, nil
}

// labelOf names a run for readers.
func labelOf(r record.Recipe) string { return Printable(cmp.Or(r.Label, r.Name), 80) }

// withoutSeeds is what the recipes of one run name have in common.
func withoutSeeds(r record.Recipe) record.Recipe {
	r.Seed = 0
	if r.Teacher != nil {
		teacher := *r.Teacher
		teacher.Seed = 0
		r.Teacher = &teacher
	}
	return r
}

// takeTeacher moves the run that the students name as their teacher out of the students.
func (s *Summary) takeTeacher() {
	reevaluated := map[string]float64{}         // by checkpoint: one that taught several students is one teacher
	type place struct{ experiment, run string } // experiment is "" where it is this one
	teachers := map[place]bool{}
	for _, run := range s.Students {
		if t := run.Recipe.Teacher; t != nil && (t.Run != run.Name || t.Experiment != "") {
			teachers[place{t.Experiment, t.Run}] = true
		}
		for _, r := range run.Records {
			if r.Teacher != nil && r.Teacher.Top1 >= 0 && r.Teacher.Top1 <= 100 {
				reevaluated[r.Teacher.SHA256] = r.Teacher.Top1
			}
		}
	}
	isTeacher := func(run *Run) bool { return teachers[place{"", run.Name}] }
	if i := slices.IndexFunc(s.Students, isTeacher); len(teachers) == 1 && i >= 0 {
		s.Teacher = s.Students[i]
		s.Students = slices.Delete(s.Students, i, i+1)
	}
	s.TeacherTop1 = NewStat(slices.Sorted(maps.Values(reevaluated))...)
	if s.Teacher != nil && s.Teacher.Last.N > 0 {
		s.TeacherTop1 = s.Teacher.Last
	}
}

// TestImages is the number of images behind every accuracy; 0 when the records do not say.
func (s *Summary) TestImages() int {
	if s.Data.Evaluation == "holdout" {
		return max(0, s.Dataset.Holdout)
	}
	return max(0, s.Data.Test)
}

// Seeds is the smallest and the largest number of seeds of a student.
func (s *Summary) Seeds() (fewest, most int) {
	for i, run := range s.Students {
		n := len(run.Records)
		if i == 0 {
			fewest, most = n, n
		}
		fewest, most = min(fewest, n), max(most, n)
	}
	return fewest, most
}

// Caption is the line that every figure and table prints: profile, data, models and number of seeds.
func (s *Summary) Caption() string {
	parts := []string{"Profile: " + cmp.Or(s.Profile, "not recorded")}
	switch s.Profile {
	case "smoke":
		parts[0] += " (checks that the program works; says nothing about methods)"
	case "offline":
		parts[0] += " (a small setting, not the paper's)"
	}
	data := s.Dataset.Name
	if s.Data.Train > 0 {
		data += ", " + Thousands(s.Data.Train) + " training"
	}
	if n := s.TestImages(); n > 0 {
		kind := "test"
		if s.Data.Evaluation == "holdout" {
			kind = "held-out training"
		}
		data += " and " + Thousands(n) + " " + kind + " images"
	}
	parts = append(parts, data)
	var models []string
	for _, run := range s.Students {
		model := Printable(run.Recipe.Model.Name, 30)
		if !slices.Contains(models, model) {
			models = append(models, model)
		}
	}
	model := strings.Join(models, ", ")
	for _, run := range s.Students {
		if run.Recipe.Teacher != nil {
			model += " from " + Printable(run.Recipe.Teacher.Model, 30)
			break
		}
	}
	fewest, most := s.Seeds()
	seeds := fmt.Sprintf("%d seeds", most)
	switch {
	case fewest != most:
		seeds = fmt.Sprintf("%d to %d seeds", fewest, most)
	case most == 1:
		seeds = "1 seed"
	}
	return strings.Join(append(parts, model, seeds), " · ")
}

// Trouble says in a few words what kept the run, or some of its seeds, from a normal end: "failed at step 533", "failed
// at step 229 to 533 in 2 of 3 seeds", "unfinished: epoch 12 of 40", "loss not finite from epoch 5". Empty when nothing
// did.
func (run *Run) Trouble() string {
	var failed, unfinished, diverged []int // step, epoch, epoch of each such seed
	for _, r := range run.Records {
		switch {
		case r.Status == record.Failed:
			failed = append(failed, r.Failure.Step)
		case r.Status != record.Completed:
			unfinished = append(unfinished, r.Last)
		case NonFiniteEpoch(r) > 0:
			diverged = append(diverged, NonFiniteEpoch(r))
		}
	}
	var parts []string
	add := func(text string, seeds []int) {
		switch n, all := len(seeds), len(run.Records); {
		case n == 0:
			return
		case n < all:
			text += fmt.Sprintf(" in %d of %d seeds", n, all)
		case all > 1:
			text += fmt.Sprintf(" in all %d seeds", all)
		}
		parts = append(parts, text)
	}
	if slices.Max(append(failed, 0)) > 0 {
		add("failed at step "+span(failed), failed)
	} else {
		add("failed", failed)
	}
	add(fmt.Sprintf("unfinished: epoch %s of %d", span(unfinished), run.Recipe.Schedule.Epochs), unfinished)
	add("loss not finite from epoch "+span(diverged), diverged)
	return strings.Join(parts, "; ")
}

// span writes the smallest and the largest of values: "229 to 533", or "533" when they are one.
func span(values []int) string {
	if len(values) == 0 {
		return ""
	}
	low, high := slices.Min(values), slices.Max(values)
	if low == high {
		return Thousands(low)
	}
	return Thousands(low) + " to " + Thousands(high)
}

// NonFiniteEpoch is the first epoch with a NaN or infinite loss, from 1; 0 when there was none.
func NonFiniteEpoch(r *record.Record) int {
	for _, e := range r.Epochs {
		if e.Metrics[record.MetricNonFinite] > 0 {
			return e.Epoch
		}
		for name, v := range e.Metrics {
			if strings.HasPrefix(name, record.LossPrefix) && !finite(v) {
				return e.Epoch
			}
		}
	}
	return 0
}

// rank orders methods for display.
func rank(m record.Method) int {
	order := []string{"ce", "kd", "binarykl", "ce+binarykl", "ce+binarykl literal", "ce+binarykl-norm",
		"dual-binarykl", "dhkd"}
	if i := slices.Index(order, methodKey(m)); i >= 0 {
		return i
	}
	return math.MaxInt
}

// methodKey is the method's name, with " literal" appended for the authors' clamped formula.
func methodKey(m record.Method) string {
	if m.Literal {
		return m.Name + " literal"
	}
	return m.Name
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }
