package spell

import "testing"

func TestDistance(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"resnet8", "resnet8", 0}, {"resnet9", "resnet8", 1},
		{"kitten", "sitting", 3}, {"quickstrat", "quickstart", 1}, {"ab", "ba", 1}, {"abcd", "badc", 2}, {"fc.weight", "fc2.weight", 1},
	} {
		if got, back := Distance(test.a, test.b), Distance(test.b, test.a); got != test.want || back != test.want {
			t.Errorf("%q, %q: %d and %d, want %d", test.a, test.b, got, back, test.want)
		}
	}
}
