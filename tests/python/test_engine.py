#!/usr/bin/python3
"""test_engine.py - polling, running, stopping, clients, styles, timers and watches, the source"""

import asyncio
import contextlib
import contextvars
import select
import socket
import threading
import time
import unittest

import volley
from peers import PATIENCE_S, Thread, connect, nics, poll_until, receive, reset

NICS = nics()
WAYS = [(nic, mode) for nic in NICS for mode in ('inline', 'thread')]
LOCAL = '127.0.0.1:0'


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Case(unittest.TestCase):
    def every(self, **options):
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), volley.Engine(nic=nic, mode=mode, **options) as engine:
                yield engine

    def exchange(self, engine, port, messages, size=64):
        """Ping-pong of a blocking peer while the engine runs."""
        def drive():
            with connect(port) as peer:
                for number in range(messages):
                    message = number.to_bytes(8, 'little') * (size // 8)
                    peer.sendall(message)
                    if receive(peer, size) != message:
                        raise AssertionError(f'message {number} came back otherwise')
            engine.stop()

        driver = Thread(drive)
        engine.run()
        driver.join()


class Polling(Case):
    def test_a_poll_inside_a_callback_is_an_error(self):
        for engine in self.every():
            errors = []

            class Nested(asyncio.Protocol):
                def connection_made(self, transport):
                    for call in (engine.poll, engine.run, lambda: next(engine)):
                        try:
                            call()
                        except RuntimeError as error:
                            errors.append(error)
                    transport.write(b'fine')

            listener = engine.listen(LOCAL, Nested)
            with connect(listener.sockname[1]) as peer:
                poll_until(engine, lambda: errors, 'the callback')
                engine.poll(0)
                self.assertEqual(receive(peer, 4), b'fine')
            self.assertEqual(len(errors), 3)

    def test_timeouts(self):
        for engine in self.every():
            self.assertEqual(engine.poll(), 0)
            self.assertEqual(engine.poll(timeout=0.001), 0)
            for wrong, error in ((-1, ValueError), (float('nan'), ValueError), ('1', TypeError)):
                with self.assertRaises(error):
                    engine.poll(wrong)
            with self.assertRaises(TypeError):
                engine.poll(1, 2)
            with self.assertRaises(TypeError):
                engine.poll(wait=1)

    def test_wake_ends_the_current_or_the_next_poll(self):
        for engine in self.every():
            engine.wake()
            self.assertEqual(engine.poll(None), 0)
            waker = threading.Timer(0.05, engine.wake)
            waker.start()
            self.assertEqual(engine.poll(None), 0)
            waker.join()

    def test_a_stop_is_never_lost(self):
        """At every moment of a slice of the main thread's sleep, too."""
        for engine in self.every():
            engine.stop()
            engine.run()
            for delay in (0, 0.001, 0.199, 0.2, 0.201):
                stopper = threading.Timer(delay, engine.stop)
                stopper.start()
                engine.run()
                stopper.join()
                self.assertFalse(engine.stopping)

    def test_fileno_tells_an_outer_loop(self):
        for engine in self.every():
            fd = engine.fileno()
            listener = engine.listen(LOCAL, Echo)
            outer = select.poll()
            outer.register(fd, select.POLLIN)
            with connect(listener.sockname[1]) as peer:
                peer.sendall(b'ping')
                peer.settimeout(0.0)
                outer.register(peer, select.POLLIN)
                deadline = time.monotonic() + PATIENCE_S
                got = b''
                while got != b'ping' and time.monotonic() < deadline:
                    # The peer has asked: its question has to ring here, or the answer there.
                    if not engine.poll(0):
                        self.assertTrue(outer.poll(PATIENCE_S * 1000), 'the descriptor told nothing')
                    with contextlib.suppress(BlockingIOError):
                        got += peer.recv(10)
                self.assertEqual(got, b'ping')

    def test_timers_fire_once_and_not_when_cancelled(self):
        for engine in self.every():
            fired = []
            engine.call_later(0.01, fired.append, 1)
            cancelled = engine.call_later(0.005, fired.append, 2)
            cancelled.cancel()
            cancelled.cancel()
            engine.call_later(0, lambda: 1 // 0)
            engine.set_exception_handler(lambda context: fired.append(type(context['exception'])))
            poll_until(engine, lambda: len(fired) == 2, 'timers')
            engine.poll(0.02)
            self.assertEqual(set(fired), {1, ZeroDivisionError})

    def test_watches_report_while_ready(self):
        for engine in self.every():
            one, two = socket.socketpair()
            with one, two:
                seen = []
                watch = engine.watch(one, select.POLLIN, lambda fd, mask: seen.append((fd, mask)))
                two.send(b'x')
                poll_until(engine, lambda: len(seen) > 2, 'readiness')
                self.assertEqual(seen[0], (one.fileno(), select.POLLIN))
                watch.close()
                watch.close()
                seen.clear()
                for _ in range(5):
                    engine.poll(0.001)
                self.assertEqual(seen, [])
                engine.watch(one, select.POLLIN, lambda fd, mask: seen.append(one.recv(1)))
                poll_until(engine, lambda: seen == [b'x'], 'the byte')

    def test_watches_report_to_a_thread_that_spins(self):
        def spin():
            with volley.Engine(mode='thread', idle='busy', conns_max=16) as engine:
                engine.watch(one, select.POLLIN, lambda fd, mask: None)
                engine.poll(0)  # every other poll begins with a look
                two.send(b'x')
                return engine.poll(None)

        one, two = socket.socketpair()
        with one, two:
            self.assertEqual(Thread(spin).join(), 1)

    def test_watches_report_beside_batches_without_end(self):
        """Idle policies differ in whether a pipe for signals is watched, too."""
        for mode in ('inline', 'thread'):
            for idle in ('sleep', 'busy'):
                with self.subTest(mode=mode, idle=idle), contextlib.ExitStack() as stack:
                    one, two = (stack.enter_context(end) for end in socket.socketpair())
                    engine = stack.enter_context(volley.Engine(nic='source:conns=4,batch=16', mode=mode, idle=idle))
                    engine.on_batch(lambda batch: time.sleep(0.0002))  # there is always a next one
                    engine.listen('0.0.0.0:1', style='batch')
                    poll_until(engine, lambda: engine.stats()['py_batches'] > 10, 'batches')
                    seen = []
                    try:
                        engine.watch(one, select.POLLIN, lambda fd, mask: seen.append(mask))
                    except OSError:
                        continue  # a source inline watches nothing
                    two.send(b'x')
                    poll_until(engine, lambda: seen, 'readiness')


class Styles(Case):
    def test_completion_protocols_answer_by_returning(self):
        class Whole:
            def data_received(self, transport, data):
                return data

        class Short:
            def data_received(self, data):
                return memoryview(data)

        class Parts:
            def data_received(self, transport, data):
                return data[:3], bytearray(data[3:10]), b'', [data[10:]][0]

        class Static:
            @staticmethod
            def data_received(transport, data):
                return [data]

        for factory in (Whole, Short, Parts, Static):
            for engine in self.every():
                self.exchange(engine, engine.listen(LOCAL, factory, style='completion').sockname[1], 50)

    def test_completion_protocols_are_told_of_their_sends(self):
        class Counter:
            initial_bytes_to_send = b'start'

            def __init__(self):
                self.told = []
                made.append(self)

            def connection_made(self, transport):
                return b'made.'

            def send_complete(self, transport, send_id):
                self.told.append(send_id)
                return None if send_id >= 5 else b'after%d' % send_id

            def next_bytes_to_send(self):
                return b'next' if len(self.told) == 5 else None

            def connection_lost(self, transport, exc):
                self.told.append(exc)

        for engine in self.every():
            made = []
            listener = engine.listen(LOCAL, Counter, style='completion')
            want = b'made.startafter1after2after3after4next'
            with connect(listener.sockname[1]) as peer:
                reader = Thread(receive, peer, len(want))
                poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
                self.assertEqual(reader.join(), want)
                poll_until(engine, lambda: len(made[0].told) >= 7, 'all completions')
            poll_until(engine, lambda: None in made[0].told, 'the end')
            self.assertEqual(made[0].told, [1, 2, 3, 4, 5, 6, 7, None])

    def test_a_wrong_reply_is_reported_and_resets(self):
        for engine in self.every():
            contexts = []
            engine.set_exception_handler(contexts.append)

            class Wrong:
                def data_received(self, transport, data):
                    return 'text'

            listener = engine.listen(LOCAL, Wrong, style='completion')
            with connect(listener.sockname[1]) as peer:
                peer.sendall(b'x')
                poll_until(engine, lambda: contexts, 'the report')
            self.assertIsInstance(contexts[0]['exception'], TypeError)
            self.assertIn('str', str(contexts[0]['exception']))

    def test_coroutines_receive_and_send(self):
        async def handler(conn):
            while data := await conn.recv():
                conn.send(data)

        for engine in self.every():
            self.exchange(engine, engine.listen(LOCAL, handler, style='coro').sockname[1], 100)

    def test_coroutines_may_ask_for_less_and_drain(self):
        for engine in self.every(tx_budget=65536):
            ended = []

            async def handler(conn):
                head = await conn.recv(3)
                while len(head) < 3:
                    head += await conn.recv(3 - len(head))
                rest = b''
                while len(rest) < 7:
                    rest += await conn.recv()
                for _ in range(50):
                    conn.send(head + rest + bytes(99990))
                    await conn.drain()
                    assert conn.get_write_buffer_size() <= 65536
                ended.append(await conn.recv(5))

            listener = engine.listen(LOCAL, handler, style='coro')
            with connect(listener.sockname[1]) as peer:
                peer.sendall(b'headrestxy')
                reader = Thread(receive, peer, 5000000)
                poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
                self.assertTrue(reader.join() == (b'headrestxy' + bytes(99990)) * 50)
            poll_until(engine, lambda: ended, 'EOF')
            self.assertEqual(ended, [b''])

    def test_a_reset_raises_in_the_coroutine(self):
        for engine in self.every():
            raised = []

            async def handler(conn):
                try:
                    await conn.recv()
                except OSError as error:
                    raised.append(error)
                raised.append(await conn.recv() if not raised else None)

            listener = engine.listen(LOCAL, handler, style='coro')
            with connect(listener.sockname[1]) as peer:
                poll_until(engine, lambda: engine.stats()['accepted'], 'a connection')
                reset(peer)
            poll_until(engine, lambda: raised, 'the reset')
            self.assertIsInstance(raised[0], ConnectionResetError)

    def test_a_coroutine_that_fails_is_reported_and_reset(self):
        for engine in self.every():
            contexts = []
            engine.set_exception_handler(contexts.append)

            class Foreign:
                def __await__(self):
                    yield 'nobody knows this'

            async def handler(conn):
                if await conn.recv(1) == b'1':
                    raise LookupError('mine')
                await Foreign()

            listener = engine.listen(LOCAL, handler, style='coro')
            for first, error in ((b'1', LookupError), (b'2', RuntimeError)):
                with connect(listener.sockname[1]) as peer:
                    peer.sendall(first)
                    poll_until(engine, lambda: contexts, 'the report')
                self.assertIsInstance(contexts.pop()['exception'], error)

    def test_callbacks_run_in_their_context(self):
        variable = contextvars.ContextVar('variable', default='outside')
        context = contextvars.copy_context()
        context.run(variable.set, 'inside')

        class Teller(asyncio.Protocol):
            def connection_made(self, transport):
                transport.write(variable.get().encode())

        for engine in self.every():
            listener = engine.listen(LOCAL, Teller, context=context)
            with connect(listener.sockname[1]) as peer:
                reader = Thread(receive, peer, 6)
                poll_until(engine, lambda: not reader.is_alive(), 'the value')
                self.assertEqual(reader.join(), b'inside')
            self.assertEqual(variable.get(), 'outside')


class Clients(Case):
    def test_each_style_connects(self):
        for engine in self.every():
            done, got = [], {}

            class Proto(asyncio.Protocol):
                def connection_made(self, transport):
                    transport.write(b'asyncio')

                def data_received(self, data):
                    got['asyncio'] = data

            class Completion:
                initial_bytes_to_send = b'completion'

                def data_received(self, transport, data):
                    got['completion'] = data

            async def handler(conn):
                conn.send(b'coro')
                got['coro'] = await conn.recv()

            def on_batch(batch):
                for row, kind in enumerate(batch.kinds):
                    if kind == volley.OPEN:
                        batch.reply(row, b'batch')
                    elif kind == volley.DATA:
                        got['batch'] = bytes(batch.view(row))

            engine.on_batch(on_batch)
            addr = engine.listen(LOCAL, Echo).addr
            for style, factory in (('asyncio', Proto), ('completion', Completion), ('coro', handler),
                                   ('batch', None)):
                engine.connect(addr, factory, style=style, done=lambda *args: done.append(args))
            poll_until(engine, lambda: len(got) == 4, 'all answers')
            self.assertEqual(got, {name: name.encode() for name in got})
            self.assertEqual([error for _, error in done], [None] * 4)

    def test_writes_before_the_connection_is_open_are_kept(self):
        for engine in self.every():
            got = []

            class Quiet(asyncio.Protocol):
                def data_received(self, data):
                    got.append(data)

            transport = engine.connect(engine.listen(LOCAL, Echo).addr, Quiet)
            transport.write(b'early ')
            transport.write(b'bird')
            poll_until(engine, lambda: b''.join(got) == b'early bird', 'the echo')

    def test_a_refused_connect_is_told_once(self):
        with socket.socket() as closed:
            closed.bind(('127.0.0.1', 0))
            for engine in self.every():
                told = []

                class Refused(asyncio.Protocol):
                    def connection_made(self, transport):
                        told.append('made')

                    def connection_lost(self, exc):
                        told.append(exc)

                engine.connect(closed.getsockname(), Refused)
                poll_until(engine, lambda: told, 'the refusal')
                engine.connect(closed.getsockname(), Refused, done=lambda transport, error: told.append(error))
                poll_until(engine, lambda: len(told) > 1, 'the refusal')
                self.assertTrue(all(isinstance(error, ConnectionRefusedError) for error in told), told)


class Sources(Case):
    """Completions without a network."""

    def run_source(self, spec, style, factory, mode='inline', **options):
        with volley.Engine(nic='source:' + spec, mode=mode, **options) as engine:
            engine.listen('0.0.0.0:1', factory, style=style)
            count = int(spec.partition('count=')[2])
            poll_until(engine, lambda: engine.stats()['source_replies'] == count, 'all answers')
            return engine.stats()

    def test_all_messages_reach_each_style(self):
        seen = []

        class Proto(asyncio.Protocol):
            def connection_made(self, transport):
                self.transport = transport

            def data_received(self, data):
                seen.append(int.from_bytes(data[:8], 'little'))
                self.transport.write(data)

        class Completion:
            def data_received(self, transport, data):
                seen.append(int.from_bytes(data[:8], 'little'))
                return data

        async def handler(conn):
            with contextlib.suppress(ConnectionAbortedError):
                while data := await conn.recv():
                    seen.append(int.from_bytes(data[:8], 'little'))
                    conn.send(data)

        for mode in ('inline', 'thread'):
            for prefetch in (True, False):
                for style, factory in (('asyncio', Proto), ('completion', Completion), ('coro', handler)):
                    with self.subTest(mode=mode, style=style, prefetch=prefetch):
                        seen.clear()
                        stats = self.run_source('conns=100,len=64,batch=50,count=5000', style, factory, mode,
                                                prefetch=prefetch)
                        self.assertEqual(seen, list(range(5000)))
                        self.assertEqual(stats['source_sum'], sum(seen))
                        self.assertEqual(stats['source_offered'], 5000)
                        self.assertEqual(stats['source_reply_bytes'], 5000 * 64)

    def test_the_last_openings_leave_no_message_without_a_reader(self):
        class Answer:
            def data_received(self, data):
                return data

        for mode in ('inline', 'thread'):
            with self.subTest(mode=mode):
                # 64 openings, 36 openings: the second batch has room for data
                stats = self.run_source('conns=100,batch=64,count=5000', 'completion', Answer, mode)
                self.assertEqual(stats['source_offered'], 5000)

    def test_batches_that_are_always_full_shut_out_no_news(self):
        """A writer with its budget on the way goes on when it hears that the engine has taken it."""
        class Answer:
            def data_received(self, data):
                return data

        with volley.Engine(nic='source:conns=4,batch=16', mode='thread', max_batch=16, tx_budget=1024) as engine:
            engine.listen('0.0.0.0:1', Answer, style='completion')
            poll_until(engine, lambda: engine.stats()['source_replies'] > 20000, 'answers')

    def test_a_rate_is_kept_and_stamps_are_the_intended_times(self):
        stamps = []
        with volley.Engine(nic='source:conns=10,rate=1000,count=50') as engine:
            engine.on_batch(lambda batch: stamps.extend(
                stamp for stamp, kind in zip(batch.stamps, batch.kinds) if kind == volley.DATA))
            engine.listen('0.0.0.0:1', style='batch')
            poll_until(engine, lambda: len(stamps) == 50, 'all messages')
        self.assertEqual({b - a for a, b in zip(stamps, stamps[1:])}, {1000000})
        self.assertLessEqual(stamps[-1], volley.now_ns())

    def test_a_message_comes_when_its_stamp_says_not_an_interval_later(self):
        lags = []

        def on_batch(batch):
            now = volley.now_ns()
            lags.extend(now - stamp for stamp, kind in zip(batch.stamps, batch.kinds) if kind == volley.DATA)

        with volley.Engine(nic='source:conns=10,rate=50,count=20') as engine:
            engine.on_batch(on_batch)
            engine.listen('0.0.0.0:1', style='batch')
            poll_until(engine, lambda: len(lags) == 20, 'all messages')
        self.assertGreaterEqual(min(lags), 0)
        self.assertLess(min(lags), 20000000)

    def test_wrong_specifications_are_named(self):
        for spec in ('conns=0', 'nothing=1', 'len=x', 'order=sideways', 'batch', 'rate=-1'):
            for mode in ('inline', 'thread'):
                with self.assertRaisesRegex(ValueError, spec.partition('=')[0]):
                    volley.Engine(nic='source:' + spec, mode=mode)


class Flushing(Case):
    def test_answers_leave_before_the_batch_ends(self):
        """The callback of the last row waits until the peers of the first ones have their answers."""
        for options in ({'flush_every': 1}, {'flush_ns': 1}):
            for engine in self.every(**options):
                peers, done = [], []

                class Waiter(Echo):
                    def data_received(self, data):
                        super().data_received(data)
                        done.append(self)
                        if len(done) == 2:
                            index = next(i for i, peer in enumerate(peers)
                                         if peer.getsockname() == done[0].transport.get_extra_info('peername'))
                            done.append(receive(peers[index], 4))

                listener = engine.listen(LOCAL, Waiter)
                for _ in range(2):
                    peers.append(connect(listener.sockname[1]))
                poll_until(engine, lambda: engine.stats()['accepted'] == 2, 'connections')
                for peer in peers:
                    peer.sendall(b'ping')
                poll_until(engine, lambda: len(done) == 3, 'the first answer')
                self.assertEqual(done[2], b'ping')
                for peer in peers:
                    peer.close()


if __name__ == '__main__':
    unittest.main()
