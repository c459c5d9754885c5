package seeds

import (
	"math"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func near(t *testing.T, what string, got, want, tolerance float64) {
	t.Helper()
	if !(math.Abs(got-want) <= tolerance) {
		t.Errorf("%s: %.10g, want %.10g", what, got, want)
	}
}

// Student's own data (1908, The probable error of a mean): hours of sleep gained by ten patients with two drugs.
var (
	drug1 = []float64{0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0, 2}
	drug2 = []float64{1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4}
)

// The values are those that R prints for t.test(drug1, drug2, paired = TRUE).
func TestPaired(t *testing.T) {
	got, err := Paired(drug1, drug2)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "t", got.T, -4.0621, 5e-5)
	near(t, "p", got.P, 0.002833, 5e-7)
	near(t, "mean", got.Difference.Mean, -1.58, 1e-12)
	near(t, "low", got.Difference.Low, -2.4598858, 5e-8)
	near(t, "high", got.Difference.High, -0.7001142, 5e-8)
	same, err := Paired(drug1, drug1)
	if err != nil || same.P != 1 || same.T != 0 {
		t.Errorf("a method and itself: %+v, %v", same, err)
	}
	constant, err := Paired([]float64{2, 3, 4}, []float64{1, 2, 3})
	if err != nil || constant.P != 0 || !math.IsInf(constant.T, 1) {
		t.Errorf("the same difference in all seeds: %+v, %v", constant, err)
	}
}

func TestPairedRefused(t *testing.T) {
	for _, test := range []struct {
		a, b []float64
		want string
	}{
		{[]float64{1, 2}, []float64{1}, "there are 2 and 1"},
		{[]float64{1}, []float64{1}, "at least 2 seeds"},
		{[]float64{1, math.NaN()}, []float64{1, 2}, "values 2 are NaN and 2"},
	} {
		if _, err := Paired(test.a, test.b); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%v, %v: %v, want %q", test.a, test.b, err, test.want)
		}
	}
}

func TestSummarize(t *testing.T) {
	s := Summarize(1, 2, 3)
	near(t, "sd", s.SD, 1, 1e-12)
	near(t, "high", s.High, 2+4.302652730/math.Sqrt(3), 1e-8) // the quantile is that of tables, 4.303
	if got := s.String(); got != "2.00 [-0.48, 4.48]" {
		t.Error(got)
	}
	if one := Summarize(5); one.String() != "5.00" || !math.IsNaN(one.SD) || !math.IsNaN(one.Low) {
		t.Errorf("%+v", one)
	}
	if none := Summarize(); none.String() != "–" || !math.IsNaN(none.Mean) {
		t.Errorf("%+v", none)
	}
}

// The numbers are those of tables: 34 pairs, and 64 for each of two groups, for a difference of half a standard
// deviation (Cohen 1988, Statistical Power Analysis, table 2.4.1, has 64), and 10 and 17 for one of a whole.
func TestNeeded(t *testing.T) {
	for _, test := range []struct {
		sd, difference float64
		paired, apart  int
	}{{1, 0.5, 34, 64}, {0.2, -0.2, 10, 17}, {1, 0.2, 199, 394}, {0, 0.2, 2, 2}} {
		paired, err := Needed(test.sd, test.difference)
		apart, err2 := NeededUnpaired(test.sd, test.difference)
		if err != nil || err2 != nil || paired != test.paired || apart != test.apart {
			t.Errorf("sd %g, difference %g: %d and %d, %v, %v; want %d and %d", test.sd, test.difference, paired, apart, err,
				err2,
				test.paired, test.apart)
		}
	}
	for _, bad := range [][2]float64{{math.NaN(), 1}, {-1, 1}, {1, 0}, {1, math.Inf(1)}, {1, 1e-9}} {
		if n, err := Needed(bad[0], bad[1]); err == nil {
			t.Errorf("sd %g, difference %g: %d seeds", bad[0], bad[1], n)
		}
	}
}

// Without a difference the test's power is its level; with one it is that of scipy's noncentral t distribution (1.17).
func TestPower(t *testing.T) {
	for _, freedom := range []int{1, 2, 4, 30} {
		near(t, "power of nothing", power(freedom, 0), 0.05, 1e-4)
	}
	for _, test := range []struct {
		freedom     int
		delta, want float64
	}{{1, 3, 0.186132}, {2, 1.5, 0.148692}, {4, 2.5, 0.477261}, {30, 0.7, 0.104069}} {
		near(t, "power", power(test.freedom, test.delta), test.want, 1e-5)
	}
}

// An interval moves and stretches with its values, and a test does not see either.
func TestShiftAndScale(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		value := rapid.Float64Range(-100, 100)
		a := rapid.SliceOfN(value, 3, 8).Draw(r, "a")
		b := rapid.SliceOfN(value, len(a), len(a)).Draw(r, "b")
		shift, scale := value.Draw(r, "shift"), rapid.Float64Range(0.1, 10).Draw(r, "scale")
		moved := func(x []float64) (y []float64) {
			for _, v := range x {
				y = append(y, shift+scale*v)
			}
			return y
		}
		s, m := Summarize(a...), Summarize(moved(a)...)
		if math.Abs(m.Low-(shift+scale*s.Low)) > 1e-6 || math.Abs(m.High-(shift+scale*s.High)) > 1e-6 {
			r.Fatalf("%+v, moved %+v", s, m)
		}
		x, err := Paired(a, b)
		if err != nil {
			r.Fatal(err)
		}
		if x.Difference.SD < 1e-6 {
			return // rounding would decide
		}
		y, err := Paired(moved(a), moved(b))
		if err != nil || math.Abs(x.P-y.P) > 1e-6 {
			r.Fatalf("p %g, moved %g, %v", x.P, y.P, err)
		}
		back, _ := Paired(b, a)
		if math.Abs(back.T+x.T) > 1e-9*math.Abs(x.T) {
			r.Fatalf("t %g, exchanged %g", x.T, back.T)
		}
	})
}
