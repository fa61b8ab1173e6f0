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
        for line in str(note).splitlines():
            print(f"# {line}")
    sys.stdout.flush()
    return bool(good)


def skip_all(reason):
    print(f"1..0 # SKIP {reason}")
    sys.exit(0)


def done():
    """The plan, and the end of the script: nothing checked is a failure."""
    print(f"1..{count}")
    sys.exit(1 if failed or count == 0 else 0)
