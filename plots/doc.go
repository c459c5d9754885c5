// Package plots draws the figures of an experiment from its records ([record.Record]) and from nothing else: no number
// is typed in by hand, and nothing here needs a compute library.
//
//   - [AccuracyBars]: the last epoch's test accuracy of every run, with the spread over seeds and the teacher's
//     accuracy;
//   - [TrainingCurves]: test accuracy by epoch;
//   - [LossCurves]: every loss term by epoch, and where it stopped being finite;
//
// and those of one trained network from its evaluation ([record.Evaluation]):
//
//   - [Reliability]: accuracy by confidence, with the calibration error;
//   - [Confusion]: what is taken for what;
//   - [PerClass]: the classes by accuracy.
//
// A [Figure] is written with [Figure.Save] (PNG or SVG by the file's extension) or taken as bytes with [Figure.PNG] and
// [Figure.SVG]. Every figure's caption names the profile, the data and the number of seeds, so that a small run can
// never pass for a run of the paper's size. A method has the same colour in every figure; the palette is Okabe and
// Ito's, which readers with any common colour vision can tell apart.
//
// [Summarize] is the table behind the figures: records grouped into runs, with means and standard deviations over
// seeds.
package plots
