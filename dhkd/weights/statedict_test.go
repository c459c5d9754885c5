package weights_test

import (
	"path/filepath"
	"testing"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

// Whether PyTorch takes the files is tested with PyTorch, see dhkd/internal/exchange.
func TestExportStateDict(t *testing.T) {
	path := filepath.Join(t.TempDir(), "student.safetensors")
	vector := tensors.FromFlatDataAndDimensions([]float32{1, 2}, 2)
	values := map[string]*tensors.Tensor{
		"conv1.weight": vector, "bn1.weight": vector, "bn1.running_mean": vector, "bn1.running_var": vector,
		"bn2.running_mean": vector, "bn2.num_batches_tracked": tensors.FromScalar(int64(7)),
	}
	metadata := map[string]string{"format": "dhkd-weights", "architecture": "resnet8"}
	if err := weights.ExportStateDict(path, values, metadata); err != nil {
		t.Fatal(err)
	}
	if len(values) != 6 || metadata["format"] != "dhkd-weights" {
		t.Error("the arguments were changed")
	}
	got, gotMetadata, err := weights.LoadSafetensors(path)
	if err != nil {
		t.Fatal(err)
	}
	values["bn1.num_batches_tracked"] = tensors.FromScalar(int64(0))
	expectSame(t, got, values)
	if gotMetadata["format"] != "pt" || gotMetadata["architecture"] != "resnet8" {
		t.Errorf("metadata %v", gotMetadata)
	}
}
