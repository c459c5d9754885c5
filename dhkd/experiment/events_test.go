package experiment

import (
	"encoding/binary"
	"math"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// checkEvents checks that TensorBoard's events of a run, read in its order, are the metrics of the record's epochs.
func checkEvents(t *testing.T, dir string, rec *record.Record) {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(dir, EventsDir, "events.out.tfevents.*"))
	check(t, err)
	if len(paths) != 1+rec.Resumed {
		t.Errorf("event files: %v", paths)
	}
	got := map[int]map[string]float32{}
	for _, path := range paths {
		for data := read(t, path); len(data) > 0; {
			n := binary.LittleEndian.Uint64(data)
			event := fields(t, data[12:12+n])
			data = data[16+n:]
			if event[5] == nil { // no summary
				continue
			}
			value := fields(t, fields(t, event[5].([]byte))[1].([]byte))
			step := int(event[2].(uint64))
			if got[step] == nil {
				got[step] = map[string]float32{}
			}
			got[step][string(value[1].([]byte))] = math.Float32frombits(value[2].(uint32))
		}
	}
	want := map[int]map[string]float32{}
	for _, e := range rec.Epochs {
		want[e.Step] = map[string]float32{"learning_rate": float32(e.LearningRate)}
		for name, v := range e.Metrics {
			want[e.Step][name] = float32(v)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error("events: ", diff)
	}
}

// fields are those of a protocol buffer's message, by number.
func fields(t *testing.T, b []byte) map[protowire.Number]any {
	t.Helper()
	m := map[protowire.Number]any{}
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
		switch kind {
		case protowire.VarintType:
			m[number], n = protowire.ConsumeVarint(b)
		case protowire.Fixed32Type:
			m[number], n = protowire.ConsumeFixed32(b)
		case protowire.Fixed64Type:
			m[number], n = protowire.ConsumeFixed64(b)
		case protowire.BytesType:
			m[number], n = protowire.ConsumeBytes(b)
		default:
			t.Fatalf("field %d of type %d", number, kind)
		}
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		b = b[n:]
	}
	return m
}
