package device

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// PythonChecks looks for what notebooks need, and the installation of XLA by pip: Python with pip and venv, Jupyter in
// the virtual environment of root or on PATH, and GoNB, the kernel that runs Go. The root is a checkout or the working
// directory.
func PythonChecks(ctx context.Context, root string) []Check {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	lab := "dhkd setup --jupyter"
	if _, err := os.Stat(filepath.Join(root, "Makefile")); err == nil {
		lab = "make lab"
	}
	python, err := exec.LookPath("python3")
	checks := []Check{{Name: "python3", Status: Missing,
		Detail: "not on PATH; notebooks need it, and XLA's installation by pip",
		Fix:    install("python3 python3-venv")}}
	if err == nil {
		checks = []Check{pythonCheck(ctx, python), pipCheck(ctx, python)}
	}
	jupyter, check := jupyterCheck(ctx, root, lab)
	return append(checks, check, gonbCheck(ctx, root, jupyter, lab))
}

func pythonCheck(ctx context.Context, python string) Check {
	version := output(ctx, python, "--version")
	if version == "" {
		return Check{Name: "python3", Status: Missing, Detail: python + " does not run",
			Fix: install("python3 python3-venv")}
	}
	return Check{Name: "python3", Status: OK, Detail: version + " " + python}
}

// pipCheck wants one of pip and venv for XLA's wheel, and venv for Jupyter.
func pipCheck(ctx context.Context, python string) Check {
	pip := output(ctx, python, "-m", "pip", "--version") // "pip 23.0.1 from ..."
	venv := exec.CommandContext(ctx, python, "-c", "import venv, ensurepip").Run() == nil
	check := Check{Name: "pip and venv", Status: OK, Detail: "venv; no pip outside it"}
	if words := strings.Fields(pip); len(words) > 1 {
		check.Detail = "pip " + words[1] + ", venv"
	}
	if !venv {
		check.Fix = install("python3-venv")
		check.Status, check.Detail = Warn, "pip, but no venv, which Jupyter is installed with"
		if pip == "" {
			check.Status, check.Detail = Missing, "neither pip nor venv"
		}
	}
	return check
}

func jupyterCheck(ctx context.Context, root, fix string) (jupyter string, check Check) {
	jupyter = filepath.Join(root, ".venv", "bin", "jupyter")
	if _, err := os.Stat(jupyter); err != nil {
		if jupyter, err = exec.LookPath("jupyter"); err != nil {
			return "", Check{Name: "jupyter", Status: Missing, Detail: "neither in .venv nor on PATH", Fix: fix}
		}
	}
	if exec.CommandContext(ctx, jupyter, "--version").Run() != nil {
		return "", Check{Name: "jupyter", Status: Missing, Detail: jupyter + " does not run", Fix: fix}
	}
	return jupyter, Check{Name: "jupyter", Status: OK, Detail: jupyter}
}

// gonbCheck looks for the checkout's own kernel, then for one that Jupyter knows.
func gonbCheck(ctx context.Context, root, jupyter, fix string) Check {
	const name = "Go kernel (gonb)"
	gonb := filepath.Join(root, ".bin", "gonb")
	if info, err := os.Stat(gonb); err == nil && info.Mode().IsRegular() {
		return Check{Name: name, Status: OK, Detail: gonb}
	}
	if jupyter != "" {
		var list struct {
			Kernelspecs map[string]struct {
				Dir string `json:"resource_dir"`
			}
		}
		if json.Unmarshal([]byte(output(ctx, jupyter, "kernelspec", "list", "--json")), &list) == nil {
			if spec, ok := list.Kernelspecs["gonb"]; ok {
				return Check{Name: name, Status: OK, Detail: spec.Dir}
			}
		}
	}
	return Check{Name: name, Status: Missing, Detail: "neither .bin/gonb nor a kernel of Jupyter's", Fix: fix}
}

// install is the command that installs Debian packages, or what comes close to it elsewhere.
func install(packages string) string {
	if runtime.GOOS == "darwin" {
		return "brew install python3"
	}
	if _, err := exec.LookPath("apt-get"); err != nil {
		return "install " + packages + " (names of Debian's packages) with the system's package manager"
	}
	return "sudo apt-get install " + packages
}
