#!/bin/sh
# Starts the GoNB kernel for the checkout that this file lies in. Jupyter calls it (kernel.json) with a connection file.
# The kernel is GoNB as pinned in notebooks/tools/go.mod, and its cells see the checkout's packages through a go.work.
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P) || exit 1
root=$(CDPATH='' cd -- "$here/../../../.." && pwd -P) || exit 1

if [ ! -x "$root/.bin/gonb" ] || [ ! -x "$root/.bin/goimports" ]; then
	echo "The Go kernel is not built yet: run 'make lab' or 'dhkd setup --jupyter' in $root." >&2
	exit 1
fi
DHKD_GO=$(command -v go) || {
	echo "The Go kernel needs Go, and there is no 'go' on PATH: install it from https://go.dev/dl." >&2
	exit 1
}
export DHKD_GO # for bin/go
export PATH="$here/bin:$root/.bin:$PATH"

# What 'dhkd setup --jupyter' found out about this machine, such as the backend. What the user has set wins.
if [ -f "$root/.cache/kernel.env" ]; then
	. "$root/.cache/kernel.env"
fi
export GOMLX_NO_AUTO_INSTALL="${GOMLX_NO_AUTO_INSTALL-1}"
unset GOWORK # GoNB makes a go.work of its own

# With --raw_error compile errors are text, not HTML, so that they can be read where no browser shows them. The other
# flags keep the kernel's own log, but for what ends it, off the terminal that Jupyter runs in.
exec "$root/.bin/gonb" --kernel "$1" --raw_error --go_work="$root" \
	--logtostderr=false --stderrthreshold=FATAL --log_file=/dev/null
