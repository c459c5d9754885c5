package device

import "sync/atomic"

// ProgramCount counts the programs of a process.
type ProgramCount struct {
	Programs int   // that XLA was given to compile
	Loaded   int   // of which it had kept in dhkd's cache directory, compiled
	Bytes    int64 // of the programs' text, StableHLO
}

var counted struct{ programs, loaded, bytes atomic.Int64 }

// CountPrograms tells what XLA's CPU plugin was given so far. It is known on Linux alone; elsewhere all is zero.
func CountPrograms() ProgramCount {
	return ProgramCount{int(counted.programs.Load()), int(counted.loaded.Load()), counted.bytes.Load()}
}
