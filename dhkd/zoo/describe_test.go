package zoo_test

import (
	"math"
	"testing"

	"github.com/dhkd-lab/dhkd-go/dhkd"
	"github.com/dhkd-lab/dhkd-go/dhkd/device/devicetest"
	"github.com/dhkd-lab/dhkd-go/dhkd/zoo"
)

// TestDescribe compares with counts of the authors' networks, of torchvision's for the nets with ImageNet's stem, and, of
// wrn_28_10, of its paper's code. Millions of multiply-adds are rounded.
func TestDescribe(t *testing.T) {
	for _, test := range []struct {
		name          string
		classes, side int
		parameters    [3]int // none, linear, nonlinear; 0 is not compared
		width         int
		multiplyAdds  float64
	}{
		{"resnet8", 100, 32, [3]int{83_892, 90_392, 117_392}, 64, 12.5},
		{"resnet14", 100, 32, [3]int{181_108, 187_608, 214_608}, 64, 26.7},
		{"resnet20", 100, 32, [3]int{278_324, 284_824, 311_824}, 64, 40.8},
		{"resnet32", 100, 32, [3]int{472_756, 479_256, 506_256}, 64, 69.1},
		{"resnet44", 100, 32, [3]int{667_188, 673_688, 700_688}, 64, 97.4},
		{"resnet56", 100, 32, [3]int{861_620, 868_120, 895_120}, 64, 125.8},
		{"resnet110", 100, 32, [3]int{1_736_564, 1_743_064, 1_770_064}, 64, 253.2},
		{"resnet8x4", 100, 32, [3]int{1_233_540, 1_259_240, 1_305_440}, 256, 177.1},
		{"resnet32x4", 100, 32, [3]int{7_433_860, 7_459_560, 7_505_760}, 256, 1083.0},
		{"wrn_16_1", 100, 32, [3]int{180_916, 187_416, 214_416}, 64, 26.7},
		{"wrn_16_2", 100, 32, [3]int{703_284, 716_184, 749_584}, 128, 101.1},
		{"wrn_40_1", 100, 32, [3]int{569_780, 576_280, 603_280}, 64, 83.3},
		{"wrn_40_2", 100, 32, [3]int{2_255_156, 2_268_056, 2_301_456}, 128, 327.6},
		{"wrn_28_10", 10, 32, [3]int{36_479_194}, 640, 5243.3},
		{"vgg8", 100, 32, [3]int{3_965_028, 4_016_328, 4_088_128}, 512, 96.2},
		{"vgg11", 100, 32, [3]int{9_277_284, 9_328_584, 9_400_384}, 512, 209.4},
		{"vgg13", 100, 32, [3]int{9_462_180, 9_513_480, 9_585_280}, 512, 284.9},
		{"vgg16", 100, 32, [3]int{14_774_436, 14_825_736, 14_897_536}, 512, 398.2},
		{"vgg19", 100, 32, [3]int{20_086_692, 20_137_992, 20_209_792}, 512, 511.4},
		{"ResNet18", 100, 32, [3]int{11_220_132, 11_271_432, 11_343_232}, 512, 555.5},
		{"ResNet18", 1000, 224, [3]int{11_681_832, 12_194_832, 11_985_832}, 512, 27_216},
		{"ResNet34", 100, 32, [3]int{21_328_292, 21_379_592, 21_451_392}, 512, 1159.4},
		{"ResNet50", 100, 32, [3]int{23_705_252, 23_910_152, 24_135_552}, 2048, 1298.0},
		{"ResNet18_imagenet", 1000, 224, [3]int{11_689_512}, 512, 1814.1},
		{"ResNet34_imagenet", 1000, 224, [3]int{21_797_672}, 512, 3663.8},
		{"ResNet50_imagenet", 1000, 224, [3]int{25_557_032}, 2048, 4089.2},
		{"MobileNetV2", 100, 32, [3]int{812_836, 940_936, 1_089_536}, 1280, 6.5},
		{"ShuffleV1", 100, 32, [3]int{949_258, 1_045_358, 1_161_958}, 960, 38.7},
		{"ShuffleV2", 100, 32, [3]int{1_355_528, 1_458_028, 1_581_028}, 1024, 44.5},
		{"MobileNetV1", 1000, 224, [3]int{4_231_976, 5_256_976, 4_638_376}, 1024, 568.7},
	} {
		m := newModel(t, zoo.Config{Name: test.name, Classes: test.classes})
		d, err := m.Describe(devicetest.Go(t).Backend, [3]int{test.side, test.side, 3})
		if err != nil {
			t.Fatal(err)
		}
		for i, head := range dhkd.AuxHeads {
			if got, want := d.Parameters[head], test.parameters[i]; got != want && want != 0 {
				t.Errorf("%s with auxiliary head %s: %d parameters, want %d", test.name, head, got, want)
			}
		}
		digit := 0.1
		if test.multiplyAdds > 10_000 {
			digit = 1
		}
		if got := float64(d.MultiplyAdds) / 1e6; math.Abs(got-test.multiplyAdds) > 0.501*digit {
			t.Errorf("%s: %.2f million multiply-adds, want %.1f", test.name, got, test.multiplyAdds)
		}
		if d.Width != test.width {
			t.Errorf("%s: width %d, want %d", test.name, d.Width, test.width)
		}
	}
}

// TestParameters checks that what is described is what is made.
func TestParameters(t *testing.T) {
	for _, c := range []zoo.Config{{AuxHead: dhkd.NoAuxHead}, {AuxHead: dhkd.LinearAuxHead}, {AuxHead: dhkd.NonlinearAuxHead},
		{Head: dhkd.NonlinearHead}, {Head: dhkd.NonlinearHead, AuxHead: dhkd.NonlinearAuxHead}} {
		c.Name, c.Classes = "resnet8", 10
		m := newModel(t, c)
		d, err := m.Describe(devicetest.Go(t).Backend, [3]int{16, 16, 1})
		if err != nil {
			t.Fatal(err)
		}
		weights, err := m.Initial(devicetest.Go(t).Backend, [3]int{16, 16, 1}, 1)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := zoo.Parameters(weights), d.Parameters[m.AuxHead]; got != want {
			t.Errorf("%+v: %d parameters, described are %d", m.Config, got, want)
		}
	}
}
