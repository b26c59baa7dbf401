"""test_examples.py - the examples, run as their reader would run them"""

import contextlib
import os
import random
import selectors
import signal
import socket
import subprocess
import time
import unittest

from free_port import free_port

EXAMPLES = os.path.join(os.environ['VOLLEY_BUILD'], 'examples')
PATIENCE_S = 60  # a watchdog, no measurement
MEGABYTE = 1 << 20


class Example:
    """A running example; leaving the context ends it."""

    def __init__(self, name, cores=1):
        self.port = free_port()
        self.address = f'127.0.0.1:{self.port}'
        self.child = subprocess.Popen([os.path.join(EXAMPLES, name), self.address, str(cores)],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.child.poll() is None:
            self.child.kill()
        self.child.communicate()

    def connect(self):
        """A connection as soon as the server listens."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return socket.create_connection(('127.0.0.1', self.port), timeout=PATIENCE_S)
            except ConnectionRefusedError:
                if self.child.poll() is not None or time.monotonic() > until:
                    raise
                time.sleep(0.02)

    def listeners(self):
        """How many sockets listen on the port: one for each core."""
        want = f'0100007F:{self.port:04X}'
        with open('/proc/net/tcp', encoding='ascii') as table:
            rows = [line.split() for line in table]
        return sum(1 for row in rows if row[1] == want and row[3] == '0A')

    def wait_for_listeners(self, count):
        until = time.monotonic() + PATIENCE_S
        while self.listeners() < count and time.monotonic() < until:
            time.sleep(0.02)
        return self.listeners()

    def stop(self, number=signal.SIGTERM):
        """Exit code and what was said on stderr."""
        self.child.send_signal(number)
        return self.ended()

    def ended(self):
        _, said = self.child.communicate(timeout=PATIENCE_S)
        return self.child.returncode, said


def read_all(sock):
    """Everything until the end of the stream."""
    parts = []
    while True:
        part = sock.recv(65536)
        if not part:
            return b''.join(parts)
        parts.append(part)


class Rally:
    """Many clients of one thread: each sends in pieces of random sizes, half-closes, reads on."""

    def __init__(self, example, payloads, seed):
        self.random = random.Random(seed)
        self.selector = selectors.DefaultSelector()
        self.left = [memoryview(payload) for payload in payloads]
        self.got = [bytearray() for _ in payloads]
        self.open = len(payloads)
        for index in range(len(payloads)):
            sock = example.connect()
            sock.setblocking(False)
            self.selector.register(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, index)

    def write(self, sock, index):
        left = self.left[index]
        if left:
            size = self.random.choice((1, 7, 64, 1000, 4096, 60000, 200000))
            try:
                self.left[index] = left[sock.send(left[:size]):]
            except BlockingIOError:
                pass
        else:
            sock.shutdown(socket.SHUT_WR)
            self.selector.modify(sock, selectors.EVENT_READ, index)

    def read(self, sock, index):
        part = sock.recv(self.random.choice((100, 5000, 65536)))
        self.got[index] += part
        if not part:
            self.selector.unregister(sock)
            sock.close()
            self.open -= 1

    def play(self):
        """What each client has got back."""
        while self.open:
            ready = self.selector.select(PATIENCE_S)
            if not ready:
                raise TimeoutError(f'{self.open} clients wait for the rest of their echo')
            for key, mask in ready:
                if mask & selectors.EVENT_WRITE:
                    self.write(key.fileobj, key.data)
                if mask & selectors.EVENT_READ:
                    self.read(key.fileobj, key.data)
        self.selector.close()
        return self.got


class Echo(unittest.TestCase):
    def test_a_megabyte_in_random_sizes_comes_back_unchanged(self):
        payload = random.Random(1).randbytes(MEGABYTE)
        with Example('echo') as example:
            got = Rally(example, [payload], 2).play()
            self.assertEqual(bytes(got[0]), payload)

    def test_half_close_brings_the_rest_and_then_the_end(self):
        with Example('echo') as example, example.connect() as sock:
            sock.sendall(b'x' * 100000)
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(read_all(sock), b'x' * 100000)

    def test_client_that_sends_all_before_it_reads_gets_all(self):
        # Budget and kernel buffers are full long before the end: events are held.
        payload = random.Random(3).randbytes(MEGABYTE)
        with Example('echo') as example, example.connect() as sock, example.connect() as other:
            sock.settimeout(0.3)
            sent = 0
            while True:
                try:
                    sent += sock.send(payload[sent % MEGABYTE:][:65536])
                except TimeoutError:
                    break
            other.sendall(b'still served')
            self.assertEqual(other.recv(100), b'still served')
            sock.settimeout(PATIENCE_S)
            sock.shutdown(socket.SHUT_WR)
            got = read_all(sock)
        self.assertEqual(len(got), sent)
        whole = payload * (sent // MEGABYTE + 1)
        self.assertEqual(got, whole[:sent])

    def test_many_clients_on_several_cores_get_their_own_bytes(self):
        for cores in (1, 2, 4):
            with self.subTest(cores=cores), Example('echo', cores) as example:
                self.assertEqual(example.wait_for_listeners(cores), cores)
                payloads = [random.Random(i).randbytes(50000 + i) for i in range(100)]
                got = Rally(example, payloads, cores).play()
                self.assertEqual([bytes(g) for g in got], payloads)
                code, said = example.stop()
                self.assertEqual((code, 'held' in said), (0, False), said)

    def test_many_slow_readers_lose_nothing(self):
        payloads = [random.Random(i).randbytes(3 * MEGABYTE) for i in range(20)]
        with Example('echo') as example:
            socks = [example.connect() for _ in payloads]
            sent = []
            for sock, payload in zip(socks, payloads):
                done = 0
                sock.settimeout(0.05)
                try:
                    while done < len(payload):
                        done += sock.send(payload[done:done + 65536])
                except TimeoutError:
                    pass
                sent.append(done)
            for sock, payload, done in zip(socks, payloads, sent):
                sock.settimeout(PATIENCE_S)
                sock.shutdown(socket.SHUT_WR)
                self.assertEqual(read_all(sock), payload[:done])
                sock.close()


class Chat(unittest.TestCase):
    def setUp(self):
        self.example = Example('chat', 2)
        self.addCleanup(self.example.__exit__)
        self.assertEqual(self.example.wait_for_listeners(2), 2)

    def join(self, count):
        """Clients that the chat knows: each has heard itself, and so have those before it."""
        clients = []
        for index in range(count):
            sock = self.example.connect()
            self.addCleanup(sock.close)
            clients.append(sock.makefile('rwb'))
            line = b'here is %d\n' % index
            self.say(clients[-1], line)
            for client in clients[:-1]:
                self.assertEqual(client.readline(), line)
            # A newcomer's core may hear late what was said to another before it came.
            while clients[-1].readline() != line:
                pass
        return clients

    @staticmethod
    def say(client, line):
        client.write(line)
        client.flush()

    def test_a_line_reaches_every_client_of_both_cores(self):
        clients = self.join(3)
        for index, speaker in enumerate(clients):
            # One byte, one piece to the byte, many pieces.
            for length in (1, 54, 55, 56, 110, 1000):
                line = bytes([ord('a') + index]) * length + b'\n'
                self.say(speaker, line)
                self.assertEqual([client.readline() for client in clients], [line] * 3)

    def test_lines_of_many_clients_are_whole_and_in_their_order(self):
        clients = self.join(12)
        said = {}
        for index, client in enumerate(clients):
            said[index] = [b'%d %d %s\n' % (index, i, b'.' * (i * 7)) for i in range(10)]
            self.say(client, b''.join(said[index]))
        for client in clients:
            heard = [client.readline() for _ in range(10 * len(clients))]
            for index in said:
                self.assertEqual([line for line in heard if line.startswith(b'%d ' % index)],
                                 said[index])

    def test_a_line_that_is_too_long_is_cut(self):
        first, second = self.join(2)
        self.say(first, b'a' * 5000 + b'\n' + b'short\n')
        self.assertEqual(second.readline(), b'a' * 1023 + b'\n')
        self.assertEqual(second.readline(), b'short\n')

    def test_who_leaves_is_forgotten_and_the_others_go_on(self):
        first, second, third = self.join(3)
        second.close()
        self.say(first, b'one\n')
        self.assertEqual([first.readline(), third.readline()], [b'one\n'] * 2)

    def test_sigterm_ends_it_with_0_while_clients_are_connected(self):
        clients = self.join(3)
        self.assertEqual(self.example.stop(), (0, ''))
        self.assertEqual([client.read() for client in clients], [b''] * 3)


class Both(unittest.TestCase):
    def test_signals_end_it_with_0_while_clients_are_connected(self):
        cases = [(name, number) for name in ('echo', 'chat') for number in (signal.SIGTERM, signal.SIGINT)]
        with contextlib.ExitStack() as stack:
            running = []
            for name, _ in cases:
                example = stack.enter_context(Example(name, 2))
                self.assertEqual(example.wait_for_listeners(2), 2)
                sock = stack.enter_context(example.connect())
                stack.enter_context(example.connect())
                sock.sendall(b'hello\n')
                self.assertEqual(sock.recv(100), b'hello\n')
                running.append(example)
            # Each waits for its clients until its time for closing is over: all at once.
            for example, (_, number) in zip(running, cases):
                example.child.send_signal(number)
            for example, (name, number) in zip(running, cases):
                with self.subTest(name=name, signal=number.name):
                    self.assertEqual(example.ended(), (0, ''))

    def test_port_in_use_is_one_clear_line_and_1(self):
        for name in ('echo', 'chat'):
            for cores in ('1', '3'):
                with self.subTest(name=name, cores=cores), \
                        socket.create_server(('127.0.0.1', 0)) as taken:
                    address = '127.0.0.1:%d' % taken.getsockname()[1]
                    done = subprocess.run([os.path.join(EXAMPLES, name), address, cores],
                                          capture_output=True, text=True, timeout=PATIENCE_S,
                                          check=False)
                    self.assertEqual(done.stderr, f'{name}: {address}: Address already in use\n')
                    self.assertEqual((done.returncode, done.stdout), (1, ''))

    def test_nonsense_is_a_line_of_usage_and_2(self):
        for name in ('echo', 'chat'):
            for args in ([], ['nowhere'], ['127.0.0.1:1', '0'], ['127.0.0.1:1', '-3'],
                         ['127.0.0.1:1', '17'], ['127.0.0.1:1', 'two']):
                with self.subTest(name=name, args=args):
                    done = subprocess.run([os.path.join(EXAMPLES, name)] + args,
                                          capture_output=True, text=True, timeout=PATIENCE_S,
                                          check=False)
                    self.assertEqual(done.returncode, 2)
                    self.assertRegex(done.stderr, f'^{name}: usage: {name} ADDRESS .*\n$')

    def test_each_is_under_100_lines(self):
        for name in ('echo', 'chat'):
            path = os.path.join(os.environ['VOLLEY_TOP'], 'examples', name + '.c')
            with open(path, encoding='utf-8') as file:
                self.assertLess(len(file.readlines()), 100)
