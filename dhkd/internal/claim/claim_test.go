package claim

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// childEnv makes the test binary a process that claims the directory that it names, says so, and waits to be killed.
const childEnv = "DHKD_TEST_CLAIM"

func TestMain(m *testing.M) {
	Beat, Patience = 20*time.Millisecond, time.Second
	if dir := os.Getenv(childEnv); dir != "" {
		if _, err := Acquire(context.Background(), dir, func(string) {}); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("claimed")
		select {}
	}
	os.Exit(m.Run())
}

func acquire(t *testing.T, dir string) *Claim {
	t.Helper()
	c, err := Acquire(t.Context(), dir, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// elsewhere writes the claim of a process on another machine, whose clock is wrong by skew, and returns its file.
func elsewhere(t *testing.T, dir string, number int, skew time.Duration) string {
	t.Helper()
	wrong := time.Now().Add(skew)
	c := &Claim{dir: dir, number: number, owner: Owner{Host: "far", PID: 7, Machine: "another", Since: wrong}}
	path := c.path(number)
	check(t, os.WriteFile(path, c.text(), 0o644))
	check(t, os.Chtimes(path, wrong, wrong))
	return path
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	check(t, err)
	for _, e := range entries {
		if !IsFile(e.Name()) {
			t.Errorf("%s is not known as a file of claims", e.Name())
		}
		names = append(names, e.Name())
	}
	return names
}

func TestAcquire(t *testing.T) {
	dir := t.TempDir()
	first := acquire(t, dir)
	_, err := Acquire(t.Context(), dir, func(string) {})
	if want := fmt.Sprintf("%v (%v)", ErrBusy, first.owner); !errors.Is(err, ErrBusy) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
	first.Release()
	second := acquire(t, dir)
	check(t, second.Check())
	second.Release()
	if got := files(t, dir); !slices.Equal(got, []string{".claim-2", lockFile}) {
		t.Error(got)
	}
	if _, err := Acquire(t.Context(), filepath.Join(dir, "nowhere"), nil); err == nil || errors.Is(err, ErrBusy) {
		t.Error(err)
	}
}

// However many come at once, with locks or without, one gets the directory; and nobody has it while another has.
func TestOneAtATime(t *testing.T) {
	for _, locks := range []bool{true, false} {
		dir := t.TempDir()
		var holders, won atomic.Int32
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for range 40 {
					c := newClaim(dir)
					if !locks {
						c.lock = nil
					}
					if err := c.acquire(t.Context(), func(string) {}); errors.Is(err, ErrBusy) {
						continue
					} else if err != nil {
						t.Error(err)
						return
					}
					if n := holders.Add(1); n != 1 {
						t.Errorf("%d have it (locks: %v)", n, locks)
					}
					won.Add(1)
					holders.Add(-1)
					c.Release()
				}
			})
		}
		all.Wait()
		t.Logf("locks %v: claimed %d times", locks, won.Load())
		if won.Load() == 0 {
			t.Error("nobody ever gets it")
		}
		if last, err := look(dir); err != nil || last.number != int(won.Load()) && locks {
			t.Errorf("the last claim is number %d (%v)", last.number, err)
		}
	}
}

// The claim of another machine is taken over when it does not change, and not as long as it does, whatever the clocks
// say.
func TestOtherMachine(t *testing.T) {
	for _, skew := range []time.Duration{0, -24 * time.Hour, 24 * time.Hour} {
		dir := t.TempDir()
		path := elsewhere(t, dir, 3, skew)
		stop, stopped := make(chan bool), make(chan bool)
		go func() {
			defer close(stopped)
			owner := Owner{Host: "far", PID: 7, Machine: "another", Since: time.Now().Add(skew)}
			for {
				select {
				case <-stop:
					return
				case <-time.After(Beat):
				}
				owner.Beat++
				text, _ := json.Marshal(owner)
				os.WriteFile(path, text, 0o644)
				os.Chtimes(path, owner.Since, owner.Since)
			}
		}()
		_, err := Acquire(t.Context(), dir, func(string) {})
		if !errors.Is(err, ErrBusy) {
			t.Errorf("skew %v: a living process lost its directory: %v", skew, err)
		}
		close(stop)
		<-stopped
		var noted string
		start := time.Now()
		c, err := Acquire(t.Context(), dir, func(text string) { noted = text })
		check(t, err)
		if took := time.Since(start); took < Patience || c.number != 4 {
			t.Errorf("skew %v: number %d taken over after %v", skew, c.number, took)
		}
		if want := dir + " is claimed by process 7 on far: waiting whether it lives"; noted != want {
			t.Errorf("%q, want %q", noted, want)
		}
		c.Release()
	}
}

// A process in another container of this machine may hold a lock that is not seen here: that a lock can be had says
// nothing of it.
func TestOtherContainer(t *testing.T) {
	dir := t.TempDir()
	me := self()
	if me.Processes == "" {
		const why = "this system has no name spaces of processes"
		if os.Getenv("CI") != "" && runtime.GOOS == "linux" {
			t.Fatal(why)
		}
		t.Skip(why)
	}
	other := me
	other.Processes = "pid:[1]"
	c := &Claim{dir: dir, number: 1, owner: other}
	check(t, os.WriteFile(c.path(1), c.text(), 0o644))
	start := time.Now()
	acquire(t, dir).Release()
	if took := time.Since(start); took < Patience {
		t.Errorf("taken over after %v", took)
	}
}

// A process that was taken for dead finds out, and writes nothing more of its claim.
func TestLost(t *testing.T) {
	dir := t.TempDir()
	c := acquire(t, dir)
	path := elsewhere(t, dir, c.number+1, 0)
	if err := c.Check(); !errors.Is(err, ErrLost) || !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	select {
	case <-c.Lost():
	case <-time.After(10 * time.Second):
		t.Fatal("it never finds out")
	}
	before, err := os.ReadFile(path)
	check(t, err)
	c.Release()
	after, err := os.ReadFile(path)
	check(t, err)
	if string(before) != string(after) {
		t.Errorf("the other's claim was changed to %s", after)
	}
}

// A claim that is not whole is that of nobody known.
func TestCutClaim(t *testing.T) {
	for _, keep := range []int64{0, 40} {
		dir := t.TempDir()
		path := elsewhere(t, dir, 1, 0)
		check(t, os.Truncate(path, keep))
		start := time.Now()
		c := acquire(t, dir)
		if time.Since(start) < Patience {
			t.Error("taken at once")
		}
		c.Release()
	}
}

// Who looked before others came and went does not get the directory by an old number.
func TestLate(t *testing.T) {
	dir := t.TempDir()
	elsewhere(t, dir, 5, 0)
	late := newClaim(dir)
	if err := late.create(4); !errors.Is(err, ErrBusy) {
		t.Error(err)
	}
	if got := files(t, dir); !slices.Equal(got, []string{".claim-5"}) {
		t.Error(got)
	}
}

// The claim of a process of this machine that was killed is free at once, with locks and without.
func TestKilled(t *testing.T) {
	for _, locks := range []bool{true, false} {
		dir := t.TempDir()
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+dir)
		out, err := child.StdoutPipe()
		check(t, err)
		check(t, child.Start())
		if line, _ := bufio.NewReader(out).ReadString('\n'); line != "claimed\n" {
			t.Fatal(line)
		}
		var w Watch
		if state, owner, err := w.Look(dir); state != Held || owner.PID != child.Process.Pid || err != nil {
			t.Errorf("while it lives: %v %v %v", state, owner, err)
		}
		take := func() error {
			c := newClaim(dir)
			if !locks {
				c.lock = nil
			}
			err := c.acquire(t.Context(), func(text string) { t.Error("waits: ", text) })
			if err == nil {
				c.Release()
			}
			return err
		}
		if err := take(); !errors.Is(err, ErrBusy) {
			t.Errorf("while it lives: %v", err)
		}
		check(t, child.Process.Kill())
		child.Wait()
		if state, _, err := w.Look(dir); state != Abandoned || err != nil {
			t.Errorf("killed: %v %v", state, err)
		}
		check(t, take())
	}
}

func TestWatch(t *testing.T) {
	dir := t.TempDir()
	var w Watch
	see := func(want State) {
		t.Helper()
		if got, _, err := w.Look(dir); got != want || err != nil {
			t.Errorf("%v (%v), want %v", got, err, want)
		}
	}
	see(Free)
	path := elsewhere(t, dir, 1, time.Hour)
	see(Held)
	time.Sleep(Patience)
	see(Abandoned)
	check(t, os.WriteFile(path, []byte(`{"beat": 2}`), 0o644)) // it lives after all
	see(Held)
	check(t, os.WriteFile(path, []byte(`{"released": true}`), 0o644))
	see(Free)
	if state, _, err := w.Look(filepath.Join(dir, "nowhere")); state != Free || err != nil {
		t.Error(state, err)
	}
}

// Acquire stops waiting when its context ends.
func TestCancelled(t *testing.T) {
	dir := t.TempDir()
	elsewhere(t, dir, 1, 0)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := Acquire(ctx, dir, func(string) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}
