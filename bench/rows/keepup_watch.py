# keepup_watch.py - what a consumer of volley keepup tells about itself: pauses, memory, what it was set to
"""Part of keepup.py."""
import gc
import json
import os
import sys
import threading
import time


class Pauses:
    """The collector's pauses, in nanoseconds."""

    def __init__(self):
        self.count = self.total_ns = self.max_ns = self.began_ns = 0
        gc.callbacks.append(self.note)

    def note(self, phase, _):
        now = time.perf_counter_ns()
        if phase == "start":
            self.began_ns = now
            return
        took = now - self.began_ns
        self.count += 1
        self.total_ns += took
        self.max_ns = max(self.max_ns, took)


def set_collector(kind):
    """on, off, or frozen: what lives already is never looked at again."""
    gc.collect()
    if kind == "off":
        gc.disable()
    elif kind == "frozen":
        gc.freeze()


def compete():
    """Another thread that computes in Python, for ever."""
    def work():
        number = 1
        while True:
            number = number * 1103515245 + 12345 & 0x7fffffff
    threading.Thread(target=work, daemon=True).start()


def resident_bytes():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Report:
    """Written when the consumer ends; the bench reads it."""

    def __init__(self, path):
        self.path = path
        self.pauses = Pauses()
        self.figures = {}
        self.blocks = self.resident = 0

    def note_exception(self, context):
        """Of callbacks: the first is told, all are counted by the engine."""
        error = context["exception"]
        self.figures.setdefault("first_exception", f"{type(error).__name__}: {error}")

    def begin(self):
        """What follows is the consumer's own."""
        self.pauses.count = self.pauses.total_ns = self.pauses.max_ns = 0
        self.blocks = sys.getallocatedblocks()
        self.resident = resident_bytes()

    def take(self, messages, stats):
        """All figures of this process, now that it ends."""
        self.figures.update({
            "python": sys.version.split(maxsplit=1)[0],
            "messages": messages,
            "gc_pauses": self.pauses.count,
            "gc_pause_total_ns": self.pauses.total_ns,
            "gc_pause_max_ns": self.pauses.max_ns,
            "blocks_growth": sys.getallocatedblocks() - self.blocks,
            "rss_growth_bytes": resident_bytes() - self.resident,
            "exceptions": stats.get("py_exceptions", 0),
            "dropped": stats.get("py_dropped", 0),
            "paused_ns": stats.get("py_paused_ns", 0),
        })
        return self.figures

    def write(self, figures):
        if self.path:
            with open(self.path, "w", encoding="ascii") as file:
                json.dump(figures, file)
