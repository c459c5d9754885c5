package main

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestTeacherScripts runs testdata/teachers/*.txtar on the Go backend, with 10 images in the format of Fashion-MNIST in
// data, and a resnet8 that always gives the answer which most test images have: in net.bare, without a word on what it is.
// $SITE serves it in an archive, and as a Hugging Face hub. mine.yaml lists it as $SITE's, with its accuracy
// $TOP1, which is printed as $SHOWN.
func TestTeacherScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/teachers",
		RequireExplicitExec: true,
		Cmds:                map[string]func(*testscript.TestScript, bool, []string){"exits": exitsWith},
		Setup: func(e *testscript.Env) error {
			data := filepath.Join(e.WorkDir, "data")
			if err := writeFashion(data, 10); err != nil {
				return err
			}
			set, err := dataset.Load(context.Background(), "fashion-pairs-100", dataset.Options{Dir: data, Seed: 1})
			if err != nil {
				return err
			}
			answer, count := mostFrequent(set.Test.Labels)
			net := filepath.Join(e.WorkDir, "net.bare")
			if err := writeConstant(t, net, answer); err != nil {
				return err
			}
			content, err := os.ReadFile(net)
			if err != nil {
				return err
			}
			site := httptest.NewServer(teacherSite(content))
			e.Defer(site.Close)
			top1 := fmt.Sprint(100 * float64(count) / float64(len(set.Test.Labels)))
			list := strings.NewReplacer("$SITE", site.URL, "$TOP1", top1, "$SHA256", digestOf(content))
			for name, value := range map[string]string{
				compute.ConfigEnvVar: "go", "DHKD_CACHE": filepath.Join(e.WorkDir, ".cache"), "SITE": site.URL, "TOP1": top1,
				"SHOWN":       fmt.Sprintf("%.2f", 100*float64(count)/float64(len(set.Test.Labels))),
				"HF_ENDPOINT": site.URL, "HF_HOME": filepath.Join(e.WorkDir, ".hf"), "SHA256": digestOf(content),
				"HTTPS_PROXY": "http://127.0.0.1:1", // nothing listens there
			} {
				e.Setenv(name, value)
			}
			return os.WriteFile(filepath.Join(e.WorkDir, "mine.yaml"), []byte(list.Replace(ownTeachers)), 0o600)
		},
	})
}

const ownTeachers = `teachers:
  - {reference: "mine:good", model: resnet8, classes: 100, dataset: fashion-pairs-100, mean: [0.286, 0.286, 0.286],
     std: [0.353, 0.353, 0.353], urls: ["$SITE/all.tar"], member: d/net.pth, sha256: $SHA256, top1: $TOP1, top1_source: me,
     licence: CC0-1.0}
  - {reference: "mine:boast", model: resnet8, classes: 100, dataset: fashion-pairs-100, urls: ["$SITE/all.tar"],
     member: d/net.pth, top1: 90, top1_source: an advertisement}
  - {reference: "mine:other-images", model: resnet8, classes: 100, dataset: fashion-pairs-100, mean: [0.5, 0.5, 0.5],
     std: [0.5, 0.5, 0.5], urls: ["$SITE/all.tar"], member: d/net.pth}
  - {reference: "mine:not-a-resnet20", model: resnet20, classes: 100, dataset: fashion-pairs-100, urls: ["$SITE/all.tar"],
     member: d/net.pth}
  - {reference: "mine:dead", model: resnet8, classes: 100, dataset: fashion-pairs-100, urls: ["$SITE/gone.pth"]}
`

func mostFrequent(labels []int32) (answer, count int) {
	counts := map[int32]int{}
	for _, l := range labels {
		if counts[l]++; counts[l] > count {
			answer, count = int(l), counts[l]
		}
	}
	return answer, count
}

// writeConstant writes the state dict of a resnet8 of 100 classes that always gives the same answer.
func writeConstant(t *testing.T, path string, answer int) error {
	m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: 100})
	if err != nil {
		return err
	}
	initial, err := m.Initial(devicetest.Go(t).Backend, [3]int{16, 16, 3}, 1)
	if err != nil {
		return err
	}
	values := map[string]*tensors.Tensor{}
	for _, w := range initial {
		values[w.Name] = w.Value
	}
	values["fc.bias"].MustMutableFlatData(func(flat any) { flat.([]float32)[answer] = 1e4 })
	return weights.ExportStateDict(path, values, nil)
}

func digestOf(content []byte) string {
	sum := sha256.Sum256(content)
	return hex.EncodeToString(sum[:])
}

// teacherSite has the file as d/net.pth of all.tar, and in a hub as the repository me/net.
func teacherSite(content []byte) http.Handler {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	_ = w.WriteHeader(&tar.Header{Name: "d/net.pth", Size: int64(len(content)), Mode: 0o644})
	_, _ = w.Write(content)
	_ = w.Close()
	files := map[string][]byte{"/all.tar": archive.Bytes(), "/me/net/resolve/" + commit + "/net.pth": content,
		"/api/models/me/net/revision/main": fmt.Appendf(nil, `{"sha": %q, "siblings": [{"rfilename": "net.pth", "size": %d,
			"lfs": {"sha256": %q, "size": %[2]d}}]}`, commit, len(content), digestOf(content))}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if content, ok := files[r.URL.Path]; ok {
			_, _ = w.Write(content)
			return
		}
		http.NotFound(w, r)
	})
}
