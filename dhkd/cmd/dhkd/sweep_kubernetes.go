package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/dhkd-lab/dhkd-go/dhkd/experiment/sweep"
)

// kubernetesFlags are those of dhkd sweep run that are for Kubernetes alone.
type kubernetesFlags struct {
	Image        string            `placeholder:"IMAGE" help:"kubernetes: an image that has dhkd."`
	Volume       string            `placeholder:"CLAIM" help:"kubernetes: the persistent volume claim that the sweep's directory is on."`
	Mount        string            `default:"/data" placeholder:"PATH" help:"kubernetes: where that volume is mounted, here and in the pods."`
	Namespace    string            `placeholder:"NAME" help:"kubernetes: the job's namespace; kubectl's own by default."`
	Queue        string            `placeholder:"NAME" help:"kubernetes: Kueue's local queue. The job is suspended until Kueue starts it."`
	TPUs         int               `name:"tpus" placeholder:"N" help:"kubernetes: TPU chips of a pod."`
	TPUType      string            `name:"tpu-type" placeholder:"NAME" help:"kubernetes: GKE's name of the TPU, such as tpu-v5-lite-podslice."`
	TPUTopology  string            `name:"tpu-topology" placeholder:"AxB" help:"kubernetes: the chips of a node, such as 2x2."`
	NodeSelector map[string]string `mapsep:"none" placeholder:"LABEL=VALUE" help:"kubernetes: a label that nodes must have."`
	Env          map[string]string `mapsep:"none" placeholder:"NAME=VALUE" help:"kubernetes: an environment variable of the pods."`
	User         int64             `default:"1000" placeholder:"UID" help:"kubernetes: user and group of the pods, which must be able to write to the volume."`
	Apply        bool              `help:"kubernetes: create the job by kubectl."`
}

// kubernetesJob is what the JSON says of a job.
type kubernetesJob struct {
	Name     string   `json:"name"`
	Manifest string   `json:"manifest"` // file
	Runs     []string `json:"runs"`     // IDs, an index each
	Created  bool     `json:"created"`
}

func (c *sweepRunCmd) kubernetes(ctx context.Context, out output, p *sweep.Plan) error {
	k, err := c.engineKubernetes(p)
	if err != nil {
		return withCode(exitUsage, err)
	}
	all := (&sweep.Surveyor{Dir: c.Dir, Plan: p}).Survey()
	m, err := k.Manifest(all)
	if err != nil {
		return withCode(exitUsage, err)
	}
	if m == nil {
		if c.JSON {
			return out.json(nil)
		}
		fmt.Fprintf(out.stdout, "nothing to submit: %v\n", sweep.Count(all))
		return nil
	}
	if c.DryRun {
		text, err := m.Text()
		fmt.Fprint(out.stdout, text)
		return err
	}
	if c.Kubernetes.Apply {
		names, err := k.Unfinished(ctx)
		if errors.Is(err, exec.ErrNotFound) {
			return withCode(exitMissing, fmt.Errorf("there is no kubectl here: leave --apply out, and create the job from where "+
				"there is one (%w)", err))
		}
		if err != nil {
			return err
		}
		if len(names) > 0 {
			return withCode(exitBusy, fmt.Errorf("jobs of this sweep have not ended (%s): wait for them, or delete them",
				strings.Join(names, ", ")))
		}
	}
	if m, err = k.Write(all); err != nil {
		return err
	}
	if c.Kubernetes.Apply {
		if err := k.Create(ctx, m); err != nil {
			return fmt.Errorf("%w; the manifest is %s", err, m.Path)
		}
	}
	if c.JSON {
		return out.json(kubernetesJob{m.Job.Name, m.Path, m.Runs, c.Kubernetes.Apply})
	}
	if c.Kubernetes.Apply {
		fmt.Fprintf(out.stdout, "job %s: %d runs\n", m.Job.Name, len(m.Runs))
	} else {
		fmt.Fprintf(out.stdout, "job %s, %d runs, is written; create it with\n\n  kubectl create --filename=%s\n\n", m.Job.Name,
			len(m.Runs), m.Path)
	}
	if left := unfinished(all) - len(m.Runs); left > 0 {
		fmt.Fprintf(out.stdout, "%d runs are left out: their teachers come first, or other processes work on them; the same "+
			"command again when these are done\n", left)
	}
	return nil
}

// engineKubernetes is the engine that the flags ask for.
func (c *sweepRunCmd) engineKubernetes(p *sweep.Plan) (*sweep.Kubernetes, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, err
	}
	f := c.Kubernetes
	if f.TPUs < 0 {
		return nil, errors.New("--tpus must not be negative")
	}
	if c.Data != "" {
		if c.Data, err = filepath.Abs(c.Data); err != nil {
			return nil, err
		}
	}
	return &sweep.Kubernetes{Dir: dir, Plan: p, Command: c.one("dhkd", dir), Image: f.Image, Volume: f.Volume,
		Mount: filepath.Clean(f.Mount), Namespace: f.Namespace, Queue: f.Queue, Limit: c.Limit, Retries: c.Retries, User: f.User,
		Env: f.Env, CPUs: c.CPUs, Memory: c.Memory, GPUs: c.GPUs, TPUs: f.TPUs, TPUType: f.TPUType,
		TPUTopology: f.TPUTopology, NodeSelector: f.NodeSelector}, nil
}
