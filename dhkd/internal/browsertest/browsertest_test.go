package browsertest

import (
	"bytes"
	"errors"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A page that does everything wrong must be seen to do so.
func TestOpen(t *testing.T) {
	file := filepath.Join(t.TempDir(), "bad page.html")
	content := `<!doctype html><meta name="viewport" content="width=device-width"><title>bad</title>
<style>@media (prefers-color-scheme: dark) { body { background: black } } body { margin: 0; height: 3000px }</style>
<img src="https://example.invalid/a.png"><script>console.log("said", 1); throw new Error("thrown")</script>`
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	page := OpenTest(t, "bad", "file://"+strings.ReplaceAll(file, " ", "%20"), View{
		Width: 390, Height: 800, Mobile: true, Dark: true,
		Script: `Promise.resolve([innerWidth, getComputedStyle(document.body).backgroundColor,
			document.images[0].naturalWidth])`,
	})
	if got := string(page.Value); got != `[390,"rgb(0, 0, 0)",0]` {
		t.Errorf("script: %s", got)
	}
	console := strings.Join(page.Console, "\n")
	for _, want := range []string{"log: said 1", "Error: thrown", "net::ERR_NAME_NOT_RESOLVED"} {
		if !strings.Contains(console, want) {
			t.Errorf("console without %q: %q", want, console)
		}
	}
	if !slices.Equal(page.Requests, []string{"https://example.invalid/a.png"}) {
		t.Errorf("requests: %q", page.Requests)
	}
	if !strings.Contains(page.DOM, "<title>bad</title>") {
		t.Errorf("DOM: %s", page.DOM)
	}
	config, err := png.DecodeConfig(bytes.NewReader(page.PNG))
	if err != nil || config.Width != 780 || config.Height != 6000 {
		t.Errorf("screenshot: %+v, %v; want the whole page at two pixels a CSS pixel", config, err)
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Find(); errors.Is(err, ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if _, err := Open(t.Context(), "file:///no/such/page.html", View{Width: 100, Height: 100}); err == nil {
		t.Error("a page that is not there was opened")
	}
	t.Setenv("CHROMIUM", "/no/such/browser")
	if _, err := Find(); err == nil || !strings.Contains(err.Error(), "CHROMIUM") {
		t.Errorf("Find with a wrong CHROMIUM: %v", err)
	}
}
