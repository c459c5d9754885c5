//go:build ((linux && (amd64 || arm64)) || (darwin && arm64) || (windows && amd64)) && !noxla

package device

import (
	"bufio"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/gomlx/go-xla/installer"
	"github.com/gomlx/go-xla/pjrt"

	"github.com/dhkd-lab/dhkd-go/dhkd/internal/safefile"
)

const (
	// reachTimeout bounds how long a machine without a network waits for go-xla's download site.
	reachTimeout = 8 * time.Second

	// stallTimeout bounds the silence of a download.
	stallTimeout = 30 * time.Second
)

// fetch runs go-xla's installer. That one can neither be stopped nor kept from drawing on stdout while it downloads, so
// the CPU plugin's archive is downloaded here, to where the installer then finds it.
func fetch(ctx context.Context, kind string, logf func(string, ...any)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, installTimeout)
	defer cancel()
	lib, err := installer.DefaultHomeLibPath()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(lib, "go-xla")
	if kind == "cuda" {
		if !installer.HasNvidiaGPU() {
			return "", errors.New("no NVIDIA card was found")
		}
		if err := reachable(ctx, reachTimeout, "https://pypi.org/simple/jax-cuda13-pjrt/"); err != nil {
			return "", err
		}
		logf("installing XLA for CUDA with go-xla's installer into %s", dir)
		path := filepath.Join(dir, "nvidia", "pjrt_c_api_cuda_plugin.so")
		return path, inBackground(ctx, func() error { return installer.AutoInstall(lib, true, installer.Normal) })
	}

	platform, extension, library := runtime.GOOS+"_"+runtime.GOARCH, ".tar.gz", ".so"
	if runtime.GOOS == "windows" {
		extension, library = ".zip", ".dll"
	}
	repository, asset := installer.BinaryCPUReleasesRepo, "pjrt_cpu_"+platform+extension
	url := "https://github.com/" + repository + "/releases/download/" + pjrt.DefaultCPUVersion + "/" + asset
	if err := reachable(ctx, reachTimeout, url, "https://api.github.com/repos/"+repository); err != nil {
		return "", err
	}
	logf("installing XLA for the CPU with go-xla's installer: %s %s into %s", asset, pjrt.DefaultCPUVersion, dir)
	archive, cached, err := installer.GetCachePath(pjrt.DefaultCPUVersion + "_" + asset)
	if err == nil && !cached {
		err = safefile.Write(archive, func(w io.Writer) error { return download(ctx, stallTimeout, url, w) })
	}
	if err == nil && extension == ".tar.gz" {
		err = checkGzip(archive) // the installer stops at the end of the tar and never sees the sum
	}
	if err == nil {
		err = inBackground(ctx, func() error { return installer.CPUAutoInstall(dir, true, installer.Quiet) })
	}
	if err != nil {
		os.Remove(archive) // perhaps it is damaged: the next try gets a new one
		return "", err
	}
	return filepath.Join(dir, "pjrt_c_api_cpu_"+pjrt.DefaultCPUVersion+"_plugin"+library), nil
}

// checkGzip reads the whole file, and so compares its contents with their length and sum.
func checkGzip(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	r, err := gzip.NewReader(bufio.NewReader(f))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if err != nil {
		return fmt.Errorf("%s is damaged: %w", path, err)
	}
	return nil
}

// inBackground runs work, which knows no context, and stops waiting for it when ctx ends. A panic is an error.
func inBackground(ctx context.Context, work func() error) error {
	done := make(chan error, 1)
	go func() {
		var err error
		defer func() { done <- err }()
		defer asError(&err)
		err = work()
	}()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
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

// download writes the file at url to w. A connection that ends early, or where nothing comes for the stall time, is an
// error.
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
