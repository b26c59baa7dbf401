#!/usr/bin/env python3
# volley_python.py - rows of the bench: volley's Python module, one style of writing servers each
"""Usage: volley_python.py STYLE PORT [HOST] [--nic NIC] [--idle POLICY] [--connections N]
                                               [--size BYTES] [--no-prefetch]
       volley_python.py STYLE --check

STYLE is proto, completion, coro, batch or columns. Prints READY PORT, echoes, ends on SIGTERM, and then prints
TOTAL MESSAGES SUM: how many messages of SIZE bytes the Python code below has seen, and the sum of the first 8 bytes of
each, modulo 2^64. --check only tells by its exit code whether the style can run: 3: no module volley, 4: no numpy.
"""
import argparse
import asyncio
import mmap
import os
import signal
import struct
import sys

sys.dont_write_bytecode = True  # no cache beside installed scripts
# Beside the command in a build folder; installed, the interpreter finds it.
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "pyshim"))

first = struct.Struct("<Q").unpack_from


class Pieces:
    """Messages that come in pieces, or several at once: what is left over, and the whole ones counted."""

    def __init__(self, size):
        self.size = size
        self.messages = 0
        self.sum = 0

    def take(self, rest, data):
        """Counts what is whole; returns the bytes of an unfinished message."""
        data = rest + data
        whole = len(data) // self.size
        self.messages += whole
        for begin in range(0, whole * self.size, self.size):
            self.sum += int.from_bytes(data[begin:begin + min(self.size, 8)], "little")
        return data[whole * self.size:]


def proto(engine, address, size):
    """An asyncio.Protocol."""
    count = total = 0
    pieces = Pieces(size)

    class Echo(asyncio.Protocol):
        rest = b""

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            nonlocal count, total
            self.transport.write(data)
            if len(data) == size > 7 and not self.rest:
                count += 1
                total += first(data)[0]
            else:
                self.rest = pieces.take(self.rest, data)

        # A peer that stops reading is not read either: memory stays bounded.
        def pause_writing(self):
            self.transport.pause_reading()

        def resume_writing(self):
            self.transport.resume_reading()

    listener = engine.listen(address, Echo, backlog=65535)
    return listener, lambda: (count + pieces.messages, total + pieces.sum)


def completion(engine, address, size):
    """PyParallel's: what is returned is sent."""
    count = total = 0
    pieces = Pieces(size)

    class Echo:
        rest = b""

        def data_received(self, data):
            nonlocal count, total
            if len(data) == size > 7 and not self.rest:
                count += 1
                total += first(data)[0]
            else:
                self.rest = pieces.take(self.rest, data)
            return data

    listener = engine.listen(address, Echo, style="completion", backlog=65535)
    return listener, lambda: (count + pieces.messages, total + pieces.sum)


def coro(engine, address, size):
    """A coroutine for each connection."""
    count = total = 0
    pieces = Pieces(size)

    async def serve(conn):
        nonlocal count, total
        rest = b""
        while data := await conn.recv():
            conn.send(data)
            if len(data) == size > 7 and not rest:
                count += 1
                total += first(data)[0]
            else:
                rest = pieces.take(rest, data)
            if conn.get_write_buffer_size():
                await conn.drain()

    listener = engine.listen(address, serve, style="coro", backlog=65535)
    return listener, lambda: (count + pieces.messages, total + pieces.sum)


class Ragged:
    """Batches that are not whole messages alone: counted row by row."""

    def __init__(self, size):
        import volley

        self.closed = volley.CLOSED
        self.pieces = Pieces(size)
        self.open = set()  # connections with an unfinished message

    def take(self, rows):
        for conn, data in rows:
            conn.data = self.pieces.take(conn.data or b"", data)
            (self.open.add if conn.data else self.open.discard)(conn.handle)
        if self.open:
            self.open.difference_update(handle for handle, kind in zip(rows.conns, rows.kinds) if kind == self.closed)


def batch(engine, address, size):
    """A loop over the messages of each batch: an int of the first 8 bytes of each."""
    count = total = 0
    ragged = Ragged(size)
    # In words, whose order is the machine's own; where that is another, or the size is odd: row by row.
    step = size // 8 if sys.byteorder == "little" and size % 8 == 0 else 0

    def on_batch(rows):
        nonlocal count, total
        rows.reply_all()
        if step and rows.uniform == size and not ragged.open:
            part = 0
            for number in rows.data.cast("Q")[::step].tolist():
                part += number
            count += len(rows)
            total += part
        else:
            ragged.take(rows)

    engine.on_batch(on_batch)
    listener = engine.listen(address, style="batch", backlog=65535)
    return listener, lambda: (count + ragged.pieces.messages, total + ragged.pieces.sum)


def columns(engine, address, size):
    """Whole batches as numpy arrays: no Python object for a message."""
    import numpy

    count = total = at = 0
    ragged = Ragged(size)
    step = size // 8
    number = numpy.dtype("<u8")
    frombuffer = numpy.frombuffer
    firsts = numpy.empty(65536 + engine.max_batch, number)  # of many batches: summing costs by the call

    def sum_up():
        nonlocal count, total, at
        count += at
        total += int(firsts[:at].sum())
        at = 0

    def on_batch(rows):
        nonlocal at, count, total
        rows.reply_all()
        if rows.uniform == size == 8 * step and not ragged.open:
            end = at + len(rows)
            firsts[at:end] = frombuffer(rows.data, number)[::step]
            at = end
            if at > 65536:
                sum_up()
        elif size == 8 * step and not ragged.open and not (frombuffer(rows.lengths, "<u4") % size).any():
            # Several messages came together on a connection, whole ones all the same.
            count += len(rows.data) // size
            total += int(frombuffer(rows.data, number)[::step].sum())
        else:
            ragged.take(rows)

    def tell():
        sum_up()
        return count + ragged.pieces.messages, total + ragged.pieces.sum

    engine.on_batch(on_batch)
    listener = engine.listen(address, style="batch", backlog=65535)
    return listener, tell


STYLES = {style.__name__: style for style in (proto, completion, coro, batch, columns)}


def tell_polls(engine, page, every_s=0.01):
    """How busy this core has been goes into the page that it shares with the bench (bench/polls.h), again and again."""
    stats = engine.stats()
    struct.pack_into("=QQ", page, 0, stats["busy_ns"], stats["idle_ns"])
    engine.call_later(every_s, tell_polls, engine, page)


def polls_page():
    """The page, if the bench wants to know; None."""
    try:
        return mmap.mmap(int(os.environ["VOLLEY_POLLS_FD"]), 0)
    except (KeyError, ValueError, OSError):
        return None


def check(style):
    """An exit code."""
    try:
        import volley  # noqa: F401
    except ImportError:
        return 3
    if style == "columns":
        try:
            import numpy  # noqa: F401
        except ImportError:
            return 4
    return 0


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n", maxsplit=1)[0].partition(": ")[2])
    parser.add_argument("style", choices=STYLES)
    parser.add_argument("port", type=int, nargs="?", default=0)
    parser.add_argument("host", nargs="?", default="127.0.0.1")
    parser.add_argument("--nic", default="auto")
    parser.add_argument("--idle", default="sleep")
    parser.add_argument("--connections", type=int, default=16384)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--no-prefetch", action="store_true")
    parser.add_argument("--check", action="store_true")
    given = parser.parse_args()
    if given.check:
        sys.exit(check(given.style))
    import volley

    options = {"max_batch": 128}
    if given.nic.startswith("inet"):
        # What the rows in C take: each message keeps a buffer until it is acknowledged, short ones lie together.
        # Over sockets a large batch leaves the caches before its answers are sent, and enters the kernel seldom enough anyway.
        options = {"max_batch": 512, "tx_buf_bytes": min(max((given.size + 63) // 64 * 64, 64), 2048)}
    with volley.Engine(nic=given.nic, conns_max=given.connections + 64, idle=given.idle,
                       tx_bufs=given.connections + 1024, prefetch=not given.no_prefetch, **options) as engine:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: engine.stop())
        listener, tell = STYLES[given.style](engine, (given.host, given.port), given.size)
        page = polls_page() if given.idle == "busy" else None
        if page:
            tell_polls(engine, page)
        print("READY", listener.sockname[1], flush=True)
        engine.run()
        messages, total = tell()
        print("TOTAL", messages, total % 2**64, flush=True)


if __name__ == "__main__":
    main()
