package distill

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Feature losses by loops in float64, as the papers define them. Maps are [N, H, W, C], row-major.

// halve averages windows of 2x2.
func halve(x []float64, n, side, channels int) []float64 {
	half := side / 2
	y := make([]float64, n*half*half*channels)
	for i, v := range x {
		image, row, column, c := i/channels/side/side, i/channels/side%side, i/channels%side, i%channels
		y[((image*half+row/2)*half+column/2)*channels+c] += v / 4
	}
	return y
}

// attentionTransfer: Zagoruyko and Komodakis 2017, arXiv 1612.03928, with p = 2.
func attentionTransfer(student, teacher []float64, n, channelsS, channelsT int) float64 {
	attention := func(f []float64, channels int) [][]float64 {
		places := len(f) / n / channels
		a := make([][]float64, n)
		for i := range a {
			norm := 0.0
			for place := range places {
				sum := 0.0
				for c := range channels {
					v := f[(i*places+place)*channels+c]
					sum += v * v
				}
				a[i] = append(a[i], sum)
				norm += sum * sum
			}
			for place := range a[i] {
				a[i][place] /= math.Sqrt(norm)
			}
		}
		return a
	}
	sum, count := 0.0, 0
	as, at := attention(student, channelsS), attention(teacher, channelsT)
	for i := range as {
		for place := range as[i] {
			sum += (as[i][place] - at[i][place]) * (as[i][place] - at[i][place])
			count++
		}
	}
	return sum / float64(count)
}

// variationalInformation: Ahn et al. 2019, arXiv 1904.05835: the negative logarithm of the normal density of each of
// the teacher's values, without its constant, with the regressor of RepDistiller.
func variationalInformation(channelsS, channelsT int) func(modules map[string][]float64, student,
	teacher []float64) float64 {
	return func(modules map[string][]float64, student, teacher []float64) float64 {
		sum := 0.0
		for place := range len(student) / channelsS {
			x := student[place*channelsS : (place+1)*channelsS]
			for i, layer := range []string{"regressor.0", "regressor.2", "regressor.4"} {
				weight, y := modules[layer+".weight"], make([]float64, channelsT) // [out, in]
				for o := range y {
					for k, v := range x {
						y[o] += weight[o*len(x)+k] * v
					}
					if i < 2 {
						y[o] = max(y[o], 0)
					}
				}
				x = y
			}
			for c, mean := range x {
				variance := math.Log(1+math.Exp(modules["log_scale"][c])) + 1e-5
				target := teacher[place*channelsT+c]
				density := math.Exp(-(target-mean)*(target-mean)/(2*variance)) / math.Sqrt(2*math.Pi*variance)
				sum += -math.Log(density) - math.Log(2*math.Pi)/2
			}
		}
		return sum / float64(len(teacher))
	}
}

// partialL2: Heo et al. 2019, arXiv 1904.01866, in the three cases of mdistiller's form of it: the teacher positive,
// between the margin and 0, and below the margin.
func partialL2(student, teacher []float64, n int) float64 {
	sum := 0.0
	for i, f := range student {
		ft, margin := teacher[i], negativeMean(marginScale[i%3], marginShift[i%3])
		switch {
		case ft > 0, ft > margin && f > ft:
			sum += (f - ft) * (f - ft)
		case ft <= margin && f > margin:
			sum += (f - margin) * (f - margin)
		}
	}
	return sum / float64(n)
}

// negativeMean is E[x | x < 0] of the normal distribution, by Simpson's rule.
func negativeMean(scale, shift float64) float64 {
	s := math.Abs(scale)
	const steps = 20000
	low := min(shift, 0) - 12*s
	h := -low / steps
	mass, moment := 0.0, 0.0
	for i := range steps + 1 {
		weight := []float64{2, 4}[i%2]
		if i == 0 || i == steps {
			weight = 1
		}
		x := low + float64(i)*h
		density := weight * math.Exp(-(x-shift)*(x-shift)/(2*s*s))
		mass, moment = mass+density, moment+x*density
	}
	return moment / mass
}

// TestMargin compares with the integral; where hardly anything is negative it is -3 s, and it is finite for a channel
// that the batch norm has switched off.
func TestMargin(t *testing.T) {
	scales := []float64{1, -2, 0.5, 3, 1, 0.1, 0, 0, 0}
	shifts := []float64{0, 1, -1, 5, -4, 0.5, 1, -1, 0}
	for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-9, dtypes.Float32: 1e-4} {
		out, err := CallOnce(devicetest.Open(t).Backend, func(scale, shift *Node) *Node {
			norm := zoo.Norm{Scale: ConvertDType(scale, dtype), Shift: ConvertDType(shift, dtype)}
			return ConvertDType(Margin(norm), dtypes.Float64)
		}, scales, shifts)
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range tensors.MustCopyFlatData[float64](out) {
			var want float64
			switch s := math.Abs(scales[i]); {
			case s == 0:
				want = min(shifts[i], 0)
			case math.Erfc(shifts[i]/s/math.Sqrt2)/2 <= 0.001:
				want = -3 * s
			default:
				want = negativeMean(scales[i], shifts[i])
			}
			if math.Abs(got-want) > tolerance {
				t.Errorf("%s, scale %v, shift %v: %v, want %v", dtype, scales[i], shifts[i], got, want)
			}
		}
	}
}

// TestRKDEqualImages compares value and gradient with loops where images are equal or nearly so, for the student, the
// teacher, both, or all images: in float64, and as well as float32 can.
func TestRKDEqualImages(t *testing.T) {
	const n, d = 6, 4
	for name, change := range map[string]func(student, teacher []float64){
		"none":    func(_, _ []float64) {},
		"student": func(s, _ []float64) { copy(s[3*d:], s[:d]) },
		"teacher": func(_, t []float64) { copy(t[3*d:], t[:d]) },
		"both":    func(s, t []float64) { copy(s[3*d:], s[:2*d]); copy(t[3*d:], t[:2*d]) },
		"near":    func(s, _ []float64) { copy(s[3*d:], s[:d]); s[3*d] += 1e-3 },
		"all": func(s, _ []float64) {
			for i := range n {
				copy(s[i*d:], s[:d])
			}
		},
		"far from 0": func(s, _ []float64) {
			for i := range s {
				s[i] += 64 // exact in float32 for the rounded values below
			}
		},
	} {
		student, teacher := normal(1, n, d), normal(2, n, d)
		for i := range student {
			student[i], teacher[i] = math.Round(student[i]*1024)/1024, math.Round(teacher[i]*1024)/1024
		}
		change(student, teacher)
		wantD, gradientD := rkdDistance(student, teacher, n)
		wantA, gradientA := rkdAngle(student, teacher, n)
		for dtype, tolerance := range map[dtypes.DType]float64{dtypes.Float64: 1e-9, dtypes.Float32: 1e-3} {
			got := evaluate(t, devicetest.Open(t).Backend, func(inputs []*Node) []*Node {
				f, ft := ConvertDType(inputs[0], dtype), ConvertDType(inputs[1], dtype)
				distance, angle := RKD(f, ft)
				out := []*Node{distance, Gradient(distance, f)[0], angle, Gradient(angle, f)[0]}
				for i := range out {
					out[i] = ConvertDType(out[i], dtypes.Float64)
				}
				return out
			}, tensorOf(student, n, d), tensorOf(teacher, n, d))
			for i, want := range [][]float64{{wantD}, gradientD, {wantA}, gradientA} {
				largest := 0.0
				for _, v := range want {
					largest = max(largest, math.Abs(v))
				}
				for k, v := range want {
					if !(math.Abs(got[i][k]-v) <= tolerance*max(largest, 1e-3)) {
						t.Errorf("%s, %s, result %d[%d]: %v, want %v", name, dtype, i, k, got[i][k], v)
						break
					}
				}
			}
		}
	}
}

// rkdDistance: Park et al. 2019, arXiv 1904.05068, and its gradient for the student. Equal images have the distance
// 1e-6 and no gradient, as RepDistiller's have.
func rkdDistance(student, teacher []float64, n int) (value float64, gradient []float64) {
	distances := func(x []float64) (d [][]float64, mean float64) {
		d = make([][]float64, n)
		for i := range n {
			for j := range n {
				length := lengthOf(difference(x, i, j, n))
				if i != j {
					length = max(length, 1e-6)
				}
				d[i] = append(d[i], length)
				mean += length / float64(n*(n-1))
			}
		}
		return d, mean
	}
	ds, meanS := distances(student)
	dt, meanT := distances(teacher)
	slope, atMean := make([]float64, n*n), 0.0 // with respect to the student's distances and their mean
	for i := range n {
		for j := range n {
			h, dh := huber(ds[i][j]/meanS - dt[i][j]/meanT)
			value += h / float64(n*n)
			slope[i*n+j] = dh / float64(n*n) / meanS
			atMean -= dh / float64(n*n) * ds[i][j] / meanS / meanS
		}
	}
	gradient = make([]float64, len(student))
	for i := range n {
		for j := range n {
			if u := difference(student, i, j, n); lengthOf(u) > 1e-6 {
				pull(gradient, u, i, j, (slope[i*n+j]+atMean/float64(n*(n-1)))/lengthOf(u), n)
			}
		}
	}
	return value, gradient
}

// rkdAngle is the same for the angles, by unit vectors: those between equal images are 0, with no gradient.
func rkdAngle(student, teacher []float64, n int) (value float64, gradient []float64) {
	unit := func(x []float64, i, j int) ([]float64, float64) {
		u := difference(x, j, i, n)
		length := lengthOf(u)
		for k := range u {
			if length > 0 {
				u[k] /= length
			}
		}
		return u, length
	}
	gradient = make([]float64, len(student))
	for i := range n {
		for j := range n {
			for k := range n {
				a, lengthA := unit(student, i, j)
				b, _ := unit(student, i, k)
				at, _ := unit(teacher, i, j)
				bt, _ := unit(teacher, i, k)
				cosine := inner(a, b)
				h, dh := huber(cosine - inner(at, bt))
				value += h / float64(n*n*n)
				if lengthA == 0 {
					continue
				}
				away := make([]float64, len(a)) // of the cosine, for x_j; the same again for x_k, by symmetry
				for c := range away {
					away[c] = b[c] - cosine*a[c]
				}
				pull(gradient, away, j, i, 2*dh/float64(n*n*n)/lengthA, n)
			}
		}
	}
	return value, gradient
}

func huber(x float64) (value, slope float64) {
	if math.Abs(x) < 1 {
		return x * x / 2, x
	}
	return math.Abs(x) - 0.5, math.Copysign(1, x)
}

// difference is row i less row j.
func difference(x []float64, i, j, n int) []float64 {
	d := len(x) / n
	u := make([]float64, d)
	for k := range u {
		u[k] = x[i*d+k] - x[j*d+k]
	}
	return u
}

// pull adds weight u to row i of the gradient and takes it from row j.
func pull(gradient, u []float64, i, j int, weight float64, n int) {
	d := len(gradient) / n
	for k, v := range u {
		gradient[i*d+k] += weight * v
		gradient[j*d+k] -= weight * v
	}
}

func inner(a, b []float64) (sum float64) {
	for i := range a {
		sum += a[i] * b[i]
	}
	return sum
}

func lengthOf(u []float64) float64 { return math.Sqrt(inner(u, u)) }
