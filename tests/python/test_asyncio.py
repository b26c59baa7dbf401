"""test_asyncio.py - what volley's event loop has from asyncio: signals, subprocesses, TLS, contexts, debugging, life"""

import asyncio
import contextlib
import contextvars
import gc
import logging
import os
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import unittest
import weakref

import volley
from loops import LoopTest, Recorder
from peers import PATIENCE_S, Thread, connect, receive


class Contexts(LoopTest):
    def test_callbacks_run_in_the_context_of_their_connection(self):
        place = contextvars.ContextVar('place', default='nowhere')
        seen = []

        class Looking(Recorder):
            def connection_made(self, transport):
                seen.append(('made', place.get()))
                place.set('mine alone')
                super().connection_made(transport)

            def data_received(self, data):
                super().data_received(data)
                seen.append(('data', place.get()))

        async def main():
            seen.clear()
            place.set('server')
            server, port = await self.serve(Looking)
            place.set('later')
            for _ in range(2):
                with connect(port) as peer:
                    peer.sendall(b'x')
                    count = len(seen)
                    while len(seen) < count + 2:
                        await asyncio.sleep(0.001)
            self.assertEqual(seen, [('made', 'server'), ('data', 'mine alone')] * 2)
            self.assertEqual(place.get(), 'later')
            server.close()

        self.run_on_each(main)


class TheRestOfAsyncio(LoopTest):
    """What comes from CPython."""

    def test_another_thread_wakes_a_sleeping_loop(self):
        async def main():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            thread = Thread(lambda: loop.call_soon_threadsafe(future.set_result, 'from far'))
            self.assertEqual(await future, 'from far')
            thread.join()

        self.run_on_each(main)

    def test_executors_and_names(self):
        async def main():
            loop = asyncio.get_running_loop()
            self.assertEqual(await loop.run_in_executor(None, lambda: 6 * 7), 42)
            self.assertIn('127.0.0.1', [info[4][0] for info in await loop.getaddrinfo('127.0.0.1', 80)])

        self.run_on_each(main)

    def test_signals_reach_their_handlers(self):
        async def main():
            loop = asyncio.get_running_loop()
            got = asyncio.Event()
            loop.add_signal_handler(signal.SIGUSR1, got.set)
            os.kill(os.getpid(), signal.SIGUSR1)
            await got.wait()
            self.assertTrue(loop.remove_signal_handler(signal.SIGUSR1))

        self.run_on_each(main)

    def test_subprocesses_talk_and_end(self):
        async def main():
            child = await asyncio.create_subprocess_exec(
                'cat', stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE)
            out, _ = await child.communicate(b'through the pipes' * 10000)
            self.assertEqual((out, child.returncode), (b'through the pipes' * 10000, 0))

        self.run_on_each(main)

    def test_foreign_descriptors_and_engine_connections_are_both_served(self):
        async def main():
            loop = asyncio.get_running_loop()
            mine, theirs = await self.pair(server=lambda: Recorder(echo=True))
            left, right = socket.socketpair()
            left.setblocking(False)
            right.setblocking(False)
            got = []
            loop.add_reader(left, lambda: got.append(left.recv(100)))
            for turn in range(100):
                right.send(b'y')
                mine.transport.write(b'x')
                while len(got) <= turn or len(mine.data) <= turn:
                    await asyncio.sleep(0)
            loop.remove_reader(left)
            await loop.sock_sendall(left, b'whole')
            self.assertEqual(await loop.sock_recv(right, 100), b'whole')
            left.close()
            right.close()
            mine.transport.close()
            await theirs.lost

        self.run_on_each(main)

    def test_udp_and_given_sockets_are_asyncios(self):
        async def main():
            loop = asyncio.get_running_loop()
            got = loop.create_future()

            class Datagrams(asyncio.DatagramProtocol):
                def datagram_received(self, data, addr):
                    got.set_result(data)

            receiver, _ = await loop.create_datagram_endpoint(Datagrams, ('127.0.0.1', 0))
            sender, _ = await loop.create_datagram_endpoint(
                asyncio.DatagramProtocol, remote_addr=receiver.get_extra_info('sockname'))
            sender.sendto(b'datagram')
            self.assertEqual(await got, b'datagram')
            sender.close()
            receiver.close()
            sock = socket.create_server(('127.0.0.1', 0))
            server = await loop.create_server(lambda: Recorder(echo=True), sock=sock)
            reader, writer = await asyncio.open_connection(*sock.getsockname())
            writer.write(b'stock')
            self.assertEqual(await reader.readexactly(5), b'stock')
            writer.close()
            await writer.wait_closed()
            server.close()

        self.run_on_each(main)

    def test_tls_is_asyncios(self):
        with tempfile.TemporaryDirectory() as folder:
            key, cert = os.path.join(folder, 'key'), os.path.join(folder, 'cert')
            try:
                subprocess.run(['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj',
                                '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert],
                               check=True, capture_output=True)
            except FileNotFoundError:
                self.skipTest('there is no openssl command to make a certificate')
            own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            own.load_cert_chain(cert, key)
            peer = ssl.create_default_context(cafile=cert)

        async def main():
            async def handle(reader, writer):
                writer.write(await reader.readexactly(6))
                writer.close()

            async with await asyncio.start_server(handle, '127.0.0.1', 0, ssl=own) as server:
                reader, writer = await asyncio.open_connection(
                    *server.sockets[0].getsockname(), ssl=peer, server_hostname='localhost')
                writer.write(b'secret')
                self.assertEqual(await reader.read(), b'secret')
                writer.close()

        self.run_on_each(main)

    def test_timers_run_in_order_and_can_be_cancelled(self):
        async def main():
            loop = asyncio.get_running_loop()
            order = []
            done = loop.create_future()
            loop.call_later(0.03, done.set_result, None)
            loop.call_later(0.02, order.append, 'late')
            loop.call_later(0.001, order.append, 'early')
            loop.call_later(0.01, order.append, 'never').cancel()
            loop.call_soon(order.append, 'now')
            await done
            self.assertEqual(order, ['now', 'early', 'late'])
            with self.assertRaises(asyncio.TimeoutError):
                async with asyncio.timeout(0.01):
                    await loop.create_future()

        self.run_on_each(main)


class Debugging(LoopTest):
    def test_slow_callbacks_are_told_and_exceptions_still_are(self):
        async def main():
            loop = asyncio.get_running_loop()
            loop.set_debug(True)
            loop.slow_callback_duration = 0
            with self.assertLogs('asyncio', logging.WARNING) as logs:
                mine, theirs = await self.pair(server=lambda: Recorder(echo=True))
                mine.transport.write(b'traced')
                while not mine.data:
                    await asyncio.sleep(0.001)
                mine.transport.close()
                await theirs.lost
            self.assertTrue(any('data_received' in line for line in logs.output), logs.output)

        self.run_on_each(main)


class Lives(unittest.TestCase):
    def test_a_loop_may_live_on_another_thread_and_be_closed_here(self):
        loop = volley.new_event_loop()
        started = threading.Event()

        def run():
            loop.call_soon(started.set)
            loop.run_forever()

        thread = Thread(run)
        started.wait(PATIENCE_S)
        server = asyncio.run_coroutine_threadsafe(loop.create_server(asyncio.Protocol, '127.0.0.1', 0), loop).result(
            PATIENCE_S)
        with connect(server.sockets[0].getsockname()[1]):
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
        loop.close()
        self.assertTrue(loop.is_closed())

    def test_close_tells_protocols_and_is_idempotent(self):
        loop = volley.new_event_loop()

        async def main():
            made = loop.create_future()

            class Notes(Recorder):
                def connection_made(self, transport):
                    super().connection_made(transport)
                    made.set_result(self)

            server = await loop.create_server(Notes, '127.0.0.1', 0)
            return connect(server.sockets[0].getsockname()[1]), await made

        peer, protocol = loop.run_until_complete(main())
        with peer:
            loop.close()
            loop.close()
            self.assertIn('lost', protocol.calls)
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(receive(peer, 1), b'')
        with self.assertRaises(RuntimeError):
            loop.run_forever()
        with self.assertRaises(RuntimeError):
            loop.engine  # noqa: B018

    def test_a_running_loop_is_not_closed(self):
        async def main():
            with self.assertRaises(RuntimeError):
                asyncio.get_running_loop().close()

        with asyncio.Runner(loop_factory=volley.new_event_loop) as runner:
            runner.run(main())

    def test_a_closed_loop_is_collected(self):
        loop = volley.new_event_loop()
        loop.run_until_complete(loop.create_server(asyncio.Protocol, '127.0.0.1', 0))
        loop.close()
        gone = weakref.ref(loop)
        del loop
        gc.collect()
        self.assertIsNone(gone())

    def test_interrupt_cancels_the_main_task(self):
        async def main():
            asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)
            await asyncio.sleep(PATIENCE_S)

        with self.assertRaises(KeyboardInterrupt), asyncio.Runner(loop_factory=volley.new_event_loop) as runner:
            runner.run(main())

    def test_options_are_the_engines(self):
        with self.assertRaisesRegex(ValueError, 'mode'):
            volley.new_event_loop(mode='thread')
        loop = volley.new_event_loop(nic='no such nic')
        self.addCleanup(loop.close)
        with self.assertRaisesRegex((ValueError, OSError), 'nic'):
            loop.run_forever()
        loop = volley.new_event_loop(colour='red')
        self.addCleanup(loop.close)
        with self.assertRaisesRegex(TypeError, 'colour'):
            loop.run_forever()


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
