"""test_arguments.py - wrong arguments name themselves, system errors carry their number, misuse is told"""

import errno
import os
import select
import sys
import tempfile
import unittest

import volley
from free_port import free_port
from peers import Thread, connect, poll_until


class Options(unittest.TestCase):
    def refused(self, kind, name, **options):
        with self.assertRaises(kind) as caught:
            volley.Engine(**options).close()
        self.assertIn(name, str(caught.exception), options)

    def test_of_the_wrong_type_are_named(self):
        for name, value in (('nic', 1), ('mode', 1), ('cpu', 'zero'), ('max_batch', '64'), ('ring', 1.5),
                            ('spin_us', 'x'), ('overload', 3), ('max_pinned', 'x'), ('flush_every', 'x'),
                            ('flush_ns', 'x'), ('conns_max', 'many'), ('tx_budget', 'x'), ('close_timeout', 'x'),
                            ('tx_bufs', 'x'), ('tx_buf_bytes', 'x')):
            with self.subTest(name=name):
                self.refused(TypeError, name, **{name: value})

    def test_out_of_range_are_named(self):
        for name, value in (('mode', 'both'), ('idle', 'never'), ('overload', 'panic'),
                            ('max_batch', 0), ('max_batch', 1 << 20), ('ring', 0), ('spin_us', -1), ('max_pinned', -1),
                            ('flush_every', -1), ('flush_ns', -1), ('conns_max', 0), ('conns_max', 1 << 40),
                            ('tx_budget', 0), ('tx_bufs', 1), ('tx_buf_bytes', 63), ('close_timeout', -1), ('cpu', -2)):
            with self.subTest(name=name, value=value):
                self.refused(ValueError, name, **{name: value})

    def test_unknown_ones_are_refused(self):
        self.refused(TypeError, 'colour', colour='red')

    def test_a_nic_that_is_none_is_named(self):
        self.refused((ValueError, OSError), 'no such nic', nic='no such nic')

    def test_a_cpu_that_is_not_there_is_refused(self):
        with self.assertRaises((ValueError, OSError)):
            volley.Engine(cpu=100000)


class Calls(unittest.TestCase):
    def setUp(self):
        self.engine = volley.Engine(conns_max=64)
        self.addCleanup(self.engine.close)

    def refused(self, kind, name, function, *args, **options):
        with self.assertRaises(kind) as caught:
            function(*args, **options)
        self.assertIn(name, str(caught.exception))

    def test_listen_names_what_is_wrong(self):
        listen = self.engine.listen
        self.refused(TypeError, 'addr', listen, 80, object)
        self.refused(ValueError, 'addr', listen, 'nowhere', object)
        self.refused(ValueError, 'addr', listen, '127.0.0.1:99999', object)
        self.refused(TypeError, 'factory', listen, '127.0.0.1:0', 1)
        self.refused(TypeError, 'factory', listen, '127.0.0.1:0')
        self.refused(ValueError, 'style', listen, '127.0.0.1:0', object, style='rococo')
        self.refused(TypeError, 'style', listen, '127.0.0.1:0', object, style=1)
        self.refused(TypeError, 'context', listen, '127.0.0.1:0', object, context=1)
        self.refused(TypeError, 'backlog', listen, '127.0.0.1:0', object, backlog='x')
        self.refused(TypeError, 'colour', listen, '127.0.0.1:0', object, colour='red')

    def test_connect_names_what_is_wrong(self):
        connect_to = self.engine.connect
        self.refused(TypeError, 'addr', connect_to, None, object)
        self.refused(ValueError, 'addr', connect_to, 'nowhere', object)
        self.refused(TypeError, 'factory', connect_to, '127.0.0.1:1', 1)
        self.refused(TypeError, 'done', connect_to, '127.0.0.1:1', object, done=1)
        self.refused(ValueError, 'from_addr', connect_to, '127.0.0.1:1', object, from_addr='x')

    def test_others_name_what_is_wrong(self):
        self.refused(TypeError, '', self.engine.poll, 'soon')
        self.refused(ValueError, 'timeout', self.engine.poll, -1)
        self.refused(ValueError, 'timeout', self.engine.poll, float('nan'))
        self.refused(TypeError, 'callable', self.engine.on_batch, 1)
        self.refused(TypeError, 'callable', self.engine.set_exception_handler, 1)
        self.refused(TypeError, 'callback', self.engine.watch, 0, select.POLLIN, 1)
        self.refused(TypeError, '', self.engine.call_later, 'x', print)
        self.refused(ValueError, 'delay', self.engine.call_later, -1, print)
        self.refused(ValueError, 'processes', self.engine.run, 0)

    def test_system_errors_carry_their_number(self):
        listener = self.engine.listen('127.0.0.1:0', object)
        with self.assertRaises(OSError) as caught:
            self.engine.listen(listener.addr, object)
        self.assertEqual(caught.exception.errno, errno.EADDRINUSE)
        with self.assertRaises(OSError) as caught:
            self.engine.listen('192.0.2.77:0', object)
        self.assertEqual(caught.exception.errno, errno.EADDRNOTAVAIL)
        with self.assertRaises(OSError) as caught:
            self.engine.watch(999999, select.POLLIN, print)
        self.assertEqual(caught.exception.errno, errno.EBADF)
        with tempfile.TemporaryFile() as file, self.assertRaises(OSError) as caught:
            self.engine.watch(file.fileno(), select.POLLIN, print)
        self.assertEqual(caught.exception.errno, errno.EPERM)

    def test_a_refused_connect_is_an_oserror_for_done(self):
        port = free_port()
        told = []
        self.engine.connect(('127.0.0.1', port), object, style='completion', done=lambda *given: told.append(given))
        poll_until(self.engine, lambda: told, 'the failure')
        (_, error), = told
        self.assertIsInstance(error, ConnectionRefusedError)
        self.assertEqual(error.errno, errno.ECONNREFUSED)

    def test_another_thread_is_refused(self):
        for call in (self.engine.poll, self.engine.run, lambda: self.engine.listen('127.0.0.1:0', object)):
            with self.assertRaises(RuntimeError):
                Thread(call).join()
        self.engine.wake()
        Thread(self.engine.stop).join()
        self.engine.run()

    def test_a_closed_engine_says_so(self):
        self.engine.close()
        self.engine.close()
        self.assertTrue(self.engine.closed)
        for call in (self.engine.poll, self.engine.run, lambda: self.engine.listen('127.0.0.1:0', object),
                     self.engine.fileno):
            with self.assertRaises((ValueError, RuntimeError)) as caught:
                call()
            self.assertIn('closed', str(caught.exception))

    def test_descriptors_that_end_raise_in_nobodys_face(self):
        left, right = os.pipe()
        self.addCleanup(os.close, right)
        seen = []
        watch = self.engine.watch(left, select.POLLIN, lambda fd, mask: seen.append((fd, mask)))
        os.write(right, b'x')
        poll_until(self.engine, lambda: seen, 'the pipe')
        self.assertEqual(seen[0][0], left)
        self.assertTrue(seen[0][1] & select.POLLIN)
        watch.close()
        watch.close()
        self.engine.poll(0)
        count = len(seen)
        self.engine.poll(0)
        self.assertEqual(len(seen), count)
        os.close(left)

    def test_what_a_transport_is_given_is_checked(self):
        made = []

        class Protocol:
            def connection_made(self, transport):
                made.append(transport)

        listener = self.engine.listen('127.0.0.1:0', Protocol, style='completion')
        with connect(listener.sockname[1]):
            transport, = poll_until(self.engine, lambda: made, 'the connection')
            for wrong in ('text', 1, None, [1]):
                with self.assertRaises(TypeError):
                    transport.write(wrong)
            with self.assertRaises(TypeError):
                transport.writelines(1)
            self.refused(ValueError, '', transport.set_write_buffer_limits, high=1, low=2)
            with self.assertRaises(RuntimeError):
                Thread(lambda: transport.write(b'x')).join()


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
