package analysis

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// TSNEOptions are those of [TSNE]; the zero value is the usual choice.
type TSNEOptions struct {
	Perplexity float64 // effective number of neighbours; 0 = 30, or (n-1)/3 if that is less
	Steps      int     // of gradient descent; 0 = 1,000
	Seed       uint64  // of the first picture
	// Progress, unless nil, is called after each step with the Kullback-Leibler divergence, in nats, of the picture that
	// the step made. In the first quarter of the steps the attraction is exaggerated, but not in the divergence.
	Progress func(step int, kl float64)
}

// Constants of the descent: of van der Maaten and Hinton's paper, but the exaggeration of 12 and the rate, which
// grows with the images, are those of Belkina et al. 2019 (https://doi.org/10.1038/s41467-019-13055-y).
const (
	tsneExaggeration  = 12
	tsneEarlyMomentum = 0.5
	tsneMomentum      = 0.8
	tsneLeastRate     = 50
	tsneLeastGain     = 0.01
	tsneLeastShare    = 1e-12 // of p and q, so that their logarithms are finite
)

// TSNE is t-distributed stochastic neighbour embedding of features, [n, d], in two dimensions (van der Maaten and
// Hinton 2008, Visualizing data using t-SNE), exact: all pairs of images count, at a cost of n^2 a step, for up to a
// few thousand images. The same arguments give the same picture, which is why this does not call danaugrs/go-tsne:
// that library draws its first picture from the global generator of math/rand and takes no other. The error is that of
// features that are not finite or too few, or of a perplexity that does not fit.
func TSNE(features *mat.Dense, o TSNEOptions) (record.Embedding, error) {
	n, _ := features.Dims()
	if n < 5 || !finite(features.RawMatrix().Data) {
		return record.Embedding{}, fmt.Errorf("t-SNE needs finite features of 5 images or more: there are %d images", n)
	}
	if o.Perplexity == 0 {
		o.Perplexity = math.Min(30, float64(n-1)/3)
	}
	if !(o.Perplexity > 1 && o.Perplexity < float64(n-1)) {
		return record.Embedding{}, fmt.Errorf("perplexity %g: must be above 1 and below the %d other images", o.Perplexity,
			n-1)
	}
	if o.Steps == 0 {
		o.Steps = 1000
	}
	d := newDescent(jointProbabilities(features, o.Perplexity), n, o.Seed)
	for step := range o.Steps {
		if step < o.Steps/4 {
			d.step(tsneExaggeration, tsneEarlyMomentum)
		} else {
			d.step(1, tsneMomentum)
		}
		if o.Progress != nil {
			o.Progress(step+1, d.divergence())
		}
	}
	e := record.Embedding{Kind: record.TSNE, Perplexity: o.Perplexity, Seed: o.Seed, KL: d.divergence()}
	if !finite([]float64{e.KL}) {
		return e, errors.New("t-SNE did not settle: the picture is not finite")
	}
	for _, at := range d.y {
		e.Points = append(e.Points, [2]float64{round(at[0]), round(at[1])})
	}
	return e, nil
}

// jointProbabilities are p_ij = (p_j|i + p_i|j)/2n of all pairs j < i, in the order of i, then j. p_j|i goes with
// exp(-beta_i d_ij) over the other images j, where d is the squared distance, and beta_i is such that the entropy of
// p_.|i is the logarithm of the perplexity.
func jointProbabilities(features *mat.Dense, perplexity float64) []float64 {
	n, _ := features.Dims()
	k := Gram(features)
	conditional := mat.NewDense(n, n, nil)
	distances := make([]float64, n)
	for i := range n {
		for j := range n {
			distances[j] = math.Max(0, k.At(i, i)+k.At(j, j)-2*k.At(i, j))
		}
		neighbours(conditional.RawRowView(i), distances, i, math.Log(perplexity))
	}
	var p []float64
	for i := range n {
		for j := range i {
			p = append(p, math.Max((conditional.At(i, j)+conditional.At(j, i))/float64(2*n), tsneLeastShare))
		}
	}
	return p
}

// neighbours fills in p_j|i for the distances from image i, by bisection on the logarithm of beta.
func neighbours(p, distances []float64, i int, entropy float64) {
	nearest, farthest := math.Inf(1), 0.0
	for j, d := range distances {
		if j != i {
			nearest, farthest = math.Min(nearest, d), math.Max(farthest, d)
		}
	}
	spread := math.Max(farthest-nearest, 1e-200)
	low, high := math.Log(1e-6/spread), math.Log(1e12/spread) // nearly equal shares, and nearly all to the nearest
	for range 100 {
		beta := math.Exp((low + high) / 2)
		sum, moment := 0.0, 0.0
		for j, d := range distances {
			if p[j] = 0; j != i {
				p[j] = math.Exp(-beta * (d - nearest))
				sum += p[j]
				moment += p[j] * (d - nearest)
			}
		}
		floats.Scale(1/sum, p)
		switch h := math.Log(sum) + beta*moment/sum; {
		case math.Abs(h-entropy) < 1e-9:
			return
		case h > entropy:
			low = (low + high) / 2
		default:
			high = (low + high) / 2
		}
	}
}

// descent is that of a picture y. Pairs j < i are in the order of i, then j.
type descent struct {
	p                            []float64
	w                            []float64 // 1/(1 + |y_i - y_j|^2): q times the sum of all
	y, gradient, velocity, gains [][2]float64
	rate                         float64
}

func newDescent(p []float64, n int, seed uint64) *descent {
	d := &descent{p: p, w: make([]float64, len(p)), y: make([][2]float64, n), gradient: make([][2]float64, n),
		velocity: make([][2]float64, n), gains: make([][2]float64, n),
		rate: math.Max(float64(n)/tsneExaggeration/4, tsneLeastRate)}
	random := rand.New(rand.NewPCG(seed, 0))
	for i := range d.y {
		d.y[i] = [2]float64{1e-4 * random.NormFloat64(), 1e-4 * random.NormFloat64()}
		d.gains[i] = [2]float64{1, 1}
	}
	return d
}

// weigh brings w up to date and returns its sum over all ordered pairs.
func (d *descent) weigh() float64 {
	sum, pair := 0.0, 0
	for i, a := range d.y {
		for _, b := range d.y[:i] {
			dx, dy := a[0]-b[0], a[1]-b[1]
			w := 1 / (1 + dx*dx + dy*dy)
			d.w[pair] = w
			pair++
			sum += 2 * w
		}
	}
	return sum
}

// divergence is sum over ordered pairs of p log(p/q).
func (d *descent) divergence() float64 {
	sum, kl := d.weigh(), 0.0
	for pair, p := range d.p {
		kl += 2 * p * math.Log(p/math.Max(d.w[pair]/sum, tsneLeastShare))
	}
	return kl
}

// slope brings the gradient of the divergence, with p times the exaggeration, up to date:
// dKL/dy_i = 4 sum over j of (p_ij - q_ij) w_ij (y_i - y_j).
func (d *descent) slope(exaggeration float64) {
	sum, pair := d.weigh(), 0
	for i, a := range d.y {
		var own [2]float64
		for j, b := range d.y[:i] {
			w := d.w[pair]
			force := 4 * (exaggeration*d.p[pair] - w/sum) * w
			pair++
			fx, fy := force*(a[0]-b[0]), force*(a[1]-b[1])
			own[0] += fx
			own[1] += fy
			d.gradient[j][0] -= fx
			d.gradient[j][1] -= fy
		}
		d.gradient[i] = own // those after i add to it
	}
}

// step moves the picture by gradient descent with momentum, and gains that grow where the direction stays the same.
func (d *descent) step(exaggeration, momentum float64) {
	d.slope(exaggeration)
	var mean [2]float64
	for i := range d.y {
		for axis, g := range d.gradient[i] {
			gain, v := &d.gains[i][axis], &d.velocity[i][axis]
			if (g > 0) == (*v > 0) {
				*gain = math.Max(*gain*0.8, tsneLeastGain)
			} else {
				*gain += 0.2
			}
			*v = momentum**v - d.rate**gain*g
			d.y[i][axis] += *v
			mean[axis] += d.y[i][axis] / float64(len(d.y))
		}
	}
	for i := range d.y {
		d.y[i][0] -= mean[0]
		d.y[i][1] -= mean[1]
	}
}
