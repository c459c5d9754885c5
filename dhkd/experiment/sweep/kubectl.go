package sweep

import (
	"context"
	"encoding/json"
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
)

// Create creates a manifest's job by kubectl. The error wraps [exec.ErrNotFound] where there is none.
func (k *Kubernetes) Create(ctx context.Context, m *Manifest) error {
	_, err := command(ctx, "kubectl", "create", "--filename="+m.Path)
	return err
}

// Unfinished are the names of the sweep's jobs that have not ended, as kubectl says.
func (k *Kubernetes) Unfinished(ctx context.Context) (names []string, err error) {
	args := []string{"get", "jobs", fmt.Sprintf("--selector=%s=dhkd,%s=%s", appLabel, instanceLabel, k.name()), "--output=json"}
	if k.Namespace != "" {
		args = append(args, "--namespace="+k.Namespace)
	}
	text, err := command(ctx, "kubectl", args...)
	if err != nil {
		return nil, err
	}
	var list batchv1.JobList
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		return nil, fmt.Errorf("kubectl get jobs: %w", err)
	}
	for _, job := range list.Items {
		if job.Annotations[directoryNote] == k.Dir && !finished(job) {
			names = append(names, job.Name)
		}
	}
	return names, nil
}

func finished(job batchv1.Job) bool {
	for _, c := range job.Status.Conditions {
		if (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == corev1.ConditionTrue {
			return true
		}
	}
	return false
}
