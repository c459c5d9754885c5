package weights

import (
	"maps"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"
)

// ExportStateDict writes a network's weights as PyTorch's state dict, in the form of a safetensors file, atomically:
// load_state_dict(load_file(path), strict=True) takes it in a network with the reference implementation's names.
// Weights have these names here too; what is added are the counts of batches, num_batches_tracked, which PyTorch has in
// each batch norm and uses only where there is no momentum. They are 0 unless known.
func ExportStateDict(path string, values map[string]*tensors.Tensor, metadata map[string]string) error {
	all := maps.Clone(values)
	for name := range values {
		if layer, ok := strings.CutSuffix(name, "running_mean"); ok && all[layer+"num_batches_tracked"] == nil {
			all[layer+"num_batches_tracked"] = tensors.FromScalar(int64(0))
		}
	}
	marked := map[string]string{}
	maps.Copy(marked, metadata)
	marked["format"] = "pt" // by which Python's tools know PyTorch's
	return SaveSafetensors(path, all, marked)
}
