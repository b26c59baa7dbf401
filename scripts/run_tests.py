#!/usr/bin/python3
"""run_tests.py - builds and runs every test; the last line is 'N passed, N failed[, N skipped]'

usage: run_tests.py [release|debug|tsan|fuzz ...]    (default: all)
"""

import glob
import json
import os
import re
import subprocess
import sys
import time

import build

TITLES = {'release': 'release', 'debug': 'debug, ASan and UBSan', 'tsan': 'race programs, TSan'}
TAIL_LINES = 40
CASE = re.compile(r'^(not )?ok\b\s*\d*\s*-?\s*([^#]*?)\s*(?:\(\d+\.\d+s\)\s*)?(?:#\s*(SKIP|TODO)\S*\s*(.*))?$', re.I)
# Programs at a time on each CPU, of those that may run side by side: most of them sleep more than half the time.
BESIDE = 2
FUZZ_SECONDS = 8  # per target: less than a minute in all
GOOD = ('OK', 'EXPECTEDFAIL')


class Tally:
    """Counts test cases over all builds and keeps what the end of the report needs."""

    def __init__(self):
        self.passed = 0
        self.failures = []  # (name, tail of its output)
        self.skips = []     # (name, reason)

    def add_tap(self, name, record):
        """One program that reports each of its cases."""
        failed = []
        for line in record['stdout'].splitlines():
            match = CASE.match(line)
            if not match:
                continue
            bad, case, directive, reason = match.groups()
            if directive and directive.upper() == 'SKIP':
                self.skips.append((f'{name}: {case}', reason))
            elif bad:
                failed.append(case)
            else:
                self.passed += 1
        if not failed and record['result'] not in GOOD + ('SKIP',):
            failed.append(record['result'].lower())
        for index, case in enumerate(failed):
            # The output belongs to the program: once is enough.
            self.failures.append((f'{name}: {case}', '' if index else tail(record)))

    def add(self, name, record):
        # A program that has to fail is one case, whatever it reports.
        if record.get('stdout', '').startswith('TAP version') and record['result'] != 'EXPECTEDFAIL':
            self.add_tap(name, record)
        elif record['result'] in GOOD:
            self.passed += 1
        elif record['result'] == 'SKIP':
            lines = (record.get('stdout') or record.get('stderr') or '').strip().splitlines()
            self.skips.append((name, lines[-1] if lines else 'no reason given'))
        else:
            self.failures.append((f'{name}: {record["result"].lower()}', tail(record)))


def tail(record):
    """The end of what a test wrote."""
    text = ''
    for stream in ('stdout', 'stderr'):
        lines = record.get(stream, '').rstrip().splitlines()[-TAIL_LINES:]
        text += ''.join(f'    {line}\n' for line in lines)
    return text


def wrapper():
    """Sanitizers of gcc 12 and clang 14 cannot place their shadow where the kernel randomises widely."""
    try:
        works = subprocess.run(['setarch', '-R', 'true'], stderr=subprocess.DEVNULL,
                               check=False).returncode == 0
    except OSError:
        works = False
    return ['--wrapper', 'setarch -R'] if works else []


def run_build(kind, tally):
    began = time.monotonic()
    print(f'== {TITLES[kind]}', flush=True)
    try:
        path = build.build(kind)
    except build.StepFailed as failure:
        tally.failures.append((f'{kind}: {failure}', ''))
        return
    # A wrapper's name becomes part of the log's.
    logs = os.path.join(path, 'meson-logs', 'testlog*.json')
    for log in glob.glob(logs):
        os.unlink(log)
    beside = str(BESIDE * len(os.sched_getaffinity(0)))
    command = [build.MESON, 'test', '-C', path, '--no-rebuild', '--num-processes', beside]
    if kind != 'release':
        command += ['--timeout-multiplier', '4'] + wrapper()
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, errors='replace')
    shown = 0
    for line in child.stdout:
        # One line per program; meson's own summary would count programs, not cases.
        if re.match(r'\s*\d+/\d+ ', line):
            print(line.rstrip(), flush=True)
            shown += 1
    code = child.wait()
    ran = 0
    bad_before = len(tally.failures)
    for log in glob.glob(logs):
        with open(log, encoding='utf-8', errors='replace') as file:
            for line in file:
                record = json.loads(line)
                ran += 1
                tally.add(f'{kind}: {record["name"].removeprefix("volley:")}', record)
    if ran != shown:
        tally.failures.append((f'{kind}: {shown} programs ran, {ran} are in the log', ''))
    elif code != 0 and len(tally.failures) == bad_before:
        tally.failures.append((f'{kind}: meson test ended with {code}', ''))
    elif ran == 0 and kind != 'tsan':
        # A tree without race programs has nothing for ThreadSanitizer; every other build has tests.
        tally.failures.append((f'{kind}: no test ran', ''))
    print(f'   {time.monotonic() - began:.0f} s', flush=True)


def run_fuzz(tally):
    """A short while of libFuzzer; what it once found is in the corpus, which the other builds replay."""
    print('== fuzz, libFuzzer', flush=True)
    command = [sys.executable, '-B', os.path.join(build.TOP, 'scripts', 'fuzz.py'),
               '--seconds', str(FUZZ_SECONDS)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors='replace', check=False)
    lines = done.stdout.strip().splitlines()
    print(''.join(f'{line}\n' for line in lines if line.startswith('fuzz_')), end='', flush=True)
    if done.returncode == 77:
        tally.skips.append(('fuzz', lines[-1] if lines else 'no reason given'))
    elif done.returncode:
        tally.failures.append(('fuzz', tail({'stdout': done.stdout})))
    else:
        tally.passed += 1


def main(args):
    known = list(build.KINDS) + ['fuzz']
    kinds = args or known
    if any(kind not in known for kind in kinds):
        print(__doc__, file=sys.stderr)
        return 2
    tally = Tally()
    for kind in kinds:
        if kind == 'fuzz':
            run_fuzz(tally)
        else:
            run_build(kind, tally)
    for name, reason in tally.skips:
        print(f'skipped: {name}: {reason}')
    for name, output in tally.failures:
        print(f'FAILED: {name}\n{output}', end='')
    summary = f'{tally.passed} passed, {len(tally.failures)} failed'
    if tally.skips:
        summary += f', {len(tally.skips)} skipped'
    print(summary, flush=True)
    return 1 if tally.failures or not tally.passed else 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
