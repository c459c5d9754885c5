package train

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/gomlx/gomlx/core/tensors"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// Metadata of a checkpoint file.
const (
	checkpointFormat  = "dhkd-checkpoint"
	checkpointVersion = "1"
)

// SaveCheckpoint writes the student, the momenta and the progress to a safetensors file, atomically: a run that is killed
// at any time has the old checkpoint or the new one. run names the run, for [Trainer.LoadCheckpoint].
func (t *Trainer) SaveCheckpoint(path, run string, p *Progress) error {
	values := map[string]*tensors.Tensor{}
	for _, scope := range []string{studentScope, methodScope, momentumScope} {
		copies, err := t.copies(scope)
		if err != nil {
			return err
		}
		for name, value := range copies {
			values[scope+"/"+name] = value
		}
	}
	progress, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return weights.SaveSafetensors(path, values, map[string]string{
		"format": checkpointFormat, "version": checkpointVersion, "run": run, "progress": string(progress),
	})
}

// LoadCheckpoint sets the trainer to what [Trainer.SaveCheckpoint] wrote and returns the progress. A file that is not there
// gives an error that is [os.ErrNotExist]; one of another run, program version or network, or that the plan cannot go
// on from, is refused, and the trainer is as it was.
func (t *Trainer) LoadCheckpoint(path, run string, plan Plan) (*Progress, error) {
	values, metadata, err := weights.LoadSafetensors(path)
	const remedy = "move the file away to start the run anew"
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, err
	case err != nil:
		return nil, fmt.Errorf("cannot continue: %w; %s", err, remedy)
	}
	refuse := func(format string, args ...any) error {
		return fmt.Errorf("cannot continue from %s: %s; %s", path, fmt.Sprintf(format, args...), remedy)
	}
	switch {
	case metadata["format"] != checkpointFormat:
		return nil, refuse("it is no checkpoint of a run")
	case metadata["version"] != checkpointVersion:
		return nil, refuse("it has format version %q, this program reads %q", metadata["version"], checkpointVersion)
	case metadata["run"] != run:
		return nil, refuse("it was written by a run with another recipe")
	}
	p := &Progress{}
	if err := json.Unmarshal([]byte(metadata["progress"]), p); err != nil {
		return nil, refuse("its progress is damaged: %v", err)
	}
	if err := t.Check(plan, p); err != nil {
		return nil, refuse("%v", err)
	}
	parts := map[string]map[string]*tensors.Tensor{studentScope: {}, methodScope: {}, momentumScope: {}}
	for name, value := range values {
		scope, short, _ := strings.Cut(name, "/")
		if parts[scope] == nil {
			return nil, refuse("it has an unknown tensor %q", name)
		}
		parts[scope][short] = value
	}
	student, err := t.Step.Model.Initial(t.Backend, t.imageShape(), 0)
	if err != nil {
		return nil, err
	}
	own, err := t.methodVariables(0)
	if err != nil {
		return nil, err
	}
	wanted := map[string][]zoo.Weight{studentScope: student, methodScope: own}
	for prefix, weights := range map[string][]zoo.Weight{"": student, methodPrefix: own} {
		for _, w := range weights {
			if w.Trained {
				wanted[momentumScope] = append(wanted[momentumScope], zoo.Weight{Name: prefix + w.Name, Value: w.Value})
			}
		}
	}
	for scope, weights := range wanted {
		if err := matches(weights, parts[scope]); err != nil {
			return nil, refuse("%s: %v", scope, err)
		}
	}
	for scope, weights := range wanted {
		for _, w := range weights {
			if err := t.set(scope, w.Name, parts[scope][w.Name], w.Trained); err != nil {
				return nil, err
			}
		}
	}
	if p.Sums.Weighted == nil {
		p.Sums.Weighted = record.Metrics{}
	}
	return p, nil
}
