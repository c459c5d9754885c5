#!/usr/bin/env bash
# Builds the images without a container engine and without a container registry, and looks into them:
#
#   docker/build.sh base             a Debian 12 from Debian's archive, and Go from the machine's own
#   docker/build.sh cpu [cuda tpu]   the targets of the Dockerfile, from the commit that is checked out
#   docker/build.sh check [cpu]      what must be true of an image: docker/check.sh in it, without a network
#   docker/build.sh sizes            of the images
#   docker/build.sh run cpu COMMAND...
#
# It runs as root, with Debian's buildah and debootstrap (apt-get install --no-install-recommends buildah debootstrap).
# What was built is kept in IMAGES (by default .cache/images; some 30 GB while it builds), so a build that was stopped
# goes on at the layer that it had reached. CERTIFICATES is a folder of certificates (.crt) that the base is to trust,
# of a proxy for instance. Where there is Docker or Podman, this script is not needed: see README.md.
set -euo pipefail
cd "$(dirname "$0")/.."
images=${IMAGES:-$PWD/.cache/images}
suite=bookworm
export BUILDAH_ISOLATION=chroot STORAGE_DRIVER=${STORAGE_DRIVER:-vfs} TMPDIR=$images/tmp

store() { buildah --root "$images/storage" --runroot "$images/run" "$@"; }
has() { store inspect --type image "$1" >/dev/null 2>&1; }

# working CONTAINER... forgets containers that an earlier call left behind.
working() {
	local name
	for name in "$@"; do store rm "$name" >/dev/null 2>&1 || true; done
}

base() {
	working base golang
	if ! has localhost/dhkd-base; then
		local root
		store from --name base scratch
		root=$(store mount base)
		env -u TMPDIR debootstrap --variant=minbase --include=ca-certificates "$suite" "$root"
		if [ -n "${CERTIFICATES:-}" ]; then
			cp "$CERTIFICATES"/*.crt "$root/usr/local/share/ca-certificates/"
			env -u TMPDIR chroot "$root" update-ca-certificates
		fi
		sed -i "s|^\(deb .*/debian\)/\? $suite main.*|&\n\1-security $suite-security main|" "$root/etc/apt/sources.list"
		rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/*.log "$root"/usr/share/locale/*
		find "$root/usr/share/doc" "$root/usr/share/man" -type f ! -name copyright -delete
		store umount base
		store commit --rm base localhost/dhkd-base
	fi
	if ! has localhost/dhkd-golang; then
		store from --name golang scratch
		store copy --quiet golang "$(toolchain)" /usr/local/go
		store commit --rm golang localhost/dhkd-golang
	fi
}

# toolchain is where the Go is that the Dockerfile names, which go fetches and checks where it is another one itself.
toolchain() {
	local version
	version=$(sed -n 's/^ARG GO=golang:\([0-9.]*\)-.*/\1/p' docker/Dockerfile)
	GOTOOLCHAIN=go$version go env GOROOT
}

# context is a clone of what is checked out, so that nothing else gets into an image. It is kept: layers are found again.
context() {
	local clone=$images/context
	if [ "$(git -C "$clone" rev-parse HEAD 2>/dev/null)" != "$(git rev-parse HEAD)" ]; then
		rm -rf "$clone"
		git clone --quiet --no-local --depth 1 "file://$PWD" "$clone"
	fi
	echo "$clone"
}

build() {
	base
	store bud --format docker --layers --target "$1" --tag "localhost/dhkd-go:$1" --build-arg BASE=localhost/dhkd-base \
		--build-arg GO=localhost/dhkd-golang --file docker/Dockerfile "$(context)"
}

# inside TARGET COMMAND... runs a command in a new container of an image, without a network but for the loopback.
inside() {
	local target=$1
	shift
	working "$target-run"
	store from --name "$target-run" "localhost/dhkd-go:$target" >/dev/null
	unshare --net sh -c 'ip link set lo up && exec "$@"' sh \
		buildah --root "$images/storage" --runroot "$images/run" run --volume "$PWD/docker/check.sh:/check.sh:ro" \
		"$target-run" -- "$@"
	working "$target-run"
}

# check runs check.sh with the image's own health check and command.
check() {
	local words
	# Of the health check the first word is CMD.
	mapfile -t words < <(store inspect --type image --format '{{with .Docker.Config}}{{range $i, $w := .Healthcheck.Test -}}
		{{if $i}}{{$w}} {{end}}{{end}}{{range .Cmd}}{{println}}{{.}}{{end}}{{end}}' "localhost/dhkd-go:$1")
	inside "$1" bash /check.sh "${words[@]}"
}

mkdir -p "$TMPDIR"
case ${1:-} in
base) base ;;
check) check "${2:-cpu}" ;;
sizes) store images --format '{{.Name}}:{{.Tag}} {{.Size}}' | sort ;;
run) shift && inside "$@" ;;
cpu | cuda | tpu) for target; do build "$target"; done ;;
*) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2 ;;
esac
