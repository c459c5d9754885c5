// Package browsertest opens pages in a real browser, headless Chromium, and looks at what came of them: screenshots,
// values computed by a script, what the console said, and what the page asked the network for.
package browsertest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// names are what the browser is called on different systems.
var names = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome"}

// macOS is where the browser is when it is not on the PATH.
const macOS = "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"

// ErrNotFound is returned by [Find] when there is no browser.
var ErrNotFound = errors.New("no Chromium found: install it " +
	"(Debian, Ubuntu: apt-get install --no-install-recommends chromium fonts-dejavu-core) or set CHROMIUM to its path")

// Find returns the path of the browser: the environment variable CHROMIUM, or else one of the usual names on the PATH.
func Find() (string, error) {
	if path := os.Getenv("CHROMIUM"); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("the environment variable CHROMIUM: %w", err)
		}
		return found, nil
	}
	for _, name := range append(names, macOS) {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNotFound
}

// View is how a page is looked at.
type View struct {
	Width, Height int    // of the window, in CSS pixels
	Mobile        bool   // a phone: the page's viewport setting counts, and a pixel ratio of 2
	Dark          bool   // prefers-color-scheme
	Print         bool   // the style sheet for print
	Script        string // an expression whose value, or whose promise's value, becomes Page.Value; "" for none
}

// Page is what was seen.
type Page struct {
	PNG      []byte          // the page, of a long one the first 5,000 CSS pixels
	DOM      string          // outer HTML of the document
	Value    json.RawMessage // of View.Script
	Console  []string        // messages, exceptions and what the browser itself complained about
	Requests []string        // addresses asked for, other than the page's own and data: URLs
}

// Open loads url, usually a file:// address, and looks at it. The browser cannot resolve any host name and keeps
// nothing: its profile is a temporary directory. A page gets a minute.
func Open(ctx context.Context, url string, v View) (*Page, error) {
	path, err := Find()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := start(ctx, path)
	if err != nil {
		return nil, err
	}
	defer b.close()
	return b.look(url, v)
}

// OpenTest is [Open] for a test: it skips the test where there is no browser, but fails it where CI is set; and it
// writes the screenshot to name.png in the directory that the environment variable DHKD_SCREENSHOTS names, or else in
// t.TempDir.
func OpenTest(t *testing.T, name, url string, v View) *Page {
	t.Helper()
	page, err := Open(t.Context(), url, v)
	if errors.Is(err, ErrNotFound) && os.Getenv("CI") == "" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := os.Getenv("DHKD_SCREENSHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), page.PNG, 0o644); err != nil {
		t.Fatal(err)
	}
	return page
}

// longest is the height of a screenshot, in CSS pixels: the browser takes long over more, and may give up.
const longest = 5000

// look drives one page through the browser's DevTools protocol.
func (b *browser) look(url string, v View) (*Page, error) {
	var target struct{ TargetID string }
	if err := b.call("Target.createTarget", object{"url": "about:blank"}, &target); err != nil {
		return nil, err
	}
	var session struct{ SessionID string }
	if err := b.call("Target.attachToTarget", object{"targetId": target.TargetID, "flatten": true}, &session); err != nil {
		return nil, err
	}
	b.session = session.SessionID
	ratio, scheme, media := 1, "light", ""
	if v.Mobile {
		ratio = 2
	}
	if v.Dark {
		scheme = "dark"
	}
	if v.Print {
		media = "print"
	}
	for _, step := range []struct {
		method string
		params object
	}{
		{"Page.enable", nil},
		{"Runtime.enable", nil},
		{"Log.enable", nil},
		{"Network.enable", nil},
		{"Emulation.setDeviceMetricsOverride",
			object{"width": v.Width, "height": v.Height, "deviceScaleFactor": ratio, "mobile": v.Mobile}},
		{"Emulation.setEmulatedMedia",
			object{"media": media, "features": []object{{"name": "prefers-color-scheme", "value": scheme}}}},
	} {
		if err := b.call(step.method, step.params, nil); err != nil {
			return nil, err
		}
	}
	var navigated struct{ ErrorText string }
	if err := b.call("Page.navigate", object{"url": url}, &navigated); err != nil {
		return nil, err
	}
	if navigated.ErrorText != "" {
		return nil, fmt.Errorf("cannot open %s: %s", url, navigated.ErrorText)
	}
	if err := b.wait("Page.loadEventFired"); err != nil {
		return nil, err
	}
	page := &Page{}
	if v.Script != "" {
		value, err := b.evaluate(v.Script)
		if err != nil {
			return nil, err
		}
		page.Value = value
	}
	dom, err := b.evaluate("document.documentElement.outerHTML")
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(dom, &page.DOM); err != nil {
		return nil, err
	}
	var screenshot struct{ Data string }
	whole := object{"format": "png", "captureBeyondViewport": true}
	height, err := b.evaluate("document.documentElement.scrollHeight")
	if err != nil {
		return nil, err
	}
	if h, err := strconv.Atoi(string(height)); err == nil && h > longest {
		whole["clip"] = object{"x": 0, "y": 0, "width": v.Width, "height": longest, "scale": 1}
	}
	if err := b.call("Page.captureScreenshot", whole, &screenshot); err != nil {
		return nil, err
	}
	if page.PNG, err = base64.StdEncoding.DecodeString(screenshot.Data); err != nil {
		return nil, err
	}
	page.Console = b.console
	for _, request := range b.requests {
		if request != url && !strings.HasPrefix(request, "data:") {
			page.Requests = append(page.Requests, request)
		}
	}
	return page, nil
}

// evaluate returns the JSON of a script's value.
func (b *browser) evaluate(script string) (json.RawMessage, error) {
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails *struct {
			Text      string
			Exception struct{ Description string }
		}
	}
	params := object{"expression": script, "returnByValue": true, "awaitPromise": true}
	if err := b.call("Runtime.evaluate", params, &answer); err != nil {
		return nil, err
	}
	if e := answer.ExceptionDetails; e != nil {
		return nil, fmt.Errorf("the script failed: %s %s", e.Text, e.Exception.Description)
	}
	return answer.Result.Value, nil
}
