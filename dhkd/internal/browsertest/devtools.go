package browsertest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

type object = map[string]any

// browser is a running Chromium, spoken to over two pipes in its DevTools protocol: JSON messages that end with a zero
// byte. https://chromedevtools.github.io/devtools-protocol/
type browser struct {
	command  *exec.Cmd
	cancel   context.CancelFunc
	profile  string
	to       *os.File
	from     *bufio.Reader
	pipe     *os.File // that from reads
	id       int
	session  string
	seen     map[string]bool // events that have come
	console  []string
	requests []string
}

// start runs the browser with an empty profile and without a network.
func start(ctx context.Context, path string) (_ *browser, err error) {
	profile, err := os.MkdirTemp("", "browsertest-")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	b := &browser{cancel: cancel, profile: profile, seen: map[string]bool{}}
	defer func() {
		if err != nil {
			b.close()
		}
	}()
	theirIn, ourOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirIn.Close()
	b.to = ourOut
	ourIn, theirOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer theirOut.Close()
	b.pipe, b.from = ourIn, bufio.NewReader(ourIn)
	command := exec.CommandContext(ctx, path, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
		"--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
		"--disable-sync",
		"--disable-extensions", "--disable-default-apps", "--no-default-browser-check", "--hide-scrollbars", "--mute-audio",
		"--host-resolver-rules=MAP * ~NOTFOUND", "--user-data-dir="+profile, "--remote-debugging-pipe", "about:blank")
	command.ExtraFiles = []*os.File{theirIn, theirOut} // 3 and 4, as the browser expects
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("cannot start %s: %w", path, err)
	}
	b.command = command
	return b, nil
}

// close ends the browser and removes its profile.
func (b *browser) close() {
	if b.command != nil {
		b.session = ""
		if b.send("Browser.close", nil) != nil {
			b.cancel()
		}
		b.command.Wait() // ends at the latest with the context
	}
	b.cancel()
	for _, f := range []*os.File{b.to, b.pipe} {
		if f != nil {
			f.Close()
		}
	}
	os.RemoveAll(b.profile)
}

func (b *browser) send(method string, params object) error {
	b.id++
	message := object{"id": b.id, "method": method}
	if params != nil {
		message["params"] = params
	}
	if b.session != "" {
		message["sessionId"] = b.session
	}
	text, err := json.Marshal(message)
	if err != nil {
		return err
	}
	_, err = b.to.Write(append(text, 0))
	return err
}

// call sends a command and waits for its answer, which it decodes into result when that is not nil.
func (b *browser) call(method string, params object, result any) error {
	if err := b.send(method, params); err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	want := b.id
	for {
		m, err := b.receive()
		if err != nil {
			return fmt.Errorf("%s: %w", method, err)
		}
		if m.ID != want {
			continue
		}
		if m.Error != nil {
			return fmt.Errorf("%s: %s", method, m.Error.Message)
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(m.Result, result)
	}
}

// wait returns when an event has come, at once when it came before.
func (b *browser) wait(event string) error {
	for !b.seen[event] {
		if _, err := b.receive(); err != nil {
			return fmt.Errorf("waiting for %s: %w", event, err)
		}
	}
	return nil
}

type message struct {
	ID     int
	Method string
	Params json.RawMessage
	Result json.RawMessage
	Error  *struct{ Message string }
}

// receive reads one message, and keeps what events say.
func (b *browser) receive() (*message, error) {
	text, err := b.from.ReadBytes(0)
	if err != nil {
		return nil, fmt.Errorf("the browser went away (or the time was up): %w", err)
	}
	var m message
	if err := json.Unmarshal(text[:len(text)-1], &m); err != nil {
		return nil, err
	}
	b.seen[m.Method] = true
	switch m.Method {
	case "Runtime.consoleAPICalled":
		var p struct {
			Type string
			Args []struct {
				Value       any
				Description string
			}
		}
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, err
		}
		line := p.Type + ":"
		for _, a := range p.Args {
			if a.Description == "" {
				a.Description = fmt.Sprint(a.Value)
			}
			line += " " + a.Description
		}
		b.console = append(b.console, line)
	case "Runtime.exceptionThrown":
		b.console = append(b.console, "exception: "+string(m.Params))
	case "Log.entryAdded":
		var p struct{ Entry struct{ Level, Text string } }
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, err
		}
		b.console = append(b.console, p.Entry.Level+": "+p.Entry.Text)
	case "Network.requestWillBeSent":
		var p struct{ Request struct{ URL string } }
		if err := json.Unmarshal(m.Params, &p); err != nil {
			return nil, err
		}
		b.requests = append(b.requests, p.Request.URL)
	}
	return &m, nil
}
