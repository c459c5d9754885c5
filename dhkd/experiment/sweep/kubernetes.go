package sweep

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// Kubernetes has the runs of a plan made by an Indexed Job, an index for each run that can be made now; those that learn
// from them are for a later job. The sweep's directory lies on a persistent volume, which all pods mount. A pod that is
// preempted or evicted is not counted: another takes its index, and the run goes on from where it was.
type Kubernetes struct {
	Dir     string // of the sweep: a full path under Mount
	Plan    *Plan
	Command []string // in the image: makes the run of the flags --tasks and --index, which follow, by [One]

	Image     string
	Volume    string // the persistent volume claim
	Mount     string // where it is mounted, here and in the pods
	Namespace string // "" = that of whoever creates the job
	Queue     string // Kueue's local queue, which starts the job; "" = it starts at once
	Limit     int    // pods at once; 0 = as many as there are runs
	Retries   int    // of a run, each in a new pod, after a pod that ended with an error
	User      int64  // and group, by number, that the pods are of
	Env       map[string]string

	CPUs         int    // of a pod; 0 = the cluster's own
	Memory       string // of a pod, as Kubernetes writes it, "8Gi"; "" = the cluster's own
	GPUs         int    // of a pod
	TPUs         int    // chips of a pod
	TPUType      string // GKE's name, "tpu-v5-lite-podslice"
	TPUTopology  string // "2x2"
	NodeSelector map[string]string
}

// Names that Kubernetes, Google's clusters and Kueue give.
const (
	gpuResource     = "nvidia.com/gpu"
	tpuResource     = "google.com/tpu"
	tpuTypeLabel    = "cloud.google.com/gke-tpu-accelerator"
	tpuTopology     = "cloud.google.com/gke-tpu-topology"
	queueLabel      = "kueue.x-k8s.io/queue-name"
	appLabel        = "app.kubernetes.io/name"
	instanceLabel   = "app.kubernetes.io/instance"
	directoryNote   = "dhkd/directory"
	jobIndex        = "$(JOB_COMPLETION_INDEX)" // which Kubernetes replaces in a container's arguments
	keepJob         = 7 * 24 * 3600             // seconds, after its end
	maxJobName      = 50                        // so that a pod's host name, NAME-N-INDEX, has at most 63 characters
	kubernetesFiles = "kubernetes"              // kubernetes/N of the sweep's directory, where N counts submissions
)

// Manifest is a job to be created.
type Manifest struct {
	Job  *batchv1.Job
	Runs []string // IDs, an index each
	Path string   // of its file; "" where there is none
}

// Text is the manifest in YAML. What only the cluster says of a job is left out.
func (m *Manifest) Text() (string, error) {
	text, err := json.Marshal(m.Job)
	if err != nil {
		return "", err
	}
	var tree map[string]any
	if err := json.Unmarshal(text, &tree); err != nil {
		return "", err
	}
	delete(tree, "status")
	text, err = yaml.Marshal(tree)
	return string(text), err
}

// Manifest is the job of the runs that can be made now, as the next submission would have it, or nil where there are
// none. Nothing is written.
func (k *Kubernetes) Manifest(all []Status) (*Manifest, error) {
	number := nextSubmission(k.Dir, kubernetesFiles)
	return k.manifest(all, filepath.Join(k.Dir, kubernetesFiles, fmt.Sprint(number)), number)
}

// Write writes the manifest of the runs that can be made now, and which run each index makes, into a directory of its
// own in the sweep's. Where there are no such runs the result is nil.
func (k *Kubernetes) Write(all []Status) (*Manifest, error) {
	if m, err := k.Manifest(all); m == nil || err != nil {
		return nil, err
	}
	dir, number, err := submission(k.Dir, kubernetesFiles)
	if err != nil {
		return nil, err
	}
	m, err := k.manifest(all, dir, number)
	if err != nil {
		return nil, err
	}
	if err := writeTasks(kubernetesTasks(dir), m.Runs); err != nil {
		return nil, err
	}
	text, err := m.Text()
	if err != nil {
		return nil, err
	}
	m.Path = filepath.Join(dir, "job.yaml")
	return m, write(m.Path, text)
}

// kubernetesTasks is the file with the runs of a job's indices.
func kubernetesTasks(dir string) string { return filepath.Join(dir, "job.tasks") }

// manifest is the job of a submission whose files are in dir.
func (k *Kubernetes) manifest(all []Status, dir string, number int) (*Manifest, error) {
	waiting := levels(all)
	if len(waiting) == 0 {
		return nil, nil
	}
	runs := waiting[0]
	pod, err := k.pod(dir)
	if err != nil {
		return nil, err
	}
	n := int32(len(runs))
	limit := n
	if k.Limit > 0 {
		limit = min(n, int32(k.Limit))
	}
	labels := k.labels()
	job := &batchv1.Job{
		TypeMeta: metav1.TypeMeta{APIVersion: "batch/v1", Kind: "Job"},
		ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", k.name(), number), Namespace: k.Namespace,
			Labels: maps.Clone(labels), Annotations: map[string]string{directoryNote: k.Dir}},
		Spec: batchv1.JobSpec{
			CompletionMode: new(batchv1.IndexedCompletion), Completions: new(n), Parallelism: new(limit),
			BackoffLimitPerIndex: new(int32(k.Retries)), PodFailurePolicy: failurePolicy(),
			PodReplacementPolicy:    new(batchv1.Failed), // never two pods of an index at once
			TTLSecondsAfterFinished: new(int32(keepJob)),
			Template:                corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: *pod},
		},
	}
	if k.Queue != "" {
		job.Labels[queueLabel] = k.Queue
		job.Spec.Suspend = new(true)
	}
	return &Manifest{Job: job, Runs: runs}, nil
}

// failurePolicy says which pods' ends are no failures, and which are not worth another try. What no rule is about, an
// error or too little memory, counts against the retries of the run. Pods that are not counted are replaced after a
// pause that grows from 10 seconds to minutes.
func failurePolicy() *batchv1.PodFailurePolicy {
	onExit := func(action batchv1.PodFailurePolicyAction, codes ...int32) batchv1.PodFailurePolicyRule {
		return batchv1.PodFailurePolicyRule{Action: action, OnExitCodes: &batchv1.PodFailurePolicyOnExitCodesRequirement{
			Operator: batchv1.PodFailurePolicyOnExitCodesOpIn, Values: codes}}
	}
	return &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{
		{Action: batchv1.PodFailurePolicyActionIgnore, OnPodConditions: []batchv1.PodFailurePolicyOnPodConditionsPattern{
			{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue}}}, // preempted, evicted, or its node is gone
		onExit(batchv1.PodFailurePolicyActionIgnore, ExitBusy, ExitInterrupted),
		onExit(batchv1.PodFailurePolicyActionFailIndex, ExitUsage, ExitMissing, ExitNotFinite),
	}}
}

// pod is what each of the job's pods is.
func (k *Kubernetes) pod(dir string) (*corev1.PodSpec, error) {
	if err := k.check(); err != nil {
		return nil, err
	}
	resources, selector, err := k.resources()
	if err != nil {
		return nil, err
	}
	var command []string
	for _, word := range slices.Concat(k.Command, []string{"--tasks", kubernetesTasks(dir)}) {
		command = append(command, strings.ReplaceAll(word, "$(", "$$(")) // in which Kubernetes replaces nothing
	}
	container := corev1.Container{Name: "run", Image: k.Image, Command: append(command, "--index="+jobIndex),
		Resources:    corev1.ResourceRequirements{Limits: resources, Requests: maps.Clone(resources)},
		VolumeMounts: []corev1.VolumeMount{{Name: "sweep", MountPath: k.Mount}},
		SecurityContext: &corev1.SecurityContext{AllowPrivilegeEscalation: new(false),
			Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}}},
	}
	env := maps.Clone(k.Env)
	if k.TPUs > 0 && env["GOMLX_BACKEND"] == "" { // a TPU is used only where it is asked for
		if env == nil {
			env = map[string]string{}
		}
		env["GOMLX_BACKEND"] = "xla:tpu"
	}
	for _, name := range slices.Sorted(maps.Keys(env)) {
		container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: strings.ReplaceAll(env[name], "$(", "$$(")})
	}
	pod := &corev1.PodSpec{
		RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{container}, NodeSelector: selector,
		TerminationGracePeriodSeconds: new(int64(warning)), // for the run to finish its step and save
		AutomountServiceAccountToken:  new(false), EnableServiceLinks: new(false),
		SecurityContext: &corev1.PodSecurityContext{RunAsNonRoot: new(true), RunAsUser: new(k.User),
			RunAsGroup: new(k.User), FSGroup: new(k.User),
			FSGroupChangePolicy: new(corev1.FSGroupChangeOnRootMismatch), // not every file of every run, in every pod
			SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault}},
		Volumes: []corev1.Volume{{Name: "sweep", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: k.Volume}}}},
	}
	for _, name := range []corev1.ResourceName{gpuResource, tpuResource} { // nodes with devices often repel other pods
		if _, ok := resources[name]; ok {
			pod.Tolerations = append(pod.Tolerations, corev1.Toleration{Key: string(name), Operator: corev1.TolerationOpExists,
				Effect: corev1.TaintEffectNoSchedule})
		}
	}
	return pod, nil
}

// check says what is missing or wrong, in terms of the command line.
func (k *Kubernetes) check() error {
	outside := func(path string) bool {
		relative, err := filepath.Rel(k.Mount, path)
		return err != nil || relative == ".." || strings.HasPrefix(relative, "../")
	}
	switch {
	case k.Image == "":
		return fmt.Errorf("name an image that has dhkd: --image")
	case k.Volume == "":
		return fmt.Errorf("name the persistent volume claim that the sweep's directory is on: --volume")
	case !filepath.IsAbs(k.Mount) || strings.Contains(k.Mount, ":"):
		return fmt.Errorf("--mount %s: must be a full path without a colon", k.Mount)
	case outside(k.Dir):
		return fmt.Errorf("%s is not on the volume that is mounted at %s: --mount says where that is, here and in the pods",
			k.Dir, k.Mount)
	case k.User <= 0:
		return fmt.Errorf("--user %d: must be the number of a user that is not root", k.User)
	case k.GPUs > 0 && k.TPUs > 0:
		return fmt.Errorf("a run is on GPUs or on TPUs: choose --gpus or --tpus")
	case k.TPUs > 0 && (k.TPUType == "" || k.TPUTopology == ""):
		return fmt.Errorf("--tpus needs --tpu-type, such as tpu-v5-lite-podslice, and --tpu-topology, such as 2x2: they say " +
			"which nodes have the chips")
	}
	return nil
}

// resources are what a pod has, and what the labels of its node must be.
func (k *Kubernetes) resources() (corev1.ResourceList, map[string]string, error) {
	list := corev1.ResourceList{}
	for name, n := range map[corev1.ResourceName]int{corev1.ResourceCPU: k.CPUs, gpuResource: k.GPUs, tpuResource: k.TPUs} {
		if n > 0 {
			list[name] = *resource.NewQuantity(int64(n), resource.DecimalSI)
		}
	}
	if k.Memory != "" {
		quantity, err := resource.ParseQuantity(k.Memory)
		if err != nil || quantity.Sign() <= 0 {
			return nil, nil, fmt.Errorf("--memory %s: must be a size as Kubernetes writes it, such as 8Gi", k.Memory)
		}
		list[corev1.ResourceMemory] = quantity
	}
	selector := maps.Clone(k.NodeSelector)
	if k.TPUs > 0 {
		if selector == nil {
			selector = map[string]string{}
		}
		selector[tpuTypeLabel], selector[tpuTopology] = k.TPUType, k.TPUTopology
	}
	return list, selector, nil
}

// labels are those of the job and of its pods.
func (k *Kubernetes) labels() map[string]string {
	return map[string]string{appLabel: "dhkd", instanceLabel: k.name()}
}

// name is the plan's name as the name of a job: letters, digits and hyphens.
func (k *Kubernetes) name() string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '-'
	}, strings.ToLower(k.Plan.Name))
	return cmp.Or(strings.Trim(name[:min(len(name), maxJobName)], "-"), "sweep")
}
