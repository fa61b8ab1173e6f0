#!/usr/bin/env bash
# What is to be the same on every target, by `mirari test`: test/cross/*.test as processes and as virtual machines (by
# emulation), in namespaces of their own.
cd "$(dirname "$0")/../.." || exit 1
B=${MIRARI_BUILD:-build}
skip_all() {
    echo "1..0 # SKIP $*"
    exit 0
}
[ -x "$B/mirari" ] || skip_all "$B/mirari is not built (make)"
[ -f examples/website/site/index.html ] || skip_all 'the site is not made (make examples)'
for program in ip dig curl; do
    command -v "$program" >/dev/null || skip_all "$program is not installed"
done
exec "$B/mirari" test -j 2 --accel tcg --slower 3 -o "$B/examples" test/cross
