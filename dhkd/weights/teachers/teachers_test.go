package teachers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Every entry of the published list is of a network of the zoo, and says no more than can be checked.
func TestPublishedList(t *testing.T) {
	list, err := List()
	if err != nil {
		t.Fatal(err)
	}
	layouts := map[string]bool{"": true}
	for _, l := range weights.Layouts {
		layouts[l.Name] = true
	}
	sets := map[string]dataset.Info{"imagenet": {Classes: 1000, Shape: [3]int{3, 224, 224}}}
	for _, info := range dataset.List() {
		sets[info.Name] = info
	}
	crd := 0
	for _, e := range list {
		m, err := zoo.New(zoo.Config{Name: e.Model, Classes: e.Classes})
		if err != nil {
			t.Errorf("%s: %v", e.Reference, err)
			continue
		}
		set, known := sets[e.Dataset]
		if !known || set.Classes != e.Classes || m.Side != set.Shape[1] || len(e.Mean) != set.Shape[0] {
			t.Errorf("%s: a %s of %d classes does not fit data set %q", e.Reference, e.Model, e.Classes, e.Dataset)
		}
		if !layouts[e.Layout] {
			t.Errorf("%s: unknown layout %q", e.Reference, e.Layout)
		}
		if strings.HasPrefix(e.Reference, "crd:") {
			crd++
			if e.Member != "cifar_teachers/"+e.Model+"_vanilla/ckpt_epoch_240.pth" || e.Top1 == nil {
				t.Errorf("%+v", e)
			}
		}
		// torchvision's names of files end in the beginning of their SHA-256.
		if strings.HasPrefix(e.Reference, "torchvision:") && !strings.HasSuffix(e.URLs[0], "-"+e.SHA256Prefix+".pth") {
			t.Errorf("%+v", e)
		}
	}
	if crd != 6 {
		t.Errorf("%d teachers of CRD", crd)
	}
}

// One's own list comes first.
func TestOwnList(t *testing.T) {
	own := filepath.Join(t.TempDir(), "own.yaml")
	text := "teachers:\n  - {reference: 'crd:vgg13', model: vgg8, classes: 10, dataset: mine, page: 'https://example.org'}\n"
	if err := os.WriteFile(own, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	published, err := List()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("DHKD_TEACHERS", own)
	list, err := List()
	if err != nil || len(list) != len(published) || list[0].Model != "vgg8" || list[0].Tolerance != 0.2 {
		t.Errorf("%v, %+v", err, list[0])
	}
	if slices.ContainsFunc(list[1:], func(e Teacher) bool { return e.Reference == "crd:vgg13" }) {
		t.Error("the published entry is there too")
	}
}

func TestBadLists(t *testing.T) {
	const good = "{reference: 'a-b:c', model: m, classes: 2, dataset: d, page: p}"
	for change, want := range map[string]string{
		"":                                        "lists no teachers",
		"x":                                       "bad.yaml: ",
		"teachers: [{refrence: a}]":               `unknown field "refrence"`,
		good + ", " + good:                        "a-b:c is there twice",
		"'a-b:c'|'/tmp/x'":                        `teacher 1, "/tmp/x": reference must be like`,
		"'a-b:c'|'c:\\x'":                         "reference must be like",
		"classes: 2|classes: 1":                   "needs model, classes and dataset",
		"page: p|note: p":                         "needs urls, or a page",
		"page: p|page: p, std: [1]":               "lists of one length",
		"page: p|page: p, top1: 20":               "top1_source",
		"page: p|page: p, tolerance: -1":          "tolerance",
		"page: p|page: p, sha256: abc":            "64 hexadecimal digits",
		"page: p|member: ../../x, page: p":        "clean path",
		"page: p|member: /x, page: p":             "clean path",
		"page: p|urls: ['file:///x']":             "none of http, https and hf",
		"page: p|urls: ['http://x.org/y']":        "must be https",
		"page: p|urls: ['hf://x/y']":              "not of the form",
		"page: p|urls: ['hf://o/r/f'], member: m": "cannot be an archive",
	} {
		text := "teachers: [" + good + "]"
		if from, to, ok := strings.Cut(change, "|"); ok {
			text = strings.Replace(text, from, to, 1)
		} else if strings.HasPrefix(change, "{") {
			text = "teachers: [" + change + "]"
		} else {
			text = change
		}
		_, err := parse("bad.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(string(published))
	f.Fuzz(func(t *testing.T, text string) { _, _ = parse("fuzz.yaml", []byte(text)) })
}
