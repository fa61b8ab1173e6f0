#!/usr/bin/env bash
# The second architecture: lib/ compiled for aarch64, its unit tests run under qemu.
# Objects go to $B/aarch64, B as for make (default build).
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
B=${B:-${MIRARI_BUILD:-build}}/aarch64
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "1..0 # SKIP $tool is not installed"
        exit 0
    fi
done
if ! echo 'int main(void) { return 0; }' | aarch64-linux-gnu-gcc -static -x c -o /dev/null - 2>/dev/null; then
    echo "1..0 # SKIP no C library for aarch64 (libc6-dev-arm64-cross)"
    exit 0
fi

tests=()
for source in test/unit/{base,page,run,wire,fdt,tcp_transfer}*_test.c test/unit/{xring,vchan}_test.c; do
    grep -q '<zlib.h>' "$source" && continue # its oracle is a library of this architecture
    [ -f "$source" ] && tests+=("$B/host/${source%.c}")
done
echo "1..$((1 + ${#tests[@]}))"

# Only libmirari.a: the devices of a host would need its libraries for aarch64.
log=$(make -s -j2 CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar ARCH=aarch64 B="$B" \
    LIBS_host="$B/host/libmirari.a" HOST_LIBS= TEST_LIBS= LDFLAGS_host='-static -Wl,--gc-sections' \
    "${tests[@]}" 2>&1)
if [ $? = 0 ]; then
    echo "ok 1 - lib/ and its tests compile for aarch64"
else
    echo "not ok 1 - lib/ and its tests compile for aarch64"
    echo "$log" | grep -v '^  ' | sed 's/^/# /'
fi

n=1
for test in "${tests[@]}"; do
    n=$((n + 1))
    name=$(basename "$test")
    if output=$(timeout 60 qemu-aarch64 "$test" 2>&1) && grep -q '^1\.\.[1-9]' <<<"$output"; then
        echo "ok $n - $name: $(grep -c '^ok' <<<"$output") cases"
    else
        echo "not ok $n - $name"
        grep -v '^ok' <<<"$output" | sed 's/^/# /'
    fi
done
