package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights/teachers"
)

type distillCmd struct {
	selection
	Method        string   `placeholder:"NAME" help:"A method of \"dhkd list methods\", as published, in place of that of the first run that fits."`
	Teacher       string   `placeholder:"REF" help:"A trained teacher in place of the experiment's: a file, hf://ORG/REPO/FILE, or one of \"dhkd list teachers\"."`
	TeacherModel  string   `placeholder:"NAME" help:"The network that --teacher is of; found from the file by default."`
	TeacherCache  string   `placeholder:"none|views|auto" help:"When the teacher's logits are computed, in place of teacher.cache: in every step, or once, of all augmented views."`
	AcceptTeacher bool     `help:"Use published weights though their accuracy is not the published one, or their data others."`
	Measure       []string `placeholder:"gradients|collapse|..." help:"Compare the losses' gradients in every tenth step, measure neural collapse after every epoch; gradients.every=K, collapse.every=K: every K-th."`
	runFlags
}

func (distillCmd) Help() string {
	return `Examples:

  dhkd distill quickstart --run dhkd
  dhkd distill quickstart --run dhkd,kd --seeds 1,2,3
  dhkd distill quickstart --run dhkd --set method.alpha=0.1 --out runs/alpha0.1
  dhkd distill quickstart --method dkd --set beta=8
  dhkd distill my.yaml --run dhkd --teacher crd:resnet32x4 --out runs/crd
  dhkd distill quickstart --run ce+binarykl,kd --measure gradients --out runs/conflict
  dhkd distill imagenet-resnet34-resnet18 --devices all --set batch_size=1024 --set optimizer.reference_batch=256

Trains the experiment's students that learn from a teacher, and the teacher first where it has not been trained. Ctrl-C
finishes the step and saves; the same command continues. A run that is finished is kept.

A teacher that others have trained (--teacher here, or teacher: {weights: REF} in the experiment) is fetched once, checked
against its SHA-256 where that is known, and evaluated: it must have its published accuracy. It stays in the cache
(DHKD_CACHE), or in the Hugging Face hub's (HF_HOME, HF_HUB_CACHE, HF_ENDPOINT and HF_TOKEN are those of Python).
DHKD_MIRROR is an address that has copies of the files, DHKD_TEACHERS a file with teachers of your own.

With --teacher-cache views the teacher sees every crop and flip of every image once, and no step computes it again: its
logits are kept in the cache (teacher-logits, which may be deleted) for all runs on the same images, whatever their method
and seed. It is refused where logits do not do: methods that need the teacher's maps, or more than 4 GiB of logits. auto is
views where it is possible and there are no more views than epochs (18 with a padding of 1, 162 with 4).

With --measure gradients the record says of each epoch (epochs[].gradients) how the gradients of the method's first two
losses lie to each other in each part of the network, and how both pull and push the classes of the classifiers. The
weights are those of the same run without it, bit for bit. --set "measure.gradients.terms=[ce, rest]" names two losses.
With --measure collapse it has the measures of neural collapse of each head after each epoch (metrics collapse/main/nc1 and
so on), of 2,000 training images or collapse.images=N; that changes nothing of the weights either.

With --devices N each batch is divided among N devices of the backend, which "dhkd doctor" lists. The results are those of
one device but for rounding, so a run may go on with another N. batch_size must be a multiple of N. No learning rate is
changed, unless the recipe says for which batch it is meant: optimizer.reference_batch=256 multiplies it by batch_size/256.

` + exits(exitOK, exitFailed, exitUsage, exitMissing, exitBusy, exitInterrupted)
}

// Run distils.
func (c *distillCmd) Run(ctx context.Context, out output) (err error) {
	if c.Teacher == "" && c.TeacherModel != "" {
		return withCode(exitUsage, errors.New("--teacher-model says which network --teacher is of, which is missing"))
	}
	if c.Teacher != "" {
		o := teachers.Options{}
		if !c.Quiet {
			o.Progress = downloadProgress(out.stderr)
		}
		if c.teacher, err = experiment.FindTeacher(ctx, c.Teacher, c.TeacherModel, o); err != nil {
			if errors.Is(err, teachers.ErrNotFound) {
				return err
			}
			return withCode(exitUsage, err)
		}
	}
	if c.TeacherCache != "" {
		c.Set = append(c.Set, "teacher.cache="+c.TeacherCache)
	}
	var measure []string
	for _, what := range c.Measure {
		switch what {
		case "gradients":
			what = fmt.Sprintf("gradients.every=%d", record.GradientsEvery)
		case "collapse":
			what = fmt.Sprintf("collapse.every=%d", record.CollapseEvery)
		}
		measure = append(measure, "measure."+what)
	}
	c.Set = append(measure, c.Set...)
	c.acceptTeacher, c.method = c.AcceptTeacher, c.Method
	return c.do(ctx, out, c.runFlags, func(r record.Recipe) bool { return r.Teacher != nil })
}
