"""test_baselines.py - the plain C servers echo every byte to peers good and bad, on one CPU and on two"""

import contextlib
import os
import random
import selectors
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest

from volley_cli import PATIENCE_S, VOLLEY, VolleyTest, wait_until

ROWS = os.path.join(os.path.dirname(os.path.abspath(VOLLEY)), 'bench')
CPUS = sorted(os.sched_getaffinity(0))
ONE = str(CPUS[0])
TWO = f'{CPUS[0]},{CPUS[-1]}'  # with a single CPU: two threads on it
BYTES = random.Random(4).randbytes(8 << 20)
SANITIZED = os.environ.get('VOLLEY_SANITIZE', 'none') != 'none'
MANY = 10000
MANY_WANTED = os.environ.get('VOLLEY_TEST_MANY')


class Server:
    """One baseline as a process; `before` are words before its command."""

    def __init__(self, program, port=0, cpus=None, before=()):
        words = [*before, os.path.join(ROWS, 'volley-' + program), str(port)]
        self.process = subprocess.Popen(words + ([cpus] if cpus else []), stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ready = self.process.stdout.readline().split()
        self.port = int(ready[1]) if ready[:1] == ['READY'] else None

    def end(self, number=signal.SIGTERM):
        """Signals it. Exit code and what it said on stderr."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        try:
            err = self.process.communicate(timeout=PATIENCE_S)[1]
        finally:
            self.process.kill()
        return self.process.returncode, err

    def tasks(self):
        """CPUs that each thread may run on."""
        found = []
        for task in os.listdir(f'/proc/{self.process.pid}/task'):
            found.append(os.sched_getaffinity(int(task)))
        return found


def fill(peer):
    """Sends what goes without reading: until nothing more went for a while. Its length."""
    peer.settimeout(0.2)
    sent = 0
    try:
        while sent < len(BYTES) * 4:
            sent += peer.send(memoryview(BYTES)[sent % len(BYTES):][:65536])
    except TimeoutError:
        pass
    peer.settimeout(PATIENCE_S)
    return sent


def receive(peer, want):
    """So many bytes, or fewer if the end came before."""
    got = bytearray()
    while len(got) < want:
        more = peer.recv(min(want - len(got), 1 << 20))
        if not more:
            break
        got += more
    return bytes(got)


def pattern(length):
    """What fill() sent."""
    return (BYTES * (length // len(BYTES) + 1))[:length]


class Peers:
    """What each baseline has to pass, with `program` and `cpus`."""

    program = cpus = None

    def setUp(self):
        self.server = self.start()
        self.assertIsNotNone(self.server.port, 'no READY')

    def start(self, **options):
        server = Server(self.program, cpus=self.cpus, **options)
        self.addCleanup(server.end)
        return server

    def connect(self, server=None):
        peer = socket.create_connection(('127.0.0.1', (server or self.server).port), PATIENCE_S)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.addCleanup(peer.close)
        return peer

    def expect_echo(self, peer, data=b'one message'):
        peer.sendall(data)
        self.assertEqual(receive(peer, len(data)), data)

    def test_one_byte_at_a_time_is_echoed(self):
        peer = self.connect()
        for i in range(300):
            self.expect_echo(peer, BYTES[i:i + 1])
        for i in range(300):
            peer.send(BYTES[i:i + 1])
        self.assertEqual(receive(peer, 300), BYTES[:300])

    def test_8_mb_come_back_unchanged(self):
        peer = self.connect()
        sender = threading.Thread(target=peer.sendall, args=(BYTES,))
        sender.start()
        got = receive(peer, len(BYTES))
        sender.join(PATIENCE_S)
        self.assertTrue(got == BYTES, f'{len(got)} bytes, not the same')

    def test_many_connections_get_their_own_bytes(self):
        peers = [self.connect() for _ in range(100)]
        for turn in range(3):
            for i, peer in enumerate(peers):
                peer.sendall(struct.pack('!II', turn, i) * 8)
            for i, peer in enumerate(peers):
                self.assertEqual(receive(peer, 64), struct.pack('!II', turn, i) * 8)

    def test_closed_connections_leave_the_others_theirs(self):
        # Of every set of three one closes: whatever order the server keeps them in changes.
        for turn in range(20):
            peers = [self.connect() for _ in range(30)]
            for peer in peers[turn % 3::3]:
                peer.close()
            del peers[turn % 3::3]
            for peer in peers:
                self.expect_echo(peer)

    def test_half_close_gets_all_and_then_the_end(self):
        peer = self.connect()
        peer.sendall(b'last words')
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(receive(peer, 1000), b'last words')
        peer = self.connect()
        sent = fill(peer)
        peer.shutdown(socket.SHUT_WR)
        got = receive(peer, sent + 1)
        self.assertTrue(got == pattern(sent), f'{len(got)} of {sent} bytes')

    def test_half_close_without_a_byte_gets_the_end(self):
        peer = self.connect()
        peer.shutdown(socket.SHUT_WR)
        self.assertEqual(receive(peer, 1), b'')

    def test_20_peers_that_never_read_do_not_stop_others_and_get_all_in_the_end(self):
        lazy = [self.connect() for _ in range(20)]
        sent = [0] * 20
        with selectors.DefaultSelector() as ready:
            for i, peer in enumerate(lazy):
                peer.setblocking(False)
                ready.register(peer, selectors.EVENT_WRITE, i)
            # All at once, until none may send any more.
            while found := ready.select(0.3):
                for key, _ in found:
                    begin = sent[key.data] % len(BYTES)
                    try:
                        sent[key.data] += key.fileobj.send(memoryview(BYTES)[begin:begin + 65536])
                    except BlockingIOError:
                        pass
        other = self.connect()
        self.expect_echo(other, BYTES[:300000])
        for peer, length in zip(lazy, sent):
            peer.settimeout(PATIENCE_S)
            self.assertTrue(receive(peer, length) == pattern(length))
            self.expect_echo(peer)

    def test_peers_that_never_read_and_reset_leave_others_alone(self):
        other = self.connect()
        for _ in range(5):
            peer = self.connect()
            fill(peer)
            self.reset(peer)
        self.expect_echo(other)

    @staticmethod
    def reset(peer):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
        peer.close()

    def test_resets_leave_others_alone(self):
        other = self.connect()
        for i in range(100):
            peer = self.connect()
            peer.send(BYTES[:1000 * (i % 2)])
            self.reset(peer)
            if i % 10 == 0:
                self.expect_echo(other)
        self.expect_echo(other)
        self.all_closed(1)

    def all_closed(self, besides):
        """Waits until the server has closed all connections but some: no descriptor is lost."""
        def count():
            tasks = f'/proc/{self.server.process.pid}/task'
            links = set()  # each thread may have a table of its own; listeners are in all of them
            for folder in [os.path.join(tasks, task, 'fd') for task in os.listdir(tasks)]:
                with contextlib.suppress(FileNotFoundError):  # the thread has ended since it was listed
                    for name in os.listdir(folder):
                        with contextlib.suppress(FileNotFoundError):  # closed since it was listed
                            links.add(os.readlink(os.path.join(folder, name)))
            listeners = 1 if self.program == 'c_thread' or ',' not in self.cpus else 2
            return sum(link.startswith('socket:') for link in links) == besides + listeners
        wait_until(count, 'the server to close')

    def test_sigterm_with_clients_connected_ends_it(self):
        peers = [self.connect() for _ in range(50)]
        for peer in peers[:25]:
            self.expect_echo(peer)
        fill(peers[0])
        self.assertEqual(self.server.end(), (0, ''))
        for peer in peers[1:]:
            try:
                self.assertEqual(receive(peer, 1), b'')
            except ConnectionResetError:
                pass

    def test_sigint_ends_it(self):
        self.assertEqual(self.server.end(signal.SIGINT), (0, ''))

    def test_a_port_in_use_is_told(self):
        with socket.create_server(('127.0.0.1', 0)) as taken:
            # Not even a listener that shares what others share; and not one of its own kind.
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            for port in (taken.getsockname()[1], self.server.port):
                second = self.start(port=port)
                self.assertIsNone(second.port)
                self.assertEqual(second.end(), (
                    1, f'volley-{self.program}: cannot listen on port {port}: Address already in use\n'))
        self.expect_echo(self.connect())

    def test_a_port_just_left_is_free(self):
        peer = self.connect()
        self.expect_echo(peer)
        self.server.end()
        again = self.start(port=self.server.port)
        self.assertEqual(again.port, self.server.port)
        self.expect_echo(self.connect(again))

    def test_without_descriptors_connections_wait_until_others_end(self):
        if SANITIZED:
            self.skipTest('sanitizers need descriptors of their own')
        server = self.start(before=['prlimit', '--nofile=20:20'])
        # The limit is that of a table of descriptors.
        tables = 1 if self.program == 'c_thread' else len(self.cpus.split(','))
        peers = [self.connect(server) for _ in range(30 * tables)]
        for peer in peers:
            peer.sendall(b'hello')
        served = wait_until(lambda: self.readable(peers), 'the first')
        while more := self.readable(peers, 0.3) - served:
            served |= more
        self.assertLess(len(served), 20 * tables)
        for peer in served:
            self.assertEqual(receive(peer, 5), b'hello')
            peer.close()
        waiting = [peer for peer in peers if peer not in served]
        for peer in waiting:
            self.assertEqual(receive(peer, 5), b'hello')
            peer.close()

    @staticmethod
    def readable(peers, timeout_s=0):
        with selectors.DefaultSelector() as ready:
            for peer in peers:
                if peer.fileno() >= 0:
                    ready.register(peer, selectors.EVENT_READ)
            if timeout_s:
                time.sleep(timeout_s)
            return {key.fileobj for key, _ in ready.select(0)}

    def test_threads_stay_on_the_cpus_given(self):
        peers = [self.connect() for _ in range(3)]
        for peer in peers:
            self.expect_echo(peer)
        given = [int(cpu) for cpu in self.cpus.split(',')]
        if self.program == 'c_thread':
            self.assertEqual(self.server.tasks(), [set(given)] * 4)
        else:
            self.assertEqual(sorted(self.server.tasks(), key=min), [{cpu} for cpu in sorted(given)])


    def test_each_thread_has_descriptors_of_its_own(self):
        if self.program == 'c_thread' or SANITIZED:
            self.skipTest('all its threads share a table' if self.program == 'c_thread' else
                          'sanitizers need descriptors of their own')
        # Nearly twice as many connections as one table holds: by chance 50 on each, give or take 15.
        server = self.start(before=['prlimit', '--nofile=80:80'])
        tables = len(self.cpus.split(','))
        for peer in [self.connect(server) for _ in range(50 * tables)]:
            self.expect_echo(peer)


class EpollOnOne(Peers, unittest.TestCase):
    program, cpus = 'c_epoll', ONE


class EpollOnTwo(Peers, unittest.TestCase):
    program, cpus = 'c_epoll', TWO


class PollOnOne(Peers, unittest.TestCase):
    program, cpus = 'c_poll', ONE


class PollOnTwo(Peers, unittest.TestCase):
    program, cpus = 'c_poll', TWO


class ThreadOnOne(Peers, unittest.TestCase):
    program, cpus = 'c_thread', ONE


class ThreadOnTwo(Peers, unittest.TestCase):
    program, cpus = 'c_thread', TWO

    def test_without_memory_for_a_thread_the_limits_are_told_and_others_served(self):
        if SANITIZED:
            self.skipTest('sanitizers reserve more addresses than there would be')
        server = self.start(before=['prlimit', '--nofile=1000:1000', '--as=25000000'])
        peers = [self.connect(server) for _ in range(400)]
        served = 0
        for peer in peers:
            try:
                peer.sendall(b'hello')
                served += receive(peer, 5) == b'hello'
            except (ConnectionResetError, BrokenPipeError):
                pass
        self.assertGreater(served, 10)
        self.assertLess(served, 400)
        self.expect_echo(peers[0])
        code, err = server.end()
        self.assertEqual(code, 0)
        self.assertEqual(len(err.splitlines()), 1, err)
        for name in ('pthread_create', 'RLIMIT_NPROC', 'kernel.threads-max', 'kernel.pid_max',
                     'vm.max_map_count', 'pids.max'):
            self.assertIn(name, err)


class CommandLine(unittest.TestCase):
    """PORT [CPUS]."""

    def refused(self, code, *words):
        for program in ('c_epoll', 'c_poll', 'c_thread'):
            done = subprocess.run([os.path.join(ROWS, 'volley-' + program), *words], text=True,
                                  stdin=subprocess.DEVNULL, capture_output=True, check=False,
                                  timeout=PATIENCE_S)
            self.assertEqual((done.returncode, done.stdout), (code, ''), done)
            self.assertEqual(len(done.stderr.splitlines()), 1, done)
            self.assertTrue(done.stderr.startswith(f'volley-{program}: '), done)

    def test_what_is_no_port_is_refused(self):
        for words in ((), ('',), ('x',), ('65536',), ('-1',), ('99999999999999999999',), ('80 ',),
                      ('0', '0', '0')):
            self.refused(2, *words)

    def test_what_is_no_list_of_cpus_is_refused(self):
        for cpus in ('', 'x', '0,', ',0', '1-', '2-1', '0-1024', '0 1', '-1', '0,0-1023'):
            self.refused(2, '0', cpus)

    def test_a_cpu_that_is_not_there_is_refused(self):
        if os.cpu_count() > 1023:
            self.skipTest('there may be a CPU 1023')
        self.refused(1, '0', '1023')

    def test_ranges_name_all_between(self):
        if CPUS[:2] != [0, 1]:
            self.skipTest('CPUs 0 and 1 may not both be used')
        server = Server('c_epoll', cpus='0-1,0')
        self.addCleanup(server.end)
        self.assertEqual(sorted(map(sorted, server.tasks())), [[0], [0], [1]])


class ThreadsWithoutEnd(VolleyTest):
    """c_thread with as many connections as studies use."""

    def run_with(self, connections):
        # Patient: on a busy machine so many threads have taken longer than the usual time-outs.
        done = self.volley('pingpong', 'c_thread', '-c', str(connections), '--warmup', '100ms',
                           '--duration', '500ms' if connections < MANY else '10s', '--stall-timeout', '60s',
                           '--json', self.json)
        if done.code == 3:
            self.skipTest(done.err.strip())
        _, runs, _ = self.read()
        if done.code == 4:
            self.skipTest(f'the speed of a CPU changed in every attempt: {runs[-1]["reasons"]}')
        self.assertEqual(done.code, 0, done)
        self.assertEqual(runs[-1]['connections'], connections)
        self.assertGreater(runs[-1]['messages'], 0)

    def test_1000_connections_are_served(self):
        self.run_with(1000)

    @unittest.skipUnless(MANY_WANTED, f'{MANY} threads take a while: set VOLLEY_TEST_MANY=1')
    def test_10000_connections_are_served(self):
        self.run_with(MANY)


if __name__ == '__main__':
    unittest.main()
