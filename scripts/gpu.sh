		if [ -z "$dry" ] && [ $precision != float32 ]; then
			mkdir -p "$out/m/offline" && cp -r "$folder/m-float32/m/offline/teacher-seed1" "$out/m/offline"
		fi
#!/usr/bin/env bash
# What is to be measured on a machine with an NVIDIA card, from a fresh clone to a folder of records:
#
#   scripts/gpu.sh [--dry-run] [--quick] [FOLDER]        FOLDER: gpu-records/ and the date by default
#
# It sets up the CUDA plugin and the peers' packages, checks the numbers, runs every case of the bench, how steps grow,
# precisions, and the comparison of methods in the setting m. Each part leaves its output in FOLDER/NAME.log, and records
# beside it; a part that fails is named at the end, and the others go on. --quick takes two cases and no comparison.
# --dry-run prints the commands and runs nothing.
#
# It has not been run on a card yet.
set -u
cd "$(dirname "$0")/.." || exit

dry= quick= folder=
for argument in "$@"; do
	case $argument in
	--dry-run) dry=1 ;;
	--quick) quick=1 ;;
	-*) echo "gpu.sh: unknown: $argument (see the head of the file)" >&2; exit 2 ;;
	*) folder=$argument ;;
	esac
done
folder=${folder:-gpu-records/$(date -u +%Y-%m-%d)}
failed=

# part NAME COMMAND...: runs a part with its output in the folder. CPU's compile cache has no say on a card.
part() {
	local name=$1 start=$SECONDS
	shift
	if [ -n "$dry" ]; then
		printf '# %s\n' "$name"
		printf '%q ' "$@"
		printf '\n'
		return
	fi
	echo "$name: $*" >&2
	if "$@" >"$folder/$name.log" 2>&1; then
		echo "$name: done in $((SECONDS - start)) s" >&2
	else
		echo "$name: FAILED, exit $?: see $folder/$name.log" >&2
		failed="$failed $name"
		return 1
	fi
}

# Everything after this runs on the card or not at all. Times are with TF32, float32 products in matrix units that keep 10
# bits, as PyTorch convolves and JAX multiplies by default; numbers are checked without it, which is the default here.
export GOMLX_BACKEND=xla:cuda
tf32=(env GOMLX_BACKEND=xla:cuda,tf32=true)
program=(go run ./dhkd/internal/bench)
peers=$PWD/.cache/gpu-peers

if [ -z "$dry" ]; then
	command -v nvidia-smi >/dev/null || { echo "gpu.sh: no nvidia-smi: is there an NVIDIA card and its driver?" >&2; exit 3; }
	mkdir -p "$folder" || exit
fi
part card nvidia-smi || exit
part build env -u GOMLX_BACKEND make build || exit
# go-xla's installer, or an installed JAX: a Python with jax[cuda13] found on PATH or in VIRTUAL_ENV serves too.
part setup env -u GOMLX_BACKEND .bin/dhkd setup --cuda || exit
part doctor .bin/dhkd doctor || exit
part numbers go test -count=1 ./dhkd ./dhkd/nn ./dhkd/internal/golden
part peers sh -c "python3 -m venv --clear '$peers' && '$peers/bin/pip' install --quiet torch==2.15.0 'jax[cuda13]==0.10.2' numpy" &&
	export DHKD_BENCH_PYTHON=$peers/bin/python

cases=(-run .)
[ -z "$quick" ] || cases=(-run '^resnet20 of resnet56 .* (ce|dhkd-aligned)$')
# bench NAME ARGS...: runs the bench, with its numbers and its figure in the folder.
bench() {
	local name=$1
	shift
	part "$name" "$@" -json "$folder/$name.json" -figure "$folder/$name.svg"
}
bench bench "${tf32[@]}" "${program[@]}" "${cases[@]}" -processes 3 -rounds 4 -steps 20
bench bench-batch-512 "${tf32[@]}" "${program[@]}" "${cases[@]}" -batch 512 -processes 2 -rounds 3 -steps 10
bench bench-exact "${program[@]}" -run '^resnet20 of resnet56 .* (ce|dhkd-aligned)$' -with '^$'
part bench-steps go test ./dhkd/train -run '^$' -bench 'Measure|BFloat16' -benchtime 30x
bench growth "${tf32[@]}" "${program[@]}" -growth -rounds 10

if [ -z "$quick" ]; then
	part data sh -c 'scripts/need.sh data'
	# One teacher, in float32, for the students of all precisions.
	part m-teacher .bin/dhkd train m --run teacher --out "$folder/m-float32"
	for precision in float32 tf32 bfloat16; do
		out=$folder/m-$precision
		if [ -z "$dry" ] && [ $precision != float32 ]; then
			mkdir -p "$out/m/offline" && cp -r "$folder/m-float32/m/offline/teacher-seed1" "$out/m/offline"
		fi
		part "m-$precision" .bin/dhkd distill m --seeds 1,2,3,4,5 --set precision=$precision --out "$out"
		part "m-$precision-ce" .bin/dhkd train m --run ce --seeds 1,2,3,4,5 --set precision=$precision --out "$out"
		part "m-$precision-report" .bin/dhkd report "$out"
	done
fi
if [ -n "$failed" ]; then
	echo "failed:$failed" >&2
	exit 1
fi
[ -n "$dry" ] || echo "all is in $folder" >&2
