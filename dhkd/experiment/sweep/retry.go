package sweep

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
	"github.com/dhkd-lab/dhkd-go/dhkd/internal/claim"
)

// Retry makes failed and damaged runs, those with these IDs or all, ones to be made again: their records are set aside,
// as record-failed-1.json and so on in the same directory. A damaged run goes on from its checkpoint where it has one.
// It returns the files that were set aside.
func Retry(ctx context.Context, dir string, p *Plan, ids []string) (aside []string, err error) {
	wanted := map[string]bool{}
	for _, id := range ids {
		if p.Find(id) == nil {
			return nil, fmt.Errorf("sweep %s has no run %q: dhkd sweep status lists them", p.Name, id)
		}
		wanted[id] = true
	}
	var problems []error
	for _, s := range (&Surveyor{Dir: dir, Plan: p}).Survey() {
		if len(ids) > 0 && !wanted[s.Run.ID] {
			continue
		}
		if s.State != Failed && s.State != Damaged {
			if wanted[s.Run.ID] {
				problems = append(problems, fmt.Errorf("%s is %s, not failed or damaged: there is nothing to retry",
					s.Run.ID, s.State))
			}
			continue
		}
		path, err := setAside(ctx, dir, s)
		if err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", s.Run.ID, err))
			continue
		}
		aside = append(aside, path)
	}
	return aside, errors.Join(problems...)
}

// setAside gives the record of a run another name. It claims the run for that, so that no process is working on it.
func setAside(ctx context.Context, dir string, s Status) (string, error) {
	if s.foreign {
		return "", errors.New(s.Message)
	}
	surveyor := &Surveyor{Dir: dir}
	dir = s.Run.Dir(dir)
	claimed, err := claim.Acquire(ctx, dir, func(string) {})
	if err != nil {
		return "", err
	}
	defer claimed.Release()
	if now := surveyor.look(s.Run); now.State != s.State {
		return "", fmt.Errorf("is %s by now", now.State)
	}
	path, err := free(dir, "record-"+string(s.State)+"-%d.json")
	if err != nil {
		return "", err
	}
	return path, os.Rename(filepath.Join(dir, record.FileName), path)
}

// free is the first name of the form that no file has.
func free(dir, form string) (string, error) {
	for i := 1; ; i++ {
		path := filepath.Join(dir, fmt.Sprintf(form, i))
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			return path, nil
		} else if err != nil {
			return "", err
		}
	}
}
