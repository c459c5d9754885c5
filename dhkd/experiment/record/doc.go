// Package record holds what an experiment reads and leaves, free of any compute library: the [Recipe] of one run, the
// [Experiment] file that lists several, and the [Record] that a run leaves. Tables, figures, notebooks and the report
// are functions of records, so they can be made wherever this package compiles.
package record
