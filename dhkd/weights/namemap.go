package weights

import (
	"slices"
	"strconv"
	"strings"
)

// NameMap says how the names of another program's files differ from the zoo's for the same network.
type NameMap struct {
	Name  string
	Rules []Rule
	// Differs, if not empty, says why the other network is not the zoo's although all names and shapes fit: its weights
	// would load and give wrong results.
	Differs string
}

// Rule relates a run of the dotted parts of a name: File in the file is Zoo in the zoo. "#" at the end of a part
// stands for any number, the same on both sides. A rule that starts with "^" is for the start of a name.
type Rule struct{ File, Zoo string }

// NameMaps are the known maps. Files of CRD (RepDistiller), mdistiller and DHKD need none, but for the heads below:
// their names are the zoo's.
var NameMaps = []NameMap{
	{Name: "torchvision or timm ResNet with a CIFAR stem", Rules: []Rule{
		{"downsample", "shortcut"}, {"^fc", "linear"}, {"^fc2", "linear2"},
	}},
	{Name: "CRD MobileNetV2", Rules: []Rule{{"^classifier.0", "classifier"}}},
	{Name: "mdistiller MobileNetV1", Rules: []Rule{{"^fc", "classifier"}}},
	{
		Name:  "torchdistill Wide ResNet",
		Rules: []Rule{{"^layer#.#", "block#.layer.#"}, {"shortcut.0", "convShortcut"}},
		Differs: "its shortcut convolutions read the input of a block, those of the zoo, as of CRD and mdistiller, read " +
			"it after batch norm and ReLU",
	},
}

// ToZoo translates a name of a file into the zoo's.
func (m NameMap) ToZoo(name string) string { return m.translate(name, false) }

// ToFile translates a name of the zoo into the file's.
func (m NameMap) ToFile(name string) string { return m.translate(name, true) }

func (m NameMap) translate(name string, back bool) string {
	parts := strings.Split(name, ".")
	for _, r := range m.Rules {
		from, to := r.File, r.Zoo
		start := strings.HasPrefix(from, "^")
		from = strings.TrimPrefix(from, "^")
		if back {
			from, to = to, from
		}
		pattern := strings.Split(from, ".")
		for at := 0; at+len(pattern) <= len(parts) && (at == 0 || !start); at++ {
			if numbers, ok := matchParts(parts[at:at+len(pattern)], pattern); ok {
				for _, n := range numbers {
					to = strings.Replace(to, "#", n, 1)
				}
				parts = slices.Concat(parts[:at], strings.Split(to, "."), parts[at+len(pattern):])
				break
			}
		}
	}
	return strings.Join(parts, ".")
}

// matchParts tells whether the parts are the pattern's, and returns the numbers that "#" stands for.
func matchParts(parts, pattern []string) (numbers []string, ok bool) {
	for i, p := range pattern {
		before, wild := strings.CutSuffix(p, "#")
		n, begins := strings.CutPrefix(parts[i], before)
		switch {
		case !wild && p != parts[i]:
			return nil, false
		case wild:
			if _, err := strconv.ParseUint(n, 10, 16); err != nil || !begins {
				return nil, false
			}
			numbers = append(numbers, n)
		}
	}
	return numbers, true
}
