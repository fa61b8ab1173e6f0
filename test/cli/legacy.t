#!/bin/bash
# SPDX-License-Identifier: ISC
# Files of the old Mirari: `key: value` lines become nets, stores and parameters.
. "$(dirname "$0")/lib.sh"

app=$box/old
mkdir -p "$app"
echo 'int x;' >"$app/main.c"
legacy() { printf '%s\n' "$@" >"$app/old.conf"; }
describe() { run "$mirari" describe -q -C "$app" --json; }
value() { # value PATH-IN-PYTHON: from the JSON in $out
    python3 -c 'import json,sys; d=json.loads(sys.argv[1]); print(eval("d"+sys.argv[2]))' "$out" "$1" 2>&1
}
gives() { # gives PATH WANT WHAT
    local got
    got=$(value "$1")
    [ "$got" = "$2" ] || echo "# got: $got"
    [ "$got" = "$2" ]
    report $? "$3"
}
refused() {
    run "$mirari" configure -C "$app"
    [ "$status" = 65 ] && grep -Eq "^$app/old.conf:$1" <<<"$out"
    report $? "$2"
}

legacy '# a static address' 'ip-address: 192.168.7.2' 'ip-netmask: 255.255.255.128' 'ip-gateway: 192.168.7.1' 'main-ip: Server.main'
describe
gives "['name']" old 'the name is that of the file'
gives "['nets'][0]['ip']" 192.168.7.2/25 'address and netmask'
gives "['nets'][0]['gateway']" 192.168.7.1 'gateway'

legacy 'ip-address: 10.0.0.9' 'main-ip: Server.main'
describe
gives "['nets'][0]['ip']" 10.0.0.9/24 'netmask has its default'
gives "['nets'][0]['gateway']" 10.0.0.1 'gateway too'

legacy 'ip-use-dhcp: false' 'main-ip: Server.main'
describe
gives "['nets'][0]['ip']" 10.0.0.2/24 'address has its default'

legacy 'ip-use-dhcp: true' 'main-ip: Server.main'
describe
gives "['nets'][0]['ip']" dhcp 'dhcp'

legacy 'main-noip: Hello.main'
describe
gives "['nets']" '[]' 'no ip-*: no network'

legacy 'ip-use-dhcp: true' 'http-port: 80' 'http-address: *' 'main-http: Server.main'
describe
gives "['parameters'][0]['name']" http-port 'http-port is a parameter'
gives "['parameters'][0]['default']" 80 'with its value'
gives "['parameters'][1]['default']" '*' 'http-address too'
gives "['nets'][0]['forward']" 8080:80 'and the port is forwarded'

mkdir -p "$app/static files"
touch "$app/static files/a"
legacy 'fs-static: static files' 'depends: cohttp.mirage, re, uri' 'packages: a,b' 'xl-disk: ["phy:/dev/x,xvda,w"]' 'main-noip: H.m'
describe
gives "['stores'][0]['name'], d['stores'][0]['dir'], d['stores'][0]['files']" "('static', 'static files', 1)" 'fs-NAME is a store'
run "$mirari" describe -C "$app"
has ':2: warning: "depends" has no meaning here' 'depends is noted, commas and all'
has ':3: warning: "packages" has no meaning here' 'packages'
has ':4: warning: "xl-disk" has no meaning here' 'xl-*'
has ':5: warning: the function that "main-noip" names has no meaning' 'main-*'

legacy 'ip-use-dhcp: true' 'main-ip: A.b' 'main-http: C.d'
refused '3: .*too many main functions' 'two main functions'
legacy 'ip-use-dhcp: true'
refused ' no main function' 'no main function'
legacy 'main-ip: A.b'
refused '1: "main-ip" needs a network' 'main-ip without a network'
legacy 'main-http: A.b' 'ip-use-dhcp: true'
refused '1: main-http needs http-port and http-address' 'main-http without http-*'
legacy 'ip-adress: 10.0.0.2' 'main-ip: A.b' 'ip-use-dhcp: yes'
refused '1: unknown key "ip-adress"; did you mean "ip-address"\?' 'a misspelt old key'
legacy 'ip-address: 10.0.0.2' 'ip-netmask: 255.0.255.0' 'main-ip: A.b'
refused '2: ip-netmask: "255.0.255.0" is not a mask' 'netmask with holes'
legacy 'ip-address: 10.0.0.300' 'main-ip: A.b'
refused '1: ip: "10.0.0.300" is not an IPv4' 'address'
legacy 'ip-use-dhcp: maybe' 'main-ip: A.b'
refused '1: ip-use-dhcp: "maybe" is neither' 'dhcp that is neither'
legacy 'ip-use-dhcp: true' 'http-port: 99999' 'http-address: *' 'main-http: A.b'
refused '2: http-port "99999" is not a port' 'port'
legacy 'fs-a: nowhere' 'main-noip: A.b'
refused '1: cannot open folder "nowhere"' 'folder'
legacy 'main-noip:' 'fs-a: x'
refused '1: "main-noip" has no value' 'key without value'
legacy 'ip-use-dhcp: true' 'http-port: 80' 'main-ip: A.b'
says ':2: warning: "http-port" without "http-address": HTTP is off' 'one of the two http-*' "$mirari" configure -C "$app"
done_testing
