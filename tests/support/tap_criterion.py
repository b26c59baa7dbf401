#!/usr/bin/python3
"""tap_criterion.py - runs one Criterion program: its cases as TAP on stdout, all it wrote on stderr

Criterion silences the tests' own output (sanitizer reports with it) when TAP goes to stdout, calls a
case passed whose teardown crashed, and exits 0 after a leak report. All three are mended here.
"""

import os
import signal
import subprocess
import sys

LEAK = b'ERROR: LeakSanitizer'


def read_all(fd):
    """What a memory file holds."""
    return os.pread(fd, os.fstat(fd).st_size, 0)


def run(command, tap_fd, log_fd):
    """Exit code of the program. Its output is passed on even when the time is up."""
    try:
        return subprocess.run(command, pass_fds=[tap_fd], stdin=subprocess.DEVNULL, stdout=log_fd,
                              stderr=log_fd, check=False).returncode
    except OSError as error:
        os.write(log_fd, f'{command[0]}: {error.strerror}\n'.encode())
        return 127
    finally:
        sys.stderr.buffer.write(read_all(log_fd))
        sys.stderr.flush()


def faults(code, lines, log):
    """What went wrong beside the cases that say so themselves."""
    plan = next((line for line in lines if line.startswith('1..')), '1..0')
    planned = int(plan[3:].split()[0])
    reported = sum(line.startswith(('ok', 'not ok')) for line in lines)
    if LEAK in log:
        yield 'memory leaked'
    elif code != 0 and not any(line.startswith('not ok') for line in lines):
        yield f'a setup or teardown crashed, exit code {code}'
    if planned == 0:
        yield 'the program has no cases'
    elif reported < planned:
        yield f'{planned - reported} of {planned} cases never reported'


def main(args):
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    tap_fd = os.memfd_create('tap')
    log_fd = os.memfd_create('log')
    # Every writer appends, whatever the others wrote meanwhile.
    log_append = os.open(f'/proc/self/fd/{log_fd}', os.O_RDWR | os.O_APPEND)
    code = run(args + [f'--tap=/proc/self/fd/{tap_fd}', '--jobs', '1'], tap_fd, log_append)
    lines = read_all(tap_fd).decode(errors='replace').splitlines()
    extra = list(faults(code, lines, read_all(log_fd)))
    if '--filter' in args:
        # What the filter leaves out was not asked for; a case that skips itself gives a reason.
        lines = [line for line in lines if not line.endswith('# SKIP test was skipped')]
    print('TAP version 13')
    for line in lines:
        if not line.startswith(('TAP version', '1..', '#')):
            print(line)
    for reason in extra:
        print(f'not ok - {reason}')
    cases = [line for line in lines if line.startswith(('ok', 'not ok'))]
    print(f'1..{len(cases) + len(extra)}')
    return 1 if extra or any(line.startswith('not ok') for line in cases) else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
