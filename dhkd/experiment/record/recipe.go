package record

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"

	"github.com/goccy/go-yaml"
)

// Recipe is one run, fully explicit: nothing that shapes its result is left to a default elsewhere.
// It is stored as resolved in every [Record]. As YAML it is a section of an [Experiment] file.
type Recipe struct {
	Experiment string    `yaml:"experiment" json:"experiment"` // name of its experiment, "quickstart"
	Name       string    `yaml:"name" json:"name"`             // name of the run within it, "dhkd"; a file name
	Label      string    `yaml:"label" json:"label"`           // how figures and tables name it, "DHKD (two heads)"
	Profile    string    `yaml:"profile" json:"profile"`       // "paper", "offline" or "smoke"
	Dataset    Dataset   `yaml:"dataset" json:"dataset"`
	Teacher    *Teacher  `yaml:"teacher,omitempty" json:"teacher,omitempty"` // nil for a run without a teacher
	Model      Model     `yaml:"model" json:"model"`                         // the network that is trained
	Method     Method    `yaml:"method" json:"method"`
	Optimizer  Optimizer `yaml:"optimizer" json:"optimizer"`
	Schedule   Schedule  `yaml:"schedule" json:"schedule"`
	BatchSize  int       `yaml:"batch_size" json:"batch_size"`
	// Precision is what convolutions compute in while the run trains, one of [Precisions]; empty is float32.
	Precision string `yaml:"precision,omitempty" json:"precision,omitempty"`
	Seed      uint64 `yaml:"seed" json:"seed"`
	NonFinite string `yaml:"non_finite" json:"non_finite"` // what a NaN or infinite loss does: "stop" or "continue"
	// Measure says what is measured in the course of training; nil = nothing.
	Measure *Measure `yaml:"measure,omitempty" json:"measure,omitempty"`
	// Tuning says how the learning rate was chosen; nil when it was given.
	Tuning *Tuning `yaml:"tuning,omitempty" json:"tuning,omitempty"`
}

// Dataset names the images.
type Dataset struct {
	Name    string `yaml:"name" json:"name"`       // "fashion-pairs-100", "cifar-100", "imagenet"
	Train   int    `yaml:"train" json:"train"`     // training images; 0 = all
	Holdout int    `yaml:"holdout" json:"holdout"` // the last so many of them are evaluated in place of the test set
	Test    int    `yaml:"test" json:"test"`       // test images; 0 = all
	Seed    uint64 `yaml:"seed" json:"seed"`       // seed of the pairing (fashion-pairs-100)
	Augment string `yaml:"augment" json:"augment"` // "none", "crop-flip", or "resized-crop-flip" of images of any size
	Pad     int    `yaml:"pad" json:"pad"`         // zero padding of the crop in pixels, at least 1 for crop-flip
	// Of folders of images, of any size:
	Side   int `yaml:"side,omitempty" json:"side,omitempty"`     // of the squares that the network sees; 0 = 224
	Resize int `yaml:"resize,omitempty" json:"resize,omitempty"` // shorter side before the centre is evaluated; 0 = 8/7 of side
	// Crops that are resized are at least MinArea of the image, with a ratio of width to height of MinAspect to 1/MinAspect.
	MinArea   float64 `yaml:"min_area,omitempty" json:"min_area,omitempty"`
	MinAspect float64 `yaml:"min_aspect,omitempty" json:"min_aspect,omitempty"`
	// BadImages says what an unreadable file does: "stop" (also if empty), or "skip", which the record counts.
	BadImages string `yaml:"bad_images,omitempty" json:"bad_images,omitempty"`
}

// Model names a network of the zoo.
type Model struct {
	Name    string `yaml:"name" json:"name"`                     // "resnet8"
	Head    string `yaml:"head,omitempty" json:"head,omitempty"` // of the main head: "nonlinear"; "linear" if empty
	AuxHead string `yaml:"aux_head" json:"aux_head"`             // "none", "linear" or "nonlinear"
}

// Heads says in words which heads the network has.
func (m Model) Heads() string {
	switch main := m.Head == "nonlinear"; {
	case m.AuxHead != "none" && main:
		return "nonlinear main head, " + m.AuxHead + " auxiliary head"
	case m.AuxHead != "none":
		return m.AuxHead + " auxiliary head"
	case main:
		return "one nonlinear head"
	}
	return "one head"
}

// Teacher names the network that is learnt from, and the run that trained it or the file that has it.
type Teacher struct {
	Model string `yaml:"model" json:"model"` // "resnet20"
	// Run is the name of the run that trains it.
	Run string `yaml:"run,omitempty" json:"run,omitempty"`
	// Experiment is that of Run where it is another one than the student's: one of the program's, of the same profile.
	Experiment string `yaml:"experiment,omitempty" json:"experiment,omitempty"`
	// Weights is in place of a run: a file, "hf://organisation/repository/file", or a published teacher,
	// "crd:resnet32x4".
	Weights string `yaml:"weights,omitempty" json:"weights,omitempty"`
	// Seed is that run's seed; 0 with weights.
	Seed uint64 `yaml:"seed" json:"seed"`
	// Cache says when the teacher's logits are computed. "none": in every step. "views": before training, of every view
	// that augmentation can make of a training image (18 with pad 1, 162 with pad 4), and kept in the cache directory
	// (teacher-logits) for other runs on the same images, whatever their method and seed; a run that this does not fit is
	// refused: a method that needs the teacher's maps, or logits of more than 4 GiB. "auto": views where that fits
	// and there are no more views than epochs, else none. Left out: auto for images that are not augmented, else none.
	// The results are the same but for rounding.
	Cache string `yaml:"cache,omitempty" json:"cache,omitempty"`
}

// Method names a distillation method and its hyper-parameters. Those that a method does not use are zero; "dhkd list methods"
// says which ones each has, and their published values.
type Method struct {
	Name        string  `yaml:"name" json:"name"`                                   // "ce", "kd", "ce+binarykl", "dhkd"
	Gamma       float64 `yaml:"gamma,omitempty" json:"gamma,omitempty"`             // weight of cross-entropy
	Alpha       float64 `yaml:"alpha,omitempty" json:"alpha,omitempty"`             // weight of the method's loss, or of its first
	Beta        float64 `yaml:"beta,omitempty" json:"beta,omitempty"`               // weight of its second loss
	Temperature float64 `yaml:"temperature,omitempty" json:"temperature,omitempty"` // T
	Align       bool    `yaml:"align,omitempty" json:"align,omitempty"`             // gradient alignment
	AlignRule   string  `yaml:"align_rule,omitempty" json:"align_rule,omitempty"`   // "one-sided" if empty
	Literal     bool    `yaml:"literal,omitempty" json:"literal,omitempty"`         // the authors' clamped float32 formula
	Standardize bool    `yaml:"standardize,omitempty" json:"standardize,omitempty"` // z-score the logits of both networks
	Warmup      int     `yaml:"warmup,omitempty" json:"warmup,omitempty"`           // epochs in which its weight grows
	Until       int     `yaml:"until,omitempty" json:"until,omitempty"`             // epoch from which alpha is 0
	Stage       int     `yaml:"stage,omitempty" json:"stage,omitempty"`             // of the maps that are compared
	PreReLU     bool    `yaml:"pre_relu,omitempty" json:"pre_relu,omitempty"`       // the student's maps before their last ReLU
	Dim         int     `yaml:"dim,omitempty" json:"dim,omitempty"`                 // of an embedding, or channels of fused maps
	Resolution  int     `yaml:"resolution,omitempty" json:"resolution,omitempty"`   // height and width of maps that are compared
	Normalize   bool    `yaml:"normalize,omitempty" json:"normalize,omitempty"`     // maps to length 1
	Negatives   int     `yaml:"negatives,omitempty" json:"negatives,omitempty"`     // samples of other classes, an image
	// BankMomentum is the share of its old value that an entry of a memory bank keeps.
	BankMomentum float64 `yaml:"bank_momentum,omitempty" json:"bank_momentum,omitempty"`
	// With are methods whose terms are added.
	With []Method `yaml:"with,omitempty" json:"with,omitempty"`
}

// Optimizer is SGD with momentum and L2 weight decay, as PyTorch defines it.
type Optimizer struct {
	LearningRate float64 `yaml:"learning_rate" json:"learning_rate"`
	Momentum     float64 `yaml:"momentum" json:"momentum"`
	WeightDecay  float64 `yaml:"weight_decay" json:"weight_decay"`
	ClipNorm     float64 `yaml:"clip_norm,omitempty" json:"clip_norm,omitempty"` // of the global gradient; 0 = none
	// StepsPerBatch is how many times each batch's gradient is applied; 0 = once.
	StepsPerBatch int `yaml:"steps_per_batch,omitempty" json:"steps_per_batch,omitempty"`
	// ReferenceBatch is the batch size that LearningRate is for; 0 = the recipe's. See [Recipe.LearningRate].
	ReferenceBatch int `yaml:"reference_batch,omitempty" json:"reference_batch,omitempty"`
}

// Schedule multiplies the learning rate by Rate in every epoch after each milestone (epochs count from 1).
type Schedule struct {
	Epochs     int     `yaml:"epochs" json:"epochs"`
	Milestones []int   `yaml:"milestones" json:"milestones"`
	Rate       float64 `yaml:"rate" json:"rate"`
	// EvaluateEvery so many epochs, and after the last; 0 = after the last alone.
	EvaluateEvery int `yaml:"evaluate_every,omitempty" json:"evaluate_every,omitempty"`
}

// Tuning is the search that chose a learning rate: accuracy on pairs held out of the training set.
type Tuning struct {
	Holdout    int              `yaml:"holdout" json:"holdout"` // images held out
	Seeds      []uint64         `yaml:"seeds" json:"seeds"`
	Candidates []TuningAccuracy `yaml:"candidates" json:"candidates"`
}

// TuningAccuracy is one learning rate's last-epoch top-1 accuracy on the held-out images, in per cent, a value per
// seed.
type TuningAccuracy struct {
	LearningRate float64   `yaml:"learning_rate" json:"learning_rate"`
	Top1         []float64 `yaml:"top1" json:"top1"`
}

// LearningRate is that of the first epoch: the optimizer's, in proportion to the batch where that has a reference (the linear
// scaling rule of Goyal et al. 2017, arXiv 1706.02677).
func (r Recipe) LearningRate() float64 {
	if r.Optimizer.ReferenceBatch == 0 {
		return r.Optimizer.LearningRate
	}
	return r.Optimizer.LearningRate * float64(r.BatchSize) / float64(r.Optimizer.ReferenceBatch)
}

// YAML prints the recipe with every field that its run uses. [ParseRecipe] reads it back to an equal recipe.
func (r Recipe) YAML() ([]byte, error) {
	if err := r.Validate(); err != nil {
		return nil, fmt.Errorf("recipe of run %s: %w", r.Name, err)
	}
	// The library leaves some texts bare that are no text when read back, such as .inf.
	text := yaml.CustomMarshaler(func(s string) ([]byte, error) {
		if !bare.MatchString(s) || word.MatchString(s) {
			s = strconv.Quote(s) // what is printable has the same escapes in YAML
		}
		return []byte(s), nil
	})
	return yaml.MarshalWithOptions(r, yaml.IndentSequence(true), text)
}

var (
	bare = regexp.MustCompile(`^[a-zA-Z]([a-zA-Z0-9 ,.+-]*[a-zA-Z0-9])?$`) // text in YAML without quotes, but for
	word = regexp.MustCompile(`^(?i:true|false|null|yes|no|on|off|y|n)$`)
)

// ParseRecipe reads one recipe from YAML as strictly as [ParseExperiment] reads an experiment; name is the file's, for
// messages. Nothing has a default.
func ParseRecipe(name string, data []byte) (Recipe, error) {
	doc, root, err := parseYAML(name, data)
	if err != nil {
		return Recipe{}, err
	}
	var r Recipe
	if err := doc.decode(root, reflect.ValueOf(&r).Elem(), ""); err != nil {
		return Recipe{}, err
	}
	if p := r.check(Names{}); p != nil {
		return Recipe{}, doc.errorAt(nil, p.path, "%s", p.message)
	}
	return r, nil
}

// clone copies what a recipe points to.
func (r Recipe) clone() Recipe {
	r.Schedule.Milestones = slices.Clone(r.Schedule.Milestones)
	r.Method.With = slices.Clone(r.Method.With)
	r.Measure = r.Measure.clone()
	if r.Teacher != nil {
		t := *r.Teacher
		r.Teacher = &t
	}
	return r
}
