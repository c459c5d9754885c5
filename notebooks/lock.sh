#!/bin/sh
# Writes requirements.txt and requirements-run.txt anew from the .in files: every version and hash pinned, for Python 3.10
# and later on Linux, macOS and Windows alike (which is why uv does it: pip-tools locks only the platform it runs on).
set -eu
cd "$(dirname "$0")"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
python3 -m venv "$tmp"
"$tmp/bin/pip" install --quiet uv==0.13.9

lock() {
	UV_CUSTOM_COMPILE_COMMAND=notebooks/lock.sh "$tmp/bin/uv" pip compile --quiet --upgrade --universal \
		--python-version 3.10 --generate-hashes --no-annotate --no-emit-index-url --no-emit-find-links \
		--no-emit-build-options "$@"
}
lock requirements.in --output-file requirements.txt
lock requirements-run.in --constraint requirements.txt --output-file requirements-run.txt
