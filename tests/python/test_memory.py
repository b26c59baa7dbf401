#!/usr/bin/python3
"""test_memory.py - what Python holds on to stays valid and bounded, whatever ends first"""

import asyncio
import contextlib
import gc
import sys
import unittest
import weakref

import volley
from peers import Thread, connect, nics, poll_until, receive

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

    def test_of_received_bytes_outlive_their_connection(self):
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), volley.Engine(nic=nic, mode=mode) as engine:
                views, kinds = [], []

                def keep(batch):
                    kinds.extend(batch.kinds)
                    views.extend(batch.view(row) for row, kind in enumerate(batch.kinds) if kind == volley.DATA)

                engine.on_batch(keep)
                listener = engine.listen('127.0.0.1:0', style='batch')
                for number in range(10):
                    with connect(listener.sockname[1]) as peer:
                        peer.sendall(bytes([number]) * 100)
                        poll_until(engine, lambda: sum(map(len, views)) == 100 * (number + 1), 'its bytes')
                    poll_until(engine, lambda: kinds.count(volley.CLOSED) == number + 1, 'its end')
                self.assertEqual(b''.join(views), b''.join(bytes([number]) * 100 for number in range(10)))

    def test_columns_that_are_made_on_demand_outlive_all(self):
        """Of messages of one length, reaped at once, only what was asked for is there."""
        columns = {}

        def keep(batch):
            self.assertEqual(batch.uniform, 64)
            for name in ('stamps', 'offsets', 'lengths', 'statuses', 'kinds'):
                columns[name] = getattr(batch, name)
            batch.release()

        with source() as engine:
            take_views(engine, 1, lambda batch: None)
            engine.on_batch(lambda batch: columns or keep(batch))
            poll_until(engine, lambda: columns, 'a batch')
            for _ in range(20):
                engine.poll(0)
        self.assertEqual(list(columns['offsets']), list(range(0, 2048, 64)))
        self.assertEqual(list(columns['lengths']), [64] * 32)
        self.assertEqual(list(columns['statuses']), [0] * 32)
        self.assertEqual(list(columns['kinds']), [volley.DATA] * 32)
        self.assertEqual(len(set(columns['stamps'])), 1)

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


class Exceptions(unittest.TestCase):
    def test_an_exception_at_any_place_of_a_batch_ends_its_connection_alone(self):
        seen, lost, contexts = [], [], []

        def take(data, place):
            seen.append(int.from_bytes(data[:8], 'little'))
            if seen[-1] == place:
                raise LookupError(place)

        def factories(place):
            class Proto(asyncio.Protocol):
                def data_received(self, data):
                    take(data, place)

                def connection_lost(self, exc):
                    lost.append(exc)

            class Completion:
                def data_received(self, data):
                    take(data, place)

                def connection_lost(self, transport, exc):
                    lost.append(exc)

            async def handler(conn):
                try:
                    while data := await conn.recv():
                        take(data, place)
                except LookupError as error:
                    lost.append(error)
                    raise

            return {'asyncio': Proto, 'completion': Completion, 'coro': handler}

        for mode in ('inline', 'thread'):
            for style in ('asyncio', 'completion', 'coro'):
                for place in range(16):
                    with self.subTest(mode=mode, style=style, place=place), \
                            volley.Engine(nic='source:conns=16,batch=16,order=linear,count=96', mode=mode) as engine:
                        for found in (seen, lost, contexts):
                            found.clear()
                        engine.set_exception_handler(contexts.append)
                        engine.listen('0.0.0.0:1', factories(place)[style], style=style)
                        # those of one connection may have been under way already
                        poll_until(engine, lambda: len(seen) >= 90 and lost, 'all of the others')
                        self.assertEqual(seen[:16], list(range(16)))
                        self.assertEqual([type(context['exception']) for context in contexts], [LookupError])
                        self.assertEqual([type(exc) for exc in lost], [LookupError])
                        self.assertEqual(engine.stats()['py_exceptions'], 1)


if __name__ == '__main__':
    unittest.main()
