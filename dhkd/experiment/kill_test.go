package experiment

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/progress"
	"github.com/dhkd-lab/dhkd-go/dhkd/weights"
)

// childEnv makes the test binary the process that is killed: it holds the recipe, and its argument is the directory.
const childEnv = "DHKD_TEST_CHILD"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := child(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child runs the recipe, saves after each step, and prints a line for each.
func child(text string) error {
	var recipe record.Recipe
	if err := json.Unmarshal([]byte(text), &recipe); err != nil {
		return err
	}
	d, err := device.Open(context.Background(), device.Options{})
	if err != nil {
		return err
	}
	saveInterval = 0
	r := &Runner{Device: d, Dir: os.Getenv(childEnv + "_DIR")}
	newHooks(r).step = func(u progress.Update) {
		if u.Phase == "" {
			fmt.Println("step", u.Epoch, u.Step)
		}
	}
	_, err = r.Run(context.Background(), recipe)
	return err
}

// A run that is killed at any time, also while it saves, leaves whole files and goes on from them to the same end.
func TestKilled(t *testing.T) {
	r, recipe := newRunner(t), resolve(t, openTiny(t), "teacher")
	recipe.Schedule.Epochs = 6
	want := reference(t, r, recipe)
	dir := record.Dir(r.Dir, recipe)
	text, err := json.Marshal(recipe)
	check(t, err)
	for i, when := range []string{"while it saves", "at random", "while it saves"} {
		command := exec.CommandContext(t.Context(), os.Args[0])
		command.Env = append(os.Environ(), childEnv+"="+string(text), childEnv+"_DIR="+r.Dir)
		command.Stderr = os.Stderr
		out, err := command.StdoutPipe()
		check(t, err)
		check(t, command.Start())
		steps := bufio.NewScanner(out)
		for range 2 {
			if !steps.Scan() {
				t.Fatal("the process ended by itself: ", command.Wait())
			}
		}
		if when == "at random" {
			time.Sleep(rand.N(60 * time.Millisecond))
		} else {
			waitForTemporary(t, dir)
		}
		check(t, command.Process.Kill())
		if err := command.Wait(); err == nil {
			t.Fatal("the process ended before it was killed")
		}
		rec, err := record.Load(filepath.Join(dir, record.FileName))
		check(t, err)
		_, metadata, err := weights.LoadSafetensors(filepath.Join(dir, CheckpointFile))
		check(t, err)
		t.Logf("killed %s after %s: %s, record after epoch %d, checkpoint %.60s", when, steps.Text(), rec.Status, rec.Last,
			metadata["progress"])
		if _, err := os.Stat(filepath.Join(dir, WeightsFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("weights of a run that has not ended: %v", err)
		}
		if rec.Status != record.Running || rec.Resumed != i {
			t.Errorf("%s, resumed %d times", rec.Status, rec.Resumed)
		}
	}
	rec, err := r.Run(t.Context(), recipe)
	check(t, err)
	if rec.Resumed != 3 {
		t.Errorf("resumed %d times", rec.Resumed)
	}
	compare(t, want, r, recipe)
	for path := range snapshot(t, dir) {
		if strings.HasSuffix(path, ".tmp") {
			t.Errorf("left over: %s", path)
		}
	}
}

// waitForTemporary returns when a file is being written.
func waitForTemporary(t *testing.T, dir string) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); {
		entries, err := os.ReadDir(dir)
		check(t, err)
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), ".tmp") {
				return
			}
		}
	}
	t.Fatal("no file is ever being written")
}
