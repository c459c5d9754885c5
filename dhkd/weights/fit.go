package weights

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// auxHeads are the names of the zoo's auxiliary heads.
var auxHeads = []string{"fc2", "linear2", "classifier2"}

func ofAuxHead(name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return slices.Contains(auxHeads, first)
}

// FitOptions say which differences between a file and a network are wanted. By default there may be none.
type FitOptions struct {
	// NewAuxHead lets a network with an auxiliary head take a file without one: the head keeps its initial values.
	NewAuxHead bool
	// DropAuxHead lets a network without an auxiliary head take a file with one.
	DropAuxHead bool
}

// Fitted is a checkpoint as a network takes it.
type Fitted struct {
	Tensors map[string]*tensors.Tensor // exactly those of the network, under the zoo's names
	NameMap string                     // the name of the [NameMap] that was used, or "" if names were the zoo's
	Notes   []string                   // what was left out or changed, beside the checkpoint's own notes
}

// Fit returns the checkpoint's tensors for a network whose weights are want (see [zoo.Model.Initial]): names are
// translated if a [NameMap] makes them fit, float64 is rounded to float32, and PyTorch's counts of batches are left
// out. All else that is not exactly the network's is refused with [Match]'s error.
func (c *Checkpoint) Fit(want []zoo.Weight, o FitOptions) (*Fitted, error) {
	f, err := c.arrange(want, o)
	if err != nil {
		return nil, err
	}
	if err := f.round(want); err != nil {
		return nil, err
	}
	if err := Match(want, f.Tensors); err != nil {
		return nil, err
	}
	return f, nil
}

// arrange is [Checkpoint.Fit] without types and values.
func (c *Checkpoint) arrange(want []zoo.Weight, o FitOptions) (*Fitted, error) {
	m := c.nameMap(want)
	if m.Differs != "" {
		return nil, fmt.Errorf("the weights are a %s, which is another network: %s", m.Name, m.Differs)
	}
	f := &Fitted{Tensors: map[string]*tensors.Tensor{}, NameMap: m.Name}
	if m.Name != "" {
		f.Notes = append(f.Notes, "names translated from those of "+m.Name)
	}
	counters := 0
	for _, name := range c.Names {
		if strings.HasSuffix(name, counterSuffix) {
			counters++
			continue
		}
		ours := m.ToZoo(name)
		if f.Tensors[ours] != nil {
			return nil, fmt.Errorf("two tensors of the file are the network's %s; one is %s", ours, name)
		}
		f.Tensors[ours] = c.Tensors[name]
	}
	if counters > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("%d counts of batches left out", counters))
	}
	return f, f.fitAuxHead(want, o)
}

// nameMap is the map that makes most names the network's, or none at all if no map makes more so.
func (c *Checkpoint) nameMap(want []zoo.Weight) (best NameMap) {
	wanted := make(map[string]bool, len(want))
	for _, w := range want {
		wanted[w.Name] = true
	}
	most := -1
	for _, m := range append([]NameMap{{}}, NameMaps...) {
		fitting := 0
		for _, name := range c.Names {
			if wanted[m.ToZoo(name)] {
				fitting++
			}
		}
		if fitting > most {
			best, most = m, fitting
		}
	}
	return best
}

// fitAuxHead adds or drops an auxiliary head as the options allow.
func (f *Fitted) fitAuxHead(want []zoo.Weight, o FitOptions) error {
	needs := slices.ContainsFunc(want, func(w zoo.Weight) bool { return ofAuxHead(w.Name) })
	has := false
	for name := range f.Tensors {
		has = has || ofAuxHead(name)
	}
	switch {
	case needs && !has && !o.NewAuxHead:
		return errors.New("the network has an auxiliary head, the file has none: load it without one, " +
			"or ask for a new head with initial values")
	case needs && !has:
		for _, w := range want {
			if ofAuxHead(w.Name) {
				f.Tensors[w.Name] = w.Value
			}
		}
		f.Notes = append(f.Notes, "the auxiliary head is new, with initial values")
	case has && !needs && !o.DropAuxHead:
		return errors.New("the file has an auxiliary head, the network has none: load it with one, or ask to drop the head")
	case has && !needs:
		for name := range f.Tensors {
			if ofAuxHead(name) {
				delete(f.Tensors, name)
			}
		}
		f.Notes = append(f.Notes, "the auxiliary head was dropped")
	}
	return nil
}

// round makes float32 of float64 where the network needs that.
func (f *Fitted) round(want []zoo.Weight) error {
	rounded := 0
	for _, w := range want {
		t := f.Tensors[w.Name]
		if t == nil || t.DType() != dtypes.Float64 || w.Value.DType() != dtypes.Float32 {
			continue
		}
		wide, err := tensors.CopyFlatData[float64](t)
		if err != nil {
			return err
		}
		narrow := make([]float32, len(wide))
		for i, v := range wide {
			narrow[i] = float32(v)
		}
		f.Tensors[w.Name] = tensors.FromFlatDataAndDimensions(narrow, t.Shape().Dimensions...)
		rounded++
	}
	if rounded > 0 {
		f.Notes = append(f.Notes, fmt.Sprintf("%d tensors rounded from float64 to float32", rounded))
	}
	return nil
}
