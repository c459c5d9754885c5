package main

import (
	"encoding/json"
	"os"
	"testing"
)

// TestRecord: the ratios are those of the record's rounds.
func TestRecord(t *testing.T) {
	text, err := os.ReadFile("record.json")
	if err != nil {
		t.Fatal(err)
	}
	var r result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	turbo, faster := r.Turbo, r.Faster
	r.summarise()
	if turbo != r.Turbo || faster != r.Faster {
		t.Errorf("%+v and %+v, of the rounds %+v and %+v", turbo, faster, r.Turbo, r.Faster)
	}
	one := result{Rounds: []round{{Turbo: 2, Go: 1, Torchvision: 1}, {Turbo: 8, Go: 1, Torchvision: 2}}}
	one.summarise()
	if want := (ratio{3, 2.5, 3.5}); one.Turbo != want {
		t.Errorf("%+v, want %+v", one.Turbo, want)
	}
}
