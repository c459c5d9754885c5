package dataset_test

import (
	"context"
	"fmt"
	"log"

	"github.com/dhkd-lab/dhkd-go/dhkd/dataset"
)

// A file of one's own in CIFAR-100's binary format. Without Dir the published set is loaded.
func ExampleLoad() {
	set, err := dataset.Load(context.Background(), "cifar-100", dataset.Options{Dir: "testdata/mini.bin"})
	if err != nil {
		log.Fatal(err)
	}
	set, err = set.Holdout(5) // choose hyper-parameters on these
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d to train on, %d to evaluate on, %d classes\n", set.Train.Len(), set.Test.Len(), set.Classes)
	fmt.Println("the first is a", set.ClassNames[set.Train.Labels[0]], set.Image(set.Train, 0).Bounds().Size())
	// Output:
	// 15 to train on, 5 to evaluate on, 100 classes
	// the first is a forest (32,32)
}

func ExampleAugment() {
	image := []uint8{
		1, 2,
		3, 4,
	}
	fmt.Println(dataset.Augment(image, 2, 2, 1, 1, 0, 1, false)) // one row down
	fmt.Println(dataset.Augment(image, 2, 2, 1, 1, 1, 1, true))  // flipped
	// Output:
	// [0 0 1 2]
	// [2 1 4 3]
}
