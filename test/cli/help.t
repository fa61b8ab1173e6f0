#!/bin/bash
# SPDX-License-Identifier: ISC
# Help, manual pages, wrong usage, new, describe, doctor.
. "$(dirname "$0")/lib.sh"

commands='new configure build run describe clean ps stop logs console socket attach detach upgrade image size doctor vchan
    top netstat addr route arp tcpdump stats pages log trace shutdown ctl crash'
is_ok 'help' "$mirari" help
for command in $commands; do grep -q "^  $command " <<<"$out" || missing=$command; done
report "$([ -z "${missing:-}" ]; echo $?)" 'names every command'
is_ok '--help' "$mirari" --help
says "^mirari $(cat "$root/VERSION")\$" '--version' "$mirari" --version

page_has_options() { # every option of the help is in the page
    local option
    for option in $(grep -Eo -- '--[a-z][a-z-]+' <<<"$out" | sort -u); do
        tr -d '\\' <"$1" | grep -Eq -- "(-|Fl -|Fl )${option#--}" || { echo "# $1 lacks $option"; return 1; }
    done
}
for command in $commands; do
    says "^usage: mirari $command" "$command --help" "$mirari" "$command" --help
    page_has_options "$root/docs/man/mirari-$command.1"
    report $? "mirari-$command.1 has its options"
done
for page in "$root"/docs/man/*.[15]; do
    if command -v mandoc >/dev/null; then
        is_ok "mandoc takes $(basename "$page")" mandoc -T lint -W warning "$page"
    else
        echo "# SKIP mandoc is not installed"
    fi
done
for key in name version sources memory log net mode ip gateway mac mtu forward kv dir args type default doc cflags libs \
    ip-use-dhcp ip-address ip-netmask ip-gateway http-port http-address; do
    tr -d '\\' <"$root/docs/man/app.conf.5" | grep -Eq "^\.It (Cm|Ic) ${key}\b" || keys="${keys:-} $key"
done
out=${keys:-}
report "$([ -z "${keys:-}" ]; echo $?)" 'app.conf.5 has every key'

exits 64 'no command' "$mirari"
exits 64 'unknown command' "$mirari" biuld
has 'unknown command "biuld"; did you mean "build"\?' 'and the nearest'
exits 64 'unknown option' "$mirari" build --quite
has 'build: unknown option "--quite"; did you mean "--quiet"\?' 'and the nearest'
exits 64 'option without value' "$mirari" build -C
exits 64 'unknown target' "$mirari" build -C "$box" -t uinx
has 'did you mean "unix"\?' 'and the nearest'
exits 1 'output that cannot be written' bash -c "'$mirari' help >/dev/full"

# new
cd "$box" || exit 1
for kind in hello echo website; do
    is_ok "new $kind" "$mirari" new $kind "my-$kind"
    check "its files" test -f "my-$kind/app.conf" -a -f "my-$kind/main.c" -a -f "my-$kind/README.md"
    out=$(grep -r '@NAME@' "my-$kind"); [ -z "$out" ]; report $? 'name is filled in'
done
exits 1 'a folder that exists' "$mirari" new hello my-hello
has 'exists already' 'is refused'
check 'and left alone' test -f my-hello/main.c
mkdir empty; is_ok 'an empty folder is taken' "$mirari" new hello x "$box/empty"
exits 64 'a name that is none' "$mirari" new hello '../x'
exits 64 'a name with a newline' "$mirari" new hello $'a\nb'
exits 64 'unknown template' "$mirari" new helo x
has 'did you mean "hello"\?' 'and the nearest'
exits 1 'a place that is not there' "$mirari" new hello x "$box/no/where"
out=$(find "$box" -name '*.new-*'); [ -z "$out" ]; report $? 'nothing is left behind'
is_ok 'a folder with a hostile name' "$mirari" new hello x "$box/a b \$(touch pwned) 'q' \"d\""
check 'is made' test -f "$box/a b \$(touch pwned) 'q' \"d\"/app.conf"

# describe
printf 'name = x\nlog = info\nnet { mode = tap; ip = 10.0.0.2/24; mtu = 1400 }\nargs a { type = string; default = "q\\"\\\\\\n\xff\\u0001"; doc = "d" }\n' >my-hello/app.conf
run "$mirari" describe -C my-hello --json
printf '%s' "$out" >json
is_ok 'describe --json is JSON' python3 -c 'import json; d=json.load(open("json")); assert d["nets"][0]["mtu"]==1400 and d["parameters"][0]["default"]=="q\"\\\n\ufffd\u0001", d'
says 'net0: tap, ip 10.0.0.2/24, mtu 1400' 'describe' "$mirari" describe -C my-hello
out=$("$mirari" describe -C my-hello | LC_ALL=C grep -c "[$(printf '\001')$(printf '\377')]"); [ "$out" = 0 ]
report $? 'shows no control bytes'

says '^(ok +accelerator +KVM: a guest counted|note +accelerator +emulation)' 'doctor claims nothing about KVM that it has not seen' "$mirari" doctor
says '^(ok|note|FAIL) +compiler' 'doctor' "$mirari" doctor
for what in seccomp Landlock accelerator musl "target virt" qemu-system-x86_64 qemu-system-aarch64 gdb passt grub-mkimage "GRUB for BIOS" "GRUB for UEFI" 'user namespaces' 'port 8080' memory /dev/net/tun libslirp-dev; do
    grep -Eq "^(ok  |note|FAIL)  $what " <<<"$out" || lacking="${lacking:-} $what"
done
out=${lacking:-}; report "$([ -z "${lacking:-}" ]; echo $?)" 'looks at everything'
says '^FAIL +compiler .*install gcc' 'doctor says how to mend' env CC=/nowhere/cc "$mirari" doctor
done_testing
