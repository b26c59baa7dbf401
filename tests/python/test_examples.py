"""test_examples.py - the programs of docs/python.md and examples/python, run as their reader would run them"""

import contextlib
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest

from free_port import free_port
from peers import PATIENCE_S, TOP, connect, environment, receive, receive_all

try:
    import numpy
except ImportError:
    numpy = None

EXAMPLES = os.path.join(TOP, 'examples', 'python')


def page():
    with open(os.path.join(TOP, 'docs', 'python.md'), encoding='utf-8') as file:
        return file.read()


def programs():
    return re.findall(r'^```python\n(.*?)^```$', page(), re.S | re.M)


class ExampleTest(unittest.TestCase):
    @contextlib.contextmanager
    def running(self, path, *args):
        """A program as a child that has to end well on SIGTERM, or by itself; yields it."""
        with subprocess.Popen([sys.executable, '-B', path, *args], env=environment(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            try:
                yield child
                if child.poll() is None:
                    child.send_signal(signal.SIGTERM)
                child.out, err = child.communicate(timeout=PATIENCE_S)
                self.assertEqual((child.returncode, err), (0, ''))
            finally:
                child.kill()

    def reach(self, child, port):
        """A peer as soon as the program listens."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return connect(port)
            except ConnectionRefusedError:
                if child.poll() is not None or time.monotonic() > until:
                    self.fail(f'nobody listens: {child.communicate()[1]}')
                time.sleep(0.02)

    def talk(self, peer, *lines):
        """What is said, what has to come back."""
        for said, wanted in lines:
            if said:
                peer.sendall(said)
            self.assertEqual(receive(peer, len(wanted)), wanted)


class Page(ExampleTest):
    """Each program of the page, found by a word that only it has."""

    def program(self, word):
        found = [code for code in programs() if word in code]
        self.assertEqual(len(found), 1, word)
        return found[0]

    @contextlib.contextmanager
    def served(self, word):
        code, port = self.program(word), free_port()
        self.assertIn('7777', code)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'program.py')
            with open(path, 'w', encoding='utf-8') as file:
                file.write(code.replace('7777', str(port)))
            with self.running(path) as child:
                with self.reach(child, port) as peer:
                    yield child, peer

    def test_protocol(self):
        with self.served('class Echo(asyncio.Protocol)') as (_, peer):
            self.talk(peer, (b'hello', b'hello'))

    def test_completion(self):
        with self.served('class Upper') as (_, peer):
            self.talk(peer, (None, b'Say something.\r\n'), (b'hello', b'HELLO'))

    def test_parallel(self):
        with self.served('class Countdown') as (_, peer):
            self.assertEqual(receive_all(peer), b'3 2 1 ')

    def test_coroutine(self):
        with self.served('async def serve(conn)') as (_, peer):
            self.talk(peer, (None, b'name? '), (b'you', b'hello you'), (b'and on', b'and on'))

    def test_batch(self):
        with self.served('for transport, data in batch') as (_, peer):
            self.talk(peer, (b'hello', b'hello'))

    @unittest.skipIf(numpy is None, 'there is no numpy: apt install python3-numpy')
    def test_columns(self):
        with self.served('numpy.frombuffer(batch.data') as (child, peer):
            for number in (1, 41, 2**40):
                self.talk(peer, (struct.pack('<Q', number), struct.pack('<Q', number + 1)))
        self.assertEqual(int(child.out), 42 + 2**40)

    def test_loop(self):
        with self.served('loop_factory=volley.new_event_loop') as (_, peer):
            self.talk(peer, (b'hello', b'hello'))
            peer.shutdown(socket.SHUT_WR)
            self.assertEqual(receive_all(peer), b'')

    def test_client(self):
        code = self.program('class Ask')
        with socket.create_server(('127.0.0.1', 0)) as server, tempfile.TemporaryDirectory() as folder:
            server.settimeout(PATIENCE_S)
            path = os.path.join(folder, 'program.py')
            with open(path, 'w', encoding='utf-8') as file:
                file.write(code.replace('7777', str(server.getsockname()[1])))
            with self.running(path) as child:
                peer, _ = server.accept()
                with peer:
                    peer.settimeout(PATIENCE_S)
                    self.assertEqual(receive(peer, 8), b'question')
                    peer.sendall(b'answer')
                    self.assertEqual(receive_all(peer), b'')
                child.wait(PATIENCE_S)
            self.assertEqual(child.out, 'answer\n')

    def test_every_test_that_the_page_names_is_there(self):
        there = set()
        for name in os.listdir(os.path.dirname(__file__)):
            if name.endswith('.py'):
                with open(os.path.join(os.path.dirname(__file__), name), encoding='utf-8') as file:
                    there.update(re.findall(r'def (test_\w+)', file.read()))
        named = set(re.findall(r'`(test_\w+)`', page()))
        self.assertGreater(len(named), 30)
        self.assertEqual(named - there, set())

    def test_every_program_has_its_test(self):
        self.assertEqual(len(programs()), 8)


class Files(ExampleTest):
    def serve(self, name, separate):
        port = free_port()
        args = ('127.0.0.1', str(port)) if separate else (f'127.0.0.1:{port}',)
        return self.running(os.path.join(EXAMPLES, name), *args), port

    def echo(self, name, separate=False, greeting=b''):
        started, port = self.serve(name, separate)
        payload = os.urandom(300000)
        with started as child, self.reach(child, port) as peer:
            self.talk(peer, (None, greeting), (b'hello', b'hello'), (payload, payload))

    def test_echo_asyncio(self):
        self.echo('echo_asyncio.py')

    def test_echo_loop(self):
        self.echo('echo_loop.py', True)

    def test_echo_parallel(self):
        self.echo('echo_parallel.py', True, b'Say something.\r\n')

    @unittest.skipIf(numpy is None, 'there is no numpy: apt install python3-numpy')
    def test_turnover_columns_also_of_ticks_in_pieces(self):
        started, port = self.serve('turnover_columns.py', False)
        with started as child, self.reach(child, port) as peer, connect(port) as other:
            tick = struct.pack('<IId', 7, 3, 2.5)
            self.talk(peer, (tick, struct.pack('<d', 7.5)))
            peer.sendall(tick[:5])
            self.talk(other, (tick * 2, struct.pack('<d', 7.5) * 2))
            self.talk(peer, (tick[5:], struct.pack('<d', 7.5)))
            other.sendall(tick[:1])
            other.close()
            self.talk(peer, (struct.pack('<IId', 8, 1, 1.0), struct.pack('<d', 1.0)))
        self.assertEqual(child.out.splitlines()[1:], ['7 30.0', '8 1.0'])

    def test_every_example_has_its_test(self):
        self.assertEqual(sorted(os.listdir(EXAMPLES)),
                         ['echo_asyncio.py', 'echo_loop.py', 'echo_parallel.py', 'turnover_columns.py'])


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
