#!/usr/bin/env python3
# turnover_columns.py - ticks summed per symbol with numpy, no Python object for each: turnover_columns.py [HOST:PORT]
"""A tick is a symbol (uint32), a size (uint32) and a price (float64), little-endian. A connection may send any number of
them at any time; each is answered by size times price, a float64. The turnover of each symbol is printed at the end."""
import signal
import sys

import numpy
import volley

TICK = numpy.dtype([("symbol", "<u4"), ("size", "<u4"), ("price", "<f8")])
turnover = numpy.zeros(1000)
rest = {}  # handle of a connection: the bytes of an unfinished tick


def answer(data):
    """Adds the ticks up; the answers, one for each."""
    ticks = numpy.frombuffer(data, TICK)
    values = ticks["size"] * ticks["price"]
    numpy.add.at(turnover, ticks["symbol"] % len(turnover), values)
    return values.astype("<f8")


def on_batch(batch):
    lengths = numpy.asarray(batch.lengths)
    if rest:
        closed = numpy.asarray(batch.kinds) == volley.CLOSED
        for handle in numpy.asarray(batch.conns)[closed].tolist():
            rest.pop(handle, None)
    if not rest and not (lengths % TICK.itemsize).any():
        # Whole ticks only, as nearly always: the batch is one array, and so are the answers.
        batch.reply_all(answer(batch.data), lengths // TICK.itemsize * 8)
        return
    for transport, data in batch:
        data = rest.pop(transport.handle, b"") + data
        whole = len(data) // TICK.itemsize * TICK.itemsize
        transport.write(answer(data[:whole]).tobytes())
        if whole < len(data):
            rest[transport.handle] = data[whole:]


with volley.Engine() as engine:
    engine.on_batch(on_batch)
    listener = engine.listen(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7777", style="batch")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: engine.stop())
    print("listening on", listener.addr, flush=True)
    engine.run()
for symbol in numpy.flatnonzero(turnover):
    print(symbol, turnover[symbol])
