package device_test

import (
	"context"
	"fmt"
	"os"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

// Open chooses the best backend there is. Here GOMLX_BACKEND makes the choice, so that the output is the same
// everywhere.
func ExampleOpen() {
	old, set := os.LookupEnv("GOMLX_BACKEND")
	os.Setenv("GOMLX_BACKEND", "go")
	defer func() {
		if os.Unsetenv("GOMLX_BACKEND"); set {
			os.Setenv("GOMLX_BACKEND", old)
		}
	}()

	d, err := device.Open(context.Background(), device.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer d.Close()
	sum, err := graph.CallOnce(d.Backend, func(g *graph.Graph) *graph.Node {
		return graph.Add(graph.Const(g, float32(1)), graph.Const(g, float32(1)))
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(d.Name, sum)
	// Output: go float32(2)
}
