#!/usr/bin/env bash
# Makes the runs that the notebooks show (profile offline), the most important experiments first, and copies each run's
# record to notebooks/records:
#
#   scripts/evidence.sh
#   scripts/evidence.sh m collapse
#   OUT=~/runs JOBS=1 scripts/evidence.sh
#
# It takes hours on two cores. Runs that are done are kept and interrupted ones continued, so it can be ended (Ctrl-C) and
# started again at any time. Weights stay in OUT (runs/).
set -um # a process group for each job, so that an interruption reaches it whole
cd "$(dirname "$0")/.." || exit
dhkd=${DHKD:-.bin/dhkd} out=${OUT:-runs} records=${RECORDS:-notebooks/records} jobs=${JOBS:-2}
experiments=(
	m collapse literal gradients ablation learning-rate reviewkd alpha-rate sensitivity same-architecture cross-architecture precision
)

main() {
	local task
	trap interrupt INT TERM
	while read -r -u 3 -a task; do
		while [ "$(jobs -pr | wc -l)" -ge "$jobs" ]; do wait -n; done
		run "${task[@]}" &
	done 3< <(tasks "$@")
	wait
	[[ " $* " != *" m "* ]] || analyse
}

interrupt() {
	local job
	trap "" INT TERM
	for job in $(jobs -pr); do kill -INT -- "-$job"; done
	wait
	exit 130
}

# tasks EXPERIMENT...: a line "COMMAND EXPERIMENT RUN" for each run, teachers first.
tasks() {
	local command experiment
	for experiment; do
		for command in train distill; do
			"$dhkd" "$command" "$experiment" --print 2>/dev/null | sed -n "s/^name: /$command $experiment /p" | uniq
		done
	done
}

# run COMMAND EXPERIMENT RUN: all seeds of a run. Where another process trains the teacher (exit code 4), it waits.
run() {
	local code=4
	while [ $code = 4 ]; do
		"$dhkd" "$1" "$2" --run "$3" --out "$out" --quiet 2>&1
		code=$?
		[ $code != 4 ] || sleep 10
	done
	printf '%s %s %s %s: exit code %d\n' "$(date +%T)" "$@" $code
	keep "$2" "$3"
}

# keep EXPERIMENT RUN copies the records of runs that have ended.
keep() {
	local record
	for record in "$out/$1"/*/"$2"-seed*/record.json; do
		grep -qE '^ "status": "(completed|failed)"' "$record" && install -D -m 644 "$record" "$records/${record#"$out"/}"
	done
}

# analyse looks into the networks that notebook 13 shows: pictures of the first seed, numbers of all.
analyse() {
	local run dir plain of=m/offline
	for run in ce kd ce+binarykl dhkd; do
		for dir in "$out/$of/$run"-seed*; do
			[ -e "$dir/weights.safetensors" ] || continue
			plain=--plain
			[[ $dir != *-seed1 ]] || plain=--seed=1
			"$dhkd" analyse "$dir" --teacher "$out/$of/teacher-seed1/weights.safetensors" $plain --quiet >/dev/null &&
				install -D -m 644 "$dir/analysis.json" "$records/$of/${dir##*/}/analysis.json"
		done
	done
}

[ $# -gt 0 ] || set -- "${experiments[@]}"
main "$@"
exit
