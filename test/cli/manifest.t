#!/bin/bash
# SPDX-License-Identifier: ISC
# Every check of the manifest: the line it names, what it says.
. "$(dirname "$0")/lib.sh"

app=$box/app
mkdir -p "$app/files" "$app/empty"
echo 'int x;' >"$app/main.c"
touch "$app/files/a.txt"

manifest() { printf '%s\n' "$@" >"$app/app.conf"; }
# refused LINE PATTERN WHAT, with the manifest on standard input
refused() {
    cat >"$app/app.conf"
    run "$mirari" configure -C "$app"
    [ "$status" = 65 ] && grep -Eq "^$app/app.conf:$1: $2" <<<"$out"
    report $? "$3"
}
taken() {
    cat >"$app/app.conf"
    run "$mirari" configure -q -C "$app"
    [ "$status" = 0 ] && [ -z "$out" ]
    report $? "$1"
}

refused 7 'unknown key "gatway"; did you mean "gateway"\?$' 'unknown key: file, line, nearest key' <<'END'
name = x
# a comment
/* and another
   of two lines */
net {
    ip = 10.0.0.2/24
    gatway = 10.0.0.1
}
END
refused 3 'disk "a" is there already, on line 2; remove one' 'two disks of a name' <<<$'name = x\ndisk a {}\ndisk a {}'
refused 2 'unknown key "optinal"; did you mean "optional"\?' 'unknown key of a disk' <<<$'name = x\ndisk a { optinal = yes }'
refused 2 '"maybe" is neither true nor false' 'a word that says nothing' <<<$'name = x\ndisk a { readonly = maybe }'
refused 2 '"disk" is a section with a name' 'a disk without a name' <<<$'name = x\ndisk = a'
refused 10 'more than 8 disks' 'nine disks' < <(echo 'name = x'; for i in 1 2 3 4 5 6 7 8 9; do echo "disk d$i {}"; done)
taken 'disks' <<<$'name = x\ndisk a {}\ndisk b { optional = yes; readonly = on }'
refused 3 'channel "a" is there already, on line 2; remove one' 'two channels of a name' <<<$'name = x\nchannel a {}\nchannel a {}'
refused 2 'unknown key "optinal"; did you mean "optional"\?' 'unknown key of a channel' <<<$'name = x\nchannel a { optinal = yes }'
refused 2 '"channel" is a section with a name' 'a channel without a name' <<<$'name = x\nchannel = a'
refused 10 'more than 8 channels' 'nine channels' < <(echo 'name = x'; for i in 1 2 3 4 5 6 7 8 9; do echo "channel c$i {}"; done)
taken 'channels' <<<$'name = x\nchannel a {}\nchannel b { optional = yes }'
is_ok 'channels described' "$mirari" describe -C "$app"; has '^channel +"b", optional$' 'with names'
taken 'disks again' <<<$'name = x\ndisk a {}\ndisk b { optional = yes; readonly = on }'
is_ok 'described' "$mirari" describe -C "$app"; has '^disk +2 is "b", optional, only read$' 'with names'
refused 1 'unknown key "nmae"; did you mean "name"\?' 'unknown key at the top' <<<'nmae = x'
refused 2 'unknown key "frobnicate"; a manifest takes: name ' 'unknown key far from all: the list' <<<$'name = x\nfrobnicate = 1'
refused 5 'unknown key "doc"; kv takes: dir' 'unknown key in a nested section after a here document' <<'END'
name = x
args a { type = string; default = <<EOD
two
EOD
} kv files { dir = files; doc = x }
END
refused 3 'unknown key "defualt"; did you mean "default"\?' 'unknown key in a parameter' <<<$'name = x\nargs a {\ndefualt = 1\ntype = int }'
refused 2 '"name" is given twice, first on line 1' 'a key given twice' <<<$'name = x\nname = y'
refused 1 'name "a/b" is not usable' 'name with a slash' <<<'name = a/b'
refused 1 'name "" is not usable' 'empty name' <<<'name = ""'
refused 1 'name "-x" is not usable' 'name like an option' <<<'name = "-x"'
refused 1 'version "1 2" is not usable' 'version with a blank' <<<$'version = 1 2'
refused 1 'memory "lots" is not a size' 'memory that is no number' <<<'memory = lots'
refused 1 'memory "1M" is not usable' 'memory too small' <<<'memory = 1M'
refused 1 'memory "5000k" is not usable' 'memory not in whole MiB' <<<'memory = 5000k'
refused 1 'memory "99999G" is not usable' 'memory too large' <<<'memory = 99999G'
refused 1 'unknown log level "lod".*warn' 'log level' <<<'log = lod'
refused 1 'no module "tpc" writes a log; did you mean "tcp"\?' 'log module' <<<'log = "info,tpc=debug"'
refused 1 'no source file "no.c"' 'source that is not there' <<<'sources = ["no.c"]'
refused 1 'source "/etc/x.c" is absolute' 'absolute source' <<<'sources = "/etc/x.c"'
refused 1 'source "main.cc" ends in neither' 'source of another language' <<<'sources = main.cc'
refused 1 'source "main.c" is named twice' 'source named twice' <<<'sources = [main.c, main.c]'
refused 1 '"O2" is not a compiler option' 'compiler option' <<<'cflags = O2'
refused 1 '"m" is not a library' 'library' <<<'libs = m'
refused 1 'no library file "no.a"' 'library that is not there' <<<'libs = no.a'
refused 1 '"net" is a section' 'net without braces' <<<'net = user'
refused 1 'unknown network mode "usre"; did you mean "user"\?' 'mode' <<<'net { mode = usre }'
refused 1 '"a/b" is not an interface name' 'interface name' <<<'net { mode = "tap:a/b" }'
refused 1 '"a/b" is not an interface name' 'interface name of mode packet' <<<'net { mode = "packet:a/b" }'
refused 1 'mode packet needs an interface' 'mode packet alone' <<<'net { mode = packet }'
refused 1 'interface needs mode = tap or mode = packet' 'an interface for another mode' <<<'net { mode = user; interface = eth0 }'
refused 1 'interface needs mode = tap or mode = packet' 'an interface twice' <<<'net { mode = "packet:eth0"; interface = eth1 }'
taken 'mode packet with its interface' <<<'net { mode = packet; interface = eth0; ip = dhcp }'
taken 'mode packet with its interface in one word' <<<'net { mode = "packet:eth0"; ip = dhcp }'
refused 1 'ip: "10.0.0.2" lacks its prefix length' 'address without length' <<<'net { ip = 10.0.0.2 }'
refused 1 'ip: "10.0.0.256" is not an IPv4' 'address out of range' <<<'net { ip = 10.0.0.256/24 }'
refused 1 'ip: "10.0.0" is not an IPv4' 'address too short' <<<'net { ip = 10.0.0/24 }'
refused 1 'ip: "10.0.0.2.3" is not an IPv4' 'address too long' <<<'net { ip = 10.0.0.2.3/24 }'
refused 1 'ip: "10.0.0.010" is not an IPv4' 'leading zero, which some read as octal' <<<'net { ip = 10.0.0.010/24 }'
refused 1 'ip: prefix length "33" is not usable' 'prefix too long' <<<'net { ip = 10.0.0.2/33 }'
refused 1 'ip: prefix length "" is not usable' 'prefix missing' <<<'net { ip = 10.0.0.2/ }'
refused 1 'ip: "10.0.0.0/24" is the subnet itself' 'network address' <<<'net { ip = 10.0.0.0/24 }'
refused 1 'ip: "10.0.0.255/24" is the subnet.s broadcast' 'broadcast address' <<<'net { ip = 10.0.0.255/24 }'
refused 1 'ip: "127.0.0.1/8" is a loopback' 'loopback address' <<<'net { ip = 127.0.0.1/8 }'
refused 1 'ip: "224.0.0.1/8" is a multicast' 'multicast address' <<<'net { ip = 224.0.0.1/8 }'
refused 1 'ip: "dhpc" is not .*, or dhcp' 'dhcp misspelt' <<<'net { ip = dhpc }'
refused 2 'gateway 10.0.1.1 is outside the subnet of 10.0.0.2/24' 'gateway outside' <<<$'net { ip = 10.0.0.2/24\n gateway = 10.0.1.1 }'
refused 2 'gateway 10.0.0.2 is the appliance.s own' 'gateway is itself' <<<$'net { ip = 10.0.0.2/24\n gateway = 10.0.0.2 }'
refused 2 'gateway 10.0.0.255 is the subnet.s own or broadcast' 'gateway is broadcast' <<<$'net { ip = 10.0.0.2/24\n gateway = 10.0.0.255 }'
refused 1 'gateway 10.0.0.1 without an address' 'gateway alone' <<<'net { gateway = 10.0.0.1 }'
refused 1 'gateway: "here" is not an IPv4' 'gateway is no address' <<<'net { ip = 10.0.0.2/24; gateway = here }'
refused 1 '"01:00:00:00:00:01" is a multicast MAC' 'multicast MAC' <<<'net { mac = "01:00:00:00:00:01" }'
refused 1 '"02:00:00:00:00" is not a MAC' 'short MAC' <<<'net { mac = "02:00:00:00:00" }'
refused 1 'a MAC address of zeros' 'zero MAC' <<<'net { mac = "00:00:00:00:00:00" }'
refused 2 'mac .* is that of net "a" as well' 'MAC twice' <<<$'net a { mac = "02:00:00:00:00:01" }\nnet b { mac = "02:00:00:00:00:01" }'
refused 1 'mtu "575" is not usable' 'mtu too small' <<<'net { mtu = 575 }'
refused 1 'mtu "65536" is not usable' 'mtu too large' <<<'net { mtu = 65536 }'
refused 1 'mtu "1500x" is not usable' 'mtu is no number' <<<'net { mtu = 1500x }'
refused 1 'forward "80" has no colon' 'forward without colon' <<<'net { forward = 80 }'
refused 1 '"0" is not a port' 'port zero' <<<'net { forward = 0:80 }'
refused 1 '"65536" is not a port' 'port too large' <<<'net { forward = 8080:65536 }'
refused 1 '.*ends in neither /tcp nor /udp' 'forward of another protocol' <<<'net { forward = "8080:80/sctp" }'
refused 1 'port 8080/tcp of this machine is forwarded twice' 'port twice in a net' <<<'net { forward = [8080:80, 8080:81] }'
refused 2 'port 8080/udp of this machine is forwarded twice' 'port twice in two nets' <<<$'net a { forward = "8080:80/udp" }\nnet b { forward = "8080:80/udp" }'
refused 1 'unknown key "5353".*a list with commas is written in quotes' 'list without brackets' <<<'net { forward = 8080:80, 5353:53 }'
refused 2 'net "net0" is there already, on line 1' 'two nets without a name' <<<$'net { }\nnet { }'
refused 1 'name "1x" is not usable' 'net name' <<<'net 1x { }'
refused 9 'more than 8 nets' 'too many nets' <<<"$(for i in 1 2 3 4 5 6 7 8 9; do echo "net n$i { }"; done)"
refused 1 'cannot open folder "nowhere" of store "a": No such file' 'store of a folder that is not there' <<<'kv a { dir = nowhere }'
refused 1 '"main.c" of store "a" is not a folder' 'store of a file' <<<'kv a { dir = main.c }'
refused 1 'store "a" has no folder' 'store without folder' <<<'kv a { }'
refused 2 'store "a_b" is there already as "a-b", on line 1' 'two stores of one symbol' <<<$'kv a-b { dir = files }\nkv a_b { dir = files }'
refused 1 'unknown type "integer"; write string, int or bool' 'parameter type' <<<'args a { type = integer }'
refused 1 'parameter "a" has no type' 'parameter without type' <<<'args a { default = 1 }'
refused 2 'default of "a": "ten" is not a whole number' 'default of an int' <<<$'args a { type = int\n default = ten }'
refused 1 'default of "a": "99999999999999999999" is too large' 'default beyond 64 bits' <<<'args a { type = int; default = 99999999999999999999 }'
refused 1 'default of "a": "maybe" is neither' 'default of a bool' <<<'args a { type = bool; default = maybe }'
refused 1 'every appliance has an option --ip already' 'parameter named like an option' <<<'args ip { type = string }'
refused 2 'parameter "a" is there already, on line 1' 'parameter twice' <<<$'args a { type = int }\nargs a { type = int }'
refused 1 '"name" takes one value, not a list' 'list where a value belongs' <<<'name = [a, b]'

# Syntax.
refused 2 'the \{ on this line is never closed' 'open brace' <<<$'name = x\nnet {\n mode = user'
refused 2 'the \[ on this line is never closed' 'open bracket' <<<$'name = x\nsources = [ main.c'
refused 1 'the text has no closing "' 'open quote' <<<'name = "x'
refused 2 'the comment that begins here has no end' 'open comment' <<<$'name = x\n/* a'
refused 3 '"\}" closes nothing' 'stray brace' <<<$'name = x\n\n}'
refused 1 'macros such as .include are not supported' 'macro' <<<'.include "x"'
refused 1 '"name" has no value' 'key without value' <<<'name ='
refused 1 'bad escape' 'bad escape' <<<'name = "\q"'
refused 2 'a zero byte' 'zero byte' < <(printf 'name = x\n\0')
refused 1 'brackets nested deeper' 'nesting' < <(printf 'net { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { a { ')

manifest 'name = a/b' 'net { ip = 1.2.3.4; mtu = 1' '}' 'bogus = 1'
run "$mirari" configure -C "$app"
[ "$(grep -c "^$app/app.conf:" <<<"$out")" = 4 ]
report $? 'all mistakes are shown at once'
[ "$(grep -Eo '^[^ ]*:[0-9]+:' <<<"$out" | grep -Eo '[0-9]+:$' | tr -d '\n')" = '1:2:2:4:' ]
report $? 'in the order of their lines'

# What is right.
taken 'an empty manifest' </dev/null
taken 'all keys, JSON, quotes, semicolons, CRLF' <<<$'{"name": "x", "version": \'1.0\', "memory": 64,\r\n"net": {"a": {"mode": "tap:tap0", "ip": "10.0.0.2/24", "gateway": "10.0.0.1", "mac": "02:00:00:00:00:01", "mtu": 9000}, "b": {"mode": "user", "forward": ["8080:80", "127.0.0.1:5353:53/udp"]}},\r\n"kv": {"files": {"dir": "files"}}, "args": {"n": {"type": "int", "default": -5, "doc": "n"}, "on": {"type": "bool", "default": "yes"}}, "log": "info,tcp=debug", "sources": ["main.c"], "cflags": ["-DA=1", "-O1"], "libs": "-lm -lpthread"}' 
taken 'both families' <<<'net { ip = [10.0.0.2/24, "fd00::2/64"]; gateway = "10.0.0.1, fe80::1"; route = 2001:db8::/32=fd00::9; ip6 = static }'
taken 'IPv6 alone' <<<'net { ip = fd00::2/64; gateway = fd00::1 }'
refused 1 'ip: "fd00::2" lacks its prefix length' 'IPv6 without length' <<<'net { ip = fd00::2 }'
refused 1 'ip: "ff02::1/64" is not one host.s address' 'a group as address' <<<'net { ip = ff02::1/64 }'
refused 1 'gateway: "10.0.0.3" is a second IPv4 gateway' 'two IPv4 gateways' <<<'net { ip = 10.0.0.2/24; gateway = "10.0.0.1,10.0.0.3" }'
refused 1 'ip6 "on" is none of' 'ip6' <<<'net { ip6 = on }'
taken 'addresses that are tested, or made up' <<<'net { mode = tap; acd = quick; link-local4 = on }'
refused 1 'acd "slow" is none of quick' 'acd' <<<'net { acd = slow }'
refused 1 'link-local4 "maybe" is neither' 'link-local4' <<<'net { link-local4 = maybe }'
refused 1 '"10.0.0.0/8" is not a route' 'route' <<<'net { route = 10.0.0.0/8 }'
taken '/31 networks' <<<'net { ip = 10.0.0.0/31; gateway = 10.0.0.1 }'
taken 'one port for tcp and udp' <<<'net { forward = "7:7,7:7/udp" }'
manifest 'net { mode = tap; forward = 8080:80 }'
says ':1: warning: forward has no meaning with mode tap' 'a forward that has no meaning is a warning' "$mirari" configure -C "$app"

# The text of the manifest reaches C unchanged.
printf 'name = x\nargs a { type = string; default = "a\\"b\\\\c??/\\n%%s${HOME}`id`\xc3\xa9" }\n' >"$app/app.conf"
is_ok 'hostile default' "$mirari" configure -q -C "$app"
check 'is escaped in C' grep -qF 'default_text = "a\"b\\c\?\?/\012%s${HOME}`id`\303\251"' "$app/_build/unix/manifest.c"

# Which file.
rm "$app/app.conf"
exits 65 'no manifest' "$mirari" configure -C "$app"
has 'no manifest in' 'is said'
echo 'name = one' >"$app/one.conf"
is_ok 'the only *.conf is taken' "$mirari" configure -q -C "$app"
touch "$app/two.conf"
exits 65 'two manifests' "$mirari" configure -C "$app"
has 'several manifests in .*one.conf, two.conf.*choose one with -f' 'are both named'
is_ok 'one is chosen' "$mirari" configure -q -C "$app" -f one.conf
exits 1 'no such folder' "$mirari" configure -C "$box/nowhere"
has 'is not a folder' 'is said'
done_testing
