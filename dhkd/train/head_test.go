package train

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

func nonlinearHead(t *testing.T, aux dhkd.AuxHead) *zoo.Model {
	t.Helper()
	m, err := zoo.New(zoo.Config{Name: "resnet8", Classes: tinyClasses, Head: dhkd.NonlinearHead, AuxHead: aux})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestNonlinearHead trains students with a nonlinear main head. Without augmentation nothing but its dropout is random.
func TestNonlinearHead(t *testing.T) {
	oneHead := distill.Defaults("ce+binarykl-norm")
	oneHead.Align = true
	backend := devicetest.Go(t).Backend
	for _, m := range []record.Method{plain, hinton, oneHead, dualHead} {
		t.Run(m.Name, func(t *testing.T) {
			made := func() *Trainer {
				c := newConfig(t, backend, m, smokeHead(t, m), 0)
				c.Step.Model = nonlinearHead(t, smokeHead(t, m))
				return newTrainer(t, c)
			}
			trainer := made()
			learns(t, trainer)
			resumes(t, made(), made())
			if m.Name != plain.Name {
				return
			}
			indices := order(tinyTrain, 1, 1)
			after := map[int]any{}
			for _, step := range []int{0, 1} {
				if err := trainer.Reset(1); err != nil {
					t.Fatal(err)
				}
				after[step] = smokeStep(t, trainer, step, indices)
			}
			if after[0] == after[1] {
				t.Error("each step drops out the same")
			}
		})
	}
}

// TestNonlinearHeadIsSaved: the file says which head it has, and that of a network with a linear one has no such key.
func TestNonlinearHeadIsSaved(t *testing.T) {
	backend := devicetest.Go(t).Backend
	for head, want := range map[dhkd.Head]string{dhkd.LinearHead: "", dhkd.NonlinearHead: "nonlinear"} {
		c := newConfig(t, backend, plain, dhkd.NoAuxHead, 0)
		if head == dhkd.NonlinearHead {
			c.Step.Model = nonlinearHead(t, dhkd.NoAuxHead)
		}
		path := filepath.Join(t.TempDir(), "weights.safetensors")
		network := &Network{Model: c.Step.Model, Weights: weightsOf(t, newTrainer(t, c))}
		if err := SaveNetwork(path, network, map[string]string{"head": "of another"}); err != nil {
			t.Fatal(err)
		}
		values, metadata, err := weights.LoadSafetensors(path)
		if err != nil || metadata["head"] != want || !same(t, network.Weights, values) {
			t.Errorf("%s: metadata %v, error %v", head, metadata, err)
		}
	}
}

// TestClassifierIsLinear: methods that read the weights of a linear classifier refuse another one, whose networks, and the
// trainer, are new.
func TestClassifierIsLinear(t *testing.T) {
	for _, name := range []string{"simkd", "catkd"} {
		for network, edit := range map[string]func(c *Config){
			"student": func(c *Config) { c.Step.Model = nonlinearHead(t, dhkd.NoAuxHead) },
			"teacher": func(c *Config) { c.Teacher.Model = nonlinearHead(t, dhkd.NoAuxHead) },
		} {
			m := distill.Defaults("kd") // in a sum too
			m.With = []record.Method{distill.Defaults(name)}
			for _, m := range []record.Method{distill.Defaults(name), m} {
				c := newConfig(t, devicetest.Go(t).Backend, m, dhkd.NoAuxHead, 0)
				edit(&c)
				want := name + " needs a " + network + " with a linear main head, this resnet8 has a nonlinear one"
				if _, err := New(c); err == nil || !strings.Contains(err.Error(), want) {
					t.Errorf("%v, want %q", err, want)
				}
			}
		}
	}
}

// TestNonlinearTeacher: all else that a method learns from a teacher with such a head is as ever.
func TestNonlinearTeacher(t *testing.T) {
	onBackends(t, func(t *testing.T, backend compute.Backend) {
		m := hinton
		m.With = []record.Method{distill.Defaults("reviewkd")}
		c := newConfig(t, backend, m, dhkd.NoAuxHead, 0)
		c.Teacher.Model = nonlinearHead(t, dhkd.NoAuxHead)
		initial, err := c.Teacher.Model.Initial(backend, [3]int{8, 8, 1}, 99)
		if err != nil {
			t.Fatal(err)
		}
		clear(c.Teacher.Weights)
		for _, w := range initial {
			c.Teacher.Weights[w.Name] = w.Value
		}
		learns(t, newTrainer(t, c))
	})
}
