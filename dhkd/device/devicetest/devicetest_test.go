package devicetest

import (
	"os"
	"strings"
	"testing"

	"github.com/gomlx/gomlx/core/graph"

	"github.com/dhkd-lab/dhkd-go/dhkd/device"
)

func TestDevices(t *testing.T) {
	for name, open := range map[string]func(testing.TB) *device.Device{"Open": Open, "Go": Go} {
		t.Run(name, func(t *testing.T) {
			d := open(t)
			if again := open(t); again != d {
				t.Error("the device is not shared")
			}
			if name == "Open" && os.Getenv("GOMLX_BACKEND") == "" && !strings.HasPrefix(d.Name, "xla:") {
				t.Errorf("opened %s", d.Name)
			}
			two, err := graph.CallOnce(d.Backend, func(g *graph.Graph) *graph.Node {
				return graph.Add(graph.Const(g, float32(1)), graph.Const(g, float32(1)))
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := two.Value(); got != float32(2) {
				t.Errorf("1 + 1 = %v", got)
			}
		})
	}
}
