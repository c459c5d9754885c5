package zoo

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/spell"
	"github.com/dhkd-lab/dhkd-go/dhkd/nn"
)

// families is the registry. A new family is one file and one line here.
var families = []family{
	resNets,
	wideResNets,
	vggs,
	cifarResNets,
	imageNetResNets,
	mobileNetsV1,
	mobileNetsV2,
	shuffleNetsV1,
	shuffleNetsV2,
}

// forward builds a network on images [N, H, W, channels].
type forward func(s *nn.Scope, images *graph.Node, m *Model) Outputs

// family is one kind of network.
type family struct {
	names  []string                  // that are listed
	others string                    // in words, the names that it knows besides; may be empty
	side   int                       // see [Model]
	find   func(name string) forward // nil for a name that is not of the family
}

// fixed is a family of the given networks and no others.
func fixed(side int, networks map[string]forward) family {
	return family{
		names: slices.Collect(maps.Keys(networks)),
		side:  side,
		find:  func(name string) forward { return networks[name] },
	}
}

// Names lists the models, sorted. There are more, of other depths and widths, see the error of [New].
func Names() (names []string) {
	for _, f := range families {
		names = append(names, f.names...)
	}
	slices.Sort(names)
	return names
}

func lookUp(name string) (*Model, error) {
	for _, f := range families {
		if forward := f.find(name); forward != nil {
			return &Model{Side: f.side, forward: forward}, nil
		}
	}
	if len(name) > 64 {
		name = name[:64] + "..."
	}
	names := Names()
	far := func(listed string) int { return spell.Distance(strings.ToLower(name), strings.ToLower(listed)) }
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(far(a), far(b)) })
	for _, f := range families {
		if f.others != "" {
			names = append(names, f.others)
		}
	}
	return nil, fmt.Errorf("unknown model %q: choose one of %s", name, strings.Join(names, ", "))
}

// scan reads numbers from a name that has the format, and no other spelling of it.
func scan(name, format string, numbers ...*int) bool {
	var into, values []any
	for _, n := range numbers {
		into = append(into, n)
	}
	if _, err := fmt.Sscanf(name, format, into...); err != nil {
		return false
	}
	for _, n := range numbers {
		values = append(values, *n)
	}
	return fmt.Sprintf(format, values...) == name
}
