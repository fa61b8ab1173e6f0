#!/usr/bin/env bash
# test/bench/run leaves out what it cannot measure here, says so, and goes on with the rest.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
B=${B:-${MIRARI_BUILD:-build}}
make -s B="$B" "$B/host/test/bench/inmem" >/dev/null 2>&1 || { echo "Bail out! inmem does not build"; exit 1; }
export MIRARI_BUILD=$B

# The programs that the parts below need, and no others: no valgrind, no wrk.
bin=$(mktemp -d) || exit 1
trap 'rm -rf "$bin"' EXIT
ln -s "$(command -v taskset)" "$bin/taskset"

echo 1..5
n=0
is() { # TEXT COMMAND...
    n=$((n + 1))
    if "${@:2}" >/dev/null; then echo "ok $n - $1"; else
        echo "not ok $n - $1"
        echo "$out" | sed 's/^/# /'
    fi
}

python=$(python3 -c 'import sys; print(sys.executable)')
out=$(PATH=$bin "$python" test/bench/run nonsense 2>&1)
is "a part that does not exist is refused, with those that do" grep -q 'no such part: nonsense; there are http' <<<"$out"
out=$(PATH=$bin "$python" test/bench/run http instructions memory --rounds 1 2>&1)
status=$?
is "a part whose tools are missing is left out and named" \
    grep -q '^bench: left out: instructions: valgrind not installed' <<<"$out"
is "the others are measured" grep -q '^idle_bytes [0-9]' <<<"$out"
is "that is no failure" [ $status = 0 ]
out=$("$python" - 2>&1 <<'EOF_PY'
import runpy, sys
sys.argv = ["run"]
run = runpy.run_path("test/bench/run")
started = [run["start"](str(i), "sleep", "600")[0] for i in range(4)]
run["clean_up"]()
left = [p.pid for p in started if p.poll() is None]
for p in started:
    p.kill()
sys.exit(f"still there: {left}" if left else 0)
EOF_PY
)
is "no process it started is left behind" [ $? = 0 ]
