package distill

import (
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// registry maps a method's name to what is known of it; each method's file adds itself.
var registry = map[string]entry{}

type entry struct {
	make       func(p record.Method) Method
	parameters []HyperParameter
	what       string // one line
	source     string // authors, year and arXiv number or venue
}

// HyperParameter is a hyper-parameter of a method: a field of [record.Method], by its name in YAML.
type HyperParameter struct {
	Name    string `json:"name"`
	Default any    `json:"default"` // as published: a float64, int, bool or string
	What    string `json:"what"`

	zero  bool // whether 0 is a value too
	below bool // whether it must be below 1
}

// positive is a number above 0.
func positive(name string, published float64, what string) HyperParameter {
	return HyperParameter{Name: name, Default: published, What: what}
}

// share is a number between 0 and 1.
func share(name string, published float64, what string) HyperParameter {
	return HyperParameter{Name: name, Default: published, What: what, below: true}
}

// count is a whole number; 0 is nothing of it.
func count(name string, published int, what string) HyperParameter {
	return HyperParameter{Name: name, Default: published, What: what, zero: true}
}

// option is off unless it is set.
func option(name, what string) HyperParameter {
	return HyperParameter{Name: name, Default: false, What: what, zero: true}
}

// Parameters that many methods have.
func labels(published float64) HyperParameter {
	return positive("gamma", published, "weight of cross-entropy on the labels")
}

func temperature(published float64) HyperParameter {
	return positive("temperature", published, "T, divides the logits")
}

var (
	align     = option("align", "align the gradient of the other terms to that of cross-entropy")
	alignRule = HyperParameter{Name: "align_rule", Default: "", What: "how gradients are aligned: " + rules(), zero: true}
	literal   = option("literal", "the authors' clamped formula in float32, which overflows")
	until     = count("until", 0, "the first epoch in which alpha is 0 (0 = never)")
	warmup    = count("warmup", 20, "epochs in which the weight of the teacher's terms grows to its full value")
)

// New returns the method with the given name and hyper-parameters, or the sum of it and those that it is combined with.
// An error names the field that is missing, out of range, or not one of this method's.
func New(p record.Method) (Method, error) {
	first, err := newOne(p)
	if err != nil || len(p.With) == 0 {
		return first, err
	}
	all := sum{first}
	for i, part := range p.With {
		m, err := newOne(part)
		if err == nil && len(part.With) > 0 {
			err = fmt.Errorf("method.with: list all methods beside the first, none within another")
		}
		if err == nil {
			err = all.fits(m)
		}
		if err != nil {
			return nil, fmt.Errorf("method.with[%d]: %w", i, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func newOne(p record.Method) (Method, error) {
	e, ok := registry[p.Name]
	if !ok {
		return nil, fmt.Errorf("method.name: unknown method %q: choose one of %s", p.Name, strings.Join(Names(), ", "))
	}
	used := map[string]HyperParameter{"name": {zero: true}, "with": {zero: true}}
	for _, parameter := range e.parameters {
		used[parameter.Name] = parameter
	}
	for field, value := range fields(reflect.ValueOf(p)) {
		parameter, ok := used[field]
		switch {
		case !ok && !value.IsZero():
			return nil, fmt.Errorf("method.%s: method %s has no such hyper-parameter: leave it out", field, p.Name)
		case ok && !parameter.zero && value.IsZero() || outOfRange(value):
			return nil, fmt.Errorf("method.%s: method %s needs it, more than 0 (published: %v)", field, p.Name, parameter.Default)
		case parameter.below && value.Float() >= 1:
			return nil, fmt.Errorf("method.%s: method %s needs it below 1 (published: %v)", field, p.Name, parameter.Default)
		}
	}
	if _, err := dhkd.ParseAlignmentRule(p.AlignRule); err != nil {
		return nil, fmt.Errorf("method.align_rule: %w", err)
	}
	if p.AlignRule != "" && !p.Align {
		return nil, fmt.Errorf("method.align_rule: %q has no effect without align: true", p.AlignRule)
	}
	return e.make(p), nil
}

// outOfRange is for numbers: none is negative, infinite or NaN.
func outOfRange(value reflect.Value) bool {
	switch {
	case value.CanInt():
		return value.Int() < 0
	case value.CanFloat():
		return !(value.Float() >= 0) || math.IsInf(value.Float(), 1)
	}
	return false
}

// fields yields the fields of a [record.Method] by their names in YAML.
func fields(v reflect.Value) func(yield func(string, reflect.Value) bool) {
	return func(yield func(string, reflect.Value) bool) {
		for i := range v.NumField() {
			name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ",")
			if !yield(name, v.Field(i)) {
				return
			}
		}
	}
}

// Names lists the methods, sorted.
func Names() []string { return slices.Sorted(maps.Keys(registry)) }

// Describe says what the method of that name is, in one line, and where it was published.
func Describe(name string) (what, source string) { return registry[name].what, registry[name].source }

// Parameters lists the hyper-parameters of the method of that name.
func HyperParameters(name string) []HyperParameter { return registry[name].parameters }

// HyperParameterNames lists their names.
func HyperParameterNames(name string) (names []string) {
	for _, p := range registry[name].parameters {
		names = append(names, p.Name)
	}
	return names
}

// Defaults returns the method of that name with its published hyper-parameters.
func Defaults(name string) record.Method {
	p := record.Method{Name: name}
	for field, value := range fields(reflect.ValueOf(&p).Elem()) {
		for _, parameter := range registry[name].parameters {
			if parameter.Name == field {
				value.Set(reflect.ValueOf(parameter.Default))
			}
		}
	}
	return p
}

// alignment is the rule of a method's recipe.
func alignment(p record.Method) dhkd.AlignmentRule {
	rule, _ := dhkd.ParseAlignmentRule(p.AlignRule) // [New] has checked it
	switch {
	case !p.Align:
		return dhkd.AddGradients
	case rule == dhkd.AddGradients:
		return dhkd.AlignOneSided
	}
	return rule
}

func rules() string {
	var names []string
	for _, rule := range dhkd.AlignmentRules[1:] {
		names = append(names, string(rule))
	}
	return strings.Join(names, ", ")
}
