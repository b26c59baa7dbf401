"""test_sleep.py - consumers that sleep for 10 seconds: memory stays bounded, nothing is lost without being counted"""

import asyncio
import threading
import time
import unittest

import volley
from peers import SANITIZED, Thread, connect, nics, poll_until, resident

SLEEP_S = 10
RATE = 100000  # messages per second: a million come in the meantime
RING = 1024
BATCH = 64


class Sleepers(unittest.TestCase):
    """All sleep at the same time, each on a thread and an engine of its own."""

    def source(self, overload, found):
        """What a consumer of a steady source has seen, and the engine's counters."""
        rows, slept = [], []

        def on_batch(batch):
            rows.append(sum(kind == volley.DATA for kind in batch.kinds))
            if sum(rows) > 1000 and not slept:
                slept.append(time.monotonic())
                time.sleep(SLEEP_S)
                found['stats', overload] = engine.stats()
                found['seen', overload] = sum(rows)

        with volley.Engine(nic=f'source:conns=100,len=64,batch={BATCH},rate={RATE}', mode='thread', max_batch=BATCH,
                           ring=RING, overload=overload) as engine:
            engine.on_batch(on_batch)
            engine.listen('0.0.0.0:1', style='batch')
            poll_until(engine, lambda: slept and sum(rows) > 3000, 'rows after the sleep')
            found['after', overload] = engine.stats()
            found['all', overload] = sum(rows)

    def tcp(self, nic, found):
        """A consumer of a stream sleeps over its first bytes; the peer has to wait."""
        got = bytearray()
        data = bytes(range(256)) * 80000

        class Slow(asyncio.Protocol):
            def data_received(self, part):
                if not got:
                    time.sleep(SLEEP_S)
                    found['sent', nic] = sent[0]
                got.extend(part)

        sent = [0]
        with volley.Engine(nic=nic, mode='thread', max_batch=16, ring=64) as engine:
            listener = engine.listen('127.0.0.1:0', Slow)
            with connect(listener.sockname[1]) as peer:
                def write():
                    while sent[0] < len(data):
                        sent[0] += peer.send(data[sent[0]:sent[0] + 65536])

                writer = Thread(write)
                poll_until(engine, lambda: len(got) == len(data), 'all bytes')
                writer.join()
        found['whole', nic] = got == data

    def test_sleep_10_s_and_memory_stays_bounded(self):
        found = {}
        before, peak = resident(), 0
        sleepers = [Thread(self.source, overload, found) for overload in ('pause', 'drop')]
        sleepers += [Thread(self.tcp, nic, found) for nic in nics()]
        end = time.monotonic() + SLEEP_S * 0.9
        while time.monotonic() < end:
            peak = max(peak, resident())
            time.sleep(0.1)
        for sleeper in sleepers:
            sleeper.join()
        if not SANITIZED:
            self.assertLess(peak - before, 128 << 20)  # the engines' own memory is most of it
        waiting_max = RING + 2 * BATCH  # what the ring holds, and a batch on each side
        with self.subTest('pause'):
            stats = found['stats', 'pause']
            self.assertEqual(stats['py_dropped'], 0)
            self.assertGreater(found['after', 'pause']['py_paused_ns'], SLEEP_S * 1e9 / 2)
            self.assertLessEqual(stats['source_offered'] - found['seen', 'pause'], waiting_max)
        with self.subTest('drop'):
            stats = found['stats', 'drop']
            # some of a million: the source keeps its rate, as nobody stops it
            self.assertGreater(stats['py_dropped'], RATE * SLEEP_S / 10)
            self.assertEqual(stats['py_paused_ns'], 0)
            stats = found['after', 'drop']
            self.assertLessEqual(stats['source_offered'] - stats['py_dropped'] - found['all', 'drop'], waiting_max)
        for nic in nics():
            with self.subTest(nic):
                self.assertTrue(found['whole', nic])
                # not much more than socket buffers and receive buffers: flow control stopped the peer
                self.assertLess(found['sent', nic], 18 << 20)
        self.assertEqual(threading.active_count(), 1)


if __name__ == '__main__':
    raise SystemExit('run by tap_unittest.py')
