// Package report says what the records of an experiment show: [Verdict] in sentences, [Text] as a table for a terminal,
// [Markdown] for a README or an issue, and [HTML] as one page with figures, recipes and environment that opens without
// a network. [Reproduce] says which of the paper's claims hold in the records of many experiments, as text, Markdown and
// HTML. Everything is a function of records ([record.Record]); nothing here needs a compute library.
//
// Records are untrusted: whatever text they hold is shown as text, and records that do not belong together are refused.
package report
