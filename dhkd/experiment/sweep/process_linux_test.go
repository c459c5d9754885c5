package sweep

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestSlots(t *testing.T) {
	var cores []int
	for i, s := range Slots(len(allowed()), []string{"3", "5"}, true) {
		if len(allowed()) > 1 && len(s.Cores) != 1 {
			t.Errorf("slot %d has cores %v", i, s.Cores)
		}
		cores = append(cores, s.Cores...)
		if want := "CUDA_VISIBLE_DEVICES=" + []string{"3", "5"}[i%2]; !slices.Equal(s.Env, []string{want}) {
			t.Errorf("slot %d: %v, want %s", i, s.Env, want)
		}
	}
	if len(allowed()) > 1 && !slices.Equal(cores, allowed()) {
		t.Errorf("cores %v of %v", cores, allowed())
	}
	for _, slots := range [][]Slot{Slots(1, nil, true), Slots(2, nil, false), Slots(len(allowed())+1, nil, true)} {
		if len(slots[0].Cores) > 0 {
			t.Errorf("%d slots have cores of their own: %v", len(slots), slots[0].Cores)
		}
	}
}

// The process of a slot may use the slot's cores and sees its devices; this process keeps its own.
func TestPinned(t *testing.T) {
	l := local(t, "runs: [ce]\nseeds: [1]", 1)
	before := allowed()
	l.Slots = []Slot{{Cores: before[len(before)-1:], Env: []string{"CUDA_VISIBLE_DEVICES=7"}}}
	l.Retries = 0
	seen := filepath.Join(l.Dir, "seen")
	l.Command = func(ctx context.Context, _ *Run) *exec.Cmd {
		return exec.CommandContext(ctx, "sh", "-c",
			`grep Cpus_allowed_list: /proc/self/status >"$1"; echo $CUDA_VISIBLE_DEVICES >>"$1"`, "sh", seen)
	}
	_, err := l.Run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "0 of 1 completed") {
		t.Errorf("a process that made no record: %v", err)
	}
	text, err := os.ReadFile(seen)
	check(t, err)
	want := []string{"Cpus_allowed_list:", strconv.Itoa(before[len(before)-1]), "7"}
	if got := strings.Fields(string(text)); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	if after := allowed(); !slices.Equal(after, before) {
		t.Errorf("this process has cores %v, had %v", after, before)
	}
}
