#!/usr/bin/env bash
# The source tree against its own rules: layers, symbols, documentation, form.
# Each tool is also shown a tree that breaks its rule, and must say so.
set -u
cd "$(dirname "$0")/../.." || exit 1
unset MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
B=${B:-${MIRARI_BUILD:-build}}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
n=0
report() { # report STATUS NAME [OUTPUT]
    n=$((n + 1))
    if [ "$1" = 0 ]; then echo "ok $n - $2"; else echo "not ok $n - $2"; fi
    [ "$1" = 0 ] || [ -z "${3-}" ] || sed 's/^/# /' <<<"$3"
}
run() { # run NAME COMMAND...
    local name=$1 output
    shift
    output=$("$@" 2>&1)
    report $? "$name" "$output"
}
skip() {
    n=$((n + 1))
    echo "ok $n - $1 # SKIP $2"
}

# ---- layers ------------------------------------------------------------------------------------
run 'includes flow one way' tools/check-layers

bad_tree() { # a small tree that breaks each rule once
    rm -rf "$work/tree"
    mkdir -p "$work"/tree/{include/mirari,lib/a,dev/net/pipe,dev/net/tap,target/unix,target/sim,cmd,examples/x,tools/mk}
    cp tools/mk/lib.mk "$work/tree/tools/mk/"
    cd "$work/tree" || exit 1
    echo '#include "lib/a/b.h"' >include/mirari/a.h
    printf '#include <mirari/base.h>\n#include <stdio.h>\n' >lib/a/a.c
    echo '#include "dev/net/pipe/pipe.h"' >lib/a/b.c
    echo '#include <mirari/host.h>' >lib/a/c.c
    echo '#include <unistd.h>' >dev/net/pipe/pipe.c
    echo '#include "target/unix/unix.h"' >dev/net/tap/tap.c
    echo '#include "target/unix/unix.h"' >target/sim/sim.c
    echo '#include "../../lib/a/b.h"' >target/unix/up.c
    echo '#  include "test/harness/tap.h" /* why */' >cmd/cmd.c
    echo '#include "lib/a/b.h"' >examples/x/x.c
    printf '#include <unistd.h>\n#include <mirari/host.h>\n' >dev/net/tap/fine.c
    echo '/* #include <stdio.h> in a comment */' >lib/a/fine.c
    cd - >/dev/null || exit 1
}
bad_tree
said=$(tools/check-layers "$work/tree" | cut -d: -f1,2)
want='cmd/cmd.c:1
dev/net/pipe/pipe.c:1
dev/net/tap/tap.c:1
examples/x/x.c:1
include/mirari/a.h:1
lib/a/a.c:2
lib/a/b.c:1
lib/a/c.c:1
target/sim/sim.c:1
target/unix/up.c:1'
[ "$said" = "$want" ]
report $? 'check-layers finds each forbidden include, and only those' "$(diff <(echo "$want") <(echo "$said"))"

# ---- symbols -----------------------------------------------------------------------------------
if output=$(make -s B="$B" lib 2>&1); then
    run 'symbols: prefix, nothing needed but a target, no state outside structures' \
        tools/check-symbols "$B"/host/libmirari{,-unix,-sim}.a
else
    report 1 'the libraries compile' "$output"
fi
cat >"$work/bad.c" <<'END'
int tcp_input(void);
int mir_fine(void);
int strlen_needed(const char *text);
static int counter;
static const char *const table[] = {"a", "b"};
unsigned long strlen(const char *text);
int tcp_input(void) { return ++counter; }
int mir_fine(void) { return table[counter & 1][0]; }
int mir_needs(const char *text);
int mir_needs(const char *text) { return (int)strlen(text); }
END
mkdir -p "$work/lib"
gcc -O1 -fno-builtin -fPIE -c -o "$work/lib/bad.o" "$work/bad.c" && ar rcs "$work/lib/libmirari.a" "$work/lib/bad.o"
said=$(tools/check-symbols "$work/lib/libmirari.a" | awk '{print $3}' | sort | tr -d :'\n')
[ "$said" = counterstrlentcp_input ]
report $? 'check-symbols finds a foreign name, a call of the C library and a hidden variable' "$said"

# ---- documentation -----------------------------------------------------------------------------
run 'public functions are documented, links of documents resolve' tools/check-docs
mkdir -p "$work"/docs/{include/mirari,docs}
cat >"$work/docs/include/mirari/a.h" <<'END'
/** Documented, as is the next in its block. */
int mir_a(int x);
int mir_b(void (*callback)(int), int y);

int mir_bare(void);

/**
 * mir_long() - text.
 *
 * Tests   test/unit/none_test.c
 */
int mir_long(void);

/**
 * mir_other() - about another.
 *
 * Returns nothing.
 * Source  none
 */
static inline int mir_wrong(void)
{
    return 0;
}

/** Grouped structure. */
struct mir_s {
    int (*op)(int);
};
int mir_c(void); /**< behind */
END
printf '# Top\n[good](a.md#top) [gone](b.md) [no](#none) `[code](x)`\n' >"$work/docs/docs/a.md"
said=$(tools/check-docs "$work/docs" | sed 's/: .*\(Returns\|Source\|such\|is about\|nothing\|heading\|no doc\).*/:\1/')
want='include/mirari/a.h:7:Returns
include/mirari/a.h:7:Source
include/mirari/a.h:7:such
include/mirari/a.h:14:is about
include/mirari/a.h:5:no doc
docs/a.md:2:nothing
docs/a.md:2:heading'
[ "$said" = "$want" ]
report $? 'check-docs finds what is missing, and only that' "$(diff <(echo "$want") <(echo "$said"))"

# ---- form --------------------------------------------------------------------------------------
run 'sources: first lines, length, no unsafe functions' tools/check-source
mkdir -p "$work/form/lib"
cat >"$work/form/lib/a.c" <<'END'
/* SPDX-License-Identifier: ISC */
/* A file. strcpy(a, b) in a comment. */
const char *text = "gets(x)";
void f(void) { printf("x"); strcpy(a, b); o->free(p); my_gets(x); }
END
printf 'int x;\t\n' >"$work/form/lib/b.c"
mkdir -p "$work/form/examples/a/_build"
echo "int made;" >"$work/form/examples/a/_build/manifest.c" # what was built is not judged
said=$(tools/check-source "$work/form" | sed 's/: .*\(printf\|strcpy\|SPDX\|tab\|blank\).*/:\1/')
want='lib/a.c:4:strcpy
lib/a.c:4:printf
lib/b.c:1:SPDX
lib/b.c:1:tab
lib/b.c:1:blank'
[ "$said" = "$want" ]
report $? 'check-source finds unsafe functions and bad form, and only those' "$(diff <(echo "$want") <(echo "$said"))"

if command -v clang-format-14 >/dev/null; then
    run 'sources are formatted (make format)' make -s format-check
else
    skip 'sources are formatted' 'clang-format-14 is not installed'
fi

found=$(grep -rInE '^(<{7}|>{7}) ' ./*.md cmd dev docs examples include lib target test tools --exclude-dir=_build)
[ -z "$found" ]
report $? 'no marks of a merge are left' "$found"

# ---- headers, scripts --------------------------------------------------------------------------
# Given together they are compiled one by one.
run 'each header compiles alone, freestanding' \
    gcc -std=gnu11 -ffreestanding -nostdinc -isystem "$(gcc -print-file-name=include)" -Iinclude -I. \
    -Wall -Wextra -Wundef -Werror -Wno-unused-function -fsyntax-only -x c \
    include/mirari/*.h $(find lib -name '*.h')

bad=
while read -r script; do
    case $(head -n 1 "$script") in
    '#!'*python3*) python3 -c 'import ast, sys; ast.parse(open(sys.argv[1]).read())' "$script" ;;
    '#!'*bash*) bash -n "$script" ;;
    '#!'*/sh*) sh -n "$script" ;;
    '#!'*) ;;
    *) false ;;
    esac 2>"$work/error" || bad="$bad$script: $(tail -n 1 "$work/error")
"
    [ -x "$script" ] || bad="$bad$script: not executable
"
done < <(find tools test .ci -type f \( -name '*.t' -o -path 'tools/check-*' -o -path 'tools/git-hooks/*' -o -path '.ci/*' \
    -o -name 'deps' -o -name 'make-*' -o -name 'new-*' -o -name 'rfc-*' -o -path 'test/bench/run' \) | LC_ALL=C sort)
[ -z "$bad" ]
report $? 'scripts parse, say their interpreter and can be executed' "$bad"
echo "1..$n"
