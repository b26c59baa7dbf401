# _processes.py - Engine.run(processes=N): one engine per process, ports shared
"""Forks N children that each open the engine's listeners again; the parent passes signals on."""

import os
import signal
import sys

PASSED_ON = (signal.SIGINT, signal.SIGTERM)


def _child(engine, handlers, mask):
    """Runs one engine, with the signal handlers and mask that the parent had; never returns."""
    status = 1
    try:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        engine._attach()
        engine.run()
        engine.close()
        status = 0
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass
        os._exit(status)


def _wait(children):
    """Waits for all; the first failure ends the others. Returns the statuses that were not 0."""
    bad = []
    while children:
        pid, status = os.wait()
        if pid not in children:
            continue
        children.discard(pid)
        code = os.waitstatus_to_exitcode(status)
        if code not in (0, 130, -signal.SIGINT, -signal.SIGTERM):
            bad.append(code)
            for other in children:
                os.kill(other, signal.SIGTERM)
    return bad


def run(engine, processes):
    """What Engine.run(processes=N) does; the engine is closed afterwards."""
    if engine.mode == 'thread':
        raise ValueError("processes: only with mode='inline'")
    engine._detach()
    children = set()
    old = {}

    def pass_on(number, frame):
        for pid in children:
            os.kill(pid, number)

    # A signal that comes meanwhile ends all of them, not the parent alone: it waits until every child is known.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
    try:
        for number in PASSED_ON:
            old[number] = signal.signal(number, pass_on)
        for _ in range(processes):
            sys.stdout.flush()
            sys.stderr.flush()
            pid = os.fork()
            if pid == 0:
                _child(engine, old, mask)
            children.add(pid)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        bad = _wait(children)
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
        engine.close()
    if bad:
        raise RuntimeError(f'{len(bad)} of {processes} processes failed, statuses {bad}')
