package sweep

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The disk of one node is full: what its processes cannot save, those of the other node do, from where the former left
// the runs.
func TestDiskFullOnOneNode(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1, 2, 3, 4, 5, 6, 7, 8]", 1)
	full, outFull := startController(t, l.Dir, fullEnv+"=1")
	wait(t, "a run that could not be saved", func() bool { return strings.Contains(outFull.String(), "file too large") })
	good, outGood := startController(t, l.Dir)
	if err := good.Wait(); err != nil {
		t.Errorf("%v\n%s", err, outGood)
	}
	if err := full.Wait(); err != nil && !strings.Contains(outFull.String(), "given up after") &&
		!strings.Contains(outFull.String(), "dhkd sweep status says why") {
		t.Errorf("%v\n%s", err, outFull)
	}
	wantDone(t, l, true)
	resumed := 0
	for _, s := range (&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey() {
		if s.Record != nil {
			resumed += s.Record.Resumed
		}
	}
	if resumed == 0 {
		t.Error("no run went on from what the full node had saved")
	}
}

// A sweep is extended while it is being made, and the longer one is started on the same folder: each run of both is made
// once.
func TestExtendedWhileItRuns(t *testing.T) {
	l := local(t, "seeds: [1, 2]", 1)
	slow := filepath.Join(l.Dir, slowFile)
	check(t, os.WriteFile(slow, nil, 0o600))
	first, outFirst := startController(t, l.Dir)
	waitForLedger(t, l.Dir, 1)
	longer := expand(t, "seeds: [1, 2, 3, 4]")
	check(t, longer.Save(l.Dir, true))
	second, outSecond := startController(t, l.Dir)
	check(t, os.Remove(slow))
	errFirst, errSecond := first.Wait(), second.Wait()
	if errFirst != nil || errSecond != nil {
		t.Errorf("%v\n%s\n%v\n%s", errFirst, outFirst, errSecond, outSecond)
	}
	l.Plan = longer
	wantDone(t, l, true)
}

// Files that seem to be of tomorrow or of last year, as the clocks of other machines have it, change nothing.
func TestFilesOfOtherClocks(t *testing.T) {
	l := local(t, "seeds: [1, 2]", 2)
	slow := filepath.Join(l.Dir, slowFile)
	check(t, os.WriteFile(slow, nil, 0o600))
	c, _ := startController(t, l.Dir)
	waitForLedger(t, l.Dir, 3)
	check(t, c.Process.Kill())
	c.Wait()
	wait(t, "the end of all processes", func() bool { return len(running(t, l)) == 0 })
	times := []time.Time{time.Now().Add(24 * time.Hour), time.Now().Add(-365 * 24 * time.Hour)}
	check(t, filepath.Walk(l.Dir, func(path string, _ os.FileInfo, err error) error {
		times[0], times[1] = times[1], times[0]
		if err != nil {
			return err
		}
		return os.Chtimes(path, times[0], times[0])
	}))
	check(t, os.Remove(slow))
	again, output := startController(t, l.Dir)
	if err := again.Wait(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
	wantDone(t, l, false)
}
