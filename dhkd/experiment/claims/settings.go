package claims

// The settings that claims are tested in. A claim adds its comparisons with [Test.with].
var (
	ordinary = Test{Title: "Ordinary setting", Experiment: "m", Profile: ProfileOffline,
		Setting: "6,000 pairs with crops and flips, wrn_16_2 to resnet8, 32 epochs, alpha 0.1, T = 2. One learning rate, " +
			"0.1, tuned for none."}

	tuned = Test{Title: "Tuned learning rates", Experiment: "quickstart", Profile: ProfileOffline,
		Setting: "2,000 pairs, resnet20 to resnet8, 40 epochs, alpha 1, T = 2. Each method has the learning rate that did " +
			"best on held-out training pairs."}

	edge = Test{Title: "Near the edge of stable training", Experiment: "collapse", Profile: ProfileOffline,
		Setting: "4,000 pairs, resnet20 to ShuffleV2, 6 epochs, learning rate 0.12, alpha 1, T = 2.",
		Caveat: "This setting was looked for, with the test images in view, because training fails there. It shows that " +
			"there is such a setting, not how common it is."}

	sameFamily = Test{Title: "Same architecture", Experiment: "same-architecture", Profile: ProfileOffline,
		Setting: "4,000 pairs, 8 epochs: resnet20 to resnet8, and wrn_16_2 to wrn_16_1. Learning rate 0.1 for all."}

	otherFamily = Test{Title: "Different architectures", Experiment: "cross-architecture", Profile: ProfileOffline,
		Setting: "4,000 pairs, 8 epochs: resnet20 to ShuffleV2, and wrn_16_2 to ShuffleV1. Learning rate 0.05 for all; DHKD " +
			"with the nonlinear auxiliary head."}

	equalWeights = Test{Title: "Losses of equal weight", Experiment: "gradients", Profile: ProfileOffline,
		Setting: "The ordinary setting with alpha 1 and half the learning rate, 0.05."}

	overflow = Test{Title: "The literal formula", Experiment: "learning-rate", Profile: ProfileOffline,
		Setting: "The ordinary setting, with the authors' float32 formula at T = 1, which overflows. CE at 0.1 is of " +
			"experiment m."}

	largeSteps = Test{Title: "Steps that are too large", Experiment: "learning-rate", Profile: ProfileOffline,
		Setting: "The ordinary setting, with the stable formula and alpha 10. CE at 0.1 is of experiment m."}

	features = Test{Title: "With ReviewKD", Experiment: "reviewkd", Profile: ProfileOffline,
		Setting: "The ordinary setting. CE and DHKD alone are of experiment m."}

	// Of the paper's data and schedule.
	cifar = Test{Title: "CIFAR-100, learning rate 0.1", Experiment: "cifar-100-collapse", Profile: ProfilePaper,
		Setting: "resnet32x4 to resnet8x4, 240 epochs, learning rate 0.1, alpha 1, T = 2."}

	cifarGradients = Test{Title: cifar.Title, Experiment: "cifar-100-gradients", Profile: ProfilePaper, Setting: cifar.Setting}

	cifarParts = Test{Title: "CIFAR-100, piece by piece", Experiment: "cifar-100-ablation", Profile: ProfilePaper,
		Setting: "resnet32x4 to resnet8x4, 240 epochs, learning rate 0.05, alpha 1, T = 2."}

	cifarAuthors = Test{Title: "CIFAR-100, the authors' setting", Experiment: "cifar-100-resnet32x4-shufflev2",
		Profile: ProfilePaper,
		Setting: "resnet32x4 to ShuffleV2, 240 epochs, with DHKD as in the one full command that the authors give: alpha 1, T = 2, nonlinear head, alignment."}

	cifarFeatures = Test{Title: "CIFAR-100, with ReviewKD", Experiment: "cifar-100-resnet32x4-resnet8x4",
		Profile: ProfilePaper, Setting: "resnet32x4 to resnet8x4, 240 epochs. Each method has its own weights."}
)

// The profiles of tests, see [record.Recipe].
const (
	ProfileOffline = "offline"
	ProfilePaper   = "paper"
)

func (t Test) with(comparisons ...Comparison) Test {
	t.Comparisons = comparisons
	return t
}

// saying adds to what is said of the setting.
func (t Test) saying(more string) Test {
	t.Setting += " " + more
	return t
}
