package record

import (
	"encoding/json"
	"fmt"
	"math"
)

// Metrics are named values. JSON has no NaN or infinity, and a collapsed run has both: they are written as the strings
// "nan", "inf" and "-inf".
type Metrics map[string]float64

// MarshalJSON implements [json.Marshaler].
func (m Metrics) MarshalJSON() ([]byte, error) {
	values := make(map[string]any, len(m))
	for name, v := range m {
		values[name] = v
		if s, ok := notFinite(v); ok {
			values[name] = s
		}
	}
	return json.Marshal(values)
}

// UnmarshalJSON implements [json.Unmarshaler].
func (m *Metrics) UnmarshalJSON(data []byte) error {
	var values map[string]any
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	*m = make(Metrics, len(values))
	for name, v := range values {
		switch v := v.(type) {
		case float64:
			(*m)[name] = v
		case string:
			named := map[string]float64{"nan": math.NaN(), "inf": math.Inf(1), "-inf": math.Inf(-1)}
			f, ok := named[v]
			if !ok {
				return fmt.Errorf("metric %q: %q is neither a number nor nan, inf, -inf", name, v)
			}
			(*m)[name] = f
		default:
			return fmt.Errorf("metric %q: not a number", name)
		}
	}
	return nil
}

// notFinite is how a value that is no finite number is written.
func notFinite(v float64) (string, bool) {
	switch {
	case math.IsNaN(v):
		return "nan", true
	case math.IsInf(v, 1):
		return "inf", true
	case math.IsInf(v, -1):
		return "-inf", true
	}
	return "", false
}
