package claims

import "slices"

// Where the paper's claims are read.
const (
	abstract  = "abstract, arXiv 2411.08937"
	reviews   = "reviews of the ICLR 2025 submission, OpenReview m7Nd3K0iru"
	notKnown  = "the paper's own words are not known"
	noNumbers = "Not known: the tables of results could not be read."
	cost      = "(about an hour a run on a GPU; estimated, not run)"
)

// Paper are the paper's claims that can be tested without its numbers.
func Paper() []Claim {
	return []Claim{worseTogether(), dhkdIsBest(), headsConflict(), normIsEnough(), partsHelp(), rateDoesNotHelp(),
		addsToReviewKD()}
}

// Numbered is the claim of a number, "i" to "vii". It panics where there is none.
func Numbered(number string) Claim {
	all := Paper()
	return all[slices.IndexFunc(all, func(c Claim) bool { return c.Number == number })]
}

func worseTogether() Claim {
	ce := better("CE is better than CE + BinaryKL on one head", Accuracy("ce"), Accuracy("ce+binarykl"))
	alone := better("BinaryKL alone is better than CE + BinaryKL on one head", Accuracy("binarykl"),
		Accuracy("ce+binarykl"))
	return Claim{
		Number: "i",
		Title:  "CE + BinaryKL on one head is worse than either loss alone",
		Quote: "the amalgamation of the newly introduced logit-level loss and the previous probability-level loss will " +
			"lead to performance degeneration, even trailing behind the performance of employing either loss in isolation",
		Source: abstract,
		Published: "39.56 % on CIFAR-100 for CE + BinaryKL on one head (version 1, introduction). Teacher, student, weight, " +
			"temperature, schedule and number of runs behind it are not known, nor the other accuracies of figure 1b.",
		Question: "The same student is trained by each loss alone, and by both on one head.",
		Tests: []Test{ordinary.with(ce, alone), tuned.with(ce, alone), edge.with(ce, alone), cifar.with(ce, alone),
			cifarParts.with(ce)},
		Decides: "The paper's data and schedule, `dhkd train cifar-100-collapse` and `dhkd distill cifar-100-collapse` " +
			cost + "; and from the authors the networks, weight and temperature behind 39.56 %.",
	}
}

func dhkdIsBest() Claim {
	over := func(name, run string) Comparison {
		return better("DHKD is better than "+name, Accuracy("dhkd"), Accuracy(run))
	}
	ce, alone, one, kd := over("CE", "ce"), over("BinaryKL alone", "binarykl"),
		over("CE + BinaryKL on one head", "ce+binarykl"), over("KD", "kd")
	enough := func(words, run string) Comparison {
		return better(words, Accuracy(run), Accuracy("ce+binarykl")).asWell()
	}
	families := otherFamily
	families.Caveat = "With ShuffleV1, DKD, whose loss has a weight of 8, does not train at the rate of 0.05: to be better " +
		"than that says nothing. It is there with 0.01 as well."
	return Claim{
		Number: "ii",
		Title:  "DHKD is better than CE, BinaryKL alone, both on one head, and KD",
		Quote: "our method can effectively exploit the information inside the logits and achieve superior performance " +
			"against state-of-the-art counterparts",
		Source: abstract,
		Published: noNumbers + " By " + reviews + ", the gain is 0.1 to 0.2 points in most cells, and in some DHKD is " +
			"below a rival.",
		Question: "DHKD (two heads, BinaryKL-Norm, alignment) against the three other settings of figure 1b, and against KD. " +
			"Newer methods, and what else saves a student that fails with one head, stand beside.",
		Tests: []Test{
			ordinary.with(ce, alone, one, kd),
			tuned.with(ce, alone, one, kd),
			edge.with(ce, alone, one,
				enough("DHKD without alignment is better than CE + BinaryKL on one head", "dhkd-unaligned"),
				enough("A second head is enough, with BinaryKL", "dual-binarykl"),
				enough("BinaryKL-Norm is enough, on one head", "ce+binarykl-norm"),
				enough("Half the weight of BinaryKL is enough, on one head", "ce+binarykl-half")),
			sameFamily.with(slices.Concat(rivals("resnet8", "resnet8"), rivals("wrn_16_1", "wrn_16_1"))...),
			families.with(slices.Concat(rivals("ShuffleV2", "shufflev2"), rivals("ShuffleV1", "shufflev1"),
				[]Comparison{better("ShuffleV1: DHKD is better than DKD with a rate of 0.01", Accuracy("shufflev1-dhkd"),
					Accuracy("shufflev1-dkd-0.01")).asWell()})...),
			cifar.with(ce, alone, one),
			cifarParts.with(ce, one, kd),
			cifarAuthors.with(ce, kd, over("DKD", "dkd").asWell(), over("ReviewKD", "reviewkd").asWell()),
		},
		Decides: "The authors' own setting, `dhkd train cifar-100-resnet32x4-shufflev2` and `dhkd distill " +
			"cifar-100-resnet32x4-shufflev2` " + cost + ", with as many seeds as a gain of 0.2 points needs.",
	}
}

// rivals are the comparisons for a student of the experiments on pairs of networks.
func rivals(student, runs string) []Comparison {
	over := func(name, run string) Comparison {
		return better(student+": DHKD is better than "+name, Accuracy(runs+"-dhkd"), Accuracy(runs+"-"+run))
	}
	return []Comparison{over("CE", "ce"), over("KD", "kd"), over("DKD", "dkd").asWell(),
		over("ReviewKD", "reviewkd").asWell()}
}

func headsConflict() Claim {
	const run = "ce+binarykl"
	larger := func(words string, more, less Quantity, least float64) Comparison {
		return Comparison{Words: words, More: more, Less: less, Least: least}
	}
	zero := Quantity{Run: run, Of: Number(0)}
	measured := []Comparison{
		larger("The cosine is larger in the backbone than in the classifier", cosine(run, backbone), cosine(run, head),
			leastCosine),
		larger("It is negative in a larger share of the steps in the classifier", conflicts(run, head),
			conflicts(run, backbone), leastShare),
		larger("Strictly: the mean cosine in the classifier is negative", zero, cosine(run, head), leastCosine).asWell(),
		larger("The mean cosine in the backbone is positive", cosine(run, backbone), zero, leastCosine).asWell(),
	}
	control := []Comparison{
		larger("KD: the cosine is larger in the backbone than in the classifier", cosine("kd", backbone),
			cosine("kd", head), leastCosine).asWell(),
		larger("In the classifier KL agrees with CE more than BinaryKL does", cosine("kd", head), cosine(run, head),
			leastCosine).asWell(),
	}
	return Claim{
		Number: "iii",
		Title:  "The gradients of CE and BinaryKL conflict more in the classifier than in the backbone",
		Quote: "the gradients of the two loss functions exhibit contradictions in the linear classifier yet display no such " +
			"conflict within the backbone",
		Source:    abstract,
		Published: "Not known: how the paper measures conflict, and what it found. The authors' program measures nothing.",
		Question: "The cosine between the two gradients in every twentieth step of the run with both losses on one head: its " +
			"mean, and the share of steps in which it is negative. The strict sense of conflict stands beside.",
		Tests: []Test{ordinary.with(slices.Concat(measured, control)...), equalWeights.with(measured...),
			cifarGradients.with(slices.Concat(measured, control)...)},
		Decides: "`dhkd distill cifar-100-gradients --run kd,ce+binarykl` " + cost + "; and from the authors " +
			"what they call a conflict.",
	}
}

func normIsEnough() Claim {
	const words = "BinaryKL-Norm is better than BinaryKL on the second head"
	norm := better(words, Accuracy("dhkd-unaligned"), Accuracy("dual-binarykl"))
	return Claim{
		Number: "iv",
		Title:  "On the auxiliary head BinaryKL-Norm is at least as good as BinaryKL",
		Reported: "with one temperature BinaryKL does not advance in step for outputs of the teacher of different size; " +
			"BinaryKL-Norm is to mend that",
		Source:    reviews + "; " + notKnown,
		Published: noNumbers,
		Question: "Two heads, with either loss on the second one. The test asks whether BinaryKL-Norm is better: an interval " +
			"that holds zero leaves it open that they are equally good.",
		Tests: []Test{
			ordinary.saying("Two heads with BinaryKL are of experiment ablation.").with(
				better(words, Accuracy("dhkd-unaligned"), Accuracy("dual-binarykl").In("ablation")),
				better("The same with alignment", Accuracy("dhkd"), Accuracy("dual-binarykl-aligned").In("ablation"))),
			edge.with(norm),
			cifar.with(norm),
			cifarParts.with(norm, better("The same with alignment", Accuracy("dhkd"), Accuracy("dual-binarykl-aligned"))),
		},
		Decides: "`dhkd distill cifar-100-ablation --run dual-binarykl,dual-binarykl-aligned,dhkd-unaligned,dhkd` " + cost + ".",
	}
}

func partsHelp() Claim {
	alignment := better("Alignment helps", Accuracy("dhkd"), Accuracy("dhkd-unaligned"))
	families := ordinary.saying("The nonlinear head is of experiment ablation.").with(
		alignment,
		better("A nonlinear auxiliary head helps", Accuracy("dhkd-nonlinear").In("ablation"), Accuracy("dhkd")),
		better("Alignment helps, with BinaryKL", Accuracy("dual-binarykl-aligned").In("ablation"),
			Accuracy("dual-binarykl").In("ablation")).asWell())
	families.Caveat = "The two networks are of different families, but both are residual networks."
	otherFamilies := otherFamily.saying("Of ShuffleV2.").with(
		better("Alignment helps", Accuracy("shufflev2-dhkd"), Accuracy("shufflev2-dhkd-unaligned")),
		better("A nonlinear auxiliary head helps", Accuracy("shufflev2-dhkd"), Accuracy("shufflev2-dhkd-linear")))
	sameFamilies := cifarParts.with(alignment,
		better("A nonlinear auxiliary head helps", Accuracy("dhkd-nonlinear"), Accuracy("dhkd")).asWell())
	sameFamilies.Caveat = "The two networks are of one family, for which a nonlinear head is not claimed to help."
	return Claim{
		Number: "v",
		Title:  "Alignment helps, and so does a nonlinear auxiliary head where the architectures differ",
		Reported: "alignment and a nonlinear auxiliary head are options of the authors' program; the latter is for pairs of " +
			"different architectures",
		Source:    "the authors' program, " + reviews + "; " + notKnown,
		Published: noNumbers,
		Question:  "DHKD with and without alignment, and with a linear and a nonlinear auxiliary head.",
		Tests:     []Test{families, edge.saying("Alignment alone.").with(alignment), otherFamilies, sameFamilies},
		Decides: "`dhkd distill cifar-100-ablation --run dhkd,dhkd-unaligned`, and `dhkd distill " +
			"cifar-100-resnet32x4-shufflev2 --run dhkd` as it is and with `--set model.aux_head=linear` " + cost + ".",
	}
}

func rateDoesNotHelp() Claim {
	below := func(words, run string) Comparison { return better(words, Accuracy("ce").In("m"), Accuracy(run)) }
	still := func(rate string) Comparison {
		return better("At "+rate+" one head is still below CE at 0.1", Accuracy("ce"), Accuracy("ce+binarykl-"+rate))
	}
	return Claim{
		Number: "vi",
		Title:  "A smaller learning rate does not rescue CE + BinaryKL on one head",
		Reported: "the learning rate was lowered from 0.1 to 0.01, 0.005 and 0.001, and training collapsed in most cases; in " +
			"which is not known",
		Source:    "a summary of version 1; " + notKnown,
		Published: "Not known.",
		Question: "In the ordinary setting one head does not fail, so there is nothing to rescue. Here it is made to fail in " +
			"two ways, and then trained at smaller rates: is it still below CE at 0.1?",
		Tests: []Test{
			overflow.with(
				below("At 0.1 one head is below CE", "literal-0.1"),
				below("At 0.01 one head is still below CE at 0.1", "literal-0.01"),
				below("At 0.005 one head is still below CE at 0.1", "literal-0.005"),
				below("At 0.001 one head is still below CE at 0.1", "literal-0.001"),
				better("At 0.001 one head is below CE at 0.001", Accuracy("ce-0.001"), Accuracy("literal-0.001")).asWell(),
				better("At 0.01 the stable form is better", Accuracy("stable-0.01"), Accuracy("literal-0.01")).asWell()),
			largeSteps.with(
				below("At 0.1 one head is below CE", "heavy-0.1"),
				below("At 0.01 one head is still below CE at 0.1", "heavy-0.01"),
				better("One head is better at 0.01 than at 0.1", Accuracy("heavy-0.01"), Accuracy("heavy-0.1")).asWell()),
			cifar.with(better("At 0.1 one head is below CE", Accuracy("ce"), Accuracy("ce+binarykl")), still("0.01"),
				still("0.005"), still("0.001")),
		},
		Decides: "`dhkd train cifar-100-collapse --run ce` and `dhkd distill cifar-100-collapse --run " +
			"ce+binarykl,ce+binarykl-0.01,ce+binarykl-0.005,ce+binarykl-0.001` " + cost + ", if one head fails there at 0.1.",
	}
}

func addsToReviewKD() Claim {
	adds := better("ReviewKD with DHKD is better than ReviewKD", Accuracy("dhkd+reviewkd"), Accuracy("reviewkd"))
	return Claim{
		Number:    "vii",
		Title:     "DHKD adds to ReviewKD",
		Reported:  "the two are said to complement each other (version 2)",
		Source:    "summaries of the paper by others; " + notKnown,
		Published: "Not known.",
		Question:  "ReviewKD, which compares features, with and without DHKD.",
		Tests: []Test{
			features.with(adds,
				better("ReviewKD with DHKD is better than DHKD", Accuracy("dhkd+reviewkd"), Accuracy("dhkd").In("m")).asWell(),
				better("ReviewKD is better than CE", Accuracy("reviewkd"), Accuracy("ce").In("m")).asWell()),
			cifarFeatures.with(adds),
		},
		Decides: "`dhkd distill cifar-100-resnet32x4-resnet8x4 --run reviewkd,dhkd+reviewkd` " + cost + ".",
	}
}
