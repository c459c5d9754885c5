#!/usr/bin/env bash
# Where the time of this project's training steps on the CPU goes, by perf (Linux, which must allow it):
#
#   scripts/profile.sh '^vgg8 of vgg13 32x32 ce$' ...
#
# A row a case, of those that "make bench BENCH=-list" prints: shares of the two or more cores' time, in per cent.
set -euo pipefail
cd "$(dirname "$0")/.."
command -v perf > /dev/null || { echo "profile: perf is missing: install it (linux-perf, linux-tools)" >&2; exit 1; }
scripts/need.sh xla
work=$(mktemp -d)
trap 'kill $(jobs -p) 2> /dev/null || true; rm -rf "$work"' EXIT
go build -o "$work/bench" ./dhkd/internal/bench
echo '| case | products (oneDNN) | kernels of this project | compiled loops | XLA, Eigen | memory | system | idle |'
echo '|---|--:|--:|--:|--:|--:|--:|--:|'
for case in "$@"; do
	# DNNL_JIT_PROFILE names oneDNN's products, which are machine code made while the program runs, as XLA's loops are.
	DNNL_JIT_PROFILE=6 "$work/bench" -processes 1 -rounds 1 -steps 100000 -with '^$' -run "$case" 2> "$work/log" > /dev/null &
	until grep -q 'round 1' "$work/log"; do
		kill -0 $! 2> /dev/null || { cat "$work/log" >&2; exit 1; }
		sleep 0.2
	done
	worker=$(pgrep -P $! | head -1)
	sleep 3
	perf record -q -p "$worker" -e cpu-clock -F 500 -o "$work/perf" -- sleep 10
	kill $!
	wait $! 2> /dev/null || true
	perf script -f -i "$work/perf" -F ip,sym,dso 2> /dev/null | awk -v name="${case//[\^\$]/}" -v all=$((10 * 500 * $(nproc))) '
		/gemm_f32/ { n[1]++; next }
		$NF ~ /\/bench\)$/ && $2 !~ /\.|heap|malloc|free/ { n[2]++; next } # names of Go have a dot
		/perf-[0-9]*\.map/ { n[3]++; next }
		/pjrt/ { n[4]++; next }
		/libc\.so/ || /heap|malloc|free/ { n[5]++; next }
		{ n[6]++ }
		END {
			printf "| %s", name
			for (i = 1; i <= 6; i++) { printf " | %.0f", 100 * n[i] / all; all_of += n[i] }
			printf " | %.0f |\n", 100 * (1 - all_of / all)
		}'
	rm -f "/tmp/perf-$worker.map"
done
