package record_test

import (
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

func quickstart(t testing.TB) string {
	t.Helper()
	data, err := os.ReadFile("testdata/quickstart.yaml")
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func Example() {
	data, err := os.ReadFile("testdata/quickstart.yaml")
	if err != nil {
		log.Fatal(err)
	}
	experiment, err := record.ParseExperiment("quickstart.yaml", data)
	if err != nil {
		log.Fatal(err)
	}
	for _, recipe := range experiment.Recipes()[:4] {
		fmt.Println(recipe.Name, "seed", recipe.Seed, "lr", recipe.Optimizer.LearningRate)
	}
	recipe, err := experiment.Resolve("dhkd", 2)
	if err != nil {
		log.Fatal(err)
	}
	text, err := recipe.YAML()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(string(text))
	// Output:
	// teacher seed 1 lr 0.05
	// ce seed 1 lr 0.05
	// ce seed 2 lr 0.05
	// ce seed 3 lr 0.05
	// experiment: quickstart
	// name: dhkd
	// label: DHKD, two heads
	// profile: offline
	// dataset:
	//   name: fashion-pairs-100
	//   train: 2000
	//   holdout: 0
	//   test: 0
	//   seed: 1
	//   augment: none
	//   pad: 0
	// teacher:
	//   model: resnet20
	//   run: teacher
	//   seed: 1
	// model:
	//   name: resnet8
	//   aux_head: linear
	// method:
	//   name: dhkd
	//   gamma: 1.0
	//   alpha: 1.0
	//   temperature: 2.0
	//   align: true
	// optimizer:
	//   learning_rate: 0.05
	//   momentum: 0.9
	//   weight_decay: 0.0005
	// schedule:
	//   epochs: 40
	//   milestones:
	//     - 25
	//     - 30
	//     - 35
	//   rate: 0.1
	// batch_size: 64
	// seed: 2
	// non_finite: stop
}

func TestParseExperiment(t *testing.T) {
	e, err := record.ParseExperiment("quickstart.yaml", []byte(quickstart(t)))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range e.Recipes() {
		s := fmt.Sprint(r.Name, " ", r.Seed, " ", r.Model.Name, " ", r.Model.AuxHead, " ", r.Optimizer.LearningRate, " ",
			r.Optimizer.WeightDecay, " ", r.NonFinite)
		if r.Teacher != nil {
			s += fmt.Sprintf(" <- {%s %s %d}", r.Teacher.Model, r.Teacher.Run, r.Teacher.Seed)
		}
		got = append(got, s)
	}
	want := []string{"teacher 1 resnet20 none 0.05 0.0005 stop"}
	for _, run := range []string{
		"ce %d resnet8 none 0.05 0.0005 stop",
		"kd %d resnet8 none 0.1 0.0005 stop <- {resnet20 teacher 1}",
		"binarykl %d resnet8 none 0.05 0.0005 stop <- {resnet20 teacher 1}",
		"ce+binarykl %d resnet8 none 0.05 0.0005 stop <- {resnet20 teacher 1}",
		"ce+binarykl-literal %d resnet8 none 0.05 0.0005 continue <- {resnet20 teacher 1}",
		"dhkd %d resnet8 linear 0.05 0.0005 stop <- {resnet20 teacher 1}",
	} {
		for seed := 1; seed <= 3; seed++ {
			want = append(want, fmt.Sprintf(run, seed))
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, r := range e.Recipes() {
		if err := r.Validate(); err != nil {
			t.Errorf("%s: %v", r.Name, err)
		}
	}
	if _, err := e.Resolve("dkhd", 1); err == nil || !strings.Contains(err.Error(), "did you mean dhkd?") {
		t.Errorf("Resolve of an unknown run: %v", err)
	}
	a, _ := e.Resolve("kd", 1)
	a.Schedule.Milestones[0] = 7
	a.Teacher.Run = "changed"
	if b, _ := e.Resolve("kd", 1); b.Schedule.Milestones[0] != 25 || b.Teacher.Run != "teacher" {
		t.Error("two resolved recipes share memory")
	}
}

// A run's own weights replace the shared teacher, and a run's own run shared weights.
func TestTeacherWeights(t *testing.T) {
	names := record.Names{Teachers: map[string]string{"crd:vgg13": "vgg13"}}
	for shared, want := range map[string][2]string{
		"run: teacher":                      {"teacher resnet20", "crd:vgg13 vgg13"},
		"weights: net.pth, model: resnet56": {"net.pth resnet56", "crd:vgg13 vgg13"},
	} {
		text := strings.Replace(quickstart(t), "{run: teacher}", "{"+shared+"}", 1)
		text = strings.Replace(text, "    label: KD\n", "    teacher: {weights: 'crd:vgg13'}\n", 1)
		text = strings.Replace(text, "    seeds: [1]\n", "    seeds: [1]\n    teacher: none\n", 1)
		e, err := names.ParseExperiment("f.yaml", []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var got [2]string
		for i, run := range []string{"binarykl", "kd"} {
			r, err := e.Resolve(run, 2)
			if err != nil {
				t.Fatal(err)
			}
			got[i] = r.Teacher.Run + r.Teacher.Weights + " " + r.Teacher.Model
			if text, err := json.Marshal(r.Teacher); err != nil || strings.Contains(string(text), `:""`) {
				t.Errorf("%s, %v", text, err)
			}
		}
		if got != want {
			t.Errorf("%s: %v, want %v", shared, got, want)
		}
	}
}

// Teachers come first, also those of teachers; a student's teacher is that of its own seed where there is one.
func TestTeacherOrder(t *testing.T) {
	text := strings.Replace(quickstart(t), "seeds: [1]\n", "seeds: [1, 3]\n    teacher: {run: giant}\n"+
		"  - {name: giant, method: {name: ce}, model: {name: resnet110}, teacher: none, seeds: [9]}\n", 1)
	e, err := record.ParseExperiment("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range e.Recipes() {
		if r.Teacher == nil {
			got = append(got, fmt.Sprint(r.Name, r.Seed))
		} else {
			got = append(got, fmt.Sprint(r.Name, r.Seed, "<-", r.Teacher.Run, r.Teacher.Seed))
		}
	}
	want := []string{"giant9", "teacher1<-giant9", "teacher3<-giant9", "ce1", "ce2", "ce3",
		"kd1<-teacher1", "kd2<-teacher1", "kd3<-teacher3"}
	if diff := cmp.Diff(want, got[:len(want)]); diff != "" {
		t.Error(diff)
	}
}

func TestParseExperimentErrors(t *testing.T) {
	names := record.Names{
		Datasets: []string{"fashion-pairs-100", "cifar-100"},
		Models:   []string{"resnet8", "resnet20"},
		Methods:  []string{"ce", "kd", "binarykl", "ce+binarykl", "dhkd"},
		Teachers: map[string]string{"crd:vgg13": "vgg13"},
	}
	for _, test := range []struct{ old, new, want string }{
		{"batch_size: 64", "batchsize: 64", `f.yaml:10:1: batchsize: unknown key; did you mean batch_size?`},
		{"{learning_rate: 0.1}", "{learning_rte: 0.1}",
			`f.yaml:23:17: runs[1].optimizer.learning_rte: unknown key; did you mean learning_rate?`},
		{"{learning_rate: 0.1}", "{banana: 0.1}", `unknown key; known are learning_rate, momentum, weight_decay, clip_norm`},
		{"{learning_rate: 0.1}", "{learning_rate: 0.1, learning_rate: 0.2}", `f.yaml:23:`},
		{"{learning_rate: 0.1}", "{learning_rate: -0.1}",
			`f.yaml:23:32: runs[1].optimizer.learning_rate: must be a number greater than 0, is -0.1`},
		{"learning_rate: 0.05", "learning_rate: 0",
			`f.yaml:11:28: optimizer.learning_rate: must be a number greater than 0, is 0`},
		{"learning_rate: 0.05", `learning_rate: "0.05"`,
			`f.yaml:11:28: optimizer.learning_rate: want a finite number, found "0.05"`},
		{"learning_rate: 0.05", `learning_rate: .inf`, `f.yaml:11:28: optimizer.learning_rate: want a finite number`},
		{"learning_rate: 0.05", `learning_rate: 1e999`, `want a finite number`},
		{"learning_rate: 0.05", `learning_rate:`, `optimizer.learning_rate: want a finite number, found nothing`},
		{"batch_size: 64", "batch_size: 64.5", `f.yaml:10:13: batch_size: want a whole number, found "64.5"`},
		{"batch_size: 64", "batch_size: 1", `f.yaml:10:13: batch_size: must be at least 2, is 1`},
		{"batch_size: 64", "batch_size: 4096", `f.yaml:10:13: batch_size: must be at most the 2000 training images, is 4096`},
		{"batch_size: 64", "", `runs[0].batch_size: must be at least 2, is 0`},
		{"profile: offline", "profile: ofline", `f.yaml:6:10: profile: unknown name "ofline"; did you mean offline?`},
		{"profile: offline", "", `f.yaml: profile: is missing`},
		{"name: quickstart", "", `f.yaml: name: is missing`},
		{"name: quickstart", "name: ../x", `f.yaml:2:7: name: "../x" is no file name`},
		{"name: quickstart", "name: 12", `f.yaml:2:7: name: want text, found "12"; put it in quotes`},
		{"name: fashion-pairs-100", "name: fashion-pair-100",
			`f.yaml:7:17: dataset.name: unknown name "fashion-pair-100"; did you mean fashion-pairs-100?`},
		{"name: resnet20", "name: resnet21", `f.yaml:40:19: runs[6].model.name: unknown name "resnet21"`},
		{"{name: dhkd,", "{name: dkhd,", `runs[5].method.name: unknown name "dkhd"; did you mean dhkd?`},
		{"train: 2000", "train: 2000, holdout: 2000",
			`f.yaml:7:58: dataset.holdout: must leave images to train on: 2000 of 2000 are held out`},
		{"train: 2000", "train: -1", `dataset.train: must be at least 0, is -1`},
		{"train: 2000", "train: 2000, pad: 1", `dataset.pad: needs augment: crop-flip`},
		{"train: 2000", "train: 2000, augment: crop-flip", `dataset.augment: crop-flip needs dataset.pad of at least 1`},
		{"train: 2000", "train: 2000, augment: flip", `dataset.augment: unknown name "flip"`},
		{"aux_head: linear", "aux_head: liner", `runs[5].model.aux_head: unknown name "liner"; did you mean linear?`},
		{"batch_size: 64", "batch_size: 64\nprecision: float16", `f.yaml:11:12: precision: unknown name "float16"`},
		{"aux_head: linear", "head: none", `runs[5].model.head: unknown name "none"`},
		{"alpha: 0.9", "alpha: -0.9", `f.yaml:22:43: runs[1].method.alpha: must be a number of at least 0, is -0.9`},
		{"temperature: 4", "temperature: -4", `runs[1].method.temperature: must be`},
		{"temperature: 4", "temperature: 0", `runs[1].method.temperature: must be greater than 0`},
		{"align: true", "align: yes", `runs[5].method.align: want true or false, found "yes"`},
		{"epochs: 40", "epochs: 0", `schedule.epochs: must be at least 1, is 0`},
		{"epochs: 40", "epochs: 35",
			`f.yaml:12:45: schedule.milestones[2]: must be an epoch before the last (1 to 34), is 35`},
		{"[25, 30, 35]", "[30, 25, 35]",
			`f.yaml:12:41: schedule.milestones[1]: must be greater than the milestone before it, is 25`},
		{"[25, 30, 35]", "25", `f.yaml:12:36: schedule.milestones: want a list, such as [1, 2, 3], found "25"`},
		{"rate: 0.1}", "rate: -1}", `schedule.rate: must be a number of at least 0, is -1`},
		{"non_finite: continue", "non_finite: ignore", `runs[4].non_finite: unknown name "ignore"; known are stop, continue`},
		{"[1, 2, 3]\n", "[1, 2, 1]\n", `f.yaml:13:15: seeds[2]: 1 is listed twice`},
		{"[1, 2, 3]\n", "[1, 2, -3]\n",
			`f.yaml:13:15: seeds[2]: want a whole number from 0 to 18446744073709551615, found "-3"`},
		{"seeds: [1, 2, 3]\n", "", `runs[0].seeds: is missing`},
		{"- name: kd", "- name: ce", `f.yaml:20:11: runs[1].name: a run before it has the name "ce" too`},
		{"- name: kd", "- name: KD", `f.yaml:20:11: runs[1].name: "KD" is no file name`},
		{"label: KD", `label: "K\e[31mD"`, `runs[1].label: must be one line of at most 200 printable characters`},
		{"{run: teacher}", "{run: techer}", `f.yaml:9:16: teacher.run: no run is named "techer"; did you mean teacher?`},
		{"{run: teacher}", "{run: teacher, seed: 2}", `f.yaml:9:31: teacher.seed: is that of a run of another experiment`},
		{"{run: teacher}", "{experiment: m, run: teacher}", `runs[1].teacher.model: is missing: name the network that run teacher of`},
		{"{run: teacher}", "{experiment: ../m, run: teacher, model: vgg8}", `teacher.experiment: "../m" is no file name`},
		{"{run: teacher}", "{experiment: quickstart, run: teacher}", `teacher.experiment: is this one: leave it out`},
		{"{run: teacher}", "{experiment: m, weights: 'crd:vgg13', model: vgg13}", `teacher.experiment: is a run's: weights have none`},
		{"{run: teacher}", "{run: teacher, model: resnet8}",
			`teacher.model: is "resnet8", but run teacher trains "resnet20"`},
		{"    seeds: [1]\n", "    teacher: {run: kd}\n", `learns from itself`},
		{"    seeds: [1]\n", "    teacher: {run: teacher}\n", `runs[6].teacher.run: a run cannot learn from itself`},
		{"{run: teacher}", "{run: teacher, weights: net.pth}", `f.yaml:9:34: teacher.weights: a teacher is a run or weights`},
		{"{run: teacher}", "{weights: net.pth}", `runs[1].teacher.model: is missing: name the network`},
		{"{run: teacher}", "{weights: 'crd:vgg13', model: vgg8}", `teacher.model: is "vgg8", but crd:vgg13 is a "vgg13"`},
		{"{run: teacher}", `{weights: "a\eb", model: vgg8}`, `teacher.weights: must be one line`},
		{"{run: teacher}", "&t {run: teacher}", `f.yaml:9:10: anchors, aliases and merge keys are not supported`},
		{"{run: teacher}", "!!map {run: teacher}", `not supported`},
		{"profile: offline", "profile: offline\n---\nname: x", "documents"},
		{"profile: offline", "profile: offline\n  - x: [", "f.yaml:"},
		{"{name: resnet8}", strings.Repeat("[", 1000), `nested too deeply`},
		{"{name: resnet8}", "\n  " + strings.Repeat("- ", 1000), `nested too deeply`},
		{"{name: resnet8}", "resnet8", `f.yaml:8:8: model: want keys with values (name, head, aux_head), found "resnet8"`},
		{"# The", strings.Repeat("#", 70000), "f.yaml: too large"},
	} {
		text := strings.Replace(quickstart(t), test.old, test.new, 1)
		if text == quickstart(t) {
			t.Fatalf("%q is not in the sample", test.old)
		}
		_, err := names.ParseExperiment("f.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%.40q -> %.40q:\n got %v\nwant %s", test.old, test.new, err, test.want)
		}
	}
	for _, text := range []string{"", "\n", "# only a comment", "12", "- a", "name: x\nruns: []",
		"\x00", "\xff", "{", "a: b: c"} {
		_, err := record.ParseExperiment("f.yaml", []byte(text))
		if err == nil || !strings.HasPrefix(err.Error(), "f.yaml:") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// The largest files that are accepted cost little, whatever is in them.
func TestParseExperimentTime(t *testing.T) {
	indented := ""
	for i := range 300 {
		indented += strings.Repeat(" ", i) + "a:\n"
	}
	for _, text := range []string{
		indented, strings.Repeat("a: b\n", 12000), strings.Repeat("- a\n", 15000), "a: [" + strings.Repeat("1,", 30000) + "]",
		"a: {" + strings.Repeat("b,", 30000) + "}", strings.Repeat("\n", 60000), strings.Repeat("a\n", 30000),
		strings.Repeat("\"", 60000),
		"a: |\n" + strings.Repeat("  b\n", 15000), "a: \"" + strings.Repeat("b\n ", 15000), strings.Repeat("#\n", 30000),
		strings.Repeat("a:", 30000), strings.Repeat("---\n", 15000), strings.Repeat(" ", 60000), strings.Repeat("'a' ",
			15000),
		strings.Repeat("a: >\n b\n", 7000), strings.Repeat("? ", 30000), strings.Repeat("\t", 60000),
		strings.Repeat("\\", 60000),
	} {
		start := time.Now()
		_, err := record.ParseExperiment("f.yaml", []byte(text))
		if took := time.Since(start); err == nil || took > 5*time.Second {
			t.Errorf("%.20q of %d bytes took %v: %v", text, len(text), took, err)
		}
	}
}

// Every recipe that Validate accepts is printed and read back as it was.
func TestRecipeYAMLRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := recipes.Draw(t, "recipe")
		text, err := want.YAML()
		if err != nil {
			t.Fatal(err)
		}
		got, err := record.ParseRecipe("recipe.yaml", text)
		if err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("%s\n%s", diff, text)
		}
	})
}

var recipes = rapid.Custom(func(t *rapid.T) record.Recipe {
	name := rapid.StringMatching(`[a-z0-9][a-z0-9._+-]{0,12}`)
	positive := rapid.Float64Range(1e-300, 1e300)
	r := record.Recipe{
		Experiment: name.Draw(t, "experiment"), Name: name.Draw(t, "name"),
		Label: rapid.OneOf(
			rapid.SampledFrom([]string{
				"null", "~", "true", "1e3", "0x1F", "1_000", "- a", "a: b", "# c", `"`, `'`, " x ", "{", "[a",
				"&a", "*a", "!t", "|", ">", "%", "@", "`", "---", "...", "?", "? x", ":", "<<", "=",
				"2001-01-01", ".inf", "None", "none",
				"a #b", `\n`, "κ̂ = 2", "0o7", "+1", "0b1", "1:20", "y", "-", "x:", ": x", "'a' b", `"a" b`, "a, b", "[]", "{}"}),
			rapid.StringMatching(`[ -~]{1,20}`),
			rapid.StringOfN(rapid.RuneFrom([]rune("aé 漢🙂:#-'\"\\{}[],&*!|>%@`?")), 1, 20, -1),
		).Draw(t, "label"),
		Profile: rapid.SampledFrom(record.Profiles).Draw(t, "profile"),
		Dataset: record.Dataset{Name: name.Draw(t, "dataset"), Train: rapid.SampledFrom([]int{0, 5000}).Draw(t, "train"),
			Holdout: rapid.IntRange(0, 1000).Draw(t, "holdout"), Seed: rapid.Uint64().Draw(t, "pairing"),
			Augment: "crop-flip", Pad: rapid.IntRange(1, 8).Draw(t, "pad")},
		Model: record.Model{Name: name.Draw(t, "model"), Head: rapid.SampledFrom([]string{"", "linear", "nonlinear"}).Draw(t, "head"),
			AuxHead: rapid.SampledFrom(record.AuxHeads).Draw(t, "aux head")},
		Method: record.Method{Name: name.Draw(t, "method"), Gamma: positive.Draw(t, "gamma"),
			Alpha: rapid.SampledFrom([]float64{0, 1, 0.9, 1e-7, 1e21}).Draw(t, "alpha"), Temperature: positive.Draw(t, "T"),
			Align: rapid.Bool().Draw(t, "align"), Literal: rapid.Bool().Draw(t, "literal")},
		Optimizer: record.Optimizer{LearningRate: positive.Draw(t, "lr"),
			Momentum:    rapid.Float64Range(0, 0.999).Draw(t, "momentum"),
			WeightDecay: rapid.SampledFrom([]float64{0, 5e-4, 1e-5, 1e-10}).Draw(t, "decay"),
			ClipNorm:    positive.Draw(t, "clip")},
		Schedule:  record.Schedule{Epochs: 100, Milestones: []int{}, Rate: positive.Draw(t, "rate")},
		BatchSize: rapid.IntRange(2, 512).Draw(t, "batch"), Seed: rapid.Uint64().Draw(t, "seed"),
		Precision: rapid.SampledFrom(append(record.Precisions, "")).Draw(t, "precision"),
		NonFinite: rapid.SampledFrom(record.OnNonFinite).Draw(t, "non-finite"),
	}
	for m := 10; m < 90 && rapid.Bool().Draw(t, "more"); m += 10 {
		r.Schedule.Milestones = append(r.Schedule.Milestones, m)
	}
	if rapid.Bool().Draw(t, "measured") {
		r.Measure = &record.Measure{Gradients: &record.MeasureGradients{Every: rapid.IntRange(1, 1000).Draw(t, "every"),
			Terms: rapid.SampledFrom([][]string{nil, {"ce", "binarykl_norm"}, {"null", record.RestTerm}}).Draw(t, "terms")}}
	}
	if rapid.Bool().Draw(t, "collapse") {
		if r.Measure == nil {
			r.Measure = &record.Measure{}
		}
		r.Measure.Collapse = &record.MeasureCollapse{Every: rapid.IntRange(1, 9).Draw(t, "collapse every"),
			Images: rapid.IntRange(0, 9).Draw(t, "images")}
	}
	switch rapid.IntRange(0, 2).Draw(t, "taught") {
	case 2:
		r.Teacher = &record.Teacher{Model: name.Draw(t, "teacher"), Weights: rapid.SampledFrom([]string{
			"crd:resnet32x4", "hf://o/r/f.bin@main", "C:\\a b.pth", "./x: y.pth", "null"}).Draw(t, "weights")}
	case 1:
		r.Teacher = &record.Teacher{Model: name.Draw(t, "teacher"), Run: "t" + r.Name,
			Seed: rapid.Uint64().Draw(t, "teacher's seed"), Experiment: rapid.SampledFrom([]string{"", "other"}).Draw(t, "of experiment")}
	}
	if rapid.Bool().Draw(t, "tuned") {
		top1 := rapid.SliceOfN(rapid.Float64Range(0, 100), 2, 2)
		r.Tuning = &record.Tuning{Holdout: 400, Seeds: []uint64{1, rapid.Uint64Min(2).Draw(t, "tuning seed")},
			Candidates: []record.TuningAccuracy{
				{LearningRate: 0.1, Top1: top1.Draw(t, "a")}, {LearningRate: 1e-7, Top1: top1.Draw(t, "b")}}}
	}
	return r
})

// No text makes the parser panic, hang or accept what a run could not use.
func FuzzParseExperiment(f *testing.F) {
	f.Add(quickstart(f))
	f.Add("name: x\nruns:\n- name: a\n  method: {name: ce}\n")
	f.Add("a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]")
	f.Add("? [a\n: |\n  x\n- \"")
	f.Fuzz(func(t *testing.T, text string) {
		start := time.Now()
		e, err := record.ParseExperiment("f.yaml", []byte(text))
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("took %v", took)
		}
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error of several lines: %q", err)
			}
			return
		}
		for _, r := range e.Recipes() {
			text, err := r.YAML()
			if err != nil {
				t.Fatal(err)
			}
			if back, err := record.ParseRecipe("recipe.yaml", text); err != nil || !cmp.Equal(r, back) {
				t.Fatalf("%v\n%s", err, text)
			}
		}
	})
}
