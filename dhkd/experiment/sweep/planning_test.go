package sweep_test

import (
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/gomlx/compute/gobackend"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis/seeds"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

var regen = flag.Bool("regen", false, "write the tables of docs/planning.md anew")

const top = "../../.."

// TestPlanning compares the tables of docs/planning.md with what they are functions of: recipes, networks and records.
func TestPlanning(t *testing.T) {
	path := filepath.Join(top, "docs", "planning.md")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	for name, table := range map[string]func(*testing.T) string{
		"paper": paperTable, "growth": growthTable, "measured": measuredTable, "seeds": seedsTable,
	} {
		block := regexp.MustCompile(`(?s)<!-- ` + name + ` -->\n.*?<!-- end -->`)
		if !block.MatchString(text) {
			t.Fatalf("%s has no place for the table %q", path, name)
		}
		text = block.ReplaceAllLiteralString(text, "<!-- "+name+" -->\n\n"+table(t)+"\n<!-- end -->")
	}
	if *regen {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if text != string(data) && !*regen {
		t.Errorf("%s is not what recipes and records say: go test ./dhkd/experiment/sweep -run TestPlanning -regen", path)
	}
}

// paperTable is what the recipes of the paper's tables compute.
func paperTable(t *testing.T) string {
	bench, err := record.LoadBench(filepath.Join(top, "dhkd", "internal", "bench", "record.json"))
	if err != nil {
		t.Fatal(err)
	}
	rates := sweep.RatesOf(bench)
	var b strings.Builder
	fmt.Fprintf(&b, "| | runs | multiply-adds, 10¹⁵ | hours at 1 TFLOP/s | hours on the %d cores | the longest chain | devices |\n"+
		"|---|--:|--:|--:|--:|--:|--:|\n", bench.Machine.Cores)
	for _, part := range []struct {
		title   string
		recipes []string
	}{
		{"**CIFAR-100, one architecture**", []string{"cifar-100-resnet56-resnet20", "cifar-100-resnet110-resnet32",
			"cifar-100-resnet110-resnet20", "cifar-100-resnet32x4-resnet8x4", "cifar-100-wrn_40_2-wrn_16_2",
			"cifar-100-wrn_40_2-wrn_40_1", "cifar-100-vgg13-vgg8"}},
		{"**CIFAR-100, two architectures**", []string{"cifar-100-resnet32x4-shufflev1", "cifar-100-wrn_40_2-shufflev1",
			"cifar-100-vgg13-mobilenetv2", "cifar-100-resnet50-mobilenetv2", "cifar-100-resnet32x4-shufflev2"}},
		{"**Collapse (figure 1b)**", []string{"cifar-100-collapse"}},
		{"**ImageNet**", []string{"imagenet-resnet34-resnet18", "imagenet-resnet50-mobilenetv1"}},
	} {
		_, cost := costOf(t, record.Sweep{Name: "planning", Recipes: part.recipes})
		row := func(name string, p sweep.Part, chain, devices string) {
			least, most := p.Hours(rates)
			fmt.Fprintf(&b, "| %s | %d | %s | %s | %s to %s | %s | %s |\n", name, p.Runs, count(p.Work.Total()/1e15),
				count(2*p.Work.Total()/1e12/3600), count(round(least)), count(round(most)), chain, devices)
		}
		row(part.title, cost.Part, fmt.Sprintf("%.1f %%", 100*cost.Chain.Work.Total()/cost.Work.Total()), fmt.Sprint(cost.Devices()))
		if len(part.recipes) > 1 {
			for _, e := range cost.Experiments {
				row(strings.ReplaceAll(e.Name, "_", `\_`), e.Part, "", "")
			}
		}
	}
	return b.String()
}

// growthTable is a forward pass on one image by the image's side and by classes.
func growthTable(t *testing.T) string {
	backend, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Finalize()
	var b strings.Builder
	b.WriteString("| multiply-adds of an image, 10⁶ | 32x32, 100 classes | 32x32, 1,000 classes | 64x64, 100 classes |\n|---|--:|--:|--:|\n")
	for _, name := range []string{"resnet20", "resnet32x4", "vgg8", "ShuffleV2"} {
		fmt.Fprintf(&b, "| %s |", name)
		for _, c := range []struct{ side, classes int }{{32, 100}, {32, 1000}, {64, 100}} {
			m, err := zoo.New(zoo.Config{Name: name, Classes: c.classes})
			if err != nil {
				t.Fatal(err)
			}
			d, err := m.Describe(backend, [3]int{c.side, c.side, 3})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(&b, " %.2f |", float64(d.MultiplyAdds)/1e6)
		}
		b.WriteString("\n")
	}
	return b.String()
}

// measuredTable is what runs took whose records are in the repository.
func measuredTable(t *testing.T) string {
	var records []*record.Record
	var recipes []record.Recipe
	for _, name := range []string{"quickstart", "c2", "m"} {
		paths, err := filepath.Glob(filepath.Join(top, "notebooks", "records", name, "offline", "*", record.FileName))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			r, err := record.Load(path)
			if err != nil {
				t.Fatal(err)
			}
			if r.Status == record.Completed {
				records, recipes = append(records, r), append(recipes, r.Recipe)
			}
		}
	}
	works, err := experiment.WorkOf(recipes)
	if err != nil {
		t.Fatal(err)
	}
	type sum struct {
		runs    int
		seconds float64
		work    experiment.Work
	}
	sums, order := map[string]*sum{}, []string{}
	for i, r := range records {
		name := r.Recipe.Experiment
		if sums[name] == nil {
			sums[name] = &sum{}
			order = append(order, name)
		}
		s := sums[name]
		s.runs++
		s.seconds += r.TrainSeconds + r.CompileSeconds
		s.work = s.work.Plus(works[i])
		if r.Environment.Cores != 2 {
			t.Errorf("the run %s of %s had %d cores, and the text says two", r.Recipe.Name, name, r.Environment.Cores)
		}
	}
	var b strings.Builder
	b.WriteString("| recipe | completed runs | multiply-adds, 10¹² | hours | GFLOP/s |\n|---|--:|--:|--:|--:|\n")
	for _, name := range order {
		s := sums[name]
		fmt.Fprintf(&b, "| %s | %d | %s | %.2f | %.0f |\n", name, s.runs, count(s.work.Total()/1e12), s.seconds/3600,
			2*s.work.Total()/s.seconds/1e9)
	}
	return b.String()
}

// round keeps two digits: what is estimated has no more.
func round(x float64) float64 {
	unit := math.Pow(10, math.Floor(math.Log10(x))-1)
	return math.Round(x/unit) * unit
}

// count prints a positive number in at least two digits, with commas.
func count(x float64) string {
	if x < 10 {
		return fmt.Sprintf("%.2g", x)
	}
	text := fmt.Sprintf("%.0f", x)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// seedsTable is how many seeds a difference needs.
func seedsTable(t *testing.T) string {
	head, line, row := "| difference / standard deviation |", "|---|", "| seeds |"
	for _, ratio := range []float64{4, 2, 1, 0.75, 0.5, 0.33} {
		n, err := seeds.Needed(1, ratio)
		if err != nil {
			t.Fatal(err)
		}
		head, line, row = head+fmt.Sprintf(" %g |", ratio), line+"--:|", row+fmt.Sprintf(" %d |", n)
	}
	return head + "\n" + line + "\n" + row + "\n"
}
