# keepup_processes.py - a consumer of volley keepup in several processes that share one port
"""Part of keepup.py."""
import json
import os
import signal
import sys


class Shared:
    """An engine whose listeners share their port with those of other processes."""

    def __init__(self, engine):
        self.engine = engine

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def listen(self, *args, **named):
        return self.engine.listen(*args, reuse_port=True, **named)


def start(index, cpus, consume):
    """A process that consumes: (its id, what it says). Its lines are "READY", and what `consume` returned."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return pid, os.fdopen(reading, encoding="ascii")
    os.close(reading)
    os.sched_setaffinity(0, {cpus[index % len(cpus)]})
    code = 1
    try:
        with os.fdopen(writing, "w", encoding="ascii") as out:
            found = consume(index, lambda: print("READY", file=out, flush=True))
            json.dump(found, out)
        code = 0
    except BaseException:  # nothing of the parent may run here
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def stop(pids):
    for pid in pids:
        os.kill(pid, signal.SIGTERM)


def run(consume, ready):
    """`consume(index, ready)` in a process for each CPU, two at least, until SIGTERM. What each returned, as a list."""
    cpus = sorted(os.sched_getaffinity(0))
    children = [start(index, cpus, consume) for index in range(max(2, len(cpus)))]
    pids = [pid for pid, _ in children]
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop(pids))
    said = [lines.readline() for _, lines in children]
    if all(line == "READY\n" for line in said):
        ready()
    else:
        stop(pids)
    texts = [lines.read() for _, lines in children]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(codes):
        sys.exit(f"a process of the consumer ended: {codes}")
    return [json.loads(text) for text in texts]


def joined(found):
    """Reports of several processes as one: counts are added, of pauses the longest is the longest."""
    whole = {}
    for report in found:
        for key, value in report.items():
            if not isinstance(value, (int, float)) or key in ("slowed_by_ns", "unslowed_ns"):
                whole.setdefault(key, value)
            elif key.endswith("_max_ns"):
                whole[key] = max(whole.get(key, 0), value)
            else:
                whole[key] = whole.get(key, 0) + value
    return whole
