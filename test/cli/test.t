#!/usr/bin/env bash
# `mirari test`: files that are wrong, appliances that die, hang, or should; Ctrl-C; who may; and that nothing is left behind.
# shellcheck source=test/cli/lib.sh
. "$(dirname "$0")/lib.sh"
export TMPDIR=$box/tmp
mkdir -p "$TMPDIR" "$box/t"
unset TAP_VERSION
tester=$root/examples/tester
"$mirari" build -q -C "$tester" -o "$b/examples/tester" || exit 1
left() { ls -A "$TMPDIR"; }
empty() { rm -rf "${TMPDIR:?}"/*; }
mtest() { timeout 120 "$mirari" test --no-build -o "$b/examples" "$@"; }
cd "$box/t" || exit 1

# ---- what needs no network ---------------------------------------------------------------------
exits 1 'no tests here' mtest
has 'no \*\.test here' 'and it says so'
printf 'app a %s\n\ntest t\n  cal a b\n  expect x = 1\n' "$tester" >bad.test
exits 65 'a wrong file' mtest bad.test
has '^bad\.test:4: unknown word "cal"; did you mean "call"' 'its line and the nearest word'
has '^bad\.test:5: write PATH OPERATOR VALUE' 'and the next mistake'
exits 64 'an unknown option' mtest --lost bad.test
exits 64 'a target that is none' mtest -t mars bad.test
exits 1 'a file that is not there' mtest nowhere.test
printf 'app a nowhere\ntest t\n kill a\n' >bad.test
exits 1 'an appliance that cannot be built' "$mirari" test bad.test
has '^mirari: bad\.test:1: app a: cannot build "nowhere" for target unix' 'whose, and where'
has '^Bail out!' 'and TAP ends'
rm bad.test

cat >one.test <<END
app a $tester
targets unix virt
test it answers
  call a describe
  expect name == tester
  call a test.log text="a # b"
  says a "a # b"
test it fails
  call a describe
  expect target != unix
test it crashes
  call a test.crash ends with 70
END
says '^one\.test \[virt\]: it fails$' 'a list of tests' mtest --list
exits 1 'a test that fails' mtest -t unix --junit "$box/junit.xml" one.test
has '^TAP version 14$' 'TAP of its version'
has '^1\.\.5$' 'with a plan'
has '^ok 2 - one\.test \[unix\]: it answers$' 'one is good'
has '^not ok 3 - one\.test \[unix\]: it fails$' 'one is not'
has '^    one\.test:10: expect target != unix$' 'its line'
has '^    it is unix$' 'and why'
has '^ok 4 - ' 'the next one goes on'
has "^    logs: $TMPDIR" 'where the logs are'
check 'and there they are' test -s "$(sed -n 's/^    logs: //p' <<<"$out")/a.log"
check 'JUnit says the same' grep -q 'tests="5" failures="1"' "$box/junit.xml"
empty
TAP_VERSION=13 says '^TAP version 13$' 'an older harness gets its TAP' mtest -t unix one.test
empty

cat >hang.test <<END
app a $tester
app b $tester
test a hang is told
  call b test.hang within 1s
test and the rest goes on
  call a describe
END
run mtest hang.test
has '"b" did not answer test\.hang in time' 'one that hangs is told in its time'
has '^ok 3 - ' 'others go on'
has '"b" did not answer shutdown in time|"b" has no control channel|"b" has not ended' 'it does not end either'
empty

cat >dead.test <<END
app a $tester
app b $tester
test a crash is told
  call a test.crash
test others go on
  call b describe
test the dead one does not
  call a describe
END
run mtest dead.test
has '"a" has ended, with status 70' 'one that dies is told'
has 'a\| .*assertion failed' 'with its last lines'
has '^ok 3 - ' 'others go on'
has '"a" does not run' 'what needs it fails'
empty

printf 'app a %s\nlimit 2s\ntest t\n call a test.hang within 60s\n' "$tester" >limit.test
says 'the time of the whole file is over' 'the limit of a file holds' mtest limit.test
empty

# Ctrl-C in the middle: what was started is gone.
printf 'app a %s\ntest t\n run within 60s touch %s/up; sleep 60\n' "$tester" "$box" >long.test
"$mirari" test --no-build -o "$b/examples" long.test >"$box/out" 2>&1 &
pid=$!
check 'a long test runs' wait_for test -e "$box/up"
work=$(echo "$TMPDIR"/mirari-test.*)
kill -TERM "$pid"
wait "$pid"
status=$? out=$(cat "$box/out")
[ "$status" = 1 ]
report $? 'an interrupt ends it with status 1'
has '^not ok 2 - .*: t$' 'the test did not hold'
has 'interrupted' 'because of that'
is_gone() { ! grep -qs -e "$work" /proc/[0-9]*/cmdline; }
check 'and its appliance is gone' wait_for is_gone
rm -rf "${TMPDIR:?}"/* "$box/up"
"$mirari" test --no-build -o "$b/examples" long.test >"$box/out" 2>&1 &
pid=$!
check 'once more' wait_for test -e "$box/up"
work=$(echo "$TMPDIR"/mirari-test.*)
kill -KILL "$pid"
wait "$pid" 2>/dev/null
check 'when the tool is killed its appliances go, too' wait_for is_gone
empty

# ---- with networks -------------------------------------------------------------------------------
if ! command -v ip >/dev/null || ! command -v ping >/dev/null || [ ! -w /dev/net/tun ] || ! unshare -n true 2>/dev/null; then
    echo '# no network namespaces here, or no ip, ping, /dev/net/tun: the rest is not tested'
    done_testing
fi
is_ok 'a tester of one'"'"'s own' "$mirari" new tester mine
is_ok 'whose test passes as it is' "$mirari" test -C mine
check 'nothing is left' test -z "$(left)"
cat >nets.test <<END
net lan
net wan 10.99.0.0/24 mtu=1400
app a $tester net=lan
app b $tester net=wan later
app c $tester -- --log warn
call a test.serve port=7
test addresses and commands
  run ping -q -c 1 -W 5 \$a && ping -q -c 1 -W 5 \$c_ip6 && echo "\$a \$lan \$wan \$b \$b_wan_ip6"
  expect output ~ "10.77.1.10 10.77.1.1 10.99.0.1 10.99.0.11 fd00:77:2::b"
  run exits 3 exit 3
  run \$MIRARI ctl \$a_ctl describe
  expect output ~ tester
test one that comes later, and loses its power
  boot b
  run ping -q -c 1 -W 5 \$b
  until b stats uptime_us > 100000 within 20s
  kill b
  boot b
  shutdown b
test a wire that is cut
  run ping -q -c 1 -W 5 \$c
  fault c down
  run exits 1 ping -q -c 1 -W 1 \$c
  call c fault.get
  expect down == true
  expect in.cut > 0
  fault c net lan none
  run ping -q -c 5 -i 0.2 -W 2 \$c
test what should fail does
  call c test.echo to=\$a:99 fails
  expect error ~ refused
  call c test.echo to=\$a:7 bytes=x fails
  call c test.echo to=\$a:7 bytes=50000
  let n = received
  expect sent == \$n
END
cp nets.test more.test
is_ok 'networks, commands, faults; two files at a time' mtest -j 2 nets.test more.test
check 'nothing is left' test -z "$(left)"
is_ok 'logs are kept when asked' mtest --keep nets.test
check 'in one folder' test -s "$TMPDIR"/mirari-test.*/a.log
empty

# Without root, where /dev/net/tun is for everybody (here by a node of its own in a mount namespace).
nobody="setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all"
if [ "$(id -u)" = 0 ] && $nobody unshare -Ur true 2>/dev/null && mknod "$box/tun" c 10 200 2>/dev/null; then
    chmod 666 "$box/tun"
    chmod 777 "$TMPDIR"
    chmod 755 "$box" "$box/t"
    says '^ok 6 - ' 'the same without root' unshare -m sh -c "mount --make-rprivate / && mount --bind $box/tun /dev/net/tun &&
        exec $nobody timeout 120 $mirari test --no-build -o $b/examples nets.test"
    has_not '^not ok' 'and all of it'
else
    echo '# no user namespaces here: not tried without root'
fi
done_testing
