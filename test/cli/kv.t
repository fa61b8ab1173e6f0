#!/bin/bash
# SPDX-License-Identifier: ISC
# --kv: a folder or an archive of this machine in place of a store that was built in.
. "$(dirname "$0")/lib.sh"
dns=$b/examples/dns/unix/dns
[ -x "$dns" ] || { echo "1..0 # SKIP $dns is not built (make examples)"; exit; }
mkdir "$box/zones"
printf '$TTL 60\n@ SOA ns a 7 1 1 1 1\n NS ns\nns A 192.0.2.1x\n' >"$box/zones/kv.test.zone"

exits 1 'the folder is read' "$dns" --net user --kv "zones=$box/zones"
has "^kv.test.zone:4: '192.0.2.1x' is no IPv4 address" 'and what is built in is not'
exits 64 'a store that the manifest does not have' "$dns" --kv "zone=$box/zones"
has 'no store "zone"; there is: zones$' 'is told, with those it has'
exits 64 'no folder named' "$dns" --kv zones
has 'NAME=PLACE expected' 'is told'
tar -C "$box/zones" -cf "$box/zones.tar" .
exits 1 'an archive is read' "$dns" --net user --kv "zones=$box/zones.tar"
has "^kv.test.zone:4: '192.0.2.1x' is no IPv4 address" 'and what is built in is not'
head -c 700 "$box/zones.tar" >"$box/cut.tar"
exits 69 'an archive that was cut' "$dns" --kv "zones=$box/cut.tar"
has 'kv zones: .*/cut.tar: at byte .*: the archive ends' 'is told'
: >"$box/empty.tar"
exits 69 'an empty file' "$dns" --kv "zones=$box/empty.tar"
has 'no archive' 'is told'
exits 69 'a folder that is not there' "$dns" --kv "zones=$box/nowhere"
has 'kv zones: .*/nowhere: ' 'is named'
exits 64 'the tool says so too' "$mirari" run --dry-run -C "$root/examples/dns" --kv zones
has '"zones" is not NAME=FOLDER' 'before anything is built'
says "--kv zones=$box/zones" 'and hands on what is right' "$mirari" run --dry-run -C "$root/examples/dns" --kv "zones=$box/zones"
sim=$b/examples/dns/sim/dns
exits 64 'the simulator has no folders' "$sim" --kv "zones=$box/zones"
has 'on target unix' 'and says where there are'

# check = zones: a mistake in a zone ends the build.
cp -r "$root/examples/dns" "$box/app"
echo 'bad A 192.0.2' >>"$box/app/zones/hosts.inc"
exits 1 'a zone with a mistake' "$mirari" build -q -C "$box/app" -o "$box/out"
has "zones/hosts.inc:4: '192.0.2' is no IPv4 address; as 192.0.2.1" 'is told, with file and line'
check 'and nothing is built' test ! -e "$box/out/unix/dns"
rm "$box"/app/zones/*.zone
exits 1 'no zone at all' "$mirari" build -q -C "$box/app" -o "$box/out"
has 'no file NAME.zone' 'is told'
sed -i 's/check = zones/check = pages/' "$box/app/app.conf"
exits 65 'something else to check' "$mirari" build -q -C "$box/app" -o "$box/out"
has 'app.conf:[0-9]+: check = "pages"' 'is told, with its line'
done_testing
