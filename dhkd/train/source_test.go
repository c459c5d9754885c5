package train

import (
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// folderSet is a folder of images of 8 x 8 pixels, each class another colour, seen as they are or by random crops.
func folderSet(t *testing.T, crops bool) (set *dataset.Set, dir string) {
	t.Helper()
	dir = t.TempDir()
	for split, n := range map[string]int{"train": tinyTrain, "val": tinyTest} {
		for i := range n {
			m := image.NewNRGBA(image.Rect(0, 0, 8, 8))
			for p := range m.Pix {
				m.Pix[p] = uint8((i*131 + p*p*17) % 60)
				if p%4 == 3 {
					m.Pix[p] = 255
				} else if p%4 == i%tinyClasses {
					m.Pix[p] += 150
				}
			}
			at := filepath.Join(dir, split, fmt.Sprint("class", i%tinyClasses), fmt.Sprintf("%02d.png", i))
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				t.Fatal(err)
			}
			f, err := os.Create(at)
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(png.Encode(f, m), f.Close()); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := dataset.Options{Dir: dir, View: dataset.View{Side: 8, Resize: 8}}
	if crops {
		o.View.MinArea, o.View.MinAspect = 0.3, 0.75
	}
	set, err := dataset.Load(t.Context(), "image-folder", o)
	if err != nil {
		t.Fatal(err)
	}
	return set, dir
}

// inMemory is the set with its images, as evaluation sees them, in memory.
func inMemory(t *testing.T, set *dataset.Set) *dataset.Set {
	t.Helper()
	held := *set
	for _, s := range []*dataset.Split{&held.Train, &held.Test} {
		stream := s.Stream(t.Context(), order(s.Len(), 0, 0), 7, nil)
		size := set.Height * set.Width * set.Channels
		pixels := make([]uint8, s.Len()*size)
		for {
			b, err := stream.Next()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			for i, index := range b.Indices {
				copy(pixels[int(index)*size:], b.Pixels[i*size:(i+1)*size])
			}
		}
		stream.Close()
		*s = dataset.Split{Pixels: pixels, Labels: s.Labels}
	}
	return &held
}

// folderConfig is newConfig for images of three channels.
func folderConfig(t *testing.T, set *dataset.Set, m record.Method, head dhkd.AuxHead, pad int) Config {
	t.Helper()
	c := newConfig(t, devicetest.Go(t).Backend, m, head, pad)
	c.Data = set
	if c.Teacher != nil {
		initial, err := c.Teacher.Model.Initial(c.Backend, [3]int{8, 8, 3}, 99)
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range initial {
			c.Teacher.Weights[w.Name] = w.Value
		}
	}
	return c
}

// TestStreamedEqualsMemory trains on files and on the same images in memory, bit for bit the same, with the images' indices (CRD's
// memory bank), the teacher, and what is drawn on the device.
func TestStreamedEqualsMemory(t *testing.T) {
	set, _ := folderSet(t, false)
	held := inMemory(t, set)
	crd := distill.Defaults("crd")
	crd.Negatives, crd.Dim = 8, 8
	for name, m := range map[string]record.Method{"dhkd": dualHead, "crd": crd} {
		head := dhkd.NoAuxHead
		if m.Align {
			head = dhkd.LinearAuxHead
		}
		p, weights := fit(t, newTrainer(t, folderConfig(t, held, m, head, 2)), tinyPlan)
		pStreamed, streamed := fit(t, newTrainer(t, folderConfig(t, set, m, head, 2)), tinyPlan)
		if !same(t, weights, streamed) {
			t.Errorf("%s: other weights", name)
		}
		for i := range p.Epochs {
			want, got := p.Epochs[i].Metrics, pStreamed.Epochs[i].Metrics
			// The batches of evaluation have other sizes, so that sums are rounded another way.
			if d := want[record.MetricTestLoss] - got[record.MetricTestLoss]; d > 1e-5 || d < -1e-5 {
				t.Errorf("%s: test losses %g and %g", name, want[record.MetricTestLoss], got[record.MetricTestLoss])
			}
			delete(want, record.MetricTestLoss)
			delete(got, record.MetricTestLoss)
			if !maps.Equal(want, got) {
				t.Errorf("%s: %v and %v", name, want, got)
			}
		}
	}
}

// TestStreamedResume interrupts a run on random crops in mid-epoch and goes on, bit for bit as without.
func TestStreamedResume(t *testing.T) {
	set, _ := folderSet(t, true)
	continues(t, folderConfig(t, set, plain, dhkd.NoAuxHead, 0))
}

// TestStreamedBadFile: a file that cannot be read ends the run with its name, or is left out of the evaluation.
func TestStreamedBadFile(t *testing.T) {
	set, dir := folderSet(t, true)
	bad := filepath.Join(dir, "val", "class1", "01.png")
	if err := os.WriteFile(bad, []byte("no image"), 0o644); err != nil {
		t.Fatal(err)
	}
	trainer := newTrainer(t, folderConfig(t, set, plain, dhkd.NoAuxHead, 0))
	if _, err := trainer.EvaluateStudent(); err == nil || !strings.Contains(err.Error(), "val/class1/01.png") {
		t.Error(err)
	}
	set, err := dataset.Load(t.Context(), "image-folder",
		dataset.Options{Dir: dir, View: dataset.View{Side: 8, Resize: 8}, SkipBad: true})
	if err != nil {
		t.Fatal(err)
	}
	c := folderConfig(t, set, plain, dhkd.NoAuxHead, 0)
	e, err := newTrainer(t, c).EvaluateStudent()
	if err != nil || len(set.Test.Files.Bad()) != 1 {
		t.Fatalf("%v, %v", err, set.Test.Files.Bad())
	}
	if right := e.Top1 * (tinyTest - 1) / 100; math.Abs(right-math.Round(right)) > 1e-9 {
		t.Errorf("top-1 %g %% is not of %d images", e.Top1, tinyTest-1)
	}
	network := &Network{Model: c.Step.Model, Weights: weightsOf(t, newTrainer(t, c))}
	inference, err := NewInference(c.Backend, set, network, record.MainHead)
	if err != nil {
		t.Fatal(err)
	}
	defer inference.Close()
	n := 0
	err = inference.Each(t.Context(), set.Test, 8, func(logits []float32, labels []int32) error {
		n += len(labels)
		return nil
	})
	if err != nil || n != tinyTest-1 {
		t.Errorf("%d images, %v", n, err)
	}
}
