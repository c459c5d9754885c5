package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestSteady(t *testing.T) {
	const steps = steadySamples + 50
	path := filepath.Join(t.TempDir(), "steady.json")
	o, err := parse([]string{"-steady", "150", "-json", path})
	if err != nil {
		t.Fatal(err)
	}
	if err := runSteady(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	s := loadSteady(t, path)
	if len(s.Samples) != steadySamples || s.Samples[steadySamples-1].Steps != steps {
		t.Fatalf("%d samples: %+v", len(s.Samples), s.Samples)
	}
	for i, x := range s.Samples[1:] {
		if x.Steps <= s.Samples[i].Steps || residentMiB() > 0 && x.Resident < x.GoHeap {
			t.Errorf("sample %d: %+v after %+v", i+1, x, s.Samples[i])
		}
	}
}

func loadSteady(t *testing.T, path string) (s steady) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}
