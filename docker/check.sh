#!/usr/bin/env bash
# What must be true of an image, looked at from inside, without a network: docker/build.sh check.
#
#   check.sh HEALTHCHECK COMMAND...    the image's own health check and command
set -euo pipefail
export out
out=$(mktemp -d)
health=$1
shift
say() { printf '\n=== %s\n' "$*"; }

say "the user"
id
[ "$(id -u)" != 0 ]
if touch /usr/local/bin/x 2>/dev/null; then echo "the user can write into /usr/local/bin"; exit 1; fi

say "versions"
dhkd version
[ -z "$(find / -xdev -name .git -print -quit 2>/dev/null)" ]

say "no network"
if tail -n +3 /proc/net/dev | grep -v '^ *lo:'; then
	echo "there is a network, so this check says nothing"
	exit 1
fi
echo "none but the loopback"

say "health check: $health"
time sh -c "$health"
dhkd data verify fashion-mnist

say "an epoch of training"
dhkd train quickstart --run ce --set schedule.epochs=1 --set 'schedule.milestones=[]' --out "$out"/runs --quiet
dhkd report "$out"/runs/quickstart >/dev/null

say "the quick-start notebook"
time .venv/bin/python notebooks/run.py --output "$out"/00-quickstart.ipynb notebooks/00-quickstart.md

say "JupyterLab: $*"
"$@" >"$out"/lab.log 2>&1 &
lab=$!
.venv/bin/python - <<'PY'
import json, os, re, time, urllib.error, urllib.request

def get(path, token=None):
    """The status and the body of an answer, or None while nobody answers."""
    request = urllib.request.Request("http://127.0.0.1:8888" + path)
    if token:
        request.add_header("Authorization", "token " + token)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, None
    except OSError:
        return None

for _ in range(60):
    if get("/api"):
        break
    time.sleep(1)
else:
    raise SystemExit("no answer within a minute:\n" + open(os.environ["out"] + "/lab.log").read())
token = re.search(r"token=(\w{32,})", open(os.environ["out"] + "/lab.log").read()).group(1)
refused, kernels = get("/api/kernelspecs")[0], get("/api/kernelspecs", token)[1]["kernelspecs"]
print("without its token:", refused)
print("with it, the kernels:", ", ".join(sorted(kernels)))
if refused != 403 or "gonb" not in kernels:
    raise SystemExit("the token is not asked for, or there is no Go kernel")
listening = {line.split()[1] for line in open("/proc/net/tcp").read().splitlines()[1:] if line.split()[3] == "0A"}
print("listening:", ", ".join(sorted(f"{int(a[6:8], 16)}.{int(a[4:6], 16)}.{int(a[2:4], 16)}.{int(a[:2], 16)}:{int(a[9:], 16)}"
                                     for a in listening)))
PY
began=$SECONDS
kill "$lab"
wait "$lab" || true
echo "stopped after $((SECONDS - began)) s"

say "sizes"
du -sh /opt/dhkd-go ~/go ~/.cache /usr/local/go /usr/local/lib/go-xla /usr/share/datasets 2>/dev/null
