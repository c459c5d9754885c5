package experiment

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// Evaluation is a trained network's performance.
type Evaluation struct {
	Model    string   `json:"model"`
	Dataset  string   `json:"dataset"`
	Images   int      `json:"images"`                  // evaluated
	Top1     float64  `json:"test_top1"`               // per cent, main head
	AuxTop1  *float64 `json:"aux_head_top1,omitempty"` // per cent, with an auxiliary head
	Loss     float64  `json:"test_loss"`               // mean cross-entropy
	Recorded string   `json:"recorded_top1,omitempty"` // what the file says, per cent
}

// Evaluate evaluates a network from [LoadNetwork] on the test split of the data that its metadata name.
func (r *Runner) Evaluate(ctx context.Context, n *train.Network, metadata map[string]string) (Evaluation, error) {
	var recipe record.Recipe
	if err := json.Unmarshal([]byte(metadata["recipe"]), &recipe); err != nil || recipe.Dataset.Name == "" {
		return Evaluation{}, fmt.Errorf("the file does not say which data the network is for: its metadata need a recipe")
	}
	set, err := r.load(ctx, recipe.Dataset)
	if err != nil {
		return Evaluation{}, err
	}
	measured, err := train.Evaluate(r.Device.Backend, set, n)
	if err != nil {
		return Evaluation{}, err
	}
	e := Evaluation{Model: n.Model.Name, Dataset: set.Name, Images: set.Test.Len(), Top1: measured.Top1, Loss: measured.Loss,
		Recorded: metadata["test_top1"]}
	if n.Model.AuxHead != "none" {
		e.AuxTop1 = &measured.AuxTop1
	}
	return e, nil
}
