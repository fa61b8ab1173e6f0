#!/usr/bin/env bash
# SPDX-License-Identifier: ISC
# Runs curl's tests: its client and its library against its own servers, in C and in Perl, all on the stack that is tested.
#
#   curl.sh FOLDER [SELECTION...]
#
# FOLDER is its source, built with its tests (make, make -C tests). The selection is that of its runtests.pl; without one all run
# but those of SSH, whose server is another program. Lines are "ok|fail NUMBER", and "hang runtests.pl" if it
# did not come to its end; what is left out for want of a server or of a feature says nothing.
cd "$1/tests" || exit 1
shift
[ $# -gt 0 ] || set -- '!SFTP' '!SCP'
export USER=${USER:-root} LC_ALL=C.UTF-8
timeout -k 10 3000 perl -I. ./runtests.pl -a -n -am "$@" 2>&1 </dev/null | awk '
    /^PASS: / { print "ok", $2; fflush() }
    /^TESTFAIL: .* failed:/ { sub(/.*failed:/, ""); for (i = 1; i <= NF; i++) print "fail", $i; next } # some are named only here
    /^TESTDONE: / { ended = 1 }
    !/^PASS: / { print "#", $0; fflush() }
    END { if (!ended) print "hang runtests.pl" }'
