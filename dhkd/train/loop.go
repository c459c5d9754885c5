package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// Plan is one run of a trainer's program.
type Plan struct {
	Seed         uint64 // of initial values, order of images, augmentation and dropout
	Epochs       int
	BatchSize    int
	LearningRate float64
	Milestones   []int
	Rate         float64
	// EvaluateEvery so many epochs, and after the last one; 0 = after the last one alone.
	EvaluateEvery int
	// StopOnNonFinite ends the run with a [NonFiniteError] at the first loss that is NaN or infinite; else training goes on.
	StopOnNonFinite bool
	// MeasureEvery so many steps of the run, from its first on, gradients are measured, unless the batch is an epoch's smaller
	// last one; 0 = never.
	MeasureEvery int
}

// Progress is where a run is. Together with the trainer's tensors it is all that a run needs to continue bit for bit.
type Progress struct {
	Epochs []record.Epoch // finished
	Step   int            // steps done in the epoch in progress
	Sums   Sums           // over those steps
	// Seconds of all parts of the run: in training steps, in training and evaluation, and in compilation (not in the former).
	StepSeconds, TrainSeconds, CompileSeconds float64
}

// Sums accumulate an epoch's metrics.
type Sums struct {
	Images    int
	Weighted  record.Metrics // sum over steps of value times batch size
	NonFinite int            // steps
	Seconds   float64
	Gradients *GradientSums `json:",omitempty"` // of measured steps; nil while there is none
}

// Hooks are called by [Trainer.Fit]; nil ones are not.
type Hooks struct {
	// AfterStep gets the metrics of the epoch so far.
	AfterStep func(p *Progress, epochMetrics record.Metrics)
	// AfterEpoch is called when an epoch is finished and evaluated.
	AfterEpoch func(p *Progress)
	// Measure may add metrics to an epoch's when it is finished and evaluated. It must leave the trainer's state alone: an
	// interruption can make it measure an epoch twice.
	Measure func(epoch int, metrics record.Metrics) error
	// Save stores the trainer's state and progress when it is time to: it is called after each step, after each epoch,
	// and when the run is interrupted.
	Save func(p *Progress) error
}

// NonFiniteError is a loss that is NaN or infinite.
type NonFiniteError struct {
	Term        string  // the term, or "loss" when only the sum overflows
	Value       float64 // NaN or an infinity
	Epoch, Step int     // from 1; the step counts from the start of the run
	Message     string  // when it was read from a record
}

func (e *NonFiniteError) Error() string {
	if e.Message != "" {
		return e.Message
	}
	return fmt.Sprintf("loss term %s is %g at step %d (epoch %d)", e.Term, e.Value, e.Step, e.Epoch)
}

// ErrInterrupted is returned by [Trainer.Fit] when its context ends: the step in progress was finished and all is saved.
var ErrInterrupted = errors.New("interrupted; everything is saved")

// Check says why [Trainer.Fit] cannot follow the plan from p, or nil.
func (t *Trainer) Check(plan Plan, p *Progress) error {
	if n := t.devices(); plan.BatchSize%n != 0 {
		return fmt.Errorf("batch_size %d: %d devices do not divide it, choose a multiple of %d", plan.BatchSize, n, n)
	}
	if plan.BatchSize < 2 || plan.BatchSize > t.train.n {
		return fmt.Errorf("batch_size %d: must be at least 2 and at most the %d training images", plan.BatchSize, t.train.n)
	}
	if t.train.n%plan.BatchSize == 1 {
		return fmt.Errorf("batch_size %d leaves a last batch of one image of %d, which batch norm cannot train on: choose another",
			plan.BatchSize, t.train.n)
	}
	steps := t.steps(plan)
	fits := len(p.Epochs) <= plan.Epochs && p.Step >= 0 && p.Step <= steps &&
		p.Sums.Images == min(p.Step*plan.BatchSize, t.train.n)
	for i, e := range p.Epochs {
		fits = fits && e.Epoch == i+1 && e.Step == (i+1)*steps
	}
	if !fits {
		return fmt.Errorf("its progress is damaged: %d epochs and %d steps, %d images, of %d epochs of %d steps",
			len(p.Epochs), p.Step, p.Sums.Images, plan.Epochs, steps)
	}
	return nil
}

// steps is the number of steps of an epoch.
func (t *Trainer) steps(plan Plan) int { return (t.train.n + plan.BatchSize - 1) / plan.BatchSize }

// Fit trains from p, which is new or loaded from a checkpoint together with the trainer's tensors, to the end of the plan.
func (t *Trainer) Fit(ctx context.Context, plan Plan, p *Progress, hooks Hooks) error {
	if err := t.Check(plan, p); err != nil {
		return err
	}
	if p.Sums.Weighted == nil {
		p.Sums.Weighted = record.Metrics{}
	}
	save := func() error {
		if hooks.Save == nil {
			return nil
		}
		return hooks.Save(p)
	}
	for len(p.Epochs) < plan.Epochs {
		if err := t.epoch(ctx, plan, p, hooks, save); err != nil {
			if errors.Is(err, ErrInterrupted) {
				if saveErr := save(); saveErr != nil {
					return fmt.Errorf("interrupted, and what was done since the last save is lost: %w", saveErr)
				}
			}
			return err
		}
		if hooks.AfterEpoch != nil {
			hooks.AfterEpoch(p)
		}
		if err := save(); err != nil {
			return err
		}
	}
	return nil
}

// epoch runs the rest of the epoch in progress and evaluates.
func (t *Trainer) epoch(ctx context.Context, plan Plan, p *Progress, hooks Hooks, save func() error) error {
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	epoch := len(p.Epochs) + 1
	steps := t.steps(plan)
	learningRate := MultiStep(plan.LearningRate, plan.Milestones, plan.Rate, epoch)
	order := order(t.train.n, plan.Seed, epoch)
	t.train.follow(order[min(p.Step*plan.BatchSize, t.train.n):], plan.BatchSize, plan.Seed, epoch)
	defer t.train.unfollow()
	for p.Step < steps {
		batch := order[p.Step*plan.BatchSize : min((p.Step+1)*plan.BatchSize, t.train.n)]
		start, compiling := time.Now(), t.compileTime
		// A smaller last batch is not measured: it would need a program of its own, and compares with no other.
		measure := plan.MeasureEvery > 0 && ((epoch-1)*steps+p.Step)%plan.MeasureEvery == 0 && len(batch) == plan.BatchSize
		metrics, measured, err := t.runStep(batch, learningRate, plan.Seed, epoch, p.Step, measure)
		if err != nil {
			return err
		}
		compile := (t.compileTime - compiling).Seconds()
		seconds := time.Since(start).Seconds() - compile
		p.CompileSeconds += compile
		p.StepSeconds += seconds
		p.TrainSeconds += seconds
		p.Sums.Seconds += seconds
		p.Step++
		p.Sums.add(metrics, len(batch))
		if measure {
			if p.Sums.Gradients == nil {
				p.Sums.Gradients = &GradientSums{}
			}
			p.Sums.Gradients.add(t.measuredTerms, measured)
		}
		if bad := metrics.nonFinite(); bad != nil {
			p.Sums.NonFinite++
			if plan.StopOnNonFinite {
				return &NonFiniteError{Term: strings.TrimPrefix(bad.Name, record.LossPrefix), Value: bad.Value, Epoch: epoch,
					Step: (epoch-1)*steps + p.Step}
			}
		}
		if hooks.AfterStep != nil {
			hooks.AfterStep(p, p.Sums.means())
		}
		if ctx.Err() != nil {
			return ErrInterrupted
		}
		if err := save(); err != nil {
			return err
		}
	}
	start, compiling := time.Now(), t.compileTime
	metrics := p.Sums.means()
	if epoch == plan.Epochs || plan.EvaluateEvery > 0 && epoch%plan.EvaluateEvery == 0 {
		if err := t.evaluateInto(metrics); err != nil {
			return err
		}
	}
	if hooks.Measure != nil {
		if err := hooks.Measure(epoch, metrics); err != nil {
			return err
		}
	}
	compile := (t.compileTime - compiling).Seconds()
	seconds := time.Since(start).Seconds() - compile
	p.CompileSeconds += compile
	p.TrainSeconds += seconds
	p.Epochs = append(p.Epochs, record.Epoch{
		Epoch: epoch, Step: epoch * steps, LearningRate: learningRate, Seconds: p.Sums.Seconds + seconds, Metrics: metrics,
		Gradients: p.Sums.Gradients.record(record.KeepsLayers(epoch, plan.Epochs)),
	})
	p.Step, p.Sums = 0, Sums{Weighted: record.Metrics{}}
	return nil
}

func (t *Trainer) evaluateInto(metrics record.Metrics) error {
	e, err := t.EvaluateStudent()
	if err != nil {
		return err
	}
	metrics[record.MetricStudentTest], metrics[record.MetricTestLoss] = e.Top1, e.Loss
	if t.Step.Method.Needs().AuxHead {
		metrics[record.MetricAuxTest] = e.AuxTop1
	}
	return nil
}

// order is the epoch's order of images.
func order(n int, seed uint64, epoch int) []int32 {
	indices := make([]int32, n)
	for i, index := range rand.New(rand.NewPCG(seed, uint64(epoch))).Perm(n) {
		indices[i] = int32(index)
	}
	return indices
}

func (s *Sums) add(metrics Metrics, images int) {
	s.Images += images
	for _, m := range metrics {
		s.Weighted[m.Name] += m.Value * float64(images)
	}
}

// means are the record's metrics of the steps so far.
func (s *Sums) means() record.Metrics {
	names := map[string]string{metricConflict: record.MetricConflict, metricCoefficient: record.MetricCoefficient,
		metricCosine: record.MetricCosine}
	means := record.Metrics{record.MetricNonFinite: float64(s.NonFinite)}
	for name, sum := range s.Weighted {
		mean := sum / float64(s.Images)
		switch {
		case name == metricTop1:
			means[record.MetricStudentTrain] = 100 * mean
		case name == metricLoss:
		case names[name] != "":
			means[names[name]] = mean
		default:
			means[name] = mean
		}
	}
	return means
}

// nonFinite returns the first loss that is NaN or infinite, or nil.
func (m Metrics) nonFinite() *Metric {
	for _, metric := range m {
		if math.IsNaN(metric.Value) || math.IsInf(metric.Value, 0) {
			return &metric
		}
	}
	return nil
}
