package jupyter

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Status is what [Find] found. A field is empty where there is nothing.
type Status struct {
	Venv       string `json:"venv,omitempty"`       // the virtual environment's directory
	NBClient   string `json:"nbclient,omitempty"`   // version of nbclient, which runs notebooks headless
	JupyterLab string `json:"jupyterlab,omitempty"` // version
	GoNB       string `json:"gonb,omitempty"`       // version of the kernel's program
	GoImports  string `json:"goimports,omitempty"`  // version of the module golang.org/x/tools that it is from
	Gopls      string `json:"gopls,omitempty"`      // version; only completion needs it
	KernelSpec string `json:"kernelspec,omitempty"` // directory of kernel.json
	// Missing lists what is not there or not current, each with the command that mends it. Gopls is never missing.
	Missing []string `json:"missing,omitempty"`
}

// Ready says whether notebooks can be run headless.
func (s Status) Ready() bool {
	return s.NBClient != "" && s.GoNB != "" && s.GoImports != "" && s.KernelSpec != ""
}

// Find says what of Jupyter is there in the checkout at root. It starts no program and changes nothing.
func Find(root string) Status {
	var status Status
	at := func(parts ...string) string { return filepath.Join(append([]string{root}, parts...)...) }
	if isFile(at(".venv", "bin", "python")) {
		status.Venv = at(".venv")
		status.NBClient = pythonPackage(status.Venv, "nbclient")
		status.JupyterLab = pythonPackage(status.Venv, "jupyterlab")
	}
	status.GoNB = programVersion(at(".bin", "gonb"), gonbPackage)
	status.GoImports = programVersion(at(".bin", "goimports"), "golang.org/x/tools")
	status.Gopls = programVersion(at(".bin", "gopls"), goplsPackage)
	if spec := at("notebooks", "kernel", "kernels", "gonb"); isFile(filepath.Join(spec, "kernel.json")) {
		status.KernelSpec = spec
	}

	missing := func(found, what string) {
		if found == "" {
			status.Missing = append(status.Missing, what)
		}
	}
	const mend = ": dhkd setup --jupyter"
	missing(status.NBClient, "nbclient, to run notebooks"+mend)
	missing(status.JupyterLab, "JupyterLab, to read them"+mend)
	missing(status.GoNB, "GoNB, the Go kernel"+mend)
	missing(status.GoImports, "goimports, which GoNB needs"+mend)
	missing(status.KernelSpec, "notebooks/kernel, the kernel's description: git restore notebooks/kernel")
	return status
}

// RunNotebook runs the notebook's cells on the Go kernel, without a browser, and writes cells and outputs to the .ipynb file
// output, the pair's own where it is empty, when all is well. A cell that fails is the error, with its source. env ("NAME=VALUE") is added to the cells'
// environment; each cell that ends is a line on progress, which may be nil.
func RunNotebook(ctx context.Context, root, notebook, output string, env []string, progress io.Writer) error {
	if status := Find(root); !status.Ready() {
		return fmt.Errorf("cannot run %s: missing %s", notebook, strings.Join(status.Missing, "; "))
	}
	var said bytes.Buffer // the runner's last words; its lines for cells begin with a space
	args := []string{filepath.Join(root, "notebooks", "run.py"), notebook, "--inplace"}
	if output != "" {
		args = append(args[:2], "--output", output)
	}
	cmd := command(ctx, filepath.Join(root, ".venv", "bin", "python"), args...)
	cmd.Env = append(append(os.Environ(), "PYTHONUNBUFFERED=1"), env...)
	cmd.Stderr = &said
	if progress != nil {
		cmd.Stdout = progress
		cmd.Stderr = io.MultiWriter(&said, progress)
	}
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", notebook, ctx.Err())
		}
		text := said.String()
		if at := strings.Index("\n"+text, "\n"+notebook+": "); at >= 0 {
			return errors.New(strings.TrimSpace(text[at:]))
		}
		return fmt.Errorf("cannot run %s: %w: %s", notebook, err, strings.TrimSpace(text))
	}
	return nil
}

// Lab runs JupyterLab on the checkout, with the Go kernel, until ctx is done or the user stops it. Further arguments go
// to jupyter lab; where none names a notebook it opens the quick start.
func Lab(ctx context.Context, root string, args ...string) error {
	root, err := filepath.Abs(root)
	if err != nil {
		return err
	}
	status := Find(root)
	if !status.Ready() || status.JupyterLab == "" {
		return fmt.Errorf("cannot start JupyterLab: missing %s", strings.Join(status.Missing, "; "))
	}
	all := []string{"-m", "jupyterlab", "--LabApp.extension_manager=readonly", "--ServerApp.root_dir=" + root}
	if os.Geteuid() == 0 {
		all = append(all, "--allow-root")
	}
	if isFile(filepath.Join(root, "notebooks", "00-quickstart.ipynb")) {
		all = append(all, "--LabApp.default_url=/lab/tree/notebooks/00-quickstart.ipynb")
	}
	cmd := command(ctx, filepath.Join(status.Venv, "bin", "python"), append(all, args...)...)
	cmd.Env = append(os.Environ(), "JUPYTER_PATH="+jupyterPath(root))
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("JupyterLab: %w", err)
	}
	return nil
}

// jupyterPath puts the checkout's kernel before whatever else Jupyter searches.
func jupyterPath(root string) string {
	path := filepath.Join(root, "notebooks", "kernel")
	if old := os.Getenv("JUPYTER_PATH"); old != "" {
		path += string(os.PathListSeparator) + old
	}
	return path
}

// pythonPackage gives an installed package's version, from the name of its metadata directory.
func pythonPackage(venv, name string) string {
	lib := filepath.Join(venv, "lib")
	pythons, _ := os.ReadDir(lib)
	for _, python := range pythons {
		entries, _ := os.ReadDir(filepath.Join(lib, python.Name(), "site-packages"))
		for _, entry := range entries {
			version, ok := strings.CutPrefix(entry.Name(), name+"-")
			if version, is := strings.CutSuffix(version, ".dist-info"); ok && is {
				return version
			}
		}
	}
	return ""
}

// programVersion gives the version of the module that the program at path was built with, if it can be run.
func programVersion(path, module string) string {
	if _, err := exec.LookPath(path); err != nil {
		return ""
	}
	info, err := buildinfo.ReadFile(path)
	if err != nil {
		return ""
	}
	if info.Main.Path == module {
		return info.Main.Version
	}
	for _, dependency := range info.Deps {
		if dependency.Path == module {
			return dependency.Version
		}
	}
	return ""
}
