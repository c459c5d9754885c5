package device

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

const (
	// reachTimeout bounds how long a machine without a network waits for go-xla's download site.
	reachTimeout = 8 * time.Second

	// stallTimeout bounds the silence of a download.
	stallTimeout = 30 * time.Second

	// installTimeout bounds one installation over a slow line.
	installTimeout = 15 * time.Minute
)

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

// reachable asks each address for its head, all at once, and fails unless all answer well before the limit.
func reachable(ctx context.Context, limit time.Duration, urls ...string) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	problems := make([]error, len(urls))
	var wait sync.WaitGroup
	for i, url := range urls {
		wait.Go(func() {
			response, err := get(ctx, http.MethodHead, url)
			if err == nil {
				response.Body.Close()
			}
			problems[i] = err
		})
	}
	wait.Wait()
	for _, err := range problems {
		if err != nil {
			return err
		}
	}
	return nil
}

// download writes the file at url to w. A connection that ends early, or where nothing comes for the stall time, is an error.
func download(ctx context.Context, stall time.Duration, url string, w io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(stall, func() { cancel(fmt.Errorf("nothing came for %v", stall)) })
	defer watch.Stop()
	response, err := get(ctx, http.MethodGet, url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	n, err := io.Copy(w, readerFunc(func(b []byte) (int, error) {
		watch.Reset(stall)
		return response.Body.Read(b)
	}))
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err == nil && response.ContentLength >= 0 && n != response.ContentLength {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("download of %s stopped after %d bytes: %w", url, n, err)
	}
	return nil
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// get sends one request and takes any status but 200 as an error.
func get(ctx context.Context, method, url string) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("%s %s: %s", method, url, response.Status)
	}
	return response, nil
}

// cacheError explains why something could not be put into the cache, and what helps.
func cacheError(dir string, err error) error {
	return fmt.Errorf("the cache %s cannot be written (set DHKD_CACHE to a directory that can): %w", filepath.Clean(dir), err)
}
