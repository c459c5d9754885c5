package claim

import (
	"errors"
	"io/fs"
	"time"
)

// State is what a look at a directory says of it.
type State int

// The states. A claim of another machine is held until it has been seen unchanged for [Patience].
const (
	Free      State = iota // nobody has it
	Held                   // a process has it, as far as can be known
	Abandoned              // the process that had it is gone
)

// Watch looks at directories again and again without claiming them. The zero value is ready; it is not for several
// goroutines.
type Watch struct {
	me   *Owner
	seen map[string]since
}

type since struct {
	text string
	time time.Time // with the monotonic clock
}

// Look says whether somebody has the directory, and who has or had it. A directory that is not there is free.
func (w *Watch) Look(dir string) (State, Owner, error) {
	s, err := look(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return Free, Owner{}, nil
	}
	if err != nil || s.number == 0 || s.owner.Released {
		return Free, s.owner, err
	}
	if w.me == nil {
		w.me, w.seen = new(self()), map[string]since{}
	}
	if gone, known := s.owner.gone(*w.me, false); known && gone {
		return Abandoned, s.owner, nil
	} else if known {
		return Held, s.owner, nil
	}
	old, ok := w.seen[dir]
	if !ok || old.text != s.text {
		w.seen[dir] = since{s.text, time.Now()}
		return Held, s.owner, nil
	}
	if time.Since(old.time) >= Patience {
		return Abandoned, s.owner, nil
	}
	return Held, s.owner, nil
}
