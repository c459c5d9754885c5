// Package plots draws the figures of an experiment from its records ([record.Record]) and from nothing else: no number
// is typed in by hand, and nothing here needs a compute library.
//
//   - [AccuracyBars], [AccuracyIntervals]: the last epoch's test accuracy of every run, with the spread over seeds;
//   - [PairedDifferences]: accuracy against a baseline's, seed by seed, with intervals;
//   - [AccuracyMap]: accuracy over two hyper-parameters of a sweep;
//   - [TrainingCurves], [LossCurves]: test accuracy, and every loss term, by epoch;
//   - [GradientCosines], [ConflictShares], [LayerCosines], [PullAndPush], [Alignment]: how two losses' gradients
//     conflict, where, why, and what alignment does about it;
//   - [NeuralCollapse]: its measures by epoch;
//
// those of trained networks from their analyses ([record.Analysis]):
//
//   - [CollapseMeasures]: neural collapse at the end;
//   - [LogitDifferences], [LogitDistributions]: how logits differ from the teacher's;
//   - [Embeddings]: t-SNE and principal components of the features;
//   - [StageSimilarity]: which stages of student and teacher are alike;
//
// and those of one trained network from its evaluation ([record.Evaluation]):
//
//   - [Reliability]: accuracy by confidence, with the calibration error;
//   - [Confusion]: what is taken for what;
//   - [PerClass]: the classes by accuracy.
//
// [SoftmaxHides] and [LossFunctions] draw formulas, [Charts] any other lines, and [Images] small pictures. [Draw] draws
// what [Load] finds, by the names of [Kinds].
//
// A [Figure] is written with [Figure.Save] (PNG or SVG by the file's extension) or taken as bytes with [Figure.PNG] and
// [Figure.SVG]. Every figure's caption names the profile, the data and the number of seeds, so that a small run can
// never pass for a run of the paper's size. A method has the same colour in every figure; the palette is Okabe and
// Ito's, which readers with any common colour vision can tell apart.
//
// [Summarize] is the table behind the figures: records grouped into runs, with means and standard deviations over
// seeds.
package plots
