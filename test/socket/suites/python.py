#!/usr/bin/env python3
# SPDX-License-Identifier: ISC
"""Runs modules of CPython's own test suite and prints one line for each case.

    python.py [-t SECONDS] MODULE[:PATTERN]...      e.g. test.test_socket 'test.test_ssl:Threaded*'

Lines are "ok|fail|skip|hang CASE". Each module runs in a process of its own; when that hangs or crashes, what is open is run
class by class, and then case by case, so that one bad case does not hide the others. Classes whose names match no PATTERN
(fnmatch, after the colon, several by commas) are left out.
"""
import faulthandler
import fnmatch
import os
import re
import signal
import subprocess
import sys
import unittest

LINE = re.compile(r"^(ok|fail|skip) (\S+)$")


class Lines(unittest.TestResult):
    """Says each result at once, so that a process that is killed has told what it did."""

    def say(self, word, test):
        name = test.id()
        if hasattr(test, "_testMethodName") or word == "fail":
            print(word, name.split(" ")[0], file=self.out, flush=True)

    def __init__(self, out):
        super().__init__()
        self.out = out
        self.bad = set()

    def addSuccess(self, test):
        if test.id() not in self.bad:
            self.say("ok", test)

    addExpectedFailure = lambda self, test, err: self.say("ok", test)

    def addSkip(self, test, reason):
        self.say("skip", test)

    def trouble(self, test, err):
        if test.id() not in self.bad:
            self.bad.add(test.id())
            self.say("fail", test)
        text = self._exc_info_to_string(err, test)
        print("".join("# " + line + "\n" for line in text.splitlines()), end="", file=self.out, flush=True)

    addError = addFailure = trouble

    def addUnexpectedSuccess(self, test):
        self.say("fail", test)

    def addSubTest(self, test, subtest, err):
        if err is not None:
            self.trouble(test, err)


def cases_of(suite):
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            yield from cases_of(test)
        else:
            yield test.id()


def child(names):
    out = os.fdopen(os.dup(1), "w")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    from test import support
    support.use_resources = ["network", "decimal", "cpu"]  # programs of this machine only: the network is a namespace
    faulthandler.enable()
    suite = unittest.defaultTestLoader.loadTestsFromNames(names)
    suite.run(Lines(out))


def run(names, limit):
    """Returns ({case: word}, was it in time, notes)."""
    process = subprocess.Popen([sys.executable, __file__, "--child", *names], stdin=subprocess.DEVNULL,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    try:
        text, is_over = process.communicate(timeout=limit)[0], True
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        text, is_over = process.communicate()[0], False
    found, notes = {}, []
    for line in text.decode(errors="replace").splitlines():
        match = LINE.match(line)
        if match:
            found[match[2]] = match[1]
        else:
            notes.append(line)
    return found, is_over and process.returncode == 0, notes


def run_again(name, cases, limit):
    """One class, and what it leaves open case by case."""
    found, is_good, notes = run([name], limit)
    missing = [case for case in cases if case not in found]
    if is_good and missing:  # setUpClass or setUpModule skipped or failed
        word = "fail" if any(w == "fail" for w in found.values()) else "skip"
        found.update((case, word) for case in missing)
    elif missing:
        notes = []
        for case in missing:
            got, is_good, more = run([case], limit)
            found[case] = got.get(case, "skip" if is_good else "hang")
            notes += more
    return found, notes


def run_module(classes, limit):
    found, is_good, notes = run(list(classes), limit * (2 + len(classes) / 10))
    for name, cases in classes.items():
        if any(case not in found for case in cases):
            again, more = run_again(name, cases, limit)
            found.update(again)
            notes += more
        for case in cases:
            print(found[case], case, flush=True)
    for line in notes:
        print("#", line.lstrip("# "), flush=True)


def main():
    args, limit = sys.argv[1:], 40.0
    if args[:1] == ["--child"]:
        child(args[1:])
        return
    if args[:1] == ["-t"]:
        limit, args = float(args[1]), args[2:]
    for arg in args:
        module, _, patterns = arg.partition(":")
        try:
            suite = unittest.defaultTestLoader.loadTestsFromName(module)
        except unittest.SkipTest as reason:
            print("#", module, reason)
            continue
        classes = {}
        for case in cases_of(suite):
            classes.setdefault(case.rpartition(".")[0], []).append(case)
        short = {name: name.removeprefix(module + ".") for name in classes}
        run_module({name: cases for name, cases in classes.items()
                    if not patterns or any(fnmatch.fnmatch(short[name], p) for p in patterns.split(","))}, limit)


main()
