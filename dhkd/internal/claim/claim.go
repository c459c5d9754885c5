// Package claim lets one process at a time work in a directory, also where several machines share it.
//
// Two things guard a directory. A lock of the operating system excludes other processes of this machine, and of others
// where the file system passes locks on; it goes with the process, however that ends. And a file, .claim-N, says who
// works there. Its owner changes it every [Beat]. Another machine, or another container of this one, takes the directory
// over when the file has not changed for [Patience], by the clock that measures time passed on that machine: what any
// machine takes for the time of day plays no part. To take over is to create .claim-N+1, which only one process can. An owner that was suspended
// meanwhile finds that file and must write nothing more: it asks [Claim.Check] before it writes.
package claim

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// Times that tests shorten before anything is claimed.
var (
	Beat     = 10 * time.Second // between two signs of life
	Patience = time.Minute      // without one before a directory is taken over
)

// ErrBusy is returned when another process has the directory.
var ErrBusy = errors.New("another process is working on this run")

// ErrLost is returned when another process has taken the directory over.
var ErrLost = fmt.Errorf("%w: it took the run over, since this process gave no sign of life", ErrBusy)

const (
	lockFile = ".lock"
	prefix   = ".claim-"
)

// IsFile says whether a file of that name is one of this package's.
func IsFile(name string) bool { return name == lockFile || strings.HasPrefix(name, prefix) }

// Owner says who claimed a directory.
type Owner struct {
	Host      string    `json:"host"`
	PID       int       `json:"pid"`
	Job       string    `json:"job,omitempty"` // of a batch system
	Since     time.Time `json:"since"`         // by the owner's clock, for people to read: it is compared with nothing
	Machine   string    `json:"machine"`       // one booting of one machine
	Processes string    `json:"processes"`     // within which PID means something
	Start     string    `json:"start"`         // of the process: PIDs are used again
	Beat      int       `json:"beat"`
	Released  bool      `json:"released"`
}

func (o Owner) String() string {
	if o.PID == 0 {
		return "a process that is just beginning" // its claim is not written yet
	}
	if o.Job != "" {
		return fmt.Sprintf("process %d of job %s on %s", o.PID, o.Job, o.Host)
	}
	return fmt.Sprintf("process %d on %s", o.PID, o.Host)
}

// Claim is a directory that this process has.
type Claim struct {
	dir    string
	lock   *flock.Flock // nil where the file system has no locks
	number int
	lost   chan struct{}
	stop   chan struct{}
	done   sync.WaitGroup

	mu    sync.Mutex
	owner Owner
}

// Acquire claims an existing directory. It waits only where another machine's claim may be that of a dead process, at
// most about [Patience], and then says so by note. The error wraps [ErrBusy] where another process has the directory.
func Acquire(ctx context.Context, dir string, note func(string)) (*Claim, error) {
	c := newClaim(dir)
	if err := c.acquire(ctx, note); err != nil {
		return nil, err
	}
	return c, nil
}

func newClaim(dir string) *Claim {
	return &Claim{dir: dir, lock: flock.New(filepath.Join(dir, lockFile)), owner: self(), lost: make(chan struct{}),
		stop: make(chan struct{})}
}

func (c *Claim) acquire(ctx context.Context, note func(string)) error {
	if c.lock != nil {
		locked, err := c.lock.TryLock()
		switch {
		case noLocks(err):
			c.lock = nil
		case err != nil:
			return fmt.Errorf("cannot lock %s: %w", c.dir, err)
		case !locked:
			return busy(c.dir)
		}
	}
	if err := c.take(ctx, note); err != nil {
		c.unlock()
		return err
	}
	c.done.Go(c.keep)
	return nil
}

// noLocks says whether an error means that the file system has no locks.
func noLocks(err error) bool {
	return errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.ENOTSUP) || errors.Is(err, syscall.EOPNOTSUPP) ||
		errors.Is(err, syscall.ENOLCK)
}

func busy(dir string) error {
	if s, err := look(dir); err == nil && s.owner.Host != "" {
		return fmt.Errorf("%w (%v)", ErrBusy, s.owner)
	}
	return ErrBusy
}

// take creates the next file if the last one's owner is gone.
func (c *Claim) take(ctx context.Context, note func(string)) error {
	last, err := look(c.dir)
	if err != nil {
		return err
	}
	if last.number > 0 && !last.owner.Released {
		gone, known := last.owner.gone(c.owner, c.lock != nil)
		if !known {
			note(fmt.Sprintf("%s is claimed by %v: waiting whether it lives", c.dir, last.owner))
			gone, err = c.watch(ctx, last)
		}
		if err != nil {
			return err
		}
		if !gone {
			return busy(c.dir)
		}
	}
	return c.create(last.number + 1)
}

// watch says whether a claim stays as it is for as long as the patience lasts.
func (c *Claim) watch(ctx context.Context, last sighting) (gone bool, err error) {
	for start := time.Now(); time.Since(start) < Patience; {
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(Beat / 4):
		}
		if now, err := look(c.dir); err != nil || now.text != last.text {
			return false, err
		}
	}
	return true, nil
}

// create makes the file of the claim. Whoever was slower, and looked before others came and went, finds a later one.
func (c *Claim) create(number int) error {
	c.number = number
	path := c.path(number)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return busy(c.dir)
	}
	if err != nil {
		return fmt.Errorf("cannot claim %s: %w", c.dir, err)
	}
	_, err = f.Write(c.text())
	if err = errors.Join(err, f.Close()); err == nil {
		err = c.Check()
	}
	if err != nil {
		os.Remove(path) // no one else has made or changed it
		if errors.Is(err, ErrLost) {
			return busy(c.dir)
		}
		return fmt.Errorf("cannot claim %s: %w", c.dir, err)
	}
	numbers, err := numbers(c.dir)
	for _, n := range numbers {
		if n < number {
			os.Remove(c.path(n)) // one that stays does no harm
		}
	}
	return err
}

// keep shows that the owner lives until the claim is released or lost.
func (c *Claim) keep() {
	ticker := time.NewTicker(Beat)
	defer ticker.Stop()
	for {
		select {
		case <-c.stop:
			return
		case <-ticker.C:
		}
		if errors.Is(c.Check(), ErrLost) {
			close(c.lost)
			return
		}
		c.write(func(o *Owner) { o.Beat++ })
	}
}

// Check is an error that wraps [ErrLost] if the directory was taken over.
func (c *Claim) Check() error {
	all, err := numbers(c.dir)
	if err != nil {
		return err
	}
	for _, n := range all {
		if n > c.number {
			return ErrLost
		}
	}
	return nil
}

// Lost is closed when the claim is found to be lost.
func (c *Claim) Lost() <-chan struct{} { return c.lost }

// Release gives the directory free. The file stays, so that its number is used once.
func (c *Claim) Release() {
	close(c.stop)
	c.done.Wait()
	c.write(func(o *Owner) { o.Released = true })
	c.unlock()
}

func (c *Claim) unlock() {
	if c.lock != nil {
		c.lock.Close() // unlocks; the process's end would too
	}
}

// write changes the claim's file in place, which needs no room on a full disk. An error is left alone: the next time
// may go well, and if none does, the claim is taken for that of a dead process, as it must be.
func (c *Claim) write(change func(*Owner)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.owner)
	f, err := os.OpenFile(c.path(c.number), os.O_WRONLY, 0) // anew: what is closed is seen by other machines
	if err != nil {
		return
	}
	defer f.Close()
	f.Write(c.text())
}

// text is always of the same length, so that writing it never leaves some of an older one.
func (c *Claim) text() []byte {
	text, _ := json.Marshal(c.owner)
	return fmt.Appendf(nil, "%-1023s\n", text)
}

func (c *Claim) path(number int) string {
	return filepath.Join(c.dir, prefix+strconv.Itoa(number))
}

// sighting is what a directory's last claim was when one looked.
type sighting struct {
	number int // 0 = there is none
	text   string
	owner  Owner // empty where the file is not whole, as it may be for a moment
}

func look(dir string) (s sighting, err error) {
	all, err := numbers(dir)
	for _, n := range all {
		s.number = max(s.number, n)
	}
	if err != nil || s.number == 0 {
		return s, err
	}
	data, err := os.ReadFile(filepath.Join(dir, prefix+strconv.Itoa(s.number)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // gone: another came meanwhile
		return s, fmt.Errorf("cannot see who claims %s: %w", dir, err)
	}
	s.text = fmt.Sprintf("%d %s", s.number, data)
	_ = json.Unmarshal(data, &s.owner)
	return s, nil
}

// numbers are those of the claims in a directory.
func numbers(dir string) (all []int, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot look for claims: %w", err)
	}
	for _, e := range entries {
		if digits, ok := strings.CutPrefix(e.Name(), prefix); ok {
			if n, err := strconv.Atoi(digits); err == nil && n > 0 {
				all = append(all, n)
			}
		}
	}
	return all, nil
}
