#!/usr/bin/python3
"""test_memory.py - what Python holds on to stays valid and bounded, whatever ends first"""

import asyncio
import contextlib
import gc
import os
import sys
import time
import unittest
import weakref

import volley
from peers import SANITIZED, Thread, connect, nics, poll_until, receive

NICS = nics()
WAYS = [(nic, mode) for nic in NICS for mode in ('inline', 'thread')]
SOURCE = 'source:conns=10,len=64,batch=32,order=linear'


def take_views(engine, count, keep):
    """Runs until keep(batch) was called for `count` batches of data."""
    seen = []

    def on_batch(batch):
        if len(seen) < count and set(batch.kinds) == {volley.DATA}:
            seen.append(len(batch))
            keep(batch)

    engine.on_batch(on_batch)
    poll_until(engine, lambda: len(seen) == count, 'batches')


def source(**options):
    engine = volley.Engine(nic=SOURCE, **options)
    engine.listen('0.0.0.0:1', style='batch')
    return engine


def numbers(views):
    return [int.from_bytes(view[:8], 'little') for view in views]


class Views(unittest.TestCase):
    def test_outlive_batch_connection_and_engine(self):
        for mode in ('inline', 'thread'):
            with self.subTest(mode=mode):
                views, copies = [], []

                def keep(batch):
                    views.extend([batch.view(1), batch.data, batch.view(2)[8:]])
                    copies.extend(bytes(view) for view in views[-3:])

                with source(mode=mode) as engine:
                    take_views(engine, 5, keep)
                    for _ in range(50):
                        engine.poll(0.01)
                del engine
                gc.collect()
                self.assertEqual([bytes(view) for view in views], copies)

    def test_slices_survive_the_release_of_their_parent(self):
        out = []

        def keep(batch):
            view = batch.data
            out.append((view[64:128], bytes(view[64:128])))
            view.release()

        with source() as engine:
            take_views(engine, 3, keep)
            for _ in range(100):
                engine.poll(0)
        for part, copy in out:
            self.assertEqual(bytes(part), copy)

    def test_go_to_other_threads(self):
        views, copies = [], []

        def keep(batch):
            views.append(batch.view(0))
            copies.append(bytes(views[-1]))

        with source() as engine:
            take_views(engine, 20, keep)
            readers = [Thread(lambda: [bytes(view) for view in views for _ in range(100)][::100])
                       for _ in range(4)]
            for _ in range(100):
                engine.poll(0)
            for reader in readers:
                self.assertEqual(reader.join(), copies)
            Thread(views.clear).join()
            engine.poll(0)
            self.assertEqual(engine.stats()['py_pinned'], 0)

    def test_are_read_only(self):
        def keep(batch):
            for name in ('conns', 'stamps', 'offsets', 'lengths', 'statuses', 'kinds', 'data'):
                with self.assertRaises(TypeError):
                    getattr(batch, name)[0] = 0
            self.assertTrue(memoryview(batch.view(0))[1:].readonly)

        with source() as engine:
            take_views(engine, 1, keep)

    def test_pins_are_counted_and_bounded_by_copying(self):
        views = []
        with source(max_pinned=4) as engine:
            take_views(engine, 4, lambda batch: views.append(batch.view(0)))
            self.assertEqual(engine.stats()['py_pinned'], 4)
            self.assertEqual(engine.stats()['py_copied'], 0)
            take_views(engine, 6, lambda batch: views.extend([batch.view(0), batch.lengths]))
            self.assertEqual(engine.stats()['py_pinned'], 4)
            # the two that are kept of six batches, and the look at their kinds
            self.assertEqual(engine.stats()['py_copied'], 18)
            self.assertEqual(views[-1].format, 'I')
            self.assertEqual(list(views[-1]), [64] * 32)
            self.assertEqual(sorted(numbers(views[:4])), numbers(views[:4]))
            views.clear()
            self.assertEqual(engine.stats()['py_pinned'], 0)
            take_views(engine, 1, lambda batch: views.append(batch.view(0)))
            self.assertEqual(engine.stats()['py_copied'], 18)

    def test_one_pinned_batch_is_one_pin_however_many_views(self):
        views = []
        with source(max_pinned=2) as engine:
            take_views(engine, 1, lambda batch: views.extend(batch.view(i) for i in range(32)))
            self.assertEqual(engine.stats()['py_pinned'], 1)
            del views[1:]
            self.assertEqual(engine.stats()['py_pinned'], 1)
            del views[:]
            self.assertEqual(engine.stats()['py_pinned'], 0)

    def test_a_batch_that_is_kept_is_released_all_the_same(self):
        kept = []
        with source() as engine:
            take_views(engine, 3, kept.append)
            self.assertTrue(all(batch.released for batch in kept))
        for batch in kept:
            with self.assertRaises(ValueError):
                batch.data


class Sends(unittest.TestCase):
    def test_bytes_live_until_they_are_sent(self):
        """The last reference to a large bytes goes right after write()."""
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), volley.Engine(nic=nic, mode=mode) as engine:
                made = []

                class Writer(asyncio.Protocol):
                    def connection_made(self, transport):
                        made.append(transport)
                        for number in range(40):
                            transport.write(bytes([number]) * 100000)

                listener = engine.listen('127.0.0.1:0', Writer)
                with connect(listener.sockname[1]) as peer:
                    reader = Thread(receive, peer, 4000000)
                    poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
                    want = b''.join(bytes([number]) * 100000 for number in range(40))
                    self.assertTrue(reader.join() == want)

    def test_memory_of_unsent_bytes_comes_back_when_the_engine_closes(self):
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode):
                data = bytes(1000000)
                before = sys.getrefcount(data)
                engine = volley.Engine(nic=nic, mode=mode)
                made = []

                class Writer(asyncio.Protocol):
                    def connection_made(self, transport):
                        made.append(transport)
                        for _ in range(20):
                            transport.write(data)

                listener = engine.listen('127.0.0.1:0', Writer)
                with connect(listener.sockname[1]):
                    poll_until(engine, lambda: made, 'a connection')
                    for _ in range(5):
                        engine.poll(0.01)
                    self.assertGreater(sys.getrefcount(data), before)
                    engine.close()
                self.assertEqual(sys.getrefcount(data), before)


class SlowConsumers(unittest.TestCase):
    """Consumers that sleep: a second in every run, 10 by hand (VOLLEY_TEST_SLEEP_S=10)."""

    SLEEP_S = float(os.environ.get('VOLLEY_TEST_SLEEP_S', '1'))

    def test_pause_loses_nothing_and_is_counted(self):
        self.sleeper('pause')

    def test_drop_is_counted_and_bounded(self):
        self.sleeper('drop')

    def sleeper(self, overload):
        engine = volley.Engine(nic='source:conns=100,len=64,batch=64,rate=200000', mode='thread', max_batch=64,
                               ring=1024, overload=overload)
        engine.listen('0.0.0.0:1', style='batch')
        rows = []
        slept = []

        def on_batch(batch):
            rows.append(sum(kind == volley.DATA for kind in batch.kinds))
            if sum(rows) > 1000 and not slept:
                slept.append(1)
                time.sleep(self.SLEEP_S)

        engine.on_batch(on_batch)
        memory = resident()
        poll_until(engine, lambda: slept and sum(rows) > 3000, 'rows after the sleep')
        stats = engine.stats()
        offered, dropped = stats['source_offered'], stats['py_dropped']
        if overload == 'pause':
            self.assertEqual(dropped, 0)
            self.assertGreater(stats['py_paused_ns'], self.SLEEP_S * 1e9 / 2)
        else:
            self.assertGreater(dropped, 0)
            self.assertEqual(stats['py_paused_ns'], 0)
        # what is neither seen nor dropped waits in the ring: 1,024 completions, and one batch on each side
        self.assertLessEqual(offered - dropped - sum(rows), 1024 + 2 * 64)
        if not SANITIZED:
            self.assertLess(resident() - memory, 16 << 20)
        engine.close()

    def test_over_tcp_nothing_is_lost(self):
        for nic in NICS:
            with self.subTest(nic=nic):
                engine = volley.Engine(nic=nic, mode='thread', max_batch=16, ring=64)
                got = bytearray()

                class Slow(asyncio.Protocol):
                    def data_received(self, data):
                        if not got:
                            time.sleep(0.5)
                        got.extend(data)

                listener = engine.listen('127.0.0.1:0', Slow)
                data = bytes(range(256)) * 40000
                with connect(listener.sockname[1]) as peer:
                    writer = Thread(peer.sendall, data)
                    poll_until(engine, lambda: len(got) == len(data), 'all bytes')
                    writer.join()
                self.assertTrue(got == data)
                engine.close()


def resident():
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * 4096


class Cycles(unittest.TestCase):
    def test_an_engine_that_nobody_closed_is_closed_by_its_end(self):
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), self.assertWarns(ResourceWarning):
                engine = volley.Engine(nic=nic, mode=mode)
                engine.on_batch(lambda batch, engine=engine: None)
                engine.listen('127.0.0.1:0', asyncio.Protocol)
                del engine
                gc.collect()

    def test_protocols_and_transports_are_freed_when_a_connection_ends(self):
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), volley.Engine(nic=nic, mode=mode) as engine:
                made = []

                class Keeper(asyncio.Protocol):
                    def connection_made(self, transport):
                        self.transport = transport
                        made.extend([weakref.ref(self), weakref.ref(transport)])

                listener = engine.listen('127.0.0.1:0', Keeper)
                gc.disable()
                self.addCleanup(gc.enable)
                with connect(listener.sockname[1]):
                    poll_until(engine, lambda: made, 'a connection')
                poll_until(engine, lambda: not any(ref() for ref in made), 'their ends')
                gc.enable()

    def test_a_full_batch_under_a_collection_at_every_allocation(self):
        old = gc.get_threshold()
        gc.set_threshold(1)
        self.addCleanup(gc.set_threshold, *old)

        async def handler(conn):
            with contextlib.suppress(OSError):
                while data := await conn.recv():
                    conn.send([data][0])

        class Answer:
            def data_received(self, transport, data):
                self.last = [transport, data, self]
                return data

        class Echo(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = [transport]

            def data_received(self, data):
                self.last = [self, data]
                self.transport[0].write(data)

        for style, factory in (('asyncio', Echo), ('completion', Answer), ('coro', handler), ('batch', None)):
            with self.subTest(style=style), \
                    volley.Engine(nic='source:conns=50,batch=16,count=400') as engine:
                engine.on_batch(lambda batch: [transport.write(data) for transport, data in batch])
                engine.listen('0.0.0.0:1', factory, style=style)
                poll_until(engine, lambda: engine.stats()['source_replies'] == 400, 'all answers')


if __name__ == '__main__':
    unittest.main()
