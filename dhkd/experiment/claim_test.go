package experiment

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/train"
)

// A process that was taken for dead, and comes to life after another has taken its run over, writes nothing more:
// neither when it notices, nor when it would save, nor at its end.
func TestTakenOver(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	want := reference(t, r, recipe)
	dir := record.Dir(r.Dir, recipe)
	defer func(interval, beat time.Duration) { saveInterval, claim.Beat = interval, beat }(saveInterval, claim.Beat)
	saveInterval = 0
	for i, c := range []struct {
		name        string
		epoch, step int
		beat        time.Duration
	}{
		{"when it notices", 1, 1, time.Millisecond},
		{"when it would save", 2, 2, time.Hour},
		{"at its end", 3, 3, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			claim.Beat = c.beat
			var before map[string]string
			other := ""
			newHooks(r).step = onStep(c.epoch, c.step, func() {
				if other != "" {
					return
				}
				before = snapshot(t, dir)
				claims, err := filepath.Glob(filepath.Join(dir, ".claim-*"))
				check(t, err)
				other = claims[0] + "0" // a number ten times as high
				check(t, os.WriteFile(other, []byte(`{"host": "another", "released": true}`), 0o600))
				if c.beat < time.Second {
					time.Sleep(100 * c.beat)
				}
			})
			_, err := r.Run(t.Context(), recipe)
			if !errors.Is(err, ErrBusy) || !errors.Is(err, claim.ErrLost) || errors.Is(err, train.ErrInterrupted) {
				t.Errorf("%v", err)
			}
			unchanged(t, dir, before)
			if i == 2 {
				newHooks(r).step = func(progress.Update) {}
				_, err = r.Run(t.Context(), recipe)
				check(t, err)
				compare(t, want, r, recipe)
			}
		})
	}
}
