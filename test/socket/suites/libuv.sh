#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Runs libuv's tests one by one, each in a process of its own as libuv's runner starts them, and prints a line for each.
#
#   libuv.sh FOLDER [TEST...]
#
# FOLDER is its source, with uv_run_tests built in it or in its build/. Lines are "ok|fail|skip|hang TEST". Without names all are
# run, also those that ask about files, threads and processes: sockets live beside these, and none takes long.
folder=$(realpath "$1")
tests=$folder/uv_run_tests
[ -x "$tests" ] || tests=$folder/build/uv_run_tests
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export UV_RUN_AS_ROOT=1 UV_TEST_TIMEOUT_MULTIPLIER=3
cd "$work" && mkdir test && cp -r "$folder/test/fixtures" test/ || exit 1
run() { # run TEST
    local status
    timeout -k 5 120 "$tests" "$1" >"$work/out" 2>&1 </dev/null
    status=$?
    if grep -q '^# timeout' "$work/out" || [ $status = 124 ] || [ $status = 137 ]; then
        echo "hang $1"
    elif grep -q '^ok .* # SKIP' "$work/out"; then
        echo "skip $1"
    elif [ $status = 0 ]; then
        echo "ok $1"
    else
        echo "fail $1"
    fi
    [ $status = 0 ] || grep -v '^ok' "$work/out" | sed "s/^/# $1: /"
}
# Without names: the names of its list, whose lines go on with helpers.
[ $# -gt 0 ] || mapfile -t names < <("$tests" --list | sed 's/ .*//')
for name in "${names[@]:-$@}"; do run "$name"; done
