package record

import (
	"encoding/json"
	"fmt"
	"io"
	"math"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

const (
	// AnalysisFile is the name of an [Analysis] beside the record of its run.
	AnalysisFile = "analysis.json"
	// AnalysisSchema is the version of the format of an [Analysis].
	AnalysisSchema = 1
)

// Networks of an [Analysis], beside the heads [MainHead] and [AuxHead] of the student.
const (
	StudentNetwork = "student"
	TeacherNetwork = "teacher"
)

// Measures of neural collapse (Papyan, Han and Donoho 2020, Prevalence of neural collapse during the terminal phase
// of deep learning training, https://doi.org/10.1073/pnas.2015509117), for C classes, features h, class means less
// their mean as rows of M, and the rows of a classifier less their mean as rows of W. All are 0 at full collapse, and
// NaN where they are not defined, as for features that are all the same. Where C - 1 is more than the width of the
// features there is no simplex with all angles equal, so that the angles' and the simplex's measures cannot reach 0.
const (
	// NC1 is trace(Sigma_W Sigma_B^+)/C: the variability within classes in units of that between their means.
	NC1 = "nc1"
	// NC2Norms is the standard deviation of the lengths of M's rows over their mean; NC2ClassifierNorms that of W's.
	NC2Norms           = "nc2/norms"
	NC2ClassifierNorms = "nc2/classifier_norms"
	// NC2Angles is the standard deviation of the cosines between M's rows; NC2ClassifierAngles that of W's.
	NC2Angles           = "nc2/angles"
	NC2ClassifierAngles = "nc2/classifier_angles"
	// NC2Gap is the mean distance of the cosines between M's rows from -1/(C-1); NC2ClassifierGap that of W's.
	NC2Gap           = "nc2/gap"
	NC2ClassifierGap = "nc2/classifier_gap"
	// NC3 is the Frobenius norm of W/|W| - M/|M|, 0 to 2: how far the classifier is from the class means. Its square
	// is 2 - 2 cos of the angle between W and M, and is what some figures show under this name.
	NC3 = "nc3"
	// NC4 is the share of images, 0 to 1, whose nearest class mean is not the classifier's answer.
	NC4 = "nc4"
	// ETFMeans is the Frobenius norm of MM'/|MM'| - (I - 11'/C)/sqrt(C-1), 0 to sqrt(2): the distance from a simplex
	// equiangular tight frame. ETFClassifier is that of W.
	ETFMeans      = "etf/means"
	ETFClassifier = "etf/classifier"
)

// CollapseMeasures are the names of all of them.
var CollapseMeasures = []string{NC1, NC2Norms, NC2Angles, NC2Gap, NC2ClassifierNorms, NC2ClassifierAngles,
	NC2ClassifierGap, NC3, NC4, ETFMeans, ETFClassifier}

// CollapseMetric is the metric of an epoch with that measure of that head, "collapse/main/nc1".
func CollapseMetric(head, measure string) string { return "collapse/" + head + "/" + measure }

// Analysis is what can be seen in a trained network beside its accuracy: a JSON file, from which the figures are drawn.
// Parts that were not asked for, or that the run has nothing for, are nil.
type Analysis struct {
	Schema      int          `json:"schema"`
	Recipe      Recipe       `json:"recipe"`            // of the run
	Weights     WeightsFile  `json:"weights"`           // of the network, the student
	Teacher     *WeightsFile `json:"teacher,omitempty"` // that it learnt from
	Data        Data         `json:"data"`
	Environment Environment  `json:"environment"`

	Collapse   []Collapse  `json:"collapse,omitempty"`   // of training images
	Logits     []Logits    `json:"logits,omitempty"`     // of test images: main, aux, teacher, as far as there are
	Embeddings *Embeddings `json:"embeddings,omitempty"` // of test images
	CKA        *CKA        `json:"cka,omitempty"`        // of test images
	Probe      *Probe      `json:"probe,omitempty"`      // on another data set
}

// Collapse holds the measures of neural collapse of one head, on the features that its last linear layer reads.
type Collapse struct {
	Of       string  `json:"of"`       // MainHead, AuxHead or TeacherNetwork
	Images   int     `json:"images"`   // training images, not augmented, the network in inference mode
	Classes  int     `json:"classes"`  // that have images; others are left out
	Width    int     `json:"width"`    // of the features
	Measures Metrics `json:"measures"` // by the names of CollapseMeasures
}

// Logits is what the logits of one network or head look like.
type Logits struct {
	Of     string  `json:"of"` // MainHead, AuxHead or TeacherNetwork
	Images int     `json:"images"`
	Top1   float64 `json:"top1"` // per cent
	// Calibration, as in [Scores].
	CrossEntropy float64 `json:"cross_entropy"`
	ECE          float64 `json:"ece"`
	Bins         []Bin   `json:"bins"`

	All   Distribution `json:"all"`   // of all logits
	Label Distribution `json:"label"` // of the logits of the images' labels
	// Offset is the distribution of an image's mean over classes: what softmax hides, since it is the same for logits that
	// differ by a constant, and what BinaryKL sees.
	Offset Distribution `json:"offset"`
	// Difference is the distribution of all logits less the teacher's; nil for the teacher, and without one.
	Difference *Distribution `json:"difference,omitempty"`
	// Map[label][class] is the mean logit of that class over the images of that label, to four decimals; the row of a
	// label without images is empty. It is nil with more than MostMapped classes.
	Map [][]float64 `json:"map,omitempty"`
}

// MostMapped is the largest number of classes of which the maps of mean logits are kept.
const MostMapped = 250

// Distribution summarises values. The histograms of one quantity have the same bins in all [Logits] of an [Analysis].
type Distribution struct {
	Values    int       `json:"values"`
	Mean      float64   `json:"mean"`
	SD        float64   `json:"sd"` // n in the denominator
	Quantiles []float64 `json:"quantiles"`
	Low       float64   `json:"low"`    // of the first bin
	High      float64   `json:"high"`   // of the last bin
	Counts    []int     `json:"counts"` // in bins of equal width
}

// QuantileLevels are the shares of the values that are at most as large as each of [Distribution].Quantiles.
var QuantileLevels = []float64{0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1}

// Embeddings are pictures of the pooled features: two coordinates an image.
type Embeddings struct {
	Labels []int       `json:"labels"` // of the images, which all embeddings share
	All    []Embedding `json:"all"`
}

// Kinds of [Embedding].
const (
	PCA  = "pca"
	TSNE = "t-sne"
)

// Embedding is one picture.
type Embedding struct {
	Of     string       `json:"of"`     // StudentNetwork or TeacherNetwork
	Kind   string       `json:"kind"`   // PCA or TSNE
	Points [][2]float64 `json:"points"` // an image each, to four decimals
	// Explained is the share of the variance, 0 to 1, along each axis of a PCA.
	Explained []float64 `json:"explained,omitempty"`
	// Of t-SNE: the perplexity, the seed of the first picture, and the Kullback-Leibler divergence of the last, in nats.
	Perplexity float64 `json:"perplexity,omitempty"`
	Seed       uint64  `json:"seed,omitempty"`
	KL         float64 `json:"kl,omitempty"`
}

// MostEmbedded is the largest number of images of [Embeddings].
const MostEmbedded = 1000

// CKA holds the linear centred kernel alignment between stages of the student and of the teacher, 0 to 1: 1 for
// features that are the same but for a rotation and a factor (Kornblith et al. 2019, Similarity of neural network
// representations revisited, arXiv 1905.00414, equation 4).
type CKA struct {
	Images  int         `json:"images"`
	Student []string    `json:"student"` // names of its stages, first to last
	Teacher []string    `json:"teacher"`
	Values  [][]float64 `json:"values"` // [student][teacher], to four decimals
}

// Probe is how well a linear classifier does on another data set with the frozen features of the networks.
type Probe struct {
	Dataset string       `json:"dataset"`
	Classes int          `json:"classes"`
	Train   int          `json:"train"` // images
	Test    int          `json:"test"`
	L2      float64      `json:"l2"` // weight of the squared weights
	Results []ProbeScore `json:"results"`
}

// ProbeScore is a network's, top-1 in per cent.
type ProbeScore struct {
	Of    string  `json:"of"` // StudentNetwork or TeacherNetwork
	Width int     `json:"width"`
	Train float64 `json:"train_top1"`
	Test  float64 `json:"test_top1"`
}

// LogitsOf returns the logits of a head or of the teacher, or nil.
func (a *Analysis) LogitsOf(of string) *Logits {
	for i := range a.Logits {
		if a.Logits[i].Of == of {
			return &a.Logits[i]
		}
	}
	return nil
}

// MapDifference is the absolute difference between two maps of mean logits, [label][class]. With offset, each row of
// a map is taken less its own mean first, so that what softmax hides does not count. Rows that either lacks are
// empty.
func MapDifference(a, b [][]float64, offset bool) [][]float64 {
	difference := make([][]float64, min(len(a), len(b)))
	for label := range difference {
		if len(a[label]) == 0 || len(b[label]) != len(a[label]) {
			continue
		}
		shift := 0.0
		if offset {
			shift = mean(a[label]) - mean(b[label])
		}
		for class, v := range a[label] {
			difference[label] = append(difference[label], math.Abs(v-b[label][class]-shift))
		}
	}
	return difference
}

// MapDistance is the mean size of [MapDifference] between the teacher's mean logits and those of a head of the student, in
// logits: how far the two are apart. centred leaves out what softmax hides. It is false where either has no map.
func (a *Analysis) MapDistance(head string, centred bool) (float64, bool) {
	teacher, student := a.LogitsOf(TeacherNetwork), a.LogitsOf(head)
	if teacher == nil || student == nil {
		return 0, false
	}
	var sizes []float64
	for _, row := range MapDifference(teacher.Map, student.Map, centred) {
		sizes = append(sizes, row...)
	}
	return mean(sizes), len(sizes) > 0
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v
	}
	return sum / float64(len(values))
}

// Save writes the analysis as JSON, whole or not at all.
func (a *Analysis) Save(path string) error {
	if err := a.Validate(); err != nil {
		return fmt.Errorf("cannot write analysis %s: %w", path, err)
	}
	return safefile.Write(path, func(w io.Writer) error {
		encoder := json.NewEncoder(w)
		encoder.SetEscapeHTML(false)
		return encoder.Encode(a)
	})
}

// LoadAnalysis reads and checks what [Analysis.Save] wrote.
func LoadAnalysis(path string) (*Analysis, error) {
	a := &Analysis{}
	if err := loadFile("analysis", path, "dhkd analyse", a); err != nil {
		return nil, err
	}
	return a, nil
}
