#!/usr/bin/env bash
# Runs all checks, or those that are named, in this order:
#
#   scripts/test.sh
#   scripts/test.sh gofmt vet
#   scripts/test.sh pytorch    (runs when named only: it installs PyTorch, gigabytes)
#   scripts/test.sh lab        (runs when named only: notebooks in JupyterLab in a browser, minutes)
#   scripts/test.sh slurm      (runs when named only: it starts a Slurm, as root)
#   scripts/test.sh kubernetes (runs when named only: it compiles parts of Kubernetes, minutes)
#
# What a check needs is installed first. A check that cannot be run is skipped, and the reason is printed; it counts as
# failed where the environment variable CI is not empty.
set -u
cd "$(dirname "$0")/.." || exit
checks=(
	build xla jupyter tensorboard data turbojpeg browser
	gofmt vet staticcheck containers go_xla go_pure command_line onnx notebook report
)
when_named=(lab pytorch slurm kubernetes)
staticcheck=honnef.co/go/tools/cmd/staticcheck@v0.8.2
compose=github.com/compose-spec/compose-go/v2/cmd@v2.16.2 # what docker compose reads its files with
skipped=77 # the exit code of a check that cannot be run
export DHKD_TENSORBOARD_PYTHON=${DHKD_TENSORBOARD_PYTHON:-$PWD/.cache/tensorboard/bin/python}
onnx_python=$PWD/.cache/onnx/bin/python pytorch_python=$PWD/.cache/pytorch/bin/python
export DHKD_ONNX_PYTHON=${DHKD_ONNX_PYTHON:-$onnx_python} DHKD_PYTORCH_PYTHON=${DHKD_PYTORCH_PYTHON:-$pytorch_python}

# --- what is needed

build() { make --no-print-directory build; }
xla() { needs xla; }
jupyter() { needs jupyter; }
tensorboard() { needs tensorboard; }
data() { needs data; }
turbojpeg() { needs turbojpeg; }
browser() { needs browser; }

needs() {
	[ -x .bin/dhkd ] || make --no-print-directory build || return
	scripts/need.sh "$1" || return $skipped
}

# --- the code

gofmt() {
	local files
	files=$(command gofmt -l dhkd plots notebooks) || return
	[ -z "$files" ] || { printf 'not formatted (gofmt -w mends it):\n%s\n' "$files"; return 1; }
}

vet() { go vet ./...; }
# The package that graphs are built with is imported with a dot (ST1001), as GoMLX itself does.
staticcheck() { go run "$staticcheck" -checks inherit,-ST1001 ./...; }

# The images' Dockerfile, and the compose files as Docker would see them, with ports on this machine alone.
containers() {
	scripts/need.sh hadolint || return $skipped
	.cache/hadolint/bin/hadolint docker/Dockerfile || return
	local file project
	for file in docker/compose*.yaml; do
		project=$(cd docker && go run "$compose" "$(basename "$file")") || { echo "$file: $project"; return 1; }
		grep -q 'host_ip: 127.0.0.1' <<<"$project" || { echo "$file: its port is not on 127.0.0.1 alone"; return 1; }
	done
}

# --- Go tests

# What has a check of its own is left out: the command line's scripts, the browser, and what is computed in Python.
go_xla() {
	local packages
	packages=$(go list ./... | grep -v -e /cmd/ -e /browsertest -e /exchange) || return
	# shellcheck disable=SC2086 # a list
	go_test -skip 'InABrowser|PeersCompute|RealSlurm|KubernetesAPI' $packages
}

# What networks are made of, also on the backend that needs nothing installed.
go_pure() { GOMLX_BACKEND=go go_test ./dhkd ./dhkd/nn ./dhkd/zoo ./dhkd/distill; }

command_line() { go_test ./dhkd/cmd/...; }

onnx() {
	[ "$DHKD_ONNX_PYTHON" != "$onnx_python" ] || needs onnx || return
	go_test -run ONNX ./dhkd/internal/exchange
}

pytorch() {
	[ "$DHKD_PYTORCH_PYTHON" != "$pytorch_python" ] || needs pytorch || return
	DHKD_BENCH_PYTHON=$DHKD_PYTORCH_PYTHON go_test -run 'StateDict|PeersCompute' ./dhkd/internal/exchange ./dhkd/internal/bench
}

slurm() {
	[ "$(id -u)" = 0 ] || { echo "only root can start a Slurm"; return $skipped; }
	scripts/need.sh slurm || return $skipped
	DHKD_TEST_SLURM=1 go_test -run RealSlurm ./dhkd/experiment/sweep
}

kubernetes() { DHKD_TEST_KUBERNETES=1 go_test -run KubernetesAPI ./dhkd/experiment/sweep; }

# go_test ARGS...: shows the packages, the tests that were skipped with their reasons, and all of a failure.
go_test() {
	local log=.cache/test.log code
	mkdir -p .cache
	go test -p 2 -count=1 -timeout 15m -v "$@" >"$log" 2>&1
	code=$?
	if [ $code = 0 ]; then
		awk '/^ok/ {print} /^ *===/ {said = ""; next} /^ *--- SKIP/ {printf "%s\n%s", $0, said} {said = said $0 "\n"}' "$log"
	else
		grep -vE '^ *(=== (RUN|PAUSE|CONT|NAME)|--- PASS)|^PASS$|^\?' "$log"
	fi
	return $code
}

# --- what users see

notebook() {
	[ -x .venv/bin/python ] || { echo "the notebooks' environment is missing, see jupyter"; return $skipped; }
	.venv/bin/python notebooks/sync.py --check && go_test -run "Notebooks|Lint|Stamp" ./dhkd/internal/jupyter &&
		.venv/bin/python notebooks/run.py --check --quiet --jobs 2 --env DHKD_PROFILE=smoke notebooks/[0-9]*.md
}

# As a reader would, with the sliders of 01 moved. What was seen is in .cache/lab.
lab() {
	needs lab && needs data && needs browser && needs playwright || return
	DHKD_PROFILE=smoke node notebooks/browser/lab.mjs --screenshots .cache/lab --sliders 3 \
		notebooks/{00-quickstart,01-what-softmax-hides,05-gradient-conflict}.ipynb
}

report() { go_test -run 'InABrowser|TestOpen' ./dhkd/experiment/report ./dhkd/internal/browsertest; }

# --- run them

ok=0 failed=() left=()
for check in "${@:-${checks[@]}}"; do
	case " ${checks[*]} ${when_named[*]} " in
	*" $check "*) ;;
	*) echo "test.sh: no check is called $check; there are ${checks[*]} ${when_named[*]}" >&2; exit 2 ;;
	esac
done
for check in "${@:-${checks[@]}}"; do
	printf '\n=== %s\n' "$check"
	start=$SECONDS
	"$check" </dev/null
	code=$?
	if [ $code = 0 ]; then
		state=passed ok=$((ok + 1))
	elif [ $code = $skipped ] && [ -z "${CI:-}" ]; then
		state="skipped, since something it needs is missing" left+=("$check")
	else
		state=FAILED failed+=("$check")
	fi
	printf -- '--- %s: %s (%d s)\n' "$check" "$state" $((SECONDS - start))
done
printf '\n%d passed, %d failed, %d skipped (%d s)\n' $ok ${#failed[@]} ${#left[@]} $SECONDS
[ ${#left[@]} = 0 ] || echo "skipped: ${left[*]}"
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}"; exit 1; }
