package device

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// installTimeout bounds one installation over a slow line.
const installTimeout = 15 * time.Minute

// step is one way to install a plugin.
type step struct {
	what string
	run  func(ctx context.Context, logf func(string, ...any)) (Plugin, error)
}

// steps are the ways to install a plugin of this kind, in order.
func (m machine) steps(kind string) []step {
	steps := []step{{"go-xla's installer", func(ctx context.Context, logf func(string, ...any)) (Plugin, error) {
		path, err := m.fetch(ctx, kind, logf)
		if err != nil {
			return Plugin{}, errors.New(oneLine(err))
		}
		return Plugin{Kind: kind, Path: path, Source: "go-xla's installer"}, nil
	}}}
	if kind == "cpu" && m.wheel != nil {
		steps = append(steps, step{"wheel " + m.wheel.requirement() + " by pip",
			func(ctx context.Context, logf func(string, ...any)) (Plugin, error) {
				path, err := m.installWheel(ctx, logf)
				return Plugin{Kind: "cpu", Path: path, Source: "dhkd's cache"}, err
			}})
	}
	return steps
}

// cacheError explains why something could not be put into the cache, and what helps.
func cacheError(dir string, err error) error {
	return fmt.Errorf("the cache %s cannot be written (set DHKD_CACHE to a directory that can): %w",
		filepath.Clean(dir), err)
}
