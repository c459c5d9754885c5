package weights

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/nlpodyssey/gopickle/types"

	"github.com/gomlx/gomlx/core/tensors"
)

// Layout is a way in which training programs arrange a checkpoint.
type Layout struct {
	Name      string
	Container string   // the key of the weights, or "" if they are the whole file
	Beside    []string // keys of which one at least must be there too; none are needed if there are none
	From      string   // who writes it
}

// Layouts are tried in this order; the first that fits the keys of the file is taken.
var Layouts = []Layout{
	{"torchdistill", "model", []string{"lr_scheduler", "best_value"}, "torchdistill, torchvision's references"},
	{"dhkd-last", "model", []string{"args", "opt"}, "the last file of DHKD's and CRD's training programs"},
	{"crd", "model", []string{"epoch", "accuracy", "best_acc"}, "CRD (RepDistiller), DHKD's teachers, mdistiller"},
	{"mdistiller", "model", nil, "mdistiller's students"},
	{"state_dict", "state_dict", nil, "Lightning, timm, PyTorch's ImageNet example"},
	{"state_dict", "model_state_dict", nil, "PyTorch's tutorial"},
	{"state_dict", "net", nil, "pytorch-cifar"},
	{"bare", "", nil, "torchvision, torchdistill's releases"},
}

// prefixes that wrappers put before every name: data parallel training, torch.compile, Lightning's modules, EMA.
var prefixes = []string{"module.", "_orig_mod.", "model.", "net."}

// studentPrefix marks the network to be trained, in a file that holds others too, such as its teacher.
const studentPrefix = "student."

// entry of a dictionary, in the order of the file.
type entry struct{ key, value any }

func entries(v any) ([]entry, bool) {
	var all []entry
	switch v := v.(type) {
	case *types.Dict:
		for _, e := range *v {
			all = append(all, entry{e.Key, e.Value})
		}
	case *types.OrderedDict:
		for e := v.List.Front(); e != nil; e = e.Next() {
			item := e.Value.(*types.OrderedDictEntry)
			all = append(all, entry{item.Key, item.Value})
		}
	default:
		return nil, false
	}
	return all, true
}

// findState finds the weights in a PyTorch file, of which all values are views with names, and notes what stands beside
// them.
func (c *Checkpoint) findState(a *archive) ([]entry, error) {
	root, ok := entries(a.root)
	if !ok {
		return nil, fmt.Errorf("the file holds %s, not a dictionary of weights", describe(a.root))
	}
	values := map[string]any{}
	for _, e := range root {
		key, ok := e.key.(string)
		if !ok {
			return nil, errors.New("a key is a number, not the name of a tensor")
		}
		if _, twice := values[key]; twice {
			return nil, fmt.Errorf("key %.80q is there twice", key)
		}
		values[key] = e.value
	}
	layout := Layouts[slices.IndexFunc(Layouts, func(l Layout) bool { return l.fits(values) })]
	c.Layout = layout.Name
	state := root
	if layout.Container != "" {
		if state, ok = entries(values[layout.Container]); !ok {
			return nil, fmt.Errorf("%q is %s, not a dictionary of weights", layout.Container, describe(values[layout.Container]))
		}
		delete(values, layout.Container)
		if err := c.readBeside(a, values); err != nil {
			return nil, err
		}
	}
	for _, e := range state {
		if name, ok := e.key.(string); !ok {
			return nil, errors.New("the name of a tensor is not text")
		} else if _, ok := e.value.(*view); !ok {
			return nil, fmt.Errorf("%.80q is %s, not a tensor (weights are the whole file, or its entry model or state_dict)",
				name, describe(e.value))
		}
	}
	if len(state) == 0 {
		return nil, errors.New("it holds no tensors")
	}
	return state, nil
}

func (l Layout) fits(values map[string]any) bool {
	if _, ok := values[l.Container]; l.Container != "" && !ok {
		return false
	}
	return len(l.Beside) == 0 || slices.ContainsFunc(l.Beside, func(key string) bool {
		_, ok := values[key]
		return ok
	})
}

// readBeside keeps the numbers and short texts beside the weights, and notes what else is there.
func (c *Checkpoint) readBeside(a *archive, values map[string]any) error {
	const most = 64
	for _, key := range slices.Sorted(maps.Keys(values)) {
		value := values[key]
		if v, ok := value.(*view); ok && v.size == 1 { // an accuracy is often a tensor
			t, err := a.tensor(v)
			if err != nil {
				return fmt.Errorf("%.80q: %w", key, err)
			}
			c.Metadata[key] = strings.Trim(fmt.Sprint(t.Value()), "[]")
		} else if s, ok := text(value); ok && len(key) <= maxName && len(c.Metadata) < most {
			c.Metadata[key] = s
		} else if value != nil && len(c.Notes) < most {
			c.Notes = append(c.Notes, fmt.Sprintf("%.80q left out", key))
		}
	}
	return nil
}

// removePrefixes shortens the names where all have the same prefix, and takes the student out of a file with others.
func (c *Checkpoint) removePrefixes() error {
	c.cutPrefixes()
	for slices.ContainsFunc(c.Names, func(name string) bool { return strings.HasPrefix(name, studentPrefix) }) {
		all := len(c.Names)
		c.Names = slices.DeleteFunc(c.Names, func(name string) bool { return !strings.HasPrefix(name, studentPrefix) })
		if left := all - len(c.Names); left > 0 {
			c.Notes = append(c.Notes, fmt.Sprintf("%d tensors that are not the student's left out", left))
		}
		c.cut(studentPrefix)
		c.cutPrefixes()
	}
	if slices.Contains(c.Names, "") {
		return errors.New("a tensor has a prefix for its name")
	}
	return nil
}

func (c *Checkpoint) cutPrefixes() {
	for again := true; again; {
		again = false
		for _, prefix := range prefixes {
			lacks := func(name string) bool { return !strings.HasPrefix(name, prefix) || name == prefix }
			if len(c.Names) > 0 && !slices.ContainsFunc(c.Names, lacks) {
				c.cut(prefix)
				again = true
			}
		}
	}
}

func (c *Checkpoint) cut(prefix string) {
	named := make(map[string]*tensors.Tensor, len(c.Names))
	for i, name := range c.Names {
		c.Names[i] = strings.TrimPrefix(name, prefix)
		named[c.Names[i]] = c.Tensors[name]
	}
	c.Tensors = named
	c.Notes = append(c.Notes, fmt.Sprintf("prefix %q removed", prefix))
}

// describe says what kind of value it is, without looking into it.
func describe(v any) string {
	switch v.(type) {
	case *view:
		return "a tensor"
	case *types.List:
		return "a list"
	case *types.Tuple:
		return "a tuple"
	case *types.Dict, *types.OrderedDict:
		return "a dictionary"
	case string:
		return "a text"
	case nil:
		return "None"
	case int, float64, bool, scalar:
		return "a number"
	}
	return "an object"
}
