#!/bin/bash
# SPDX-License-Identifier: ISC
# Where the bytes go: totals are those of the file, names are those of the sources.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1

make_waiter app
exits 1 'an appliance that is not built' "$mirari" size app
has 'not built for target unix; build it: mirari build -t unix' 'says what to do'
is_ok 'build' "$mirari" build -q -C app
image=app/_build/unix/waiter
whole=$(stat -c %s "$image")

total() { awk '$NF == "total" {print $5}' <<<"$out"; }
parts() { awk '$1 ~ /^[0-9]+$/ && $NF != "total" {sum += $5} END {print sum}' <<<"$out"; }
row() { awk -v name="$1" '$0 ~ "  " name "$" {print $5; exit}' <<<"$out"; }
for level in library module file section symbol; do
    is_ok "--by $level" "$mirari" size --by $level app
    has "  $level\$" 'names it'
    [ "$(total)" = "$whole" ]; report $? 'its total is the size of the file'
    [ "$(parts)" = "$whole" ]; report $? 'and so is the sum of its rows'
done

# Against binutils: each loaded section, and functions by name.
is_ok 'sections' "$mirari" size --by section app
for section in .text .rodata .data .eh_frame; do
    want=$(LC_ALL=C size -A -d "$image" | awk -v s=$section '$1 == s {print $2}')
    [ "$(row "\\$section")" = "$want" ]; report $? "$section is that of size(1)"
done
is_ok 'symbols' "$mirari" size --by symbol -n 100000 app
nm -S --defined-only "$image" | awk '$3 == "t" || $3 == "T" {print $4, $2}' |
    grep -E '^(mir_app_main|mir_loop_run|mir_format) ' >functions
while read -r name size; do
    got=$(awk -v n="$name" '$8 == n {print $1}' <<<"$out")
    [ $((got - 16#$size)) -ge 0 ] && [ $((got - 16#$size)) -lt 64 ]
    report $? "$name has its size, and less than 64 bytes of padding"
done <functions
check 'three functions were compared' test "$(wc -l <functions)" = 3
has '  mir_app_main  \[main\.c\]$' 'a function of the appliance and its file'
has '  mir_loop_run  \[lib/run/loop\.c\]$' 'a function of Mirari and its file'
is_ok 'modules' "$mirari" size app
has '  lib/run$' 'a folder of sources'; has '  appliance$' 'the appliance'; has '\(debug information\)$' 'debug information'
is_ok 'the five largest' "$mirari" size -n 5 app
has '\([0-9]+ more\)$' 'and the rest in one row'
[ "$(parts)" = "$whole" ]; report $? 'nothing is lost'
is_ok 'libraries' "$mirari" size --by library -t unix -C app
has '  lib$' 'lib'; has '  target$' 'target'
is_ok 'sim' "$mirari" build -q -t sim -C app
is_ok 'of another target' "$mirari" size -t sim -C app
has '  target/sim$' 'has its folder'

# Files that are not ours.
is_ok 'an ELF file by name' "$mirari" size --by section "$mirari"
strip -o stripped "$image"
is_ok 'without debug information and symbols' "$mirari" size stripped
has 'no debug information: no source files are known' 'is said'
[ "$(total)" = "$(stat -c %s stripped)" ]; report $? 'and the total is right'
objcopy --strip-debug "$image" symbols
is_ok 'with symbols only' "$mirari" size --by symbol symbols
for version in 2 3 4 5; do
    printf 'int table[100] = {1};\nint f(int i) { return table[i]; }\nint main(void) { return f(3); }\n' >v.c
    gcc -O0 -gdwarf-$version -ffunction-sections -o v$version v.c
    says '  v\.c$' "DWARF $version of gcc" "$mirari" size --by file v$version
    if command -v clang-14 >/dev/null; then
        clang-14 -O0 -gdwarf-$version -ffunction-sections -o c$version v.c
        says '  v\.c$' "DWARF $version of clang" "$mirari" size --by file c$version
        [ "$(awk '$NF == "v.c" {print $3}' <<<"$out")" -ge 400 ]; report $? 'with its variables'
    fi
done
echo hello >text
exits 1 'a text' "$mirari" size text; has 'is not an ELF file' 'is refused'
exits 1 'nothing' "$mirari" size nowhere; has 'cannot read "nowhere"' 'is refused'
head -c 3000 "$image" >short
exits 1 'half a file' "$mirari" size short
# Any byte may be wrong: it says something and ends.
cp v5 bent
for i in $(seq 1 200); do
    printf "\\x$(printf %02x $((i * 37 % 256)))" | dd of=bent bs=1 seek=$((i * 131 % $(stat -c %s v5))) conv=notrunc status=none
    run timeout 10 "$mirari" size --by file bent
    [ "$status" -le 1 ] || break
done
[ "$status" -le 1 ]; report $? 'two hundred bent bytes'

exits 64 'an unknown level' "$mirari" size --by modul; has 'did you mean "module"' 'and the nearest'
exits 64 'bad rows' "$mirari" size -n many app
exits 64 'two files' "$mirari" size app text
exits 64 'an unknown option' "$mirari" size --bye file
done_testing
