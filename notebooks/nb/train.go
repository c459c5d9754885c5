package nb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// Train trains runs, teachers before their students, and returns their records. A run lies in dir/EXPERIMENT/PROFILE/;
// what has ended is kept. While it trains the cell shows the curves and the time that is left. Interrupt the kernel to
// stop: the step in progress is finished and saved, and the same cell goes on from there when it is run again. A loss
// that becomes NaN or infinite ends that run where its recipe says so, and the others go on.
func (b *Book) Train(dir string, recipes ...record.Recipe) []*record.Record {
	d := Open()
	defer d.Close()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	show := newLive(dir, recipes)
	records, err := trainAll(ctx, d, dir, recipes, show)
	show.close()
	if errors.Is(err, train.ErrInterrupted) {
		settle()
		fmt.Fprintln(os.Stderr, "Interrupted, and all is saved: run the cell again to go on.")
		exit(130)
	}
	Check(err)
	return records
}

// trainAll runs the recipes in order.
func trainAll(ctx context.Context, d *device.Device, dir string, recipes []record.Recipe,
	show *live) ([]*record.Record, error) {
	runner := &experiment.Runner{Device: d, Dir: dir, Data: dataset.Options{Fetch: true}, Progress: show}
	defer runner.Close()
	var records []*record.Record
	for i := range recipes {
		show.begin(i)
		r, err := runner.Run(ctx, recipes[i])
		var nonFinite *train.NonFiniteError
		if err != nil && !errors.As(err, &nonFinite) {
			return records, err
		}
		records = append(records, r)
		show.end(r)
	}
	return records, nil
}
