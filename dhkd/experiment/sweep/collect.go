package sweep

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment"
	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

// Collected is what [Collect] found.
type Collected struct {
	Records    []*record.Record // of all runs that have ended, each once, in the order of [record.LoadDir]
	Copied     int              // records that were not there before
	Unfinished []string         // records of runs that have not ended, which are left where they are
}

// Collect copies the records of ended runs from directories into one, each to the place that its name says, with the
// weights if weights is true. Nothing is overwritten: a run that is there already with the same content is left alone,
// and one with other content is an error that names both files. All that can be copied is copied first.
func Collect(to string, from []string, weights bool) (*Collected, error) {
	c := &Collected{}
	m := merger{source: map[string]string{}}
	for _, dir := range from {
		files, errs := record.LoadFiles(dir)
		m.problems = append(m.problems, errs...)
		var all sync.WaitGroup
		free := make(chan bool, 8) // to wait for a disk costs no less for one file than for a few
		for _, f := range files {
			if !f.Record.Ended() {
				c.Unfinished = append(c.Unfinished, f.Path)
				continue
			}
			free <- true
			all.Go(func() {
				r := f.Record.Recipe
				m.merge(record.Path(to, r), f.Path)
				if weights && f.Record.Status == record.Completed {
					m.merge(experiment.WeightsPath(to, r), filepath.Join(filepath.Dir(f.Path), experiment.WeightsFile))
				}
				<-free
			})
		}
		all.Wait() // so that of two directories the first is there first
	}
	c.Copied = m.records
	if _, err := os.Stat(to); errors.Is(err, fs.ErrNotExist) {
		return c, errors.Join(m.problems...)
	}
	records, errs := record.LoadDir(to)
	for _, r := range records {
		if r.Ended() {
			c.Records = append(c.Records, r)
		}
	}
	return c, errors.Join(append(m.problems, errs...)...)
}

// merger copies files to where nothing is.
type merger struct {
	mu       sync.Mutex
	source   map[string]string // of a copy
	records  int               // copied
	problems []error
}

// merge copies a file, or makes sure that what is there is the same.
func (m *merger) merge(to, from string) {
	copied, err := copyNew(to, from)
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case errors.Is(err, fs.ErrExist):
		there := to
		if m.source[to] != "" {
			there = m.source[to]
		}
		err = fmt.Errorf("%s and %s have the same name and differ: neither is overwritten; move one of them away",
			there, from)
		fallthrough
	case err != nil:
		m.problems = append(m.problems, err)
	case copied:
		m.source[to] = from
		if filepath.Base(to) == record.FileName {
			m.records++
		}
	}
}

// copyNew copies a file to where nothing is. The error is fs.ErrExist if something else is there.
func copyNew(to, from string) (copied bool, err error) {
	if same, err := sameFile(to, from); err != nil || same {
		return false, err
	}
	f, err := os.Open(from)
	if err != nil {
		return false, err
	}
	defer f.Close()
	err = safefile.Create(to, func(w io.Writer) error { _, err := io.Copy(w, f); return err })
	if !errors.Is(err, fs.ErrExist) {
		return err == nil, err
	}
	same, readErr := equal(to, from)
	if same || readErr != nil {
		return false, readErr
	}
	return false, err
}

func sameFile(a, b string) (bool, error) {
	infoA, err := os.Stat(a)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	infoB, err := os.Stat(b)
	return err == nil && os.SameFile(infoA, infoB), err
}

// equal says whether two files have the same content.
func equal(a, b string) (bool, error) {
	fa, err := os.Open(a)
	if err != nil {
		return false, err
	}
	defer fa.Close()
	fb, err := os.Open(b)
	if err != nil {
		return false, err
	}
	defer fb.Close()
	bufferA, bufferB := make([]byte, 1<<20), make([]byte, 1<<20)
	for {
		na, errA := io.ReadFull(fa, bufferA)
		nb, errB := io.ReadFull(fb, bufferB)
		if !bytes.Equal(bufferA[:na], bufferB[:nb]) {
			return false, nil
		}
		endA, endB := ended(errA), ended(errB)
		if endA && endB {
			return true, nil
		}
		if errA != nil && !endA {
			return false, errA
		}
		if errB != nil && !endB {
			return false, errB
		}
	}
}

func ended(err error) bool { return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) }
