#!/usr/bin/python3
"""test_transport.py - asyncio's transport contract on every nic, in both modes: sending, closing, reading"""

import asyncio
import contextlib
import socket
import unittest

import volley
from peers import Thread, connect, nics, poll_until, receive, receive_all, reset

WAYS = [(nic, mode) for nic in nics() for mode in ('inline', 'thread')]
BIG = bytes(range(256)) * 16384  # 4 MiB


class Recorder(asyncio.Protocol):
    """Remembers what it is told."""

    def __init__(self):
        self.transport = None
        self.told = []
        self.data = bytearray()
        self.lost = []
        self.keep_open = False

    def connection_made(self, transport):
        self.transport = transport
        self.told.append('made')

    def data_received(self, data):
        assert type(data) is bytes
        self.told.append('data')
        self.data += data

    def eof_received(self):
        self.told.append('eof')
        return self.keep_open

    def pause_writing(self):
        self.told.append('pause')

    def resume_writing(self):
        self.told.append('resume')

    def connection_lost(self, exc):
        self.told.append('lost')
        self.lost.append(exc)


@contextlib.contextmanager
def pair(nic, mode, factory=Recorder, **options):
    """An engine with one accepted connection: engine, its protocol, the blocking peer."""
    made = []

    def make():
        made.append(factory())
        return made[-1]

    with volley.Engine(nic=nic, mode=mode, **options) as engine:
        listener = engine.listen('127.0.0.1:0', make)
        with connect(listener.sockname[1]) as peer:
            poll_until(engine, lambda: made and made[0].transport, 'a connection')
            yield engine, made[0], peer


class Case(unittest.TestCase):
    def every(self, **options):
        for nic, mode in WAYS:
            with self.subTest(nic=nic, mode=mode), pair(nic, mode, **options) as parts:
                yield parts


class Sending(Case):
    def test_every_type_of_data_arrives_in_order(self):
        for engine, protocol, peer in self.every():
            array = bytearray(b'two')
            protocol.transport.write(b'one')
            protocol.transport.write(array)
            array[:] = b'XXX'
            protocol.transport.write(memoryview(b'_three_')[1:-1])
            protocol.transport.writelines([b'four', bytearray(b'five'), b''])
            engine.poll(0)
            self.assertEqual(receive(peer, 19), b'onetwothreefourfive')

    def test_wrong_types_raise_and_send_nothing(self):
        for engine, protocol, peer in self.every():
            for wrong in ('text', 1, None, [b'x']):
                with self.assertRaisesRegex(TypeError, 'data'):
                    protocol.transport.write(wrong)
            protocol.transport.write(b'fine')
            engine.poll(0)
            self.assertEqual(receive(peer, 4), b'fine')

    def test_large_writes_arrive_whole(self):
        for engine, protocol, peer in self.every():
            reader = Thread(receive, peer, 2 * len(BIG) + 1)
            protocol.transport.write(BIG)
            protocol.transport.write(b'.')
            protocol.transport.write(bytearray(BIG))
            poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
            self.assertTrue(reader.join() == BIG + b'.' + BIG)

    def test_a_mutable_buffer_may_change_after_write(self):
        for engine, protocol, peer in self.every():
            data = bytearray(b'a' * 3000000)
            reader = Thread(receive, peer, len(data))
            protocol.transport.write(data)
            data[:] = b'b' * len(data)
            poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
            self.assertEqual(set(reader.join()), {ord('a')})

    def test_water_marks_pause_and_resume_once(self):
        for engine, protocol, peer in self.every(tx_budget=65536):
            transport = protocol.transport
            transport.set_write_buffer_limits(high=1 << 20)
            self.assertEqual(transport.get_write_buffer_limits(), (1 << 18, 1 << 20))
            transport.write(BIG)
            transport.write(BIG)
            self.assertEqual(protocol.told.count('pause'), 1)
            self.assertGreater(transport.get_write_buffer_size(), 1 << 20)
            reader = Thread(receive, peer, 2 * len(BIG))
            poll_until(engine, lambda: 'resume' in protocol.told, 'resume_writing()')
            self.assertLessEqual(transport.get_write_buffer_size(), 1 << 18)
            poll_until(engine, lambda: not reader.is_alive(), 'all bytes')
            self.assertEqual(protocol.told, ['made', 'pause', 'resume'])
            self.assertEqual(transport.get_write_buffer_size(), 0)
            self.assertEqual(engine.stats()['py_pending_bytes'], 0)

    def test_limits_follow_asyncio(self):
        with pair(*WAYS[0]) as (engine, protocol, peer):
            limits = protocol.transport.set_write_buffer_limits
            for arguments, want in (({}, (16384, 65536)), ({'high': 100}, (25, 100)),
                                    ({'low': 10}, (10, 40)), ({'high': 0}, (0, 0)),
                                    ({'high': 9, 'low': 9}, (9, 9))):
                limits(**arguments)
                self.assertEqual(protocol.transport.get_write_buffer_limits(), want)
            with self.assertRaises(ValueError):
                limits(high=1, low=2)
            with self.assertRaises(ValueError):
                limits(high=-1)
            with self.assertRaises(TypeError):
                limits(high='1')

    def test_write_eof_ends_sending_after_the_data(self):
        for engine, protocol, peer in self.every():
            protocol.keep_open = True
            self.assertTrue(protocol.transport.can_write_eof())
            reader = Thread(receive_all, peer)
            protocol.transport.write(BIG)
            protocol.transport.write_eof()
            with self.assertRaises(RuntimeError):
                protocol.transport.write(b'late')
            poll_until(engine, lambda: not reader.is_alive(), 'the end')
            self.assertTrue(reader.join() == BIG)
            peer.sendall(b'still heard')
            poll_until(engine, lambda: protocol.data == b'still heard', 'data after write_eof()')


class Closing(Case):
    def test_close_sends_what_was_written(self):
        for engine, protocol, peer in self.every():
            reader = Thread(lambda: (receive_all(peer), peer.close())[0])
            protocol.transport.write(BIG)
            protocol.transport.close()
            self.assertTrue(protocol.transport.is_closing())
            protocol.transport.write(b'ignored')
            protocol.transport.close()
            poll_until(engine, lambda: protocol.lost, 'connection_lost()')
            self.assertTrue(reader.join() == BIG)
            self.assertEqual(protocol.lost, [None])

    def test_abort_resets_and_tells_none(self):
        for engine, protocol, peer in self.every():
            protocol.transport.write(b'dropped' * 100000)
            protocol.transport.abort()
            poll_until(engine, lambda: protocol.lost, 'connection_lost()')
            self.assertEqual(protocol.lost, [None])
            reader = Thread(receive_all, peer)
            poll_until(engine, lambda: not reader.is_alive(), 'the reset')
            with self.assertRaises(ConnectionError):
                reader.join()

    def test_a_reset_by_the_peer_is_told(self):
        for engine, protocol, peer in self.every():
            reset(peer)
            poll_until(engine, lambda: protocol.lost, 'connection_lost()')
            self.assertIsInstance(protocol.lost[0], ConnectionResetError)
            self.assertTrue(protocol.transport.is_closing())
            protocol.transport.write(b'ignored')
            protocol.transport.close()
            protocol.transport.abort()
            engine.poll(0)
            self.assertEqual(protocol.told, ['made', 'lost'])

    def test_eof_closes_unless_the_protocol_wants_to_go_on(self):
        for engine, protocol, peer in self.every():
            peer.shutdown(socket.SHUT_WR)
            poll_until(engine, lambda: protocol.lost, 'connection_lost()')
            self.assertEqual(protocol.told, ['made', 'eof', 'lost'])
        for engine, protocol, peer in self.every():
            protocol.keep_open = True
            peer.shutdown(socket.SHUT_WR)
            poll_until(engine, lambda: 'eof' in protocol.told, 'eof_received()')
            protocol.transport.write(b'answer')
            protocol.transport.close()
            reader = Thread(receive_all, peer)
            poll_until(engine, lambda: not reader.is_alive(), 'the end')
            self.assertEqual(reader.join(), b'answer')

    def test_closing_anything_from_inside_a_callback(self):
        """Each callback closes itself, a neighbour, the listener or the engine."""
        for nic, mode in WAYS:
            for victim in ('self', 'abort', 'other', 'listener', 'engine'):
                with self.subTest(nic=nic, mode=mode, victim=victim):
                    self.close_inside(nic, mode, victim)

    def close_inside(self, nic, mode, victim):
        made = []

        class Closer(Recorder):
            def connection_made(self, transport):
                super().connection_made(transport)
                made.append(self)

            def data_received(self, data):
                super().data_received(data)
                {'self': self.transport.close, 'abort': self.transport.abort,
                 'other': made[0 if self is made[1] else 1].transport.abort,
                 'listener': listener.close, 'engine': engine.close}[victim]()

        engine = volley.Engine(nic=nic, mode=mode)
        listener = engine.listen('127.0.0.1:0', Closer)
        with connect(listener.sockname[1]) as one, connect(listener.sockname[1]) as two:
            poll_until(engine, lambda: len(made) == 2, 'two connections')
            one.sendall(b'1')
            two.sendall(b'2')
            poll_until(engine, lambda: made[0].data or made[1].data, 'data')
            if victim == 'engine':
                self.assertTrue(engine.closed)
                self.assertEqual([len(p.lost) for p in made], [1, 1])
            elif victim == 'listener':
                self.assertTrue(listener.closed)
        if victim != 'engine':
            poll_until(engine, lambda: all(p.lost for p in made), 'the ends')
            self.assertEqual([len(p.lost) for p in made], [1, 1])
        engine.close()


class Reading(Case):
    def test_nothing_is_received_while_paused(self):
        for engine, protocol, peer in self.every():
            transport = protocol.transport
            self.assertTrue(transport.is_reading())
            transport.pause_reading()
            transport.pause_reading()
            self.assertFalse(transport.is_reading())
            peer.sendall(b'x' * 1000)
            peer.shutdown(socket.SHUT_WR)
            for _ in range(10):
                engine.poll(0.01)
            self.assertEqual(protocol.told, ['made'])
            transport.resume_reading()
            poll_until(engine, lambda: protocol.lost, 'data, EOF and the end')
            self.assertEqual(bytes(protocol.data), b'x' * 1000)
            self.assertEqual(protocol.told[-2:], ['eof', 'lost'])

    def test_pausing_inside_data_received_holds_back_the_rest(self):
        class Pauser(Recorder):
            def data_received(self, data):
                super().data_received(data)
                self.transport.pause_reading()

        for engine, protocol, peer in self.every(factory=Pauser):
            writer = Thread(peer.sendall, BIG)
            for _ in range(20):
                poll_until(engine, lambda: not protocol.transport.is_reading(), 'data')
                seen = protocol.told.count('data')
                engine.poll(0.01)
                self.assertEqual(protocol.told.count('data'), seen)
                protocol.transport.resume_reading()
            Pauser.data_received = Recorder.data_received
            protocol.transport.set_protocol(protocol)
            protocol.transport.resume_reading()
            poll_until(engine, lambda: len(protocol.data) == len(BIG), 'all bytes')
            writer.join()
            self.assertTrue(protocol.data == BIG)
            Pauser.data_received = lambda self, data: (Recorder.data_received(self, data),
                                                       self.transport.pause_reading())

    def test_a_buffered_protocol_gets_its_own_buffer_filled(self):
        class Buffered(asyncio.BufferedProtocol):
            def __init__(self):
                self.transport = None
                self.buffer = bytearray(100)
                self.got = bytearray()

            def connection_made(self, transport):
                self.transport = transport

            def get_buffer(self, sizehint):
                return self.buffer

            def buffer_updated(self, nbytes):
                self.got += self.buffer[:nbytes]

        for engine, protocol, peer in self.every(factory=Buffered):
            peer.sendall(bytes(range(250)))
            poll_until(engine, lambda: len(protocol.got) == 250, 'all bytes')
            self.assertEqual(protocol.got, bytes(range(250)))


class Telling(Case):
    def test_extra_info_is_that_of_the_sockets(self):
        for engine, protocol, peer in self.every():
            info = protocol.transport.get_extra_info
            self.assertEqual(info('peername'), peer.getsockname())
            self.assertEqual(info('sockname'), peer.getpeername())
            self.assertIs(info('engine'), engine)
            self.assertEqual(info('nothing', 7), 7)
            self.assertIsNone(info('nothing'))
            self.assertEqual(info('handle'), protocol.transport.handle)
            peer.close()
            poll_until(engine, lambda: protocol.lost, 'the end')
            self.assertEqual(info('peername')[0], '127.0.0.1')

    def test_set_protocol_takes_over(self):
        for engine, protocol, peer in self.every():
            other = Recorder()
            protocol.transport.set_protocol(other)
            self.assertIs(protocol.transport.get_protocol(), other)
            peer.sendall(b'to the other')
            poll_until(engine, lambda: other.data, 'data')
            self.assertEqual(bytes(protocol.data), b'')

    def test_exceptions_reset_their_connection_and_no_other(self):
        """The middle one of three connections fails in each of its callbacks."""
        for nic, mode in WAYS:
            for name in ('connection_made', 'data_received', 'eof_received', 'connection_lost'):
                with self.subTest(nic=nic, mode=mode, name=name):
                    self.fail_in(nic, mode, name)

    def fail_in(self, nic, mode, name):
        made, contexts = [], []

        class Failing(Recorder):
            pass

        def fail(self, *args):
            Recorder.__dict__[name](self, *args)
            raise LookupError(name)

        setattr(Failing, name, fail)
        with volley.Engine(nic=nic, mode=mode) as engine:
            engine.set_exception_handler(contexts.append)
            listener = engine.listen('127.0.0.1:0', lambda: made[len(made) - 1])
            peers = []
            for factory in (Recorder, Failing, Recorder):
                made.append(factory())
                peers.append(connect(listener.sockname[1]))
                poll_until(engine, lambda: made[-1].transport, 'a connection')
            for peer in peers:
                with contextlib.suppress(OSError):
                    peer.sendall(b'hello')
            poll_until(engine, lambda: made[0].data and made[2].data, 'data')
            with contextlib.suppress(OSError):
                peers[1].shutdown(socket.SHUT_WR)
            poll_until(engine, lambda: made[1].lost, 'the end of the failing one')
            self.assertEqual(len(contexts), 1, contexts)
            self.assertIsInstance(contexts[0]['exception'], LookupError)
            self.assertIn(name, contexts[0]['message'])
            self.assertIs(contexts[0]['protocol'], made[1])
            self.assertIs(contexts[0]['transport'], made[1].transport)
            if name != 'connection_lost':
                self.assertIsInstance(made[1].lost[0], LookupError)
            for index in (0, 2):
                made[index].transport.write(b'alive')
                engine.poll(0)
                self.assertEqual(receive(peers[index], 5), b'alive')
                self.assertEqual(made[index].lost, [])
            for peer in peers:
                peer.close()


if __name__ == '__main__':
    unittest.main()
