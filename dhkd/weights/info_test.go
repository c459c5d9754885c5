package weights_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

func TestInfo(t *testing.T) {
	top1 := 74.64
	full := weights.Info{
		Architecture: "resnet8", Classes: 100, AuxHead: "linear", Dataset: "cifar100", Mean: []float64{0.5, 0.25, 0.1},
		Std: []float64{1, 0.5, 0.2}, TestTop1: &top1, Recipe: `{"a":1}`, Source: "https://example.com/x.pth", Licence: "MIT",
	}
	for _, want := range []weights.Info{full, {}} {
		got, err := weights.ReadInfo(want.Metadata())
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s, error %v", diff, err)
		}
	}
	if i, err := weights.ReadInfo(map[string]string{"format": "pt", "other": "x"}); err != nil || i.Architecture != "" {
		t.Errorf("another program's metadata: %+v, %v", i, err)
	}
	for key, value := range map[string]string{
		"version": "2", "classes": "-1", "test_top1": "NaN", "mean": "x", "std": "[0,1,1]",
	} {
		m := full.Metadata()
		m[key] = value
		if _, err := weights.ReadInfo(m); err == nil || !strings.Contains(err.Error(), key) {
			t.Errorf("%s = %s: error %v", key, value, err)
		}
	}
	m := full.Metadata()
	m["std"] = "[1]"
	if _, err := weights.ReadInfo(m); err == nil || !strings.Contains(err.Error(), "3 and 1 channels") {
		t.Error(err)
	}
}
