#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Runs the socket calls of the Linux Test Project, built in folder LTP, and prints a line for each result of each program.
#
#   ltp.sh LTP [PROGRAM...]
#
# Lines are "ok|fail|skip|hang PROGRAM.NUMBER". Programs about other families, routes, namespaces or memory faults of the kernel
# are left out: they do not ask about TCP or UDP sockets.
LTP=$1
shift
calls='accept accept4 bind connect listen getsockname getsockopt getpeername recv recvfrom recvmsg recvmmsg send sendto sendmsg
    sendmmsg setsockopt socket shutdown poll select epoll_wait'
# What needs modules or faults of the kernel, or another family only.
left_out=' bind03 bind06 connect02 setsockopt01-64 setsockopt02 setsockopt03 setsockopt05 setsockopt06 setsockopt07 setsockopt08
    setsockopt09 setsockopt10 recvmsg02 recvmsg03 sendmsg03 sendto03 send02 poll01 '
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work LTPROOT=$LTP KCONFIG_SKIP_CHECK=1
cd "$work" || exit 1
run() { # run PROGRAM-FILE
    local name=${1##*/} status number=0 line
    timeout -k 5 60 "$1" >"$work/out" 2>&1 </dev/null
    status=$?
    while read -r line; do
        case $line in
        *TPASS*) echo "ok $name.$((number++))" ;;
        *TFAIL* | *TBROK*) echo "fail $name.$((number++))" && echo "# $name: $line" ;;
        *TCONF*) echo "skip $name.$((number++))" ;;
        esac
    done <"$work/out"
    if [ $status = 124 ] || [ $status = 137 ]; then echo "hang $name.$number"; fi
}
if [ $# -gt 0 ]; then
    for program in "$@"; do run "$program"; done
    exit
fi
for call in $calls; do
    for program in "$LTP/testcases/kernel/syscalls/$call/"*; do
        [ -f "$program" ] && [ -x "$program" ] || continue
        [[ $left_out == *" ${program##*/} "* ]] || run "$program"
    done
done
