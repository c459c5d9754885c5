// Package devicetest opens backends for tests, once for each test process.
package devicetest

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/gobackend"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

// Open returns the device that the tests of this process share: XLA, installed when there is none, or what
// GOMLX_BACKEND names. It never falls back to the Go backend, which would make a test of minutes of one of seconds:
// without XLA it skips the test, and fails it where the environment variable CI is not empty. Nobody may close the
// device.
func Open(t testing.TB) *device.Device {
	t.Helper()
	d, err := shared()
	switch {
	case err != nil:
		t.Fatal(err)
	case d.Name != "go" || os.Getenv(compute.ConfigEnvVar) != "":
		return d
	}
	reasons := make([]string, len(d.Tried))
	for i, attempt := range d.Tried {
		reasons[i] = attempt.String()
	}
	reason := "XLA is not available (GOMLX_BACKEND=go would run this test on the Go backend): " +
		strings.Join(reasons, "; ")
	if os.Getenv("CI") != "" {
		t.Fatal(reason)
	}
	t.Skip(reason)
	return nil
}

// Go returns the pure Go backend that the tests of this process share. Nobody may close it.
func Go(t testing.TB) *device.Device {
	t.Helper()
	d, err := goBackend()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var shared = sync.OnceValues(func() (*device.Device, error) {
	return device.Open(context.Background(), device.Options{})
})

var goBackend = sync.OnceValues(func() (*device.Device, error) {
	backend, err := gobackend.New("ops_sequential") // as device.Open does
	if err != nil {
		return nil, err
	}
	return &device.Device{Backend: backend, Name: "go", Description: backend.Description()}, nil
})
