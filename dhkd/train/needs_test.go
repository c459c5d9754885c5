package train

import (
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/distill"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestDetachedHead: where the auxiliary head has no gradient to the backbone, all but that head is trained as by
// cross-entropy alone, bit for bit, and that head learns.
func TestDetachedHead(t *testing.T) {
	onlyAux := func(aux bool, all map[string]*tensors.Tensor) map[string]*tensors.Tensor {
		part := map[string]*tensors.Tensor{}
		for name, value := range all {
			if strings.HasPrefix(name, "fc2.") == aux {
				part[name] = value
			}
		}
		return part
	}
	backend := devicetest.Go(t).Backend
	trained := map[string]map[string]*tensors.Tensor{}
	for _, name := range []string{"ce", "dhkd", "dhkd-detached"} {
		trainer := newTrainer(t, newConfig(t, backend, distill.Defaults(name), dhkd.LinearAuxHead, 0))
		if _, err := trainer.RunStep(order(tinyTrain, 1, 1), 0.05, 1, 1, 0); err != nil {
			t.Fatal(err)
		}
		trained[name] = weightsOf(t, trainer)
	}
	if !same(t, onlyAux(false, trained["ce"]), onlyAux(false, trained["dhkd-detached"])) {
		t.Error("the detached head changes what is trained besides it")
	}
	if same(t, onlyAux(false, trained["ce"]), onlyAux(false, trained["dhkd"])) {
		t.Error("DHKD does not change the backbone")
	}
	if same(t, onlyAux(true, trained["ce"]), onlyAux(true, trained["dhkd-detached"])) {
		t.Error("the detached head does not learn")
	}
}

func TestTooFewClasses(t *testing.T) {
	c := newConfig(t, devicetest.Go(t).Backend, record.Method{Name: "dkd", Gamma: 1, Alpha: 1, Beta: 8, Temperature: 4},
		dhkd.NoAuxHead, 0)
	two := zoo.Config{Name: "resnet8", Classes: 2}
	for _, m := range []**zoo.Model{&c.Step.Model, &c.Teacher.Model} {
		var err error
		if *m, err = zoo.New(two); err != nil {
			t.Fatal(err)
		}
	}
	c.Data.Classes = 2
	const want = "method dkd needs at least 3 classes, data set tiny has 2"
	if _, err := New(c); err == nil || err.Error() != want {
		t.Errorf("%v, want %q", err, want)
	}
}
