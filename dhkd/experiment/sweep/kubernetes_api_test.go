package sweep

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestKubernetesAPI has manifests checked by the API server's own code: what the engine writes, and what docs/kubernetes.md
// shows, is right; and manifests with a mistake in them are not.
func TestKubernetesAPI(t *testing.T) {
	if os.Getenv(kubernetesEnv) == "" {
		skip(t, "scripts/test.sh kubernetes runs it, with "+kubernetesEnv+"=1")
	}
	source := filepath.Join("testdata", "kubernetes")
	program := filepath.Join(t.TempDir(), "check")
	if out, err := exec.Command("go", "build", "-C", source, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	apiServer := func(text string) (said string, err error) {
		var stderr bytes.Buffer
		c := exec.Command(program)
		c.Dir, c.Stdin, c.Stderr = source, strings.NewReader(text), &stderr
		out, err := c.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, &stderr)
		}
		return string(out), err
	}

	l, gpu := cluster(t, "seeds: [1, 2, 3]")
	_, text := manifest(t, l, gpu)
	good := []string{text}
	l, tpu := cluster(t, "runs: [ce]\nseeds: [1]")
	tpu.GPUs, tpu.TPUs, tpu.TPUType, tpu.TPUTopology, tpu.Queue = 0, 4, "tpu-v5-lite-podslice", "2x2", "team"
	tpu.Env, tpu.NodeSelector, tpu.Namespace = map[string]string{"A_B": "$(HOME)"}, map[string]string{"a.b/c": "d"}, ""
	_, tpuText := manifest(t, l, tpu)
	good = append(good, tpuText)

	// As many runs as a plan may have, and a name as long as one may be.
	var all []Status
	for i := range maxRuns {
		all = append(all, Status{Run: &Run{ID: fmt.Sprintf("tiny/smoke/ce-seed%d", i)}, State: Waiting})
	}
	gpu.Plan, gpu.Limit = &Plan{Name: strings.Repeat("x", 100)}, 0
	large, err := gpu.Manifest(all)
	check(t, err)
	largeText, err := large.Text()
	check(t, err)
	good = append(good, largeText)

	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "kubernetes.md"))
	check(t, err)
	for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(page, -1) {
		good = append(good, string(block[1]))
	}
	said, err := apiServer(strings.Join(good, "---\n"))
	check(t, err)
	want := fmt.Sprintf("Job test-1: ok\nJob test-1: ok\nJob %s-1: ok\nPersistentVolumeClaim sweeps: ok\nPod tools: ok\n",
		strings.Repeat("x", maxJobName))
	if said != want {
		t.Errorf("%s\nwant %s", said, want)
	}

	for _, c := range []struct{ old, new, want string }{
		{"completions: 4", "completion: 4", "field not declared in schema"},
		{"completions: 4", "completions: four", "expected numeric"},
		{"completionMode: Indexed", "completionMode: NonIndexed", "spec.backoffLimitPerIndex"},
		{"restartPolicy: Never", "restartPolicy: OnFailure", "spec.template.spec.restartPolicy"},
		{"podReplacementPolicy: Failed", "podReplacementPolicy: TerminatingOrFailed", "spec.podReplacementPolicy"},
		{"        - 4\n        - 130\n", "        - 130\n        - 4\n", "must be ordered"},
		{"name: test-1", "name: " + strings.Repeat("x", 62), "metadata.name"},
		{`nvidia.com/gpu: "1"`, `nvidia.com/gpu: "1.5"`, "must be an integer"},
		{"name: sweep\n", "name: swept\n", "volumeMounts[0].name: Not found"},
	} {
		if !strings.Contains(text, c.old) {
			t.Errorf("%q is not in\n%s", c.old, text)
		}
		if said, err := apiServer(strings.Replace(text, c.old, c.new, 1)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s %v, want %s", c.new, said, err, c.want)
		}
	}
}
