#!/bin/bash
# SPDX-License-Identifier: ISC
# Building: from `new` to a running hello, only what changed, bit for bit the same, hostile names.
. "$(dirname "$0")/lib.sh"
cd "$box" || exit 1

# From nothing to a greeting.
is_ok 'new' "$mirari" new hello first
is_ok 'build' "$mirari" build -C first
has '^first/_build/unix/first$' 'says where the result is'
is_ok 'the result runs' first/_build/unix/first
has '^Hello from first$' 'and greets'
is_ok 'run' "$mirari" run -C first --greeting 'Good day'
has '^\+ first/_build/unix/first --greeting .Good day.$' 'says what it executes'
has '^Good day$' 'and passes the parameter on'
for kind in echo website; do
    is_ok "new $kind" "$mirari" new $kind "my$kind"
    is_ok "$kind builds" "$mirari" build -C "my$kind"
    is_ok "$kind builds for sim" "$mirari" build -C "my$kind" -t sim
done

# Only what changed.
snapshot() { find first/_build -type f -printf '%p %T@ %i\n' | sort; }
before=$(snapshot)
is_ok 'build again' "$mirari" build -C first
has 'nothing to do' 'says so'
out=$(diff <(echo "$before") <(snapshot)); [ -z "$out" ]; report $? 'and touches no file'
is_ok 'quiet build' "$mirari" build -q -C first
[ -z "$out" ]; report $? 'prints nothing'
printf '#define TEXT "one"\n' >first/text.h
cat >first/main.c <<'END'
#include <mirari/mirari.h>
#include "text.h"
int mir_app_main(struct mir_app *app) { mir_app_print(app, TEXT "\n"); return 7; }
END
is_ok 'changed source' "$mirari" build -C first
has 'CC main.c' 'is compiled'
has_not 'CC manifest.c' 'the manifest is not'
printf '#define TEXT "two"\n' >first/text.h
says 'CC main.c' 'changed header: its source is compiled' "$mirari" build -C first
exits 7 'status of the appliance passes' "$mirari" run -q -C first
has '^two$' 'with the new text'
printf '#define TEXT "old"\n' >first/text.h; touch -d '2001-01-01' first/text.h
says 'CC main.c' 'an older header put back is noticed' "$mirari" build -C first
sed -i 's/Hello from first/Bonjour/' first/app.conf
says 'CC manifest.c' 'changed manifest' "$mirari" build -C first
has_not 'CC main.c' 'the sources are not compiled again'
echo 'cflags = "-DX=1"' >>first/app.conf
says 'CC main.c' 'changed flags' "$mirari" build -C first
is_ok 'a store' "$mirari" build -q -C mywebsite
echo '<p>new' >mywebsite/site/new.html
says 'KV site' 'changed store' "$mirari" build -C mywebsite
has_not 'CC main.c' 'the sources are not compiled again'
rm mywebsite/site/new.html
says 'KV site' 'a file removed from a store is noticed' "$mirari" build -C mywebsite

# Mistakes.
printf 'int main_(void)\n{\n    return nothing;\n}\n' >first/bad.c
exits 1 'a source with an error' "$mirari" build -C first
has "Entering directory 'first'" 'names the folder'
has '^bad.c:3:[0-9]+: error: .nothing. undeclared' 'and file and line below it'
has 'first was not built; correct the errors' 'and says that there is no result'
exits 1 'again' "$mirari" build -C first
has '^bad.c:3:' 'shows it again'
rm first/bad.c
is_ok 'without it' "$mirari" build -q -C first
echo 'extern int missing(void); int use(void); int use(void) { return missing(); }' >first/use.c
cat >first/main.c <<'END'
#include <mirari/mirari.h>
int use(void);
int mir_app_main(struct mir_app *app) { (void)app; return use(); }
END
exits 1 'a function that is nowhere' "$mirari" build -C first
has 'undefined reference to .missing' 'is named'
has 'in function .use' 'with the function that needs it'
has_not "$box" 'without the path of the machine'
exits 1 'no compiler' env CC=nocc "$mirari" build -C first
has 'no C compiler "nocc"; install gcc' 'is said'
printf '#!/bin/sh\nkill -9 $$\n' >killed-cc; chmod +x killed-cc
says 'killed-cc" was ended by signal 9 ' 'a compiler that is killed is not passed over in silence' env CC="$PWD/killed-cc" "$mirari" build -C first
says '"false" failed at .* with status 1' 'nor one that fails without a word' env CC=false "$mirari" build -C first
mkdir -p looped/site; printf 'name = looped\nkv s { dir = site }\n' >looped/app.conf
echo 'int mir_app_main(struct mir_app *app) { (void)app; return 0; }' | cat <(echo '#include <mirari/mirari.h>') - >looped/main.c
echo hi >looped/site/index.html; ln -s . looped/site/l1; ln -s . looped/site/l2; ln -s . looped/site/l3
exits 1 'links in a store that lead to its own folder' timeout 60 "$mirari" build -C looped
has 'more than 32 folders deep \(a link to a folder above\?\)' 'are named, and soon'
is_ok 'and describe comes back' timeout 60 "$mirari" describe -C looped
mkdir taken; mkdir -p taken/unix; touch taken/unix/precious
exits 1 'results into a foreign folder' "$mirari" build -C mywebsite -o taken
has 'has files that mirari did not make' 'are refused'
is_ok 'clean leaves it' "$mirari" clean -C mywebsite -o taken
check 'alone' test -f taken/unix/precious
is_ok 'clean' "$mirari" clean -C mywebsite
check 'removes the results' test ! -e mywebsite/_build -a -f mywebsite/main.c

# Bit for bit: other folder, other time, other number of jobs, other output folder.
export SOURCE_DATE_EPOCH=1700000000
is_ok 'new website here' "$mirari" new website same "$box/here"
mkdir -p "there/with a longer name"
cp -r here "there/with a longer name/app"
find "there/with a longer name/app" -exec touch -d '2011-11-11 11:11:11' {} +
is_ok 'build here' "$mirari" build -q -C here -j 1
cd there || exit 1
is_ok 'build there' env TZ=Asia/Tokyo LC_ALL=C HOME=/ "$mirari" build -q -C 'with a longer name/app' -o "$box/elsewhere" -j 3
cd .. || exit 1
is_ok 'the results are equal' cmp here/_build/unix/same elsewhere/unix/same
check 'and do not name the folder' bash -c "! grep -qF '$box' here/_build/unix/same"
check 'nor the source tree' bash -c "! grep -qF '$root' here/_build/unix/same"
is_ok 'clean and build once more' bash -c "'$mirari' clean -q -C here && '$mirari' build -q -C here"
is_ok 'is equal too' cmp here/_build/unix/same elsewhere/unix/same
unset SOURCE_DATE_EPOCH

# Names that mean something to shells, make, C and compilers.
evil=$'a b \'c\' "d" $(touch pwned) `touch pwned` ; & \\ # % é\nnew'
mkdir "$evil"
printf 'name = evil\nargs a { type = string; default = "%%s\\"; #include </etc/passwd> ?\?/" }\nkv k { dir = "st ore" }\n' >"$evil/app.conf"
mkdir "$evil/st ore"; echo x >"$evil/st ore/\$(touch pwned).txt"
printf '#include "he ader $(id).h"\n' >"$evil/ma in \$(touch pwned) 'q'.c"
printf '#include <mirari/mirari.h>\nint mir_app_main(struct mir_app *app) { mir_app_print(app, "%%s\\n", mir_app_string(app, "a")); return 0; }\n' >"$evil/he ader \$(id).h"
echo 'int at_file;' >"$evil/@file.c"
echo 'int dash;' >"$evil/-dash.c"
is_ok 'hostile names build' "$mirari" build -C "$evil"
is_ok 'and run' "$mirari" run -q -C "$evil" --a '$(touch pwned) `touch pwned` " '"'"' \'
has 'touch pwned\) `touch pwned` " .*\\' 'with hostile values passed as they are'
says 'nothing to do' 'and are up to date then' "$mirari" build -C "$evil"
out=$(find "$box" -name pwned); [ -z "$out" ]; report $? 'nothing was executed'
printf 'int x;\n' >"$evil/"$'new\nline.c'
exits 65 'a source with a newline in its name' "$mirari" build -C "$evil"
has 'has a control character in its name; rename it' 'is refused'
rm "$evil/"$'new\nline.c'
run "$mirari" run --dry-run -C "$evil" --a $'x\'y $HOME'
[ "$(eval "set -- $out"; printf '%s' "$3")" = $'x\'y $HOME' ]
report $? 'a shell reads the printed command back'

# Two at once.
is_ok 'build alone' "$mirari" build -q -C here
cp here/_build/unix/same alone
is_ok 'clean' "$mirari" clean -q -C here
"$mirari" build -q -C here & "$mirari" build -q -C here & wait %1; one=$?; wait %2; two=$?
[ $one = 0 ] && [ $two = 0 ]; report $? 'two builds of one folder at once'
is_ok 'the result is that of one alone' cmp here/_build/unix/same alone
out=$(find . -name '*.part' -o -name '*.new-*'); [ -z "$out" ]; report $? 'nothing half done is left'
done_testing
