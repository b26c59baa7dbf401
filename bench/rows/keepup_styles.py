# keepup_styles.py - consumers of volley keepup: each style of the module with each kind of work
"""Part of keepup.py. The echo of a style is the row of the same name in volley_python.py.

A style is called with (engine, address, size, work) and returns its listener and a function that tells (messages, sum).
"""
import asyncio
import struct

import volley_python

first = struct.Struct("<Q").unpack_from
record = struct.Struct("<QQ").unpack_from


class Sink:
    """Counts, and sums the first 8 bytes of each message."""

    def __init__(self, size, delay):
        self.pieces = volley_python.Pieces(size)
        self.size = size
        self.delay = delay
        self.count = self.total = 0

    def take(self, data):
        """One whole message; what it returns is sent."""
        if self.delay:
            self.delay()
        self.count += 1
        self.total += first(data)[0]

    def take_batch(self, table, count):
        """Whole messages as rows of a numpy array of bytes."""
        if self.delay:
            for _ in range(count):
                self.delay()
        self.count += count
        self.total += int(table.view("<u8")[:, 0].sum())
        return None

    def take_any(self, rest, data):
        """What came on a stream: (unfinished bytes, answer)."""
        if not rest and len(data) == self.size:
            return rest, self.take(data)
        data = rest + data
        whole = len(data) // self.size
        answers = []
        for i in range(whole):
            answer = self.take(data[i * self.size:(i + 1) * self.size])
            if answer is not None:
                answers.append(answer)
        return data[whole * self.size:], b"".join(answers) or None

    def tell(self):
        return self.count, self.total


class Echo(Sink):
    """And sends each back."""

    def take(self, data):
        if self.delay:
            self.delay()
        self.count += 1
        self.total += first(data)[0]
        return data

    def take_batch(self, table, count):
        super().take_batch(table, count)
        return table


class Record(Sink):
    """Real work: a binary record is parsed, a dictionary of 1,024 keys updated, a column of numbers appended to; then echoed."""

    COLUMN = 1 << 20
    CHUNK = 4096

    def __init__(self, size, delay):
        import numpy
        super().__init__(size, delay)
        self.latest = {}
        self.column = numpy.zeros(self.COLUMN, "<u8")
        self.filled = 0
        self.fresh = []
        self.numpy = numpy

    def append(self, values):
        """Around again when it is full: memory stays bounded."""
        if self.filled + len(values) > self.COLUMN:
            self.filled = 0
        self.column[self.filled:self.filled + len(values)] = values
        self.filled += len(values)

    def take(self, data):
        if self.delay:
            self.delay()
        number, when = record(data)
        self.latest[number & 1023] = when
        fresh = self.fresh
        fresh.append(when)
        if len(fresh) == self.CHUNK:
            self.append(fresh)
            fresh.clear()
        self.count += 1
        self.total += number
        return data

    def take_batch(self, table, count):
        if self.delay:
            for _ in range(count):
                self.delay()
        words = table.view("<u8")
        numbers, when = words[:, 0], words[:, 1]
        self.latest.update(zip((numbers & 1023).tolist(), when.tolist()))
        for begin in range(0, count, self.CHUNK):
            self.append(when[begin:begin + self.CHUNK])
        self.count += count
        self.total += int(numbers.sum())
        return table


WORKS = {"echo": Echo, "sink": Sink, "record": Record}


def proto(engine, address, size, work):
    class Consumer(asyncio.Protocol):
        rest = b""

        def connection_made(self, transport):
            self.transport = transport

        def data_received(self, data):
            self.rest, answer = work.take_any(self.rest, data)
            if answer is not None:
                self.transport.write(answer)

        def pause_writing(self):
            self.transport.pause_reading()

        def resume_writing(self):
            self.transport.resume_reading()

    return engine.listen(address, Consumer, backlog=65535), work.tell


def completion(engine, address, size, work):
    class Consumer:
        rest = b""

        def data_received(self, data):
            self.rest, answer = work.take_any(self.rest, data)
            return answer

    return engine.listen(address, Consumer, style="completion", backlog=65535), work.tell


def coro(engine, address, size, work):
    async def serve(conn):
        rest = b""
        while data := await conn.recv():
            rest, answer = work.take_any(rest, data)
            if answer is not None:
                conn.send(answer)
                if conn.get_write_buffer_size():
                    await conn.drain()

    return engine.listen(address, serve, style="coro", backlog=65535), work.tell


def batch(engine, address, size, work):
    def on_batch(rows):
        for conn, data in rows:
            if len(data) == size and conn.data is None:
                answer = work.take(data)
            else:
                rest, answer = work.take_any(conn.data or b"", data)
                conn.data = rest or None
            if answer is not None:
                conn.write(answer)

    engine.on_batch(on_batch)
    return engine.listen(address, style="batch", backlog=65535), work.tell


def columns(engine, address, size, work):
    import numpy
    import volley
    ragged = set()  # connections with an unfinished message

    def on_batch(rows):
        lengths = numpy.asarray(rows.lengths)
        data = numpy.asarray(rows.data)
        messages = int(numpy.count_nonzero(lengths))
        if ragged:
            closed = numpy.asarray(rows.kinds) == volley.CLOSED
            ragged.difference_update(numpy.asarray(rows.conns)[closed].tolist())
        # As the longest is one message long and the mean is, all are. The source's are; streams may bring pieces.
        if messages and not ragged and size % 8 == 0 and lengths.max() == size and len(data) == messages * size:
            answer = work.take_batch(data.reshape(messages, size), messages)
            if answer is not None:
                rows.reply_all()
            return
        for conn, piece in rows:
            rest, answer = work.take_any(conn.data or b"", piece)
            conn.data = rest or None
            (ragged.add if rest else ragged.discard)(conn.handle)
            if answer is not None:
                conn.write(answer)

    engine.on_batch(on_batch)
    return engine.listen(address, style="batch", backlog=65535), work.tell


STYLES = {style.__name__: style for style in (proto, completion, coro, batch, columns)}


def choose(style, kind, engine, address, size, delay):
    """The consumer of a built-in style. An echo that is not slowed is the bench's own row."""
    if kind == "echo" and delay is None:
        return volley_python.STYLES[style](engine, address, size)
    return STYLES[style](engine, address, size, WORKS[kind](size, delay))
