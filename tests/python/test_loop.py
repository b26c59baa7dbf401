"""test_loop.py - streams, transports, servers and clients of volley's event loop, as asyncio's behave"""

import asyncio
import contextlib
import errno
import os
import socket
import sys
import tempfile

import volley
from loops import MEGABYTE, LoopTest, Recorder
from peers import connect, receive_all, reset


class Streams(LoopTest):
    def test_streams_echo_8_mb_both_ways(self):
        payload = os.urandom(MEGABYTE) * 8

        async def main():
            async def handle(reader, writer):
                while data := await reader.read(65536):
                    writer.write(data)
                    await writer.drain()
                writer.close()

            async with await asyncio.start_server(handle, '127.0.0.1', 0) as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())

                async def send():
                    for begin in range(0, len(payload), 100000):
                        writer.write(payload[begin:begin + 100000])
                        await writer.drain()
                    writer.write_eof()

                sender = asyncio.create_task(send())
                got = await reader.read()
                await sender
                self.assertTrue(got == payload)
                writer.close()
                await writer.wait_closed()

        self.run_on_each(main)

    def test_ipv6_and_unix_streams_echo(self):
        async def main():
            async def handle(reader, writer):
                writer.write(await reader.readexactly(5))
                writer.close()

            async def check(reader, writer):
                writer.write(b'hello')
                self.assertEqual(await reader.read(), b'hello')
                writer.close()

            with contextlib.ExitStack() as stack:
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                path = os.path.join(folder, 'socket')
                async with await asyncio.start_unix_server(handle, path) as server:
                    self.assertEqual(server.sockets[0].getsockname(), path)
                    await check(*await asyncio.open_unix_connection(path))
                abstract = f'\0volley-test-{os.getpid()}'
                async with await asyncio.start_unix_server(handle, abstract):
                    await check(*await asyncio.open_unix_connection(abstract))
            if not socket.has_ipv6:
                return
            try:
                server = await asyncio.start_server(handle, '::1', 0)
            except OSError as error:
                self.assertIn(error.errno, (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT))
                return
            async with server:
                await check(*await asyncio.open_connection('::1', server.sockets[0].getsockname()[1]))

        self.run_on_each(main)

    def test_200_connections_get_their_own_bytes(self):
        async def main():
            server, port = await self.serve(lambda: Recorder(echo=True))

            async def rally(number):
                reader, writer = await asyncio.open_connection('127.0.0.1', port)
                for turn in range(10):
                    message = f'{number}:{turn}.'.encode() * 5
                    writer.write(message)
                    self.assertEqual(await reader.readexactly(len(message)), message)
                writer.close()
                await writer.wait_closed()

            await asyncio.gather(*(rally(number) for number in range(200)))
            server.close()

        self.run_on_each(main)


class Transports(LoopTest):
    def test_write_and_close_deliver_everything_then_the_end(self):
        async def main():
            mine, theirs = await self.pair()
            mine.transport.write(b'one ')
            mine.transport.writelines([b'two ', bytearray(b'three '), memoryview(b'four')])
            mine.transport.close()
            self.assertTrue(mine.transport.is_closing())
            mine.transport.write(b'too late')
            self.assertFalse(mine.lost.done(), 'connection_lost inside close()')
            self.assertIsNone(await theirs.lost)
            self.assertEqual(theirs.data, b'one two three four')
            self.assertIsNone(await mine.lost)
            self.assertEqual(theirs.calls[0], 'made')
            self.assertEqual(theirs.calls[-2:], ['eof', 'lost'])

        self.run_on_each(main)

    def test_write_eof_keeps_the_other_way_open(self):
        async def main():
            mine, theirs = await self.pair(server=lambda: Recorder(keep_open=True))
            self.assertTrue(mine.transport.can_write_eof())
            mine.transport.write(b'question')
            mine.transport.write_eof()
            await theirs.ended
            self.assertEqual(theirs.data, b'question')
            theirs.transport.write(b'answer')
            theirs.transport.close()
            self.assertIsNone(await mine.lost)
            self.assertEqual(mine.data, b'answer')
            self.assertIsNone(await theirs.lost)

        self.run_on_each(main)

    def test_abort_is_a_reset_for_the_peer(self):
        async def main():
            mine, theirs = await self.pair()
            mine.transport.abort()
            self.assertTrue(mine.transport.is_closing())
            self.assertIsNone(await mine.lost)
            self.assertIsInstance(await theirs.lost, (ConnectionResetError, type(None)))

        self.run_on_each(main)

    def test_reset_of_the_peer_is_the_reason(self):
        async def main():
            loop = asyncio.get_running_loop()
            made = loop.create_future()

            class Notes(Recorder):
                def connection_made(self, transport):
                    super().connection_made(transport)
                    made.set_result(self)

            server, port = await self.serve(Notes)
            peer = connect(port)
            protocol = await made
            reset(peer)
            lost = await protocol.lost
            self.assertIsInstance(lost, ConnectionResetError)
            self.assertEqual(lost.errno, errno.ECONNRESET)
            server.close()

        self.run_on_each(main)

    def test_writer_is_paused_and_resumed_and_nothing_is_lost(self):
        payload = os.urandom(MEGABYTE)

        async def main():
            mine, theirs = await self.pair()
            theirs.transport.pause_reading()
            self.assertFalse(theirs.transport.is_reading())
            mine.transport.set_write_buffer_limits(high=200000, low=1000)
            self.assertEqual(mine.transport.get_write_buffer_limits(), (1000, 200000))
            sent = 0
            while 'pause' not in mine.calls:
                mine.transport.write(payload)
                sent += len(payload)
                await asyncio.sleep(0)
            self.assertGreater(mine.transport.get_write_buffer_size(), 200000)
            self.assertNotIn('resume', mine.calls)
            theirs.transport.resume_reading()
            while 'resume' not in mine.calls:
                await asyncio.sleep(0.001)
            self.assertLessEqual(mine.transport.get_write_buffer_size(), 1000)
            mine.transport.close()
            await theirs.lost
            self.assertTrue(theirs.data == payload * (sent // len(payload)))
            self.assertEqual((mine.calls.count('pause'), mine.calls.count('resume')), (1, 1))

        self.run_on_each(main)

    def test_paused_reader_gets_nothing_until_it_resumes(self):
        async def main():
            mine, theirs = await self.pair()
            theirs.transport.pause_reading()
            theirs.transport.pause_reading()
            mine.transport.write(b'wait')
            for _ in range(20):
                await asyncio.sleep(0.001)
            self.assertEqual(theirs.data, b'')
            theirs.transport.resume_reading()
            theirs.transport.resume_reading()
            while not theirs.data:
                await asyncio.sleep(0.001)
            self.assertEqual(theirs.data, b'wait')
            mine.transport.abort()
            await theirs.lost

        self.run_on_each(main)

    def test_protocol_may_be_exchanged(self):
        async def main():
            mine, theirs = await self.pair()
            other = Recorder()
            self.assertIs(theirs.transport.get_protocol(), theirs)
            theirs.transport.set_protocol(other)
            self.assertIs(theirs.transport.get_protocol(), other)
            mine.transport.write(b'to the other')
            mine.transport.close()
            await other.lost
            self.assertEqual((other.data, theirs.data), (b'to the other', b''))

        self.run_on_each(main)

    def test_buffered_protocol_gets_its_bytes_in_its_buffer(self):
        class Buffered(asyncio.BufferedProtocol):
            def __init__(self):
                self.got = b''
                self.buffer = bytearray(7)
                self.lost = asyncio.get_running_loop().create_future()

            def get_buffer(self, sizehint):
                return self.buffer

            def buffer_updated(self, nbytes):
                self.got += self.buffer[:nbytes]

            def connection_lost(self, exc):
                self.lost.set_result(exc)

        async def main():
            loop = asyncio.get_running_loop()
            server, port = await self.serve(lambda: protocol)
            protocol = Buffered()
            _, mine = await loop.create_connection(Recorder, '127.0.0.1', port)
            mine.transport.write(b'more than seven bytes')
            mine.transport.close()
            await protocol.lost
            self.assertEqual(protocol.got, b'more than seven bytes')
            server.close()

        self.run_on_each(main)

    def test_extra_info_names_both_ends(self):
        async def main():
            mine, theirs = await self.pair()
            names = ('peername', 'sockname')
            a = [mine.transport.get_extra_info(name) for name in names]
            b = [theirs.transport.get_extra_info(name) for name in names]
            self.assertEqual(a, b[::-1])
            self.assertEqual(a[0][0], '127.0.0.1')
            self.assertIsNone(mine.transport.get_extra_info('socket'))
            self.assertEqual(mine.transport.get_extra_info('sslcontext', 7), 7)
            mine.transport.close()
            await theirs.lost

        self.run_on_each(main)

    def test_write_wants_bytes(self):
        async def main():
            mine, theirs = await self.pair()
            for wrong in ('text', 1, None):
                with self.assertRaises(TypeError):
                    mine.transport.write(wrong)
            mine.transport.close()
            await theirs.lost

        self.run_on_each(main)


class Exceptions(LoopTest):
    def failing(self, method):
        """The context that the loop's handler gets when a protocol's method raises; others live on."""
        class Failing(Recorder):
            pass

        def fail(self, *_args):
            raise ZeroDivisionError(method)

        setattr(Failing, method, fail)

        async def main():
            loop = asyncio.get_running_loop()
            good, theirs = await self.pair(server=lambda: Recorder(echo=True))
            server, port = await self.serve(Failing)
            peer = connect(port)
            peer.sendall(b'trouble')
            peer.shutdown(socket.SHUT_WR)
            while not self.complaints:
                await asyncio.sleep(0.001)
            context = self.complaints.pop()
            self.assertIsInstance(context['exception'], ZeroDivisionError)
            self.assertIsInstance(context['protocol'], Failing)
            self.assertTrue(context['message'])
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(await loop.run_in_executor(None, receive_all, peer), b'')
            peer.close()
            server.close()
            good.transport.write(b'still there')
            while good.data != b'still there':
                await asyncio.sleep(0.001)
            good.transport.close()
            await theirs.lost

        self.run_on_each(main)

    def test_of_data_received_ends_that_connection_only(self):
        self.failing('data_received')

    def test_of_connection_lost_is_told(self):
        self.failing('connection_lost')

    def test_of_eof_received_ends_that_connection_only(self):
        self.failing('eof_received')

    def test_keyboard_interrupt_of_a_callback_comes_out_and_the_loop_goes_on(self):
        loop = volley.new_event_loop()
        self.addCleanup(loop.close)

        class Interrupting(asyncio.Protocol):
            def data_received(self, data):
                raise KeyboardInterrupt

        server = loop.run_until_complete(loop.create_server(Interrupting, '127.0.0.1', 0))
        with connect(server.sockets[0].getsockname()[1]) as peer:
            peer.sendall(b'x')
            with self.assertRaises(KeyboardInterrupt):
                loop.run_forever()
        self.assertEqual(loop.run_until_complete(asyncio.sleep(0, 'alive')), 'alive')
        server.close()


class Servers(LoopTest):
    def test_sockets_tell_where_it_listens_until_it_is_closed(self):
        async def main():
            server, port = await self.serve(Recorder)
            self.assertTrue(server.is_serving())
            sock, = server.sockets
            self.assertEqual((sock.family, sock.type), (socket.AF_INET, socket.SOCK_STREAM))
            connect(port).close()
            server.close()
            self.assertFalse(server.is_serving())
            self.assertEqual(server.sockets, ())
            await server.wait_closed()
            await asyncio.sleep(0)
            with self.assertRaises(ConnectionRefusedError):
                connect(port)

        self.run_on_each(main)

    def test_serving_can_start_later_and_forever_until_cancelled(self):
        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Recorder(echo=True), '127.0.0.1', 0, start_serving=False)
            self.assertFalse(server.is_serving())
            forever = asyncio.create_task(server.serve_forever())
            while not server.is_serving():
                await asyncio.sleep(0)
            _, mine = await loop.create_connection(Recorder, *server.sockets[0].getsockname())
            mine.transport.write(b'x')
            while not mine.data:
                await asyncio.sleep(0.001)
            mine.transport.close()
            await mine.lost
            forever.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await forever
            self.assertFalse(server.is_serving())

        self.run_on_each(main)

    def test_a_port_in_use_names_errno_and_address(self):
        async def main():
            loop = asyncio.get_running_loop()
            server, port = await self.serve(Recorder)
            with self.assertRaises(OSError) as caught:
                await loop.create_server(Recorder, '127.0.0.1', port)
            self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
            self.assertIn(str(port), str(caught.exception))
            server.close()

        self.run_on_each(main)

    def test_several_hosts_are_all_listened_on(self):
        async def main():
            loop = asyncio.get_running_loop()
            server = await loop.create_server(lambda: Recorder(echo=True), ['127.0.0.1', '127.0.0.2'], 0)
            self.assertEqual(len(server.sockets), 2)
            for sock in server.sockets:
                _, mine = await loop.create_connection(Recorder, *sock.getsockname())
                mine.transport.close()
                await mine.lost
            server.close()

        self.run_on_each(main)

    def test_wrong_arguments_are_those_of_asyncio(self):
        async def main():
            loop = asyncio.get_running_loop()
            with self.assertRaises(ValueError):
                await loop.create_server(Recorder)
            with self.assertRaises(TypeError):
                await loop.create_server(Recorder, '127.0.0.1', 0, ssl=True)
            with self.assertRaises(ValueError):
                await loop.create_connection(Recorder, '127.0.0.1', 1, server_hostname='x')
            with self.assertRaises(ValueError):
                await loop.create_connection(Recorder)
            with self.assertRaises(TypeError):
                await loop.create_server(Recorder, '127.0.0.1', 0, colour='red')

        self.run_on_each(main)


class Clients(LoopTest):
    def test_refused_connection_is_an_error_with_its_number(self):
        async def main():
            server, port = await self.serve(Recorder)
            server.close()
            await asyncio.sleep(0)
            with self.assertRaises(ConnectionRefusedError) as caught:
                await asyncio.get_running_loop().create_connection(Recorder, '127.0.0.1', port)
            self.assertEqual(caught.exception.errno, errno.ECONNREFUSED)
            self.assertIn(str(port), str(caught.exception))

        self.run_on_each(main)

    def test_local_address_is_used(self):
        async def main():
            server, port = await self.serve(Recorder)
            _, mine = await asyncio.get_running_loop().create_connection(
                Recorder, '127.0.0.1', port, local_addr=('127.0.0.3', 0))
            self.assertEqual(mine.transport.get_extra_info('sockname')[0], '127.0.0.3')
            mine.transport.close()
            await mine.lost
            server.close()

        self.run_on_each(main)

    def test_happy_eyeballs_find_the_address_that_answers(self):
        async def main():
            loop = asyncio.get_running_loop()
            server, port = await self.serve(Recorder)

            async def resolved(*_args, **_options):
                return [(socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.9', port)),
                        (socket.AF_INET, socket.SOCK_STREAM, 6, '', ('127.0.0.1', port))]

            loop._ensure_resolved = resolved
            for delay in (None, 0.01):
                _, mine = await loop.create_connection(Recorder, 'host', port, happy_eyeballs_delay=delay)
                self.assertEqual(mine.transport.get_extra_info('peername')[0], '127.0.0.1')
                mine.transport.close()
                await mine.lost
            server.close()

        self.run_on_each(main)

    def test_cancelled_connect_leaves_nothing_open(self):
        async def main():
            loop = asyncio.get_running_loop()
            server, port = await self.serve(Recorder)
            before = loop.engine.stats()['conns']
            connecting = asyncio.create_task(loop.create_connection(Recorder, '127.0.0.1', port))
            await asyncio.sleep(0)
            connecting.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await connecting
            while loop.engine.stats()['conns'] > before:
                await asyncio.sleep(0.001)
            server.close()

        self.run_on_each(main)


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
