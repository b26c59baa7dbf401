"""test_parallel.py - PyParallel's protocols: what is returned is sent, in both arities"""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
import unittest

from volley import parallel
from free_port import free_port
from peers import PATIENCE_S, Thread, connect, environment, receive, receive_all


class ParallelTest(unittest.TestCase):
    """Serves on a thread of its own, which the end of the case stops."""

    def serve(self, protocol, **options):
        """Its port."""
        server = parallel.server('127.0.0.1', 0)
        self.assertEqual(server.address, ('127.0.0.1', 0))
        parallel.register(transport=server, protocol=protocol)
        self.run_beside(**options)
        self.wait(lambda: server.port)
        return server.port

    def run_beside(self, **options):
        thread = Thread(lambda: parallel.run(conns_max=256, **options))

        def end():
            parallel.stop()
            thread.join()

        self.addCleanup(end)
        return thread

    @staticmethod
    def wait(condition):
        until = time.monotonic() + PATIENCE_S
        while not condition() and time.monotonic() < until:
            time.sleep(0.005)


class Servers(ParallelTest):
    def echo(self, protocol):
        with connect(self.serve(protocol)) as peer:
            peer.sendall(b'hello')
            self.assertEqual(receive(peer, 5), b'hello')

    def test_what_data_received_returns_is_sent(self):
        class Echo:
            def data_received(self, transport, data):
                return data

        self.echo(Echo)

    def test_the_transport_may_be_left_out(self):
        class Echo:
            def data_received(self, data):
                return data

        self.echo(Echo)

    def test_static_and_class_methods_count_their_own_arguments(self):
        class Echo:
            @staticmethod
            def data_received(data):
                return data

        self.echo(Echo)

    def test_class_of_the_second_kind(self):
        class Echo:
            @classmethod
            def data_received(cls, transport, data):
                return data

        self.echo(Echo)

    def test_a_tuple_is_gathered_and_none_is_nothing(self):
        class Wrapped:
            def data_received(self, transport, data):
                return (b'<', bytearray(data), memoryview(b'>')) if data != b'quiet' else None

        with connect(self.serve(Wrapped)) as peer:
            peer.sendall(b'quiet')
            time.sleep(0.02)
            peer.sendall(b'word')
            self.assertEqual(receive(peer, 6), b'<word>')

    def test_initial_bytes_are_an_attribute(self):
        class Greeting:
            initial_bytes_to_send = b'welcome'

        with connect(self.serve(Greeting)) as peer:
            self.assertEqual(receive(peer, 7), b'welcome')

    def test_initial_bytes_are_a_method_of_either_arity(self):
        class Without:
            def initial_bytes_to_send(self):
                return b'one'

        class With:
            def initial_bytes_to_send(self, transport):
                return b'port %d' % transport.get_extra_info('sockname')[1]

        with connect(self.serve(Without)) as peer:
            self.assertEqual(receive(peer, 3), b'one')
        port = self.serve(With)
        with connect(port) as peer:
            self.assertEqual(receive(peer, len(f'port {port}')), b'port %d' % port)

    def test_connection_made_may_answer(self):
        class Made:
            def connection_made(self, transport):
                return b'made'

        with connect(self.serve(Made)) as peer:
            self.assertEqual(receive(peer, 4), b'made')

    def test_next_bytes_are_asked_for_until_there_are_none(self):
        class Counting:
            initial_bytes_to_send = b'0'
            number = 0

            def next_bytes_to_send(self):
                self.number += 1
                return b'%d' % self.number if self.number < 10 else None

        with connect(self.serve(Counting)) as peer:
            self.assertEqual(receive(peer, 10), b'0123456789')

    def test_send_complete_may_send_more_and_close(self):
        class Chain:
            initial_bytes_to_send = b'a'
            sent = 0

            def send_complete(self, transport, send_id):
                self.sent += 1
                if self.sent == 3:
                    transport.close()
                    return None
                return b'b'

        with connect(self.serve(Chain)) as peer:
            self.assertEqual(receive_all(peer), b'abb')

    def test_each_connection_has_an_instance(self):
        class Counting:
            count = 0

            def data_received(self, transport, data):
                self.count += 1
                return b'%d' % self.count

        port = self.serve(Counting)
        with connect(port) as one, connect(port) as two:
            for number in (b'1', b'2'):
                for peer in (one, two):
                    peer.sendall(b'x')
                    self.assertEqual(receive(peer, 1), number)

    def test_megabytes_come_back(self):
        class Echo:
            def data_received(self, transport, data):
                return data

        payload = os.urandom(1 << 20) * 4
        with connect(self.serve(Echo)) as peer:
            sender = Thread(peer.sendall, payload)
            self.assertTrue(receive(peer, len(payload)) == payload)
            sender.join()

    def test_a_failing_protocol_ends_its_connection_alone(self):
        class Picky:
            def data_received(self, transport, data):
                if data == b'bad':
                    raise ValueError('bad')
                return data

        noise = []
        hook, sys.unraisablehook = sys.unraisablehook, noise.append
        self.addCleanup(setattr, sys, 'unraisablehook', hook)
        port = self.serve(Picky)
        with connect(port) as good, connect(port) as bad:
            bad.sendall(b'bad')
            with contextlib.suppress(ConnectionResetError):
                self.assertEqual(receive_all(bad), b'')
            good.sendall(b'good')
            self.assertEqual(receive(good, 4), b'good')
        self.assertEqual([type(entry.exc_value) for entry in noise], [ValueError])


class Clients(ParallelTest):
    def test_run_ends_with_the_last_client(self):
        got = []

        class Upper:
            def data_received(self, transport, data):
                return data.upper()

        class Asking:
            initial_bytes_to_send = b'question'

            def data_received(self, transport, data):
                got.append(data)
                transport.close()

        port = self.serve(Upper)
        clients = [parallel.client('127.0.0.1', port) for _ in range(3)]
        for client in clients:
            parallel.register(transport=client, protocol=Asking)
        Thread(lambda: parallel.run(conns_max=64)).join()
        self.assertEqual(got, [b'QUESTION'] * 3)

    def test_a_refused_client_learns_why_and_run_ends(self):
        lost = []

        class Hopeful:
            def connection_lost(self, transport, exc):
                lost.append(exc)

        port = free_port()
        parallel.register(transport=parallel.client('127.0.0.1', port), protocol=Hopeful)
        Thread(lambda: parallel.run(conns_max=64)).join()
        self.assertEqual([type(exc) for exc in lost], [ConnectionRefusedError])


class Arguments(unittest.TestCase):
    def refused(self, kind, name, function, *args, **options):
        with self.assertRaises(kind) as caught:
            function(*args, **options)
        self.assertIn(name, str(caught.exception))

    def test_are_named(self):
        self.refused(TypeError, 'ip', parallel.server, 1, 80)
        self.refused(TypeError, 'port', parallel.server, '127.0.0.1', '80')
        self.refused(TypeError, 'port', parallel.server, '127.0.0.1', True)
        self.refused(ValueError, 'port', parallel.server, '127.0.0.1', 65536)
        self.refused(ValueError, 'port', parallel.client, '127.0.0.1', 0)
        self.refused(TypeError, 'transport', parallel.register, transport=1, protocol=object)
        self.refused(TypeError, 'protocol', parallel.register, transport=parallel.server('127.0.0.1', 0), protocol=1)
        self.refused(TypeError, 'processes', parallel.run, processes='2')
        self.refused(RuntimeError, 'register', parallel.run)
        server = parallel.server('127.0.0.1', 0)
        parallel.register(transport=server, protocol=object)
        self.addCleanup(parallel._registered.clear)
        self.refused(ValueError, 'registered already', parallel.register, transport=server, protocol=object)

    def test_an_address_that_is_none_is_an_error_of_run(self):
        parallel.register(transport=parallel.server('no address', 80), protocol=object)
        self.refused(ValueError, 'addr', parallel.run)


@unittest.skipIf(importlib.util.find_spec('volley._processes') is None, 'the module has no processes yet')
class Processes(unittest.TestCase):
    def test_two_processes_share_the_port_and_end_together(self):
        code = '''
import os, signal, sys
from volley import parallel
class Who:
    def data_received(self, data):
        return b"%d" % os.getpid()
server = parallel.server("127.0.0.1", int(sys.argv[1]))
parallel.register(transport=server, protocol=Who)
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda *_: parallel.stop())
parallel.run(processes=2, conns_max=256)
'''
        port = free_port()
        with subprocess.Popen([sys.executable, '-B', '-c', code, str(port)], env=environment(),
                              stderr=subprocess.PIPE, text=True) as child:
            try:
                seen = set()
                until = time.monotonic() + PATIENCE_S
                while len(seen) < 2 and time.monotonic() < until:
                    try:
                        with connect(port) as peer:
                            peer.sendall(b'?')
                            answer = peer.recv(100)
                            if answer:
                                seen.add(int(answer))
                    except ConnectionError:
                        time.sleep(0.02)
                self.assertEqual(len(seen), 2)
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.wait(PATIENCE_S), 0, child.stderr.read())
                for pid in seen:
                    with self.assertRaises(ProcessLookupError):
                        os.kill(pid, 0)
            finally:
                child.kill()


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
