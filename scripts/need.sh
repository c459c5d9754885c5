#!/usr/bin/env bash
# Makes sure that things are there, and installs what is missing:
#
#   scripts/need.sh compiler xla jupyter lab tensorboard onnx pytorch data browser playwright turbojpeg slurm hadolint
#
# xla, jupyter, lab and data need .bin/dhkd (make build). What cannot be had is said on stderr, and the exit code is not 0.
set -u
cd "$(dirname "$0")/.." || exit

compiler() { # XLA is called through cgo
	local cc
	cc=$(go env CC) || { echo "Go is missing: install it from https://go.dev/dl" >&2; return 1; }
	command -v "${cc%% *}" >/dev/null || apt_install gcc libc6-dev || {
		echo "there is no C compiler ($cc), which XLA needs: install gcc" >&2
		return 1
	}
}

xla() { .bin/dhkd setup --xla; }

jupyter() {
	python
	.bin/dhkd setup --jupyter --headless
}

lab() { # what jupyter has, and JupyterLab
	python
	.bin/dhkd setup --jupyter
}

tensorboard() { pinned .cache/tensorboard scripts/tensorboard.txt TensorBoard; }

onnx() { pinned .cache/onnx scripts/onnx.txt "ONNX Runtime"; }

pytorch() {
	pinned .cache/pytorch "dhkd/internal/bench/requirements.txt scripts/onnx.txt" \
		"PyTorch (on Linux it brings CUDA's libraries, gigabytes)"
}

hadolint() { pinned .cache/hadolint scripts/hadolint.txt "hadolint, which checks Dockerfiles"; }

# pinned VENV REQUIREMENTS WHAT: Python packages for tests only, in a place of their own.
pinned() {
	local venv=$1 list=$2 what=$3
	# shellcheck disable=SC2086 # a list
	cat $list | cmp -s - "$venv/installed.txt" && return
	python
	echo "installing $what in $venv" >&2
	# shellcheck disable=SC2086
	rm -rf "$venv" && python3 -m venv "$venv" &&
		"$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --no-compile --require-hashes \
			$(printf -- '--requirement %s ' $list) &&
		cat $list >"$venv/installed.txt"
}

python() { python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv; }

data() {
	.bin/dhkd data verify --quiet fashion-mnist 2>/dev/null || apt_install dataset-fashion-mnist ||
		.bin/dhkd data fetch --quiet fashion-mnist
}

browser() {
	has_browser || apt_install chromium fonts-dejavu-core
	has_browser || { echo "there is no Chromium: install it, or set CHROMIUM to its path" >&2; return 1; }
}

playwright() { # drives the browser; it is installed without one of its own
	has_node || apt_install nodejs npm
	has_node || { echo "Node.js 20 or later and npm are missing: install them from https://nodejs.org" >&2; return 1; }
	cmp -s notebooks/browser/package-lock.json notebooks/browser/node_modules/.installed && return
	echo "installing Playwright in notebooks/browser/node_modules" >&2
	npm --prefix notebooks/browser ci --silent --no-audit --no-fund &&
		cp notebooks/browser/package-lock.json notebooks/browser/node_modules/.installed
}

turbojpeg() { # decodes JPEG files faster than Go
	has_turbojpeg || apt_install libturbojpeg0
	has_turbojpeg || { echo "there is no libturbojpeg.so.0: install libjpeg-turbo 2.0 or later" >&2; return 1; }
}

has_turbojpeg() { PATH=$PATH:/usr/sbin:/sbin ldconfig -p 2>/dev/null | grep -q 'libturbojpeg\.so\.0 '; }

slurm() {
	has_slurm || apt_install slurm-wlm munge
	has_slurm || { echo "there is no Slurm: install slurmctld, slurmd, Slurm's commands and munge" >&2; return 1; }
}

has_slurm() {
	local name
	for name in sbatch squeue scontrol slurmctld slurmd munged; do
		command -v "$name" >/dev/null || return
	done
}

has_node() { command -v npm >/dev/null && [ "$(node --print "parseInt(process.versions.node)" 2>/dev/null || echo 0)" -ge 20 ]; }

has_browser() {
	local name
	for name in ${CHROMIUM:+"$CHROMIUM"} chromium chromium-browser google-chrome google-chrome-stable chrome \
		"/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
		command -v "$name" >/dev/null && return
	done
	return 1
}

# apt_install PACKAGE...: installs Debian or Ubuntu packages where that can be done without a question.
apt_install() {
	local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq)
	command -v apt-get >/dev/null || return
	if [ "$(id -u)" != 0 ]; then
		command -v sudo >/dev/null && sudo -n true 2>/dev/null || return
		apt=(sudo -n "${apt[@]}")
	fi
	echo "installing with apt-get: $*" >&2
	local install=("${apt[@]}" install -y --no-install-recommends "$@")
	"${install[@]}" >/dev/null 2>&1 </dev/null || { "${apt[@]}" update && "${install[@]}" >/dev/null </dev/null; } >&2
}

for what in "$@"; do
	case $what in
	compiler | xla | jupyter | lab | tensorboard | onnx | pytorch | data | browser | playwright | turbojpeg | \
		slurm | hadolint)
		"$what" || exit ;;
	*) echo "need.sh: unknown: $what" >&2; exit 2 ;;
	esac
done
