#!/bin/bash
# SPDX-License-Identifier: ISC
# What is left of an appliance that has crashed: assertions, a null pointer, a stack that is too small, SIGKILL; as a process
# and, where there is a QEMU, as a machine. A clean end leaves none.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1

mkdir app
cat >app/app.conf <<'END'
name = app
memory = 24
args mode { type = string; default = clean }
vm { control = true }
END
cat >app/main.c <<'END'
#include <mirari/mirari.h>

static int dig(volatile int depth)
{
    volatile char here[512];
    here[0] = (char)depth;
    return depth < 0 ? 0 : dig(depth + 1) + here[0];
}

__attribute__((noinline)) static void touch(volatile int *at)
{
    *at = 1;
}

static void last_words(struct mir_app *app, void *arg)
{
    mir_app_print(app, "last words\n");
    for (volatile bool hangs = *(const char *)arg == 'h'; hangs;)
        continue;
    if (*(const char *)arg == 't')
        touch(NULL);
}

int mir_app_main(struct mir_app *app)
{
    static struct mir_app_hook hook = {.name = "panic", .run = last_words, .when = MIR_APP_ON_PANIC};
    static int *volatile nothing;
    const char *mode = mir_app_string(app, "mode");
    for (int i = 0; i < 300; i++)
        mir_app_note(app, "note %d of mode %s", i, mode);
    mir_app_print(app, "ready\n");
    hook.arg = (void *)(uintptr_t)mode;
    mir_app_add_hook(app, &hook);
    if (mode[0] == 'n' || mode[0] == 'h' || mode[0] == 't')
        touch(nothing);
    else if (mode[0] == 'a')
        MIR_ASSERT_OP(mir_str_len(mode), ==, 7);
    else if (mode[0] == 'o')
        return dig(1);
    else if (mode[0] == 'w')
        mir_app_wait_stop(app);
    return 3;
}
END
is_ok 'builds' "$mirari" build -q -C app
targets=unix
if command -v qemu-system-x86_64 >/dev/null && [ "$(uname -m)" = x86_64 ] && [ -f "$b/virt/libmirari-virt.a" ] &&
    "$mirari" build -q -t virt -C app; then
    targets='unix virt'
else
    echo '# SKIP machines: no QEMU, or the libraries of target virt are not built'
fi
no_folder() { [ -z "$(ls "$box/runtime/mirari" | grep '^app-')" ]; }
has_addr2line() { command -v addr2line >/dev/null; }
crashes() { # TARGET MODE: runs it to its end
    local accel=''
    [ "$1" = virt ] && accel='--accel tcg'
    # shellcheck disable=SC2086
    exits "$3" "$1 $2: status $3" "$mirari" run -q -t "$1" -C app --no-build $accel --mode "$2"
}

exits 1 'none is known before' "$mirari" crash app
has 'no crash of "app" is known' 'and that is said'
for target in $targets; do
    crashes $target null 70
    is_ok "$target null pointer: a crash is known" "$mirari" crash app
    has "^app \($target\), begun .* did not end in order: status 70" "$target: how it ended"
    has 'crash: (signal 11 \(SIGSEGV\) at|page fault, write to) address 0x0.* in task main' "$target: the reason"
    has '^  rip [0-9a-f]+ rsp' "$target: registers"
    has '^ +-?[0-9.]+  note  note 299 of mode null$' "$target: the last note"
    if has_addr2line; then
        has '^  #0 .*touch at main.c:12' "$target: where it was"
        has '^  #[12] .*run_main at start.c' "$target: and who called"
    fi
    says '^last events \(of 3[0-9][0-9]\)' "$target: as many events as there are" "$mirari" crash app -n 10000
    report "$([ "$(grep -c '  note  ' <<<"$out")" -ge 200 ]; echo $?)" "$target: 200 of them are there"
    has_not 'note  note 20 of' "$target: the oldest ones are not"
    for mode in assert hang twice; do
        crashes $target $mode 70
        has '^last words' "$target $mode: the hook has run"
    done
    crashes $target assert 70
    says 'assertion failed: mir_str_len\(mode\) == 7 \(6, 7\)' "$target: an assertion" "$mirari" crash app
    crashes $target over 70
    says '^crash: stack overflow in task main' "$target: a stack overflow" "$mirari" crash app
    has '^      [0-9]+ more of the same' "$target: its call chain, in short"
    crashes $target clean 3
    has_not '^last words' "$target: no panic, no such hook"
    exits 1 "$target: a clean end is no crash" "$mirari" crash app
    has 'the last one ended in order' "$target: and that is said"

    accel=''
    [ $target = virt ] && accel='--accel tcg'
    # shellcheck disable=SC2086
    run "$mirari" run -d -q -t $target -C app --no-build $accel --mode wait
    wait_for grep -q ready "$box"/runtime/mirari/app-*/log
    exits 1 "$target: one that runs has none" "$mirari" crash app
    kill -9 "$("$mirari" ps -q)"
    wait_for test -z "$("$mirari" ps -q)"
    wait_for "$mirari" crash app
    says 'did not end in order: signal 9' "$target: kill -9" "$mirari" crash app
    has 'note  note 299 of mode wait' "$target: leaves the events"
    wait_for no_folder # its log says "ready", too
done

# Nobody looks after it any more.
kept=$box/runtime/mirari/app.crash
rm -f "$kept"
run "$mirari" run -d -q -C app --no-build --mode wait
wait_for grep -q ready "$box"/runtime/mirari/app-*/log
supervisor=$(sed -n 's/^supervisor //p' "$box"/runtime/mirari/app-*/info)
pid=$("$mirari" ps -q)
is_stopped() { grep -q '^State:.T' "/proc/$supervisor/status"; }
kill -STOP "$supervisor" # sees nothing of the end; one whose supervisor ends first would be told by the kernel
wait_for is_stopped
kill -9 "$pid"
kill -9 "$supervisor"
gone() { ! kill -0 "$pid" 2>/dev/null || grep -q '^State:.Z' "/proc/$pid/status"; }
wait_for gone
wait_for "$mirari" crash app
says 'nobody saw it' '`mirari run` was killed as well: the record is kept by who comes next' "$mirari" crash app
has 'note  note 299 of mode wait' 'with its events'

# Several workers: each has its own record, and the monitor says how it ended.
rm -f "$kept"
wait_for no_folder
worker() { "$mirari" attach app | sed -n "s/^worker $1 process \([0-9]*\) .*/\1/p"; }
readies() { [ "$(grep -c ready "$box"/runtime/mirari/app-*/log)" -ge "$1" ]; }
run "$mirari" run -d -q -C app --no-build --workers 2 --mode wait
wait_for readies 2
exits 1 'workers: as long as both run there is no crash' "$mirari" crash app
has 'app runs since .*: no crash' 'and that is said'
kill -9 "$(worker 1)"
wait_for "$mirari" crash app
says '^app \(unix\), begun .* did not end in order: worker 1 was ended by signal 9' 'one is killed: which one, and how' "$mirari" crash app
has 'note  note 299 of mode wait' 'with its events'
wait_for readies 3
is_ok 'the next one runs: the crash is known still' "$mirari" crash app
kill -9 "$(worker 0)"
both_known() { [ "$("$mirari" crash app | grep -c 'did not end in order: worker [01] was ended by signal 9')" = 2 ]; }
wait_for both_known
report $? 'the other one, too: both are told'
wait_for readies 4
is_ok 'they are stopped' "$mirari" stop app
wait_for no_folder
says 'did not end in order: worker [01] was ended by signal 9' 'and what happened is known when all has ended' "$mirari" crash app
rm -f "$kept"
run "$mirari" run -d -q -C app --no-build --workers 2 --mode assert
said_how() { # a worker says itself that it crashes, the monitor a moment later how it ended
    run "$mirari" crash app
    grep -q 'did not end in order: worker [01] ended with status 70' <<<"$out"
}
wait_for said_how
report $? 'an assertion of a worker'
has 'assertion failed: mir_str_len\(mode\) == 7' 'with its report'
is_ok 'it is stopped' "$mirari" stop app
wait_for no_folder

# Records that are none.
head -c 32768 /dev/urandom >"$kept"
exits 1 'a file that is no record' "$mirari" crash app
printf 'MIRARI record 1\0\0\200\0\0\3\0\0\0' >"$kept"
head -c 32744 /dev/urandom >>"$kept"
run "$mirari" crash app -n 300
report "$([ "$status" -lt 2 ]; echo $?)" 'one full of nonsense is shown or refused'
printf 'MIRARI record 1\0\0\200\0\0\3\0\0\0' >"$kept"
head -c 32744 /dev/zero | tr '\0' '\377' >>"$kept"
run "$mirari" crash app -n 300
report "$([ "$status" -lt 2 ]; echo $?)" 'one with numbers as large as can be, too'
exits 64 'crash without a name' "$mirari" crash
done_testing
