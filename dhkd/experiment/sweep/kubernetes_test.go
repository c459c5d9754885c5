package sweep

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/record"
)

// kubernetesEnv asks for TestKubernetesAPI: scripts/test.sh kubernetes sets it.
const kubernetesEnv = "DHKD_TEST_KUBERNETES"

// cluster is a sweep of the tiny experiment on a volume, and the engine that makes it on GPUs.
func cluster(t *testing.T, sweep string, replace ...string) (*Local, *Kubernetes) {
	t.Helper()
	l := local(t, sweep, 1, replace...)
	return l, &Kubernetes{Dir: l.Dir, Plan: l.Plan, Command: []string{"dhkd", "sweep", "one", l.Dir}, Image: "registry/dhkd:1",
		Volume: "sweeps", Mount: filepath.Dir(l.Dir), Namespace: "lab", Limit: 8, Retries: 2, User: 1000, CPUs: 4, Memory: "8Gi",
		GPUs: 1}
}

func survey(l *Local) []Status { return (&Surveyor{Dir: l.Dir, Plan: l.Plan}).Survey() }

// decodeJob reads a manifest as the API does: a field that it does not know, or that is there twice, is an error.
func decodeJob(t *testing.T, text string) *batchv1.Job {
	t.Helper()
	var job batchv1.Job
	if err := yaml.UnmarshalStrict([]byte(text), &job); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return &job
}

func manifest(t *testing.T, l *Local, k *Kubernetes) (*Manifest, string) {
	t.Helper()
	m, err := k.Manifest(survey(l))
	check(t, err)
	text, err := m.Text()
	check(t, err)
	if diff := cmp.Diff(m.Job, decodeJob(t, text)); diff != "" {
		t.Errorf("the manifest has another job: %s", diff)
	}
	return m, text
}

func TestKubernetes(t *testing.T) {
	l, k := cluster(t, "seeds: [1, 2, 3]")
	m, text := manifest(t, l, k)
	if want := "[tiny/smoke/teacher-seed1 tiny/smoke/ce-seed1 tiny/smoke/ce-seed2 tiny/smoke/ce-seed3]"; fmt.Sprint(m.Runs) != want {
		t.Errorf("%v, want those that need no teacher: %s", m.Runs, want)
	}
	for _, line := range []string{"apiVersion: batch/v1", "kind: Job", "name: test-1", "namespace: lab", "completionMode: Indexed",
		"completions: 4", "parallelism: 4", "backoffLimitPerIndex: 2", "podReplacementPolicy: Failed", "claimName: sweeps",
		"restartPolicy: Never", "image: registry/dhkd:1", `nvidia.com/gpu: "1"`, "memory: 8Gi", "- --index=$(JOB_COMPLETION_INDEX)",
		"operator: Exists", "runAsNonRoot: true"} {
		if !strings.Contains(text, " "+line+"\n") && !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("%q is not in\n%s", line, text)
		}
	}
	for _, no := range []string{"\nstatus:", "creationTimestamp", "suspend", "google.com/tpu", "kueue"} {
		if strings.Contains(text, no) {
			t.Errorf("%q is in\n%s", no, text)
		}
	}
	if _, err := os.Stat(filepath.Join(l.Dir, kubernetesFiles)); err == nil {
		t.Error("something was written")
	}

	// Written, each index has its run.
	m, err := k.Write(survey(l))
	check(t, err)
	if want := filepath.Join(l.Dir, "kubernetes", "1", "job.yaml"); m.Path != want {
		t.Errorf("%s, want %s", m.Path, want)
	}
	written, err := os.ReadFile(m.Path)
	check(t, err)
	if string(written) != text {
		t.Errorf("what was written is not what was shown: %s", cmp.Diff(text, string(written)))
	}
	command := decodeJob(t, text).Spec.Template.Spec.Containers[0].Command
	tasks := command[len(command)-2]
	for i, run := range m.Runs {
		if id, err := Task(tasks, i); id != run || err != nil {
			t.Errorf("index %d: %s (%v), want %s", i, id, err, run)
		}
	}
	for _, i := range []int{-1, len(m.Runs)} {
		if _, err := Task(tasks, i); err == nil {
			t.Errorf("there is a run %d", i)
		}
	}

	// When the teacher is done, its students have a job of their own, with what was not done.
	for _, r := range l.Plan.Runs[:2] {
		check(t, completed(r.Recipe).Save(record.Path(l.Dir, r.Recipe)))
	}
	m, err = k.Write(survey(l))
	check(t, err)
	if m.Job.Name != "test-2" || len(m.Runs) != 5 || *m.Job.Spec.Completions != 5 || *m.Job.Spec.Parallelism != 5 {
		t.Errorf("%s: %v", m.Job.Name, m.Runs)
	}
	for _, r := range l.Plan.Runs {
		check(t, completed(r.Recipe).Save(record.Path(l.Dir, r.Recipe)))
	}
	if m, err := k.Write(survey(l)); m != nil || err != nil {
		t.Errorf("all is done: %v %v", m, err)
	}
}

// A pod's end is judged by the rules in their order, of which the first that fits counts, as Kubernetes does it.
func TestKubernetesFailurePolicy(t *testing.T) {
	action := func(code int32) string {
		for _, rule := range failurePolicy().Rules {
			if rule.OnExitCodes != nil {
				for _, value := range rule.OnExitCodes.Values {
					if value == code {
						return string(rule.Action)
					}
				}
			}
		}
		return "Count"
	}
	for code, want := range map[int32]string{1: "Count", 2: "FailIndex", 3: "FailIndex", 4: "Ignore", 5: "FailIndex", 130: "Ignore",
		137: "Count"} {
		if got := action(code); got != want {
			t.Errorf("exit code %d: %s, want %s", code, got, want)
		}
	}
	first := failurePolicy().Rules[0]
	if first.Action != batchv1.PodFailurePolicyActionIgnore || len(first.OnPodConditions) != 1 ||
		first.OnPodConditions[0].Type != "DisruptionTarget" {
		t.Errorf("a pod that is preempted while it fails: %+v", first)
	}
}

func TestKubernetesTPU(t *testing.T) {
	l, k := cluster(t, "runs: [ce]\nseeds: [1]")
	k.GPUs, k.TPUs, k.TPUType, k.TPUTopology, k.Queue = 0, 4, "tpu-v5-lite-podslice", "2x2", "team"
	k.Env = map[string]string{"B": "$(HOME) $5", "A": "1"}
	m, _ := manifest(t, l, k)
	pod := m.Job.Spec.Template.Spec
	if q := pod.Containers[0].Resources.Limits["google.com/tpu"]; q.Value() != 4 {
		t.Errorf("%v", pod.Containers[0].Resources)
	}
	wantSelector := map[string]string{"cloud.google.com/gke-tpu-accelerator": "tpu-v5-lite-podslice",
		"cloud.google.com/gke-tpu-topology": "2x2"}
	if diff := cmp.Diff(wantSelector, pod.NodeSelector); diff != "" {
		t.Error(diff)
	}
	if got := fmt.Sprint(pod.Containers[0].Env); got != "[{A 1 nil} {B $$(HOME) $5 nil} {GOMLX_BACKEND xla:tpu nil}]" {
		t.Error(got)
	}
	if m.Job.Labels["kueue.x-k8s.io/queue-name"] != "team" || !*m.Job.Spec.Suspend {
		t.Errorf("%v", m.Job)
	}
	if len(k.Env) != 2 {
		t.Error("the caller's map was changed")
	}
}

func TestKubernetesErrors(t *testing.T) {
	for want, change := range map[string]func(*Kubernetes){
		"--image":                     func(k *Kubernetes) { k.Image = "" },
		"--volume":                    func(k *Kubernetes) { k.Volume = "" },
		"must be a full path":         func(k *Kubernetes) { k.Mount = "data" },
		"is not on the volume":        func(k *Kubernetes) { k.Mount += "/elsewhere" },
		"not root":                    func(k *Kubernetes) { k.User = 0 },
		"choose --gpus or --tpus":     func(k *Kubernetes) { k.TPUs = 1 },
		"--tpus needs --tpu-type":     func(k *Kubernetes) { k.GPUs, k.TPUs = 0, 1 },
		"--memory -1Gi: must be a si": func(k *Kubernetes) { k.Memory = "-1Gi" },
	} {
		l, k := cluster(t, "runs: [ce]\nseeds: [1]")
		change(k)
		if m, err := k.Write(survey(l)); m != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Stat(filepath.Join(l.Dir, kubernetesFiles)); err == nil {
			t.Errorf("%s: something was written", want)
		}
	}
}

// Whatever a sweep is called, its jobs have names that Kubernetes takes: with the index that it adds, at most 63
// characters.
func TestKubernetesNames(t *testing.T) {
	for name, want := range map[string]string{"table-3": "table-3", "alpha_0.5+kd": "alpha-0-5-kd", "_": "sweep", "-a.": "a",
		strings.Repeat("x", 49) + ".y": strings.Repeat("x", 49), strings.Repeat("x", 100): strings.Repeat("x", 50)} {
		if got := (&Kubernetes{Plan: &Plan{Name: name}}).name(); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

// What kubectl says is read; here it is made up.
func TestKubectl(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	l, k := cluster(t, "runs: [ce]\nseeds: [1]")
	if _, err := k.Unfinished(t.Context()); !errors.Is(err, exec.ErrNotFound) {
		t.Error(err)
	}
	said := filepath.Join(bin, "said")
	kubectl := func(script string) {
		check(t, os.WriteFile(filepath.Join(bin, "kubectl"), []byte("#!/bin/sh\necho \"$@\" >"+said+"\n"+script+"\n"), 0o755))
	}
	var items []string
	for name, text := range map[string]string{
		"waits": `"status": {}`, "done": `"status": {"conditions": [{"type": "Complete", "status": "True"}]}`,
		"failed":    `"status": {"conditions": [{"type": "Suspended", "status": "False"}, {"type": "Failed", "status": "True"}]}`,
		"elsewhere": `"status": {}`,
	} {
		dir := fmt.Sprintf("%q", k.Dir)
		if name == "elsewhere" {
			dir = `"/data/another"`
		}
		items = append(items, fmt.Sprintf(`{"metadata": {"name": %q, "annotations": {"dhkd/directory": %s}}, %s}`, name, dir, text))
	}
	list := filepath.Join(bin, "list")
	check(t, os.WriteFile(list, []byte(`{"items": [`+strings.Join(items, ",")+`]}`), 0o600))
	kubectl("while read -r line; do echo \"$line\"; done <" + list + "; echo \"$line\"")
	names, err := k.Unfinished(t.Context())
	if fmt.Sprint(names) != "[waits]" || err != nil {
		t.Errorf("%v %v", names, err)
	}
	m, err := k.Write(survey(l))
	check(t, err)
	check(t, k.Create(t.Context(), m))
	if text, _ := os.ReadFile(said); string(text) != "create --filename="+m.Path+"\n" {
		t.Errorf("%s", text)
	}
	kubectl("echo 'jobs.batch \"test-1\" already exists' >&2; exit 1")
	if err := k.Create(t.Context(), m); err == nil || !strings.Contains(err.Error(), "already exists") {
		t.Error(err)
	}
}
