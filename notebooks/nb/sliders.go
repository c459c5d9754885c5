package nb

import (
	"fmt"
	"html"
	"math"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"github.com/janpfeifer/gonb/gonbui"
	"github.com/janpfeifer/gonb/gonbui/comms"
	"github.com/janpfeifer/gonb/gonbui/dom"
	"github.com/janpfeifer/gonb/gonbui/widgets"

	"github.com/dhkd-lab/dhkd-go/plots"
)

const (
	browserWait = 15 * time.Second // for a browser to answer that it has the sliders
	slidersIdle = 30 * time.Second // without a movement, after which the cell ends
)

// Slider is a number that the reader chooses.
type Slider struct {
	Label                 string
	Min, Max, Step, Value float64 // Value is where it starts
}

// position is the slider's own number, from 0, of a value; value is the other way round.
func (s Slider) position(value float64) int { return int(math.Round((value - s.Min) / s.Step)) }

func (s Slider) value(position int) float64 {
	v := s.Min + float64(min(max(position, 0), s.position(s.Max)))*s.Step
	return math.Round(v*1e9) / 1e9 // 0.3, not 0.30000000000000004
}

func (s Slider) check() error {
	if !(s.Step > 0 && s.Min < s.Max && s.Value >= s.Min && s.Value <= s.Max) || math.IsInf(s.Max-s.Min, 0) {
		return fmt.Errorf("slider %q: needs Min < Max, Step > 0 and a Value between them, has %g, %g, %g and %g",
			s.Label, s.Min, s.Max, s.Step, s.Value)
	}
	return nil
}

// Sliders shows the figure that draw makes of the sliders' values, anew each time that one is moved, until none has
// been moved for half a minute or the kernel is interrupted; then the last figure stays, as [Book.Show] shows and saves
// it. Where no browser answers (on GitHub, in a headless run) there are no sliders, and the figure is that of the
// values they start with.
func (b *Book) Sliders(name string, draw func(values []float64) (*plots.Figure, error), sliders ...Slider) {
	values := make([]float64, len(sliders))
	for i, s := range sliders {
		Check(s.check())
		values[i] = s.Value
	}
	if watched() {
		values = interact(draw, sliders, values)
	}
	b.Show(name, Must(draw(values)))
}

// interact shows the sliders, follows them, and returns the last values.
func interact(draw func([]float64) (*plots.Figure, error), sliders []Slider, values []float64) []float64 {
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)

	box := dom.CreateTransientDiv()
	moved, ready := showSliders(box, sliders)
	select {
	case <-ready:
	case <-interrupted:
		return values
	case <-time.After(browserWait):
		return values
	}
	picture := gonbui.UniqueId()
	redraw := func() {
		svg := Must(Must(draw(values)).InlineSVG())
		gonbui.UpdateHTML(picture, fmt.Sprintf(`<div class="nb-picture">%s<p>%s</p></div>`, svg,
			html.EscapeString(describe(sliders, values))))
	}
	redraw()
	idle := time.NewTimer(slidersIdle)
	for {
		select {
		case m := <-moved:
			changed := m.apply(sliders, values)
			for drained := false; !drained; { // only the newest position is worth a picture
				select {
				case m := <-moved:
					changed = m.apply(sliders, values) || changed
				default:
					drained = true
				}
			}
			if changed {
				redraw()
				idle.Reset(slidersIdle)
			}
		case <-interrupted:
			idle.Reset(0)
			signal.Stop(interrupted) // a second time ends the cell
		case <-idle.C:
			gonbui.UpdateHTML(picture, "")
			dom.SetInnerHtml(box, "<p>Run the cell again to move the sliders.</p>") // they would do nothing now
			return values
		}
	}
}

// movement is a slider's new position.
type movement struct{ slider, position int }

// apply changes the slider's value, and says whether it did.
func (m movement) apply(sliders []Slider, values []float64) bool {
	v := sliders[m.slider].value(m.position)
	changed := v != values[m.slider]
	values[m.slider] = v
	return changed
}

// showSliders puts the sliders into an element of the cell's output. The second channel is closed when the browser has
// answered. No listener is ever closed: in gonb v0.11.5 a message that comes after that locks up the library.
func showSliders(box string, sliders []Slider) (moved chan movement, ready chan struct{}) {
	moved, ready = make(chan movement, 100), make(chan struct{})
	go func() {
		for i, s := range sliders {
			id := gonbui.UniqueId()
			dom.Append(box, fmt.Sprintf(`<div style="display: flex; gap: 1em"><label style="width: 16em">%s</label>`+
				`<span id="%s"></span></div>`, html.EscapeString(s.Label), id))
			slider := widgets.Slider(0, s.position(s.Max), s.position(s.Value)).AppendTo(id)
			slider.Done() // waits for the browser
			comms.Subscribe(slider.Address(), func(_ string, position int) { moved <- movement{i, position} })
		}
		close(ready)
	}()
	return moved, ready
}

// describe is "offset 3, T 2".
func describe(sliders []Slider, values []float64) string {
	parts := make([]string, len(sliders))
	for i, s := range sliders {
		parts[i] = s.Label + " " + strconv.FormatFloat(values[i], 'g', -1, 64)
	}
	return strings.Join(parts, ", ")
}
