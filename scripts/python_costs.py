#!/usr/bin/python3
"""python_costs.py - what a message costs in each style of the Python module, without a network

usage: python_costs.py [--messages N] [--batch N,N,...] [--connections N,N,...] [--rounds N] [--styles S,S,...] [--threads]

Completions come from a source inside the engine, in batches of messages of 64 bytes from connections in random order, and
answers go into a sink: what is measured is the module and the interpreter. Nanoseconds of this process's CPU time per
message, the median of the rounds, with staged prefetch and without; with --threads inline and in thread mode, both threads
counted. PYTHONPATH=build/pyshim for a build that is not installed.
"""

import argparse
import asyncio
import itertools
import statistics
import time

import volley

try:
    import numpy
except ImportError:
    numpy = None


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Answer:
    def data_received(self, data):
        return data


async def coroutine(conn):
    while data := await conn.recv():
        conn.send(data)


def rows(batch):
    for transport, data in batch:
        transport.write(data)


def payloads(batch):
    batch.reply_all([data for data in batch.payloads()])


def numbers(batch):
    """What volley_batch does: a view of all data gives the first 8 bytes of each message as an int."""
    batch.reply_all()
    total = 0
    for number in batch.data.cast('Q')[::8].tolist():
        total += number


def columns(batch):
    batch.reply_all()


class Sums:
    """Columns, and numpy adds up the first 8 bytes of all messages of a batch."""

    total = 0

    def __call__(self, batch):
        batch.reply_all()
        if batch.uniform:
            self.total += int(numpy.add.reduce(numpy.frombuffer(batch.data, '<u8')[::8]))


STYLES = {
    'asyncio': ('asyncio', Echo, None),
    'completion': ('completion', Answer, None),
    'coro': ('coro', coroutine, None),
    'batch': ('batch', None, rows),
    'payloads': ('batch', None, payloads),
    'numbers': ('batch', None, numbers),
    'columns': ('batch', None, columns),
}
if numpy:
    STYLES['numpy'] = ('batch', None, Sums())


def cost_ns(name, connections, batch, messages, **options):
    """CPU time per message of one round. The source never ends."""
    style, factory, on_batch = STYLES[name]
    nic = f'source:conns={connections},len=64,batch={batch}'
    with volley.Engine(nic=nic, conns_max=connections + 16, **options) as engine:
        engine.on_batch(on_batch)
        engine.listen('127.0.0.1:1', factory, style=style)
        poll = engine.poll
        handled = -connections - messages // 8  # to begin with, they open
        while handled < 0:
            handled += poll(None)
        handled = 0
        began = time.process_time_ns()
        while handled < messages:
            handled += poll(None)
        return (time.process_time_ns() - began) / handled


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=100000)
    parser.add_argument('--batch', default='64')
    parser.add_argument('--connections', default='1000,10000,60000')
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--styles', default=','.join(STYLES))
    parser.add_argument('--threads', action='store_true')
    given = parser.parse_args()
    ways = {'prefetch': {'prefetch': True}, 'without': {'prefetch': False}}
    if given.threads:
        ways = {'inline': {}, 'thread': {'mode': 'thread'}}
    print(f'| style | connections | batch | {" | ".join(f"ns, {way}" for way in ways)} |')
    print(f'|{"---|" * (3 + len(ways))}')
    styles = given.styles.split(',')
    for connections, batch in itertools.product(given.connections.split(','), given.batch.split(',')):
        # All in turn, again and again, as the machine's speed drifts.
        found = {each: [] for each in itertools.product(styles, ways)}
        for _, (name, way) in itertools.product(range(given.rounds), found):
            found[name, way].append(cost_ns(name, int(connections), int(batch), given.messages, **ways[way]))
        for name in styles:
            print(f'| {name} | {int(connections):,} | {batch} | '
                  f'{" | ".join(f"{statistics.median(found[name, way]):.0f}" for way in ways)} |', flush=True)


if __name__ == '__main__':
    main()
