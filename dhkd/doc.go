// Package dhkd is the method of "Dual-Head Knowledge Distillation" (Yang et al., KDD 2025, arXiv 2411.08937) as GoMLX
// graph builders, and nothing else: the losses on logits and the alignment of their gradients.
//
// The paper trains a student with two classifiers on one backbone. The main head, used at inference, learns from the
// labels by [CrossEntropy]; an auxiliary head, thrown away after training, learns from the teacher's logits by
// [BinaryKLNorm]:
//
//	L = gamma CrossEntropy(main, labels) + alpha BinaryKLNorm(aux, teacher, T)
//
// and [AlignGradients] takes from the second gradient what opposes the first. [KL] is Hinton's distillation loss, and
// [BinaryKL] the loss on which a single head may collapse.
//
// # Conventions
//
// Logits have shape [N, C] (batch, classes) and dtype float32 or float64; a loss is a scalar of that dtype: the sum
// over the classes, the mean over the batch, and, for the losses with a temperature T, times T². The teacher is a
// constant: no gradient flows into its logits. The builders panic, as GoMLX's do, when shapes, dtypes or T make no
// sense.
//
// # Stable and literal forms
//
// All losses but the two Literal ones are computed in a form that neither overflows nor cancels, with a hand-written
// exact gradient: large logits give a finite loss and gradient, and a logit that is not finite gives a NaN loss.
// [LiteralBinaryKL] and [LiteralBinaryKLNorm] are the reference implementation's formulas, operation by operation; in
// float32 they become infinite, with a NaN gradient, from (student-teacher)/T = 24 ln 2 = 16.64 upward. They are here
// to be studied.
package dhkd
