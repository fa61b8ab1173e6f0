#!/bin/bash
# SPDX-License-Identifier: ISC
# `make install`: from the installed files alone an appliance is made, built and run.
. "$(dirname "$0")/lib.sh"

prefix=$box/usr
is_ok 'make install' make -s -C "$root" B="$b" PREFIX="$prefix" install
for file in bin/mirari include/mirari/app.h lib/mirari/libmirari.a lib/mirari/libmirari-unix.a \
    lib/pkgconfig/mirari.pc share/man/man1/mirari-run.1 share/bash-completion/completions/mirari share/man/man5/app.conf.5 \
    share/mirari/templates/hello/app.conf share/mirari/templates/website/site/index.html; do
    check "$file" test -s "$prefix/$file"
done
out=$(grep -rIl "$b" "$prefix"); [ -z "$out" ]; report $? 'no text names the build folder'
cd "$box" || exit 1
is_ok 'new' "$prefix/bin/mirari" new website site
is_ok 'build' "$prefix/bin/mirari" build -C site
is_ok 'and for sim' "$prefix/bin/mirari" build -C site -t sim
is_ok 'new' "$prefix/bin/mirari" new hello hello
is_ok 'run' "$prefix/bin/mirari" run -q -C hello
has '^Hello from hello$' 'it greets'
"$mirari" build -q -C hello -o tree
is_ok 'the tool of the tree builds the same bytes' cmp hello/_build/unix/hello tree/unix/hello
if [ -e "$b/virt/libmirari-virt.a" ]; then
    is_ok 'for target virt' "$prefix/bin/mirari" build -C hello -t virt
    "$mirari" build -q -C hello -t virt -o tree
    is_ok 'the same bytes as well' cmp hello/_build/virt/hello tree/virt/hello
    packed=tree/virt/hello.packed
    is_ok 'and packed' cmp hello/_build/virt/hello.packed $packed
    check 'in less than a third of its bytes' test "$(stat -c %s $packed)" -lt $(($(stat -c %s tree/virt/hello) / 3))
    "$mirari" build -q -C hello -t virt -o tree # what was written a moment before it was read is looked at again
    before=$(stat -c %y $packed)
    is_ok 'built again' "$mirari" build -C hello -t virt -o tree
    has 'nothing to do' 'there is nothing to do'
    [ "$(stat -c %y $packed)" = "$before" ]; report $? 'nor to pack'
    cp -r hello large
    echo 'const volatile char large[17 << 20] = {1}; int mir_app_main(struct mir_app *app) { (void)app; return large[5]; }' |
        cat <(echo '#include <mirari/mirari.h>') - >large/main.c
    is_ok 'more than 16 MiB' "$mirari" build -q -C large -t virt -o tree
    check 'are not packed, and nothing old stays' test -e tree/virt/hello -a ! -e $packed
    if command -v qemu-system-x86_64 >/dev/null; then
        is_ok 'which run' timeout 60 "$prefix/bin/mirari" run -q -C hello -t virt --accel tcg
        has '^Hello from hello$' 'and greet'
    fi
fi
exits 1 '--asan without the tree' "$prefix/bin/mirari" build --asan -C hello
has 'needs the source tree' 'is explained'
if command -v clang-14 >/dev/null; then
    is_ok 'with clang' env CC=clang-14 "$prefix/bin/mirari" build -C hello -o clang
    is_ok 'the result runs' clang/unix/hello
    mkdir elsewhere; cp -r hello/app.conf hello/main.c elsewhere
    is_ok 'with clang, elsewhere' env CC=clang-14 "$prefix/bin/mirari" build -C elsewhere
    is_ok 'is the same' cmp clang/unix/hello elsewhere/_build/unix/hello
fi
if command -v pkg-config >/dev/null; then
    export PKG_CONFIG_PATH=$prefix/lib/pkgconfig
    is_ok 'pkg-config' bash -c 'cc $(pkg-config --cflags mirari) -o byhand hello/main.c hello/_build/unix/manifest.c $(pkg-config --libs --static mirari)'
    is_ok 'links by hand' ./byhand
fi
mv "$prefix/lib/mirari" "$prefix/lib/gone"
exits 1 'without its libraries' "$prefix/bin/mirari" build -C hello
has 'no libmirari.a in .*make install' 'it says so'
done_testing
