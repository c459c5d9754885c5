package device

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestExamine(t *testing.T) {
	newFake(t) // for its empty directories
	d := Examine(t.Context(), t.TempDir())
	if d.Backend != "go" || d.Plugin != "" || len(d.Devices) != 1 || d.Cores < 1 || d.Go == "" || len(d.Caches) < 3 {
		t.Errorf("doctor says %+v", d)
	}
	content, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	var back Doctor
	if err := json.Unmarshal(content, &back); err != nil || back.Backend != d.Backend {
		t.Errorf("%v: %s", err, content)
	}

	t.Setenv("GOMLX_BACKEND", "nonsense")
	if d := Examine(t.Context(), t.TempDir()); !strings.Contains(d.Error, "GOMLX_BACKEND=nonsense") ||
		d.Checks[0].Status != Missing || !strings.Contains(d.Checks[0].Fix, "unset GOMLX_BACKEND") {
		t.Errorf("doctor says %q, %+v", d.Error, d.Checks[0])
	}
	t.Setenv("GOMLX_BACKEND", "go")
	if d := Examine(t.Context(), t.TempDir()); d.Checks[0].Status != Warn || d.Error != "" {
		t.Errorf("doctor says %q, %+v", d.Error, d.Checks[0])
	}
}

func TestPythonChecks(t *testing.T) {
	const python = `#!/bin/sh
case "$*" in
	--version) echo Python 3.12.1 ;;
	*"pip --version") [ -e ROOT/pip ] && echo pip 24.0 from /usr ;;
	*venv*) [ -e ROOT/venv-ok ] ;;
esac`
	const jupyter = `#!/bin/sh
case "$*" in
	"kernelspec list --json") echo '{"kernelspecs": {"gonb": {"resource_dir": "/kernels/gonb", "spec": {}}}}' ;;
esac`
	const broken = "#!/bin/sh\nexit 1"
	for name, test := range map[string]struct {
		files map[string]string // below the root, which is also the checkout
		want  []string          // statuses
		fix   string            // of some check
	}{
		"nothing":           {nil, []string{Missing, Missing, Missing}, "python3-venv"},
		"nothing, checkout": {map[string]string{"Makefile": ""}, []string{Missing, Missing, Missing}, "make lab"},
		"all": {map[string]string{"bin/python3": python, "pip": "", "venv-ok": "", ".venv/bin/jupyter": jupyter,
			".bin/gonb": ""},
			[]string{OK, OK, OK, OK}, ""},
		"kernel of Jupyter's": {map[string]string{"bin/python3": python, "venv-ok": "", "bin/jupyter": jupyter},
			[]string{OK, OK, OK, OK}, ""},
		"bare Python": {map[string]string{"bin/python3": python}, []string{OK, Missing, Missing, Missing},
			"dhkd setup --jupyter"},
		"no venv": {map[string]string{"bin/python3": python, "pip": ""}, []string{OK, Warn, Missing, Missing},
			"python3-venv"},
		"broken Python": {map[string]string{"bin/python3": broken}, []string{Missing, Missing, Missing, Missing},
			"python3"},
		"broken Jupyter": {map[string]string{".venv/bin/jupyter": broken}, []string{Missing, Missing, Missing},
			"setup --jupyter"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t)
			for path, content := range test.files {
				f.put(t, path, strings.ReplaceAll(content, "ROOT", f.root))
			}
			var got, fixes []string
			for _, check := range PythonChecks(t.Context(), f.root) {
				got = append(got, check.Status)
				fixes = append(fixes, check.Fix)
				if (check.Status == OK) != (check.Fix == "") || check.Detail == "" || check.Name == "" {
					t.Errorf("check %+v", check)
				}
			}
			if !slices.Equal(got, test.want) || !strings.Contains(strings.Join(fixes, "\n"), test.fix) {
				t.Errorf("statuses %q with fixes %q, want %q and %q", got, fixes, test.want, test.fix)
			}
		})
	}
}
