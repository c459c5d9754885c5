package experiment

import (
	"strings"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// A record's precision is what the device computed in: a recipe that says something else is refused.
func TestPrecisionIsTheDevices(t *testing.T) {
	card, rounding := &device.Device{Name: "xla:cuda"}, &device.Device{Name: "xla:cuda", TF32: true}
	cpu := &device.Device{Name: "xla:cpu"}
	for _, test := range []struct {
		device    *device.Device
		precision string
		want      string // of the error
	}{
		{cpu, "", ""}, {cpu, record.Float32, ""}, {cpu, record.BFloat16, ""}, {cpu, record.TF32, "this is xla:cpu"},
		{card, "", ""}, {card, record.BFloat16, ""}, {card, record.TF32, "tf32=true"},
		{rounding, record.TF32, ""}, {rounding, "", "float32, but the card rounds"},
		{rounding, record.BFloat16, "bfloat16, but the card rounds"},
	} {
		err := checkPrecision(test.device, test.precision)
		if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%q on %+v: %v, want %q", test.precision, *test.device, err, test.want)
		}
	}
}

func TestOverriddenPrecisionIsInTheLabel(t *testing.T) {
	e, err := Open("quickstart")
	if err != nil {
		t.Fatal(err)
	}
	r, err := e.Resolve("dhkd", 1)
	if err != nil {
		t.Fatal(err)
	}
	label := r.Label
	if r, err = Override(r, []string{"precision=bfloat16"}); err != nil || r.Label != label+", bfloat16" ||
		r.Precision != record.BFloat16 {
		t.Errorf("label %q, precision %q: %v", r.Label, r.Precision, err)
	}
	if r, err = Override(r, []string{"precision=float32"}); err != nil || r.Label != label {
		t.Errorf("label %q again: %v", r.Label, err)
	}
}
