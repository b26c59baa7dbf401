#!/usr/bin/env python3
# keepup.py - the consumers of volley keepup: the module's styles, asyncio, uvloop, or a user's own
"""Usage: keepup.py STYLE PORT [HOST] [OPTION...]
       keepup.py STYLE --check [--consumer MODULE:NAME] [--work KIND]

STYLE is proto, completion, coro, batch, columns, loop, asyncio_proto, uvloop_proto, asyncio, uvloop, or own (with
--consumer). Prints READY PORT, consumes, ends on SIGTERM, and prints TOTAL MESSAGES SUM as volley_python.py does.
--check tells by its exit code whether it can run: 3: no module volley, 4: no numpy, 5: no uvloop, 6: the consumer
cannot be imported; the last line on stderr says more.
"""
import argparse
import asyncio
import importlib
import inspect
import os
import resource
import signal
import sys

sys.dont_write_bytecode = True  # no cache beside installed scripts
here = os.path.dirname(os.path.abspath(__file__))
# Beside the command in a build folder; installed, the interpreter finds it.
sys.path.insert(0, os.path.join(here, os.pardir, "pyshim"))

os.environ.setdefault("VOLLEY_PLUGIN_DIR", os.path.join(here, os.pardir))

import keepup_processes
import keepup_watch

MODULE_STYLES = ("proto", "completion", "coro", "batch", "columns", "loop")
LOOP_STYLES = ("asyncio_proto", "uvloop_proto", "asyncio", "uvloop")


def parse():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n", maxsplit=1)[0].partition(": ")[2])
    parser.add_argument("style", choices=(*MODULE_STYLES, *LOOP_STYLES, "own"))
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("--nic", default="auto")
    parser.add_argument("--idle", default="sleep")
    parser.add_argument("--meter", help="counters that the bench watches")
    parser.add_argument("--report", help="file to write what the consumer knows itself")
    parser.add_argument("--connections", type=int, default=16384)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--work", choices=("echo", "sink", "record"), default="echo")
    parser.add_argument("--mode", choices=("inline", "thread", "process"), default="inline")
    parser.add_argument("--gc", choices=("on", "off", "frozen"), default="on")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--no-prefetch", action="store_true")
    parser.add_argument("--compete", action="store_true", help="with another thread that computes")
    parser.add_argument("--slow-ns", type=int, default=0, help="so much longer takes every message")
    parser.add_argument("--unslowed-ns", type=float, default=float("inf"), help="the least that a message was seen to take without")
    parser.add_argument("--consumer", help="MODULE:NAME")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def load_consumer(text):
    """The object that MODULE:NAME names; modules of the current folder are found."""
    module, colon, name = text.partition(":")
    if not colon or not module or not name:
        raise ImportError(f"'{text}' is not MODULE:NAME")
    sys.path.insert(0, os.getcwd())
    found = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part)
    if not callable(found):
        raise TypeError(f"{text} is neither a class nor a function")
    return found


def style_of(consumer):
    """A consumer says its style by what it is, or by an attribute `style`."""
    named = getattr(consumer, "style", None)
    if named is not None:
        if named not in ("asyncio", "completion", "coro", "batch", "streams"):
            raise TypeError(f"style is '{named}', and none of asyncio, completion, coro, batch, streams")
        return named
    if inspect.isclass(consumer):
        if issubclass(consumer, asyncio.BaseProtocol):
            return "asyncio"
        if hasattr(consumer, "data_received"):
            return "completion"
        raise TypeError(f"{consumer.__name__} has no data_received()")
    if inspect.iscoroutinefunction(consumer):
        return "streams" if len(inspect.signature(consumer).parameters) == 2 else "coro"
    return "batch"


def check(given):
    """An exit code."""
    if given.style in MODULE_STYLES or given.style == "own":
        try:
            import volley  # noqa: F401
        except ImportError:
            return 3
    if given.style == "columns" or given.work == "record":
        try:
            import numpy  # noqa: F401
        except ImportError:
            return 4
    if given.style.startswith("uvloop"):
        try:
            import uvloop  # noqa: F401
        except ImportError:
            return 5
    if given.consumer:
        try:
            if style_of(load_consumer(given.consumer)) == "streams" and given.nic == "internal":
                raise TypeError("a reader and a writer read from sockets; name a network with --source uring")
        except Exception as error:  # whatever a user's module raises
            print(f"{type(error).__name__}: {error}", file=sys.stderr)
            return 6
    return 0


def listen_own(engine, given):
    """A user's consumer: it counts for itself if it likes, by an attribute `total` that tells (messages, sum)."""
    consumer = load_consumer(given.consumer)
    style = style_of(consumer)
    tell = getattr(consumer, "total", None) or getattr(sys.modules[consumer.__module__], "total", None)
    if style == "batch":
        engine.on_batch(consumer)
        return engine.listen((given.host, given.port), style="batch", backlog=65535), tell
    return engine.listen((given.host, given.port), consumer, style=style, backlog=65535), tell


def engine_options(given):
    options = {"nic": given.nic, "conns_max": given.connections + 64, "idle": given.idle,
               "mode": "thread" if given.mode == "thread" else "inline", "prefetch": not given.no_prefetch,
               "max_batch": given.batch, "tx_bufs": max(4096, given.connections + 1024)}
    if given.nic.startswith("inet"):
        # What the rows in C take: each message keeps a buffer until it is acknowledged, short ones lie together.
        options["tx_buf_bytes"] = min(max((given.size + 63) // 64 * 64, 64), 2048)
    if given.meter:
        options["meter"] = given.meter
    if given.mode == "thread":
        options["overload"] = "pause"
    return options


def run_engine(given, report, delay, ready):
    import volley
    import keepup_styles
    import volley_python

    with volley.Engine(**engine_options(given)) as engine:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: engine.stop())
        listening = keepup_processes.Shared(engine) if given.mode == "process" else engine
        if given.style == "own":
            listener, tell = listen_own(listening, given)
        else:
            listener, tell = keepup_styles.choose(given.style, given.work, listening, (given.host, given.port),
                                                  given.size, delay)
        engine.set_exception_handler(report.note_exception)
        keepup_watch.set_collector(given.gc)
        report.begin()
        # A core that never sleeps tells how busy it is.
        page = volley_python.polls_page() if given.nic.startswith("inet") and given.mode == "inline" else None
        if page:
            volley_python.tell_polls(engine, page)
        ready(listener.sockname[1])
        engine.run()
        return tell, engine.stats()


def run_loop(given, report, delay, ready):
    import keepup_loops

    if given.style == "loop" or given.nic.startswith("inet"):
        import volley
        factory = lambda: volley.new_event_loop(**engine_options(given))
    elif given.style.startswith("uvloop"):
        import uvloop
        factory = uvloop.new_event_loop
    else:
        factory = asyncio.new_event_loop
    tell = keepup_loops.run(given, factory, report, delay, ready)
    return tell, {}


def main():
    given = parse()
    if given.check:
        sys.exit(check(given))
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    report = keepup_watch.Report(given.report)
    delay = None
    if given.slow_ns:
        import keepup_rehearsal
        delay, known = keepup_rehearsal.calibrated_delay(given, engine_options(given))
        report.figures.update(known)

    def consume(index, ready):
        """All that one process does: its figures, and what it counted."""
        if index:
            given.meter = None  # it has one writer
        if given.compete:
            keepup_watch.compete()
        streams = given.consumer and style_of(load_consumer(given.consumer)) == "streams"
        run = run_loop if given.style in (*LOOP_STYLES, "loop") or streams else run_engine
        tell, stats = run(given, report, delay, ready)
        counted = tell() if tell else None
        return {"counted": counted, "figures": report.take(counted and counted[0], stats)}

    def ready(port):
        print("READY", port, flush=True)

    if given.mode == "process":
        found = keepup_processes.run(lambda index, ready: consume(index, lambda _: ready()), lambda: ready(given.port))
    else:
        found = [consume(0, ready)]
    report.write(keepup_processes.joined([one["figures"] for one in found]))
    counted = [one["counted"] for one in found]
    if all(counted):
        print("TOTAL", sum(messages for messages, _ in counted), sum(total for _, total in counted) % 2**64, flush=True)


if __name__ == "__main__":
    main()
