#!/usr/bin/python3
"""python_costs.py - what a message costs in each style of the Python module, without a network

usage: python_costs.py [--messages N] [--batch N] [--connections N,N,...] [--rounds N] [--styles S,S,...]

Completions come from a source inside the engine, in batches of messages of 64 bytes from connections in random order, and
answers go into a sink: what is measured is the module and the interpreter. Nanoseconds of this process's CPU time per
message, the median of the rounds, with staged prefetch and without. PYTHONPATH=build/pyshim for a build that is not installed.
"""

import argparse
import asyncio
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
    'columns': ('batch', None, columns),
}
if numpy:
    STYLES['numpy'] = ('batch', None, Sums())


def cost_ns(name, connections, prefetch, given):
    """CPU time per message of one round."""
    style, factory, on_batch = STYLES[name]
    warm = connections + given.messages // 8
    nic = f'source:conns={connections},len=64,batch={given.batch},count={given.messages + warm}'
    with volley.Engine(nic=nic, conns_max=connections + 16, prefetch=prefetch) as engine:
        engine.on_batch(on_batch)
        engine.listen('127.0.0.1:1', factory, style=style)
        while engine.stats()['source_offered'] < warm:
            engine.poll(0)
        before = engine.stats()['source_offered']
        polls = (given.messages + warm - before) // given.batch - 2
        poll = engine.poll
        began = time.process_time_ns()
        for _ in range(polls):
            poll(0)
        spent = time.process_time_ns() - began
        return spent / (engine.stats()['source_offered'] - before)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--messages', type=int, default=400000)
    parser.add_argument('--batch', type=int, default=64)
    parser.add_argument('--connections', default='1000,10000,60000')
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--styles', default=','.join(STYLES))
    given = parser.parse_args()
    print('| style | connections | ns, prefetch | ns, without |')
    print('|---|---|---|---|')
    for connections in map(int, given.connections.split(',')):
        for name in given.styles.split(','):
            # Interleaved, as the machine's speed drifts.
            found = {True: [], False: []}
            for _ in range(given.rounds):
                for prefetch in found:
                    found[prefetch].append(cost_ns(name, connections, prefetch, given))
            print(f'| {name} | {connections:,} | {statistics.median(found[True]):.0f} | '
                  f'{statistics.median(found[False]):.0f} |', flush=True)


if __name__ == '__main__':
    main()
