package record

import "time"

// SchemaVersion is the version of the record format. A record of another version is refused, never guessed at.
const SchemaVersion = 1

// Status of a run.
const (
	Running     = "running"     // in progress, or killed: it can be resumed
	Completed   = "completed"   // all epochs done
	Interrupted = "interrupted" // stopped by the user after a saved step: it can be resumed
	Failed      = "failed"      // stopped by an error, see Record.Failure
)

// Names of metrics. Accuracies are top-1 in per cent; losses are batch means weighted by batch size, before the weights
// gamma and alpha. A loss term's metric is "loss/" plus the name that the method gives it.
const (
	MetricStudentTest  = "student/test_top1"
	MetricStudentTrain = "student/train_top1" // running average over the epoch's batches, training mode
	MetricAuxTest      = "aux_head/test_top1" // only with an auxiliary head
	MetricTeacherTest  = "teacher/test_top1"  // only with a teacher
	MetricTestLoss     = "student/test_loss"  // cross-entropy on the test set
	MetricConflict     = "gradient/conflict"  // share of steps with a negative dot product, 0 to 1; only with alignment
	MetricCoefficient  = "gradient/mean_c"    // mean alignment coefficient c
	MetricCosine       = "gradient/mean_cos"  // mean cosine between the two gradients
	MetricNonFinite    = "steps/non_finite"   // steps of the epoch whose loss was NaN or infinite
	LossPrefix         = "loss/"              // "loss/ce", "loss/kl", "loss/binarykl", "loss/binarykl_norm"
)

// Record is what a run leaves, a JSON file.
type Record struct {
	Schema      int         `json:"schema"`
	Recipe      Recipe      `json:"recipe"`
	Status      string      `json:"status"`
	Failure     *Failure    `json:"failure,omitempty"`
	Environment Environment `json:"environment"`
	Data        Data        `json:"data"`
	Teacher     *TeacherRef `json:"teacher,omitempty"`
	Parameters  int         `json:"parameters"` // trained parameters, auxiliary head included
	// Devices is the number of devices that batches were divided among, and each other number with which the run was
	// continued; empty = one.
	Devices  []int     `json:"devices,omitempty"`
	Started  time.Time `json:"started"`
	Finished time.Time `json:"finished"` // of the last save
	// Seconds of wall time: training with evaluation, and compilation (not in the former). Sums over resumed parts.
	TrainSeconds    float64 `json:"train_seconds"`
	CompileSeconds  float64 `json:"compile_seconds"`
	ImagesPerSecond float64 `json:"images_per_second"` // trained images over the time of training steps alone
	Resumed         int     `json:"resumed"`           // times that the run was continued from a checkpoint
	Epochs          []Epoch `json:"epochs"`
	Last            int     `json:"last_epoch"` // the last finished epoch, from 1; 0 = none
	Best            int     `json:"best_epoch"` // the first epoch of the best student/test_top1, from 1; 0 = none
}

// Ended says whether the run is over: completed or failed.
func (r *Record) Ended() bool { return r.Status == Completed || r.Status == Failed }

// Epoch is one pass over the training images.
type Epoch struct {
	Epoch        int     `json:"epoch"` // from 1
	Step         int     `json:"step"`  // steps done at its end
	LearningRate float64 `json:"learning_rate"`
	Seconds      float64 `json:"seconds"`
	Metrics      Metrics `json:"metrics"`
	// Gradients is nil in an epoch without a measured step.
	Gradients *Gradients `json:"gradients,omitempty"`
}

// Failure says what ended a run.
type Failure struct {
	Message string `json:"message"`
	Term    string `json:"term,omitempty"` // the loss term that was NaN or infinite
	Epoch   int    `json:"epoch"`
	Step    int    `json:"step"` // from 1, over the whole run
}

// Environment is where a run was made.
type Environment struct {
	Go       string `json:"go"`
	Commit   string `json:"commit"` // of this module, "-dirty" appended; empty when unknown
	GoMLX    string `json:"gomlx"`
	GoXLA    string `json:"go_xla"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	Backend  string `json:"backend"`  // "xla:cpu", "go"
	Device   string `json:"device"`   // the backend's description
	Plugin   string `json:"plugin"`   // the plugin's file name, no directory
	API      string `json:"pjrt_api"` // the plugin's PJRT API version
	XLAFlags string `json:"xla_flags"`
	// JPEG is what decoded image files, and each other decoder with which the run was continued: pixels differ by rounding.
	// It is empty where images were not files.
	JPEG []string `json:"jpeg_decoders,omitempty"`
}

// Data is what was read.
type Data struct {
	Name       string            `json:"name"`
	Classes    int               `json:"classes"`
	Shape      [3]int            `json:"shape"` // channels, height, width
	Train      int               `json:"train"`
	Test       int               `json:"test"`
	Evaluation string            `json:"evaluation"` // "test" or "holdout"
	SHA256     map[string]string `json:"sha256"`     // source file name -> digest
	// Skipped are the image files that could not be read, by name.
	Skipped []string `json:"skipped,omitempty"`
}

// TeacherRef identifies the teacher that a student learnt from.
type TeacherRef struct {
	Model      string  `json:"model"`
	Checkpoint string  `json:"checkpoint"` // file name
	SHA256     string  `json:"sha256"`     // of that file
	Top1       float64 `json:"test_top1"`  // re-evaluated before use, per cent
	// CachedViews is the number of views of an image of which the logits were computed before training, see
	// [Teacher.Cache]; 0 = the teacher was part of every step. CacheSeconds is what computing or reading them took this
	// run, in no other time of the record; 0 = it got them from the run before.
	CachedViews  int     `json:"cached_views,omitempty"`
	CacheSeconds float64 `json:"cache_seconds,omitempty"`
	// Of a teacher that no run of the experiment trained:
	Reference string   `json:"reference,omitempty"`      // how the recipe names it
	Published *float64 `json:"published_top1,omitempty"` // per cent, as who made it says
	Checked   *float64 `json:"checked_top1,omitempty"`   // ours, on the images that the published accuracy is of
}
