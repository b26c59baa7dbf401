#!/usr/bin/python3
"""perf.py - stands in for perf on PATH: counts nothing, but answers as `perf stat --control` does

FAKE_PERF says how: good, refuse (fails before it starts the server), silent (answers no command),
empty (ends without counts), die (ends while the server runs).
"""

import os
import subprocess
import sys
import threading


def option(name):
    for word in sys.argv:
        if word.startswith(f'--{name}='):
            return word.partition('=')[2]
    return sys.exit(f'perf: no --{name}')


def main():
    manner = os.environ.get('FAKE_PERF', 'good')
    if sys.argv[1:5] != ['stat', '-x,', '-D', '-1']:
        return f'perf: unexpected {sys.argv}'
    if manner == 'refuse':
        return 'perf: no counting today'
    control, ack = (int(fd) for fd in option('control').removeprefix('fd:').split(','))
    log = int(option('log-fd'))
    words = sys.argv[sys.argv.index('--') + 1:]
    seen = []

    def answer():
        while data := os.read(control, 64):
            seen.append(data.decode().strip())
            if manner != 'silent':
                os.write(ack, b'ack\n\0')
            if manner == 'die':
                os._exit(9)

    server = subprocess.Popen(words)
    threading.Thread(target=answer, daemon=True).start()
    server.wait()
    if manner != 'empty':
        events = sys.argv[sys.argv.index('-e') + 1].split(',')
        assert 'syscalls:sys_enter_recvfrom' in events
        os.write(log, b'3000,,raw_syscalls:sys_enter,1,100.00,,\n'
                      b'1000,,syscalls:sys_enter_recvfrom,1,100.00,,\n'
                      b'1500,,syscalls:sys_enter_sendto,1,100.00,,\n')
    return 0 if manner == 'silent' or seen == ['enable', 'disable'] else f'perf: was told {seen}'


if __name__ == '__main__':
    sys.exit(main())
