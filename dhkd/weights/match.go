package weights

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/spell"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// counterSuffix ends the names of PyTorch's counts of batches, which nothing here needs.
const counterSuffix = ".num_batches_tracked"

// Match checks that got holds the weights of a network, no more and no less, with its shapes and types, and that all
// values are finite. PyTorch's counts of batches may be there or not. The error lists, on one line, what is missing
// (those that are closest to a name in got first, with that name), what is unexpected, and what has another shape or
// type.
func Match(want []zoo.Weight, got map[string]*tensors.Tensor) error {
	if err := matchShapes(want, got); err != nil {
		return err
	}
	for _, w := range want {
		if err := finite(got[w.Name]); err != nil {
			return fmt.Errorf("the weights are not usable: tensor %s %w", w.Name, err)
		}
	}
	return nil
}

// matchShapes is [Match] without a look at the values.
func matchShapes(want []zoo.Weight, got map[string]*tensors.Tensor) error {
	var faults []string
	var missing []zoo.Weight
	known := make(map[string]bool, len(want))
	for _, w := range want {
		known[w.Name] = true
		need := w.Value.Shape()
		t, ok := got[w.Name]
		fault := func(what string, has, needs any) {
			faults = append(faults, fmt.Sprintf("%s has %s %v, the network needs %v", w.Name, what, has, needs))
		}
		if !ok {
			missing = append(missing, w)
		} else if has := t.Shape(); !slices.Equal(has.Dimensions, need.Dimensions) {
			fault("shape", has.Dimensions, need.Dimensions)
		} else if has.DType != need.DType {
			fault("type", name(has.DType), name(need.DType))
		}
	}
	var unexpected []string
	for name := range got {
		if !known[name] && !strings.HasSuffix(name, counterSuffix) {
			unexpected = append(unexpected, name)
		}
	}
	slices.Sort(unexpected)
	var parts []string
	if len(missing) > 0 {
		parts = append(parts, "missing: "+list(closest(missing, unexpected, got)))
	}
	if len(unexpected) > 0 {
		parts = append(parts, "unexpected: "+list(unexpected))
	}
	if len(faults) > 0 {
		parts = append(parts, list(faults))
	}
	if len(parts) > 0 {
		return fmt.Errorf("the weights are not the network's: %s", strings.Join(parts, "; "))
	}
	return nil
}

func name(t dtypes.DType) string { return strings.ToLower(t.String()) }

func list(items []string) string {
	const shown = 5
	if len(items) > shown {
		return fmt.Sprintf("%s and %d more", strings.Join(items[:shown], ", "), len(items)-shown)
	}
	return strings.Join(items, ", ")
}

// closest orders the missing names by their distance to the most similar unexpected one, and adds that. Names of
// tensors of the right shape come first.
func closest(missing []zoo.Weight, unexpected []string, got map[string]*tensors.Tensor) []string {
	const compared, otherShape, far = 200, 1000, 12
	type pair struct {
		text     string
		distance int
	}
	var pairs []pair
	for i, w := range missing {
		best, bestName := otherShape+far, ""
		if i < compared/4 { // names of a hostile file may be many
			for _, other := range unexpected[:min(len(unexpected), compared)] {
				d := spell.Distance(w.Name, other)
				if !slices.Equal(got[other].Shape().Dimensions, w.Value.Shape().Dimensions) {
					d += otherShape
				}
				if d < best {
					best, bestName = d, other
				}
			}
		}
		text := w.Name
		if bestName != "" {
			text += fmt.Sprintf(" (the file has %s)", bestName)
		}
		pairs = append(pairs, pair{text, best})
	}
	slices.SortStableFunc(pairs, func(a, b pair) int { return cmp.Compare(a.distance, b.distance) })
	texts := make([]string, len(pairs))
	for i, p := range pairs {
		texts[i] = p.text
	}
	return texts
}

// finite refuses NaN and infinities, and says where the first one is.
func finite(t *tensors.Tensor) error {
	at, value := -1, 0.0
	err := t.ConstFlatData(func(flat any) {
		switch flat := flat.(type) {
		case []float32:
			if at = slices.IndexFunc(flat, func(v float32) bool { return v-v != 0 }); at >= 0 {
				value = float64(flat[at])
			}
		case []float64:
			if at = slices.IndexFunc(flat, func(v float64) bool { return v-v != 0 }); at >= 0 {
				value = flat[at]
			}
		}
	})
	if err != nil || at < 0 {
		return err
	}
	dimensions := t.Shape().Dimensions
	index := make([]int, len(dimensions))
	for axis, rest := len(index)-1, at; axis >= 0; axis-- {
		index[axis], rest = rest%dimensions[axis], rest/dimensions[axis]
	}
	return fmt.Errorf("holds %g at %v: no network computes with that", value, index)
}
