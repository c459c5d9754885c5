package weights_test

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/google/go-cmp/cmp"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

// fixtureNames are those of testdata/make.py's network.
var fixtureNames = []string{
	"conv1.weight", "bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked",
	"fc.weight", "fc.bias",
}

// step is value i of the tensors of testdata/make.py.
func step(i int) float32 { return float32(i%17-8) / 8 }

func torchFixture(name string) string { return filepath.Join("testdata", "torch", name+".pth") }

func TestTorchLayouts(t *testing.T) {
	for _, test := range []struct {
		file, format, layout string
		metadata             map[string]string
		notes                []string
	}{
		{"bare", weights.FormatTorchZip, "bare", nil, nil},
		{"bare_legacy", weights.FormatTorchLegacy, "bare", nil, nil},
		{"crd", weights.FormatTorchZip, "crd", map[string]string{"epoch": "240", "accuracy": "74.92"},
			[]string{`"optimizer" left out`}},
		{"crd_legacy", weights.FormatTorchLegacy, "crd", map[string]string{"epoch": "3", "best_acc": "1.5"},
			[]string{`prefix "module." removed`}},
		{"mdistiller_state", weights.FormatTorchZip, "crd", map[string]string{"epoch": "7", "best_acc": "0.5"},
			[]string{`prefix "module." removed`, "8 tensors that are not the student's left out", `prefix "student." removed`}},
		{"mdistiller_student", weights.FormatTorchZip, "mdistiller", nil, nil},
		{"numpy_double", weights.FormatTorchZip, "crd", map[string]string{"epoch": "9", "best_acc": "0.1"}, nil},
		{"last", weights.FormatTorchZip, "dhkd-last", nil, []string{`"opt" left out`, `"optimizer" left out`}},
		{"torchdistill", weights.FormatTorchZip, "torchdistill", map[string]string{"best_value": "0.7944"},
			[]string{`"args" left out`, `"lr_scheduler" left out`, `"optimizer" left out`}},
		{"lightning", weights.FormatTorchZip, "state_dict",
			map[string]string{"epoch": "1", "global_step": "2", "pytorch-lightning_version": "2"},
			[]string{`prefix "model." removed`}},
		{"half", weights.FormatTorchZip, "bare", nil, []string{"7 tensors widened from float16 to float32"}},
		{"bfloat16_legacy", weights.FormatTorchLegacy, "bare", nil, []string{"7 tensors widened from bfloat16 to float32"}},
	} {
		c, err := weights.Load(torchFixture(test.file))
		if err != nil {
			t.Error(err)
			continue
		}
		if test.metadata == nil {
			test.metadata = map[string]string{}
		}
		want := weights.Checkpoint{
			Format: test.format, Layout: test.layout, Metadata: test.metadata, Notes: test.notes, Names: fixtureNames,
			Tensors: c.Tensors,
		}
		if diff := cmp.Diff(want, *c, cmp.Comparer(func(a, b *tensors.Tensor) bool { return a == b })); diff != "" {
			t.Errorf("%s: %s", test.file, diff)
		}
		for _, name := range fixtureNames {
			if name != "bn1.num_batches_tracked" {
				expectSteps(t, test.file+" "+name, c.Tensors[name])
			}
		}
		if counter := c.Tensors["bn1.num_batches_tracked"]; counter.DType() != dtypes.Int64 || counter.Rank() != 0 {
			t.Errorf("%s: counter is %s", test.file, counter.Shape())
		}
	}
}

func expectSteps(t *testing.T, name string, x *tensors.Tensor) {
	t.Helper()
	values, err := tensors.CopyFlatData[float32](x)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for i, v := range values {
		if v != step(i) {
			t.Errorf("%s: value %d is %g, want %g", name, i, v, step(i))
			return
		}
	}
}

// TestTorchViews reads tensors that are parts of one storage, with any strides.
func TestTorchViews(t *testing.T) {
	c, err := weights.Load(torchFixture("views"))
	if err != nil {
		t.Fatal(err)
	}
	at := func(i, j int) float32 { return step(4*i + j) }
	var transposed []float32
	for j := range 4 {
		for i := range 10 {
			transposed = append(transposed, at(i, j))
		}
	}
	row := []float32{at(3, 0), at(3, 1), at(3, 2), at(3, 3)}
	first := []float32{at(0, 0), at(0, 1), at(0, 2), at(0, 3)}
	for name, want := range map[string]struct {
		shape  []int
		values []float32
	}{
		"transposed": {[]int{4, 10}, transposed},
		"row":        {[]int{4}, row},
		"cell":       {nil, []float32{at(1, 2)}},
		"steps": {[]int{4, 2}, []float32{
			at(0, 1), at(0, 3), at(3, 1), at(3, 3), at(6, 1), at(6, 3), at(9, 1), at(9, 3),
		}},
		"repeated": {[]int{2, 4}, append(first, first...)},
		"empty":    {[]int{0, 4}, nil},
	} {
		got := c.Tensors[name]
		values, err := tensors.CopyFlatData[float32](got)
		if err != nil || !slices.Equal(got.Shape().Dimensions, want.shape) || !slices.Equal(values, want.values) {
			t.Errorf("%s: %v of shape %v, want %v of shape %v", name, values, got.Shape(), want.values, want.shape)
		}
	}
	expectSteps(t, "same", c.Tensors["same"])
	expectSteps(t, "channels_last", c.Tensors["channels_last"])
}

func TestTorchTypes(t *testing.T) {
	c, err := weights.Load(torchFixture("integers"))
	if err != nil {
		t.Fatal(err)
	}
	for name, dtype := range map[string]dtypes.DType{
		"torch.bool": dtypes.Bool, "torch.uint8": dtypes.Uint8, "torch.int8": dtypes.Int8, "torch.int16": dtypes.Int16,
		"torch.int32": dtypes.Int32, "torch.int64": dtypes.Int64,
	} {
		want := "[0 1 100]"
		if dtype == dtypes.Bool {
			want = "[false true true]"
		}
		if got := c.Tensors[name]; got.DType() != dtype || fmt.Sprint(got.Value()) != want {
			t.Errorf("%s: %s %v", name, got.Shape(), got.Value())
		}
	}
	if c, err = weights.Load(torchFixture("double")); err != nil || c.Tensors["fc.bias"].DType() != dtypes.Float64 {
		t.Errorf("double: %v", err)
	}
	if c, err = weights.Load(torchFixture("parameters")); err != nil || len(c.Names) != 5 {
		t.Errorf("parameters: %v", err)
	}
}

func TestTorchRefused(t *testing.T) {
	for file, want := range map[string]string{
		"bad_module":    `"Sequential" of module "torch.nn.modules.container", which is not on the list`,
		"bad_complex":   `"ComplexFloatStorage"`,
		"bad_protocol4": "without pickle_protocol",
		"bad_script":    "TorchScript",
	} {
		path := torchFixture(file)
		_, err := weights.Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: error %v, want %q", file, err, want)
		}
	}
}

// TestLoadSafetensorsHalf reads both half types through Load, with their names in the order of the file.
func TestLoadSafetensorsHalf(t *testing.T) {
	path := filepath.Join(t.TempDir(), "half")
	header := `{"module.b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},"__metadata__":{"k":"v"},` +
		`"module.a":{"dtype":"BF16","shape":[1,2],"data_offsets":[0,4]}}`
	content := append(file(header, 0), 0x80, 0x3f, 0x80, 0xff, 0x00, 0x3c, 0x01, 0x00) // 1, -Inf; 1, the smallest
	if err := os.WriteFile(path, content, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := weights.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	want := "bare [b a] map[k:v] [1 tensors widened from bfloat16 to float32 1 tensors widened from float16 to float32 " +
		`prefix "module." removed]`
	if got := fmt.Sprint(c.Layout, " ", c.Names, " ", c.Metadata, " ", c.Notes); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	a, _ := tensors.CopyFlatData[float32](c.Tensors["a"])
	b, _ := tensors.CopyFlatData[float32](c.Tensors["b"])
	if !slices.Equal(a, []float32{1, float32(math.Inf(-1))}) || !slices.Equal(b, []float32{1, 1.0 / (1 << 24)}) {
		t.Errorf("a = %v, b = %v", a, b)
	}
}
