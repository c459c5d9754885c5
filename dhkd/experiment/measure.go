package experiment

import (
	"cmp"
	"fmt"

	"github.com/dhkd-lab/dhkd-go/dhkd/analysis"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// collapseOf is the number of training images that a recipe measures collapse on; 0 for one that does not.
func collapseOf(recipe record.Recipe, train int) (int, error) {
	if recipe.Measure == nil || recipe.Measure.Collapse == nil {
		return 0, nil
	}
	n := recipe.Measure.Collapse.Images
	if n > train {
		return 0, fmt.Errorf("measure.collapse.images: is %d, there are %d training images", n, train)
	}
	return cmp.Or(n, min(record.CollapseImages, train)), nil
}

// measureCollapse adds the measures of neural collapse to the metrics of an epoch, where the recipe asks for them.
func (j *job) measureCollapse(epoch int, metrics record.Metrics) error {
	n, err := collapseOf(j.recipe, j.trainer.Data.Train.Len())
	if err != nil || n == 0 || epoch%j.recipe.Measure.Collapse.Every != 0 && epoch != j.recipe.Schedule.Epochs {
		return err
	}
	layers, err := j.trainer.HeadLayers(n)
	if err != nil {
		return fmt.Errorf("neural collapse: %w", err)
	}
	for head, layer := range layers {
		c, err := analysis.Collapse(analysis.Layer(layer))
		if err != nil {
			return fmt.Errorf("neural collapse of the %s head: %w", head, err)
		}
		for name, v := range c.Measures {
			metrics[record.CollapseMetric(head, name)] = v
		}
	}
	return nil
}
