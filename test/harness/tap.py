# SPDX-License-Identifier: ISC
"""TAP of test scripts in Python."""
import sys

count = failed = 0


def ok(good, name, *notes):
    """A check; the notes are said when it fails. Returns whether it is good."""
    global count, failed
    count += 1
    failed += not good
    print(f"{'ok' if good else 'not ok'} {count} - {name}")
    for note in notes if not good else ():
        print(f"# {note}")
    sys.stdout.flush()
    return bool(good)


def skip_all(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def done():
    print(f"1..{count}")
    sys.exit(1 if failed else 0)
