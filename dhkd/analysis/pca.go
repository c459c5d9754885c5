package analysis

import (
	"errors"
	"fmt"
	"math"

	"gonum.org/v1/gonum/floats"
	"gonum.org/v1/gonum/mat"
	"gonum.org/v1/gonum/stat"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// PCA gives the two coordinates of each row of features, [n, d], along the axes of the largest variance, and the
// shares of the variance along them. An axis points to where its largest weight is positive, so that the picture does
// not depend on the library. Features that are all the same give one point. The error is that of features that are
// not finite or too few.
func PCA(features *mat.Dense) (record.Embedding, error) {
	e := record.Embedding{Kind: record.PCA}
	n, d := features.Dims()
	if n < 3 || d < 2 || !finite(features.RawMatrix().Data) {
		return e, fmt.Errorf("a picture needs 3 images of 2 finite features or more: there are %d of %d", n, d)
	}
	features = centred(features)
	var pc stat.PC
	if !pc.PrincipalComponents(features, nil) {
		return e, errors.New("the principal components were not found")
	}
	variances := pc.VarsTo(nil)
	total := floats.Sum(variances)
	if !(total > 0) { // all the same, as of a network that died: one point
		e.Points, e.Explained = make([][2]float64, n), []float64{0, 0}
		return e, nil
	}
	var axes, at mat.Dense
	pc.VectorsTo(&axes)
	at.Mul(features, axes.Slice(0, d, 0, 2))
	for axis := range 2 {
		e.Explained = append(e.Explained, variances[axis]/total)
		largest := 0.0
		for i := range d {
			if v := axes.At(i, axis); math.Abs(v) > math.Abs(largest)*(1+1e-9) {
				largest = v
			}
		}
		if largest < 0 {
			for i := range n {
				at.Set(i, axis, -at.At(i, axis))
			}
		}
	}
	e.Points = points(&at)
	return e, nil
}

func points(at mat.Matrix) (points [][2]float64) {
	n, _ := at.Dims()
	for i := range n {
		points = append(points, [2]float64{round(at.At(i, 0)), round(at.At(i, 1))})
	}
	return points
}
