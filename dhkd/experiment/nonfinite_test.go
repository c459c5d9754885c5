package experiment

import (
	"errors"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// The literal formula at T = 1 overflows in float32 when a sure teacher drives the student's logits beyond 24 ln 2.
// One run ends there and is recorded as failed; the next, told to continue, goes on to its end.
func TestNonFinite(t *testing.T) {
	r, e := newRunner(t), openTiny(t)
	teacher, stops, goesOn := resolve(t, e, "teacher"), resolve(t, e, "stops"), resolve(t, e, "goes-on")
	trained, err := r.Run(t.Context(), teacher)
	check(t, err)

	// A teacher that is as right as before, and a thousand times as sure; its file lies about its accuracy.
	network, metadata, err := LoadNetwork(WeightsPath(r.Dir, teacher))
	check(t, err)
	for _, name := range []string{"fc.weight", "fc.bias"} {
		check(t, tensors.MutableFlatData(network.Weights[name], func(flat []float32) {
			for i := range flat {
				flat[i] *= 1000
			}
		}))
	}
	metadata["test_top1"] = "99"
	check(t, train.SaveNetwork(WeightsPath(r.Dir, teacher), network, metadata))

	records, err := r.RunAll(t.Context(), []record.Recipe{teacher, stops, goesOn})
	var nonFinite *train.NonFiniteError
	if !errors.As(err, &nonFinite) || len(records) != 3 {
		t.Fatalf("%d records: %v", len(records), err)
	}
	failed, completed := records[1], records[2]
	if nonFinite.Term != "binarykl" || nonFinite.Step < 2 || nonFinite.Epoch != (nonFinite.Step+2)/3 ||
		!math.IsNaN(nonFinite.Value) && !math.IsInf(nonFinite.Value, 0) {
		t.Errorf("%+v", nonFinite)
	}
	wantError(t, err, "stops seed 1: loss term binarykl is", "at step "+strconv.Itoa(nonFinite.Step))
	want := record.Failure{Message: nonFinite.Error(), Term: nonFinite.Term, Epoch: nonFinite.Epoch,
		Step: nonFinite.Step}
	if failed.Status != record.Failed || !cmp.Equal(failed.Failure, &want) || failed.Last != want.Epoch-1 {
		t.Errorf("%s after epoch %d: %+v", failed.Status, failed.Last, failed.Failure)
	}
	if top1 := trained.Epochs[2].Metrics[record.MetricStudentTest]; failed.Teacher.Top1 != top1 {
		t.Errorf("the teacher has %g %%, was evaluated as %g %%", top1, failed.Teacher.Top1)
	}

	// The same steps without a stop: the first loss that is not finite is at the same step.
	if completed.Status != record.Completed || completed.Last != 3 {
		t.Fatalf("%s after epoch %d", completed.Status, completed.Last)
	}
	bad := 0.
	for i, epoch := range completed.Epochs {
		n, loss := epoch.Metrics[record.MetricNonFinite], epoch.Metrics["loss/binarykl"]
		if finite := !math.IsNaN(loss) && !math.IsInf(loss, 0); finite != (n == 0) || (i+1 < want.Epoch) != (n == 0) {
			t.Errorf("epoch %d: %g steps are not finite, the mean loss is %g", i+1, n, loss)
		}
		bad += n
	}
	if bad < 1 || bad > float64(9-want.Step+1) {
		t.Errorf("%g steps are not finite, the first is %d of 9", bad, want.Step)
	}
	for i, recipe := range []record.Recipe{stops, goesOn} {
		stored, err := record.Load(record.Path(r.Dir, recipe))
		check(t, err)
		if diff := cmp.Diff(records[i+1], stored, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
			t.Error(diff)
		}
	}

	// A failed run is not tried again.
	before := snapshot(t, record.Dir(r.Dir, stops))
	newHooks(r).step = func(progress.Update) { t.Error("it trains") }
	again, err := r.Run(t.Context(), stops)
	if diff := cmp.Diff(failed, again, cmpopts.EquateNaNs(), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	var recorded *train.NonFiniteError
	if !errors.As(err, &recorded) || recorded.Error() != nonFinite.Error() || recorded.Step != nonFinite.Step ||
		recorded.Term != nonFinite.Term || recorded.Epoch != nonFinite.Epoch {
		t.Errorf("%v", err)
	}
	unchanged(t, record.Dir(r.Dir, stops), before)
	if _, err := os.Stat(WeightsPath(r.Dir, stops)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("weights of a failed run: %v", err)
	}

	// Who learns from a failed run says so.
	student := goesOn
	student.Name, student.Teacher = "student", &record.Teacher{Run: "stops", Model: "resnet8", Seed: 1}
	newHooks(r)
	records, err = r.RunAll(t.Context(), []record.Recipe{stops, student})
	if len(records) != 1 || !errors.As(err, &recorded) {
		t.Errorf("%d records: %v", len(records), err)
	}
	if !strings.Contains(err.Error(), "student seed 1: its teacher, run stops seed 1, has not been trained yet") {
		t.Error(err)
	}
}
