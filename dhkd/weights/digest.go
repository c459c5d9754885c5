package weights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"

	"github.com/gomlx/gomlx/core/tensors"
)

// DigestKey is the key of [Digest] in the metadata of a file.
const DigestKey = "tensors_sha256"

// Digest is the SHA-256 of tensors, in hex, whatever the file that they are in: of the name, type, shape and values of
// each, in the order of their names.
func Digest(values map[string]*tensors.Tensor) (string, error) {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(values)) {
		t := values[name]
		fmt.Fprintf(h, "%q %s %v\n", name, t.DType(), t.Shape().Dimensions)
		if err := t.ConstBytes(func(data []byte) { h.Write(data) }); err != nil {
			return "", fmt.Errorf("tensor %s: %w", name, err)
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
