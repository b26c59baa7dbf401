"""test_kernel.py - the engine's own TCP/IP against the kernel's, over a tap in a network namespace"""

import hashlib
import os
import random
import select
import selectors
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import netns  # noqa: E402

BUILD = os.environ['VOLLEY_BUILD']
PEER = os.path.join(BUILD, 'tests', 'interop', 'interop_peer')
HTTP = os.path.join(BUILD, 'examples', 'http')
PATIENCE_S = 60  # a watchdog, no measurement
KERNEL = '10.9.0.1'
OURS = '10.9.0.2'
MEGABYTE = 1 << 20
BULK = int(os.environ.get('VOLLEY_INTEROP_MB', '8')) * MEGABYTE
CONNECTS = int(os.environ.get('VOLLEY_INTEROP_CONNECTS', '1000'))
ECHO, DEAF, SPEAK, RESET = 7, 9, 13, 15

netns.enter()


def check_nic():
    """Skips everything where the library has no inet nic."""
    done = subprocess.run([PEER, 'inet:none', 'serve', f'{OURS}:0'], stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    if 'there is no nic "inet"' in done.stderr:
        raise netns.Refused('the inet nic is not built')


check_nic()


def checksum(data):
    """RFC 1071."""
    data += b'\0' * (len(data) % 2)
    total = sum(struct.unpack(f'!{len(data) // 2}H', data))
    total = (total >> 16) + (total & 0xffff)
    return ~(total + (total >> 16)) & 0xffff


class Process:
    """A child that says READY, unless told otherwise; leaving the context ends it."""

    def __init__(self, *words, ready=True):
        self.child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, text=True)
        if ready and self.child.stdout.readline() != 'READY\n':
            raise AssertionError(self.child.communicate()[1])

    def __enter__(self):
        return self

    def __exit__(self, kind, *exception):
        if self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        try:
            _, said = self.child.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.child.kill()
            raise
        if kind is None and self.child.returncode != 0:
            raise AssertionError(f'exit code {self.child.returncode}: {said}')


class Kernel(unittest.TestCase):
    """Each test has a tap of its own."""

    device = 'tap0'

    def setUp(self):
        netns.add_tap(self.device, f'{KERNEL}/24')
        self.addCleanup(netns.remove, self.device)

    def nic(self, more='', wires=''):
        return f'inet:{wires}tap,dev={self.device},ip={OURS}/24{more}'

    def serve(self, more='', wires=''):
        return Process(PEER, self.nic(more, wires), 'serve', f'{OURS}:0')

    def connects(self, port, count):
        """What the peer says when its `count` connections to the kernel's port are over; then it ends by itself."""
        done = subprocess.run([PEER, self.nic(), 'connect', f'{KERNEL}:{port}', str(count), '64'],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout.splitlines()[-1]

    def connect(self, port=ECHO):
        sock = socket.create_connection((OURS, port), timeout=PATIENCE_S)
        self.addCleanup(sock.close)
        return sock

    def exchange(self, sock, size, seed=1):
        """Sends `size` bytes, half-closes, expects all of them back and the end; hashes compared."""
        data = random.Random(seed).randbytes(MEGABYTE)
        sent, got = hashlib.sha256(), hashlib.sha256()

        def send():
            left = size
            while left:
                piece = data[:min(left, len(data))]
                sock.sendall(piece)
                sent.update(piece)
                left -= len(piece)
            sock.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        count = 0
        while True:
            part = sock.recv(1 << 18)
            if not part:
                break
            count += len(part)
            got.update(part)
        sender.join(PATIENCE_S)
        self.assertEqual(count, size)
        self.assertEqual(got.hexdigest(), sent.hexdigest())

    # --- ICMP and UDP ---

    def test_ping_is_answered(self):
        with self.serve():
            try:
                sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
            except PermissionError as refused:
                raise unittest.SkipTest('raw sockets are not permitted') from refused
            with sock:
                sock.settimeout(PATIENCE_S)
                for size in (0, 1, 56, 1472):
                    body = struct.pack('!HH', 77, size) + b'v' * size
                    head = struct.pack('!BBH', 8, 0, 0)
                    check = checksum(head + body)
                    sock.sendto(struct.pack('!BBH', 8, 0, check) + body, (OURS, 0))
                    packet = sock.recv(2048)
                    self.assertEqual(packet[20], 0)
                    self.assertEqual(packet[24:], body)
                    self.assertEqual(checksum(packet[20:]), 0)

    def test_datagrams_come_back_whole(self):
        with self.serve(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect((OURS, ECHO))
            for size in (0, 1, 2, 63, 64, 65, 500, 1471, 1472):
                data = random.Random(size).randbytes(size)
                sock.send(data)
                self.assertEqual(sock.recv(4096), data)

    def test_a_datagram_for_nobody_is_refused(self):
        with self.serve(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect((OURS, 4444))
            sock.send(b'x')
            with self.assertRaises(ConnectionRefusedError):
                sock.recv(10)

    # --- TCP: bulk ---

    def test_bulk_both_ways_is_the_same(self):
        with self.serve():
            self.exchange(self.connect(), BULK)

    def test_many_streams_at_once_are_the_same(self):
        with self.serve():
            threads = [threading.Thread(target=self.exchange,
                                        args=(self.connect(), MEGABYTE, seed))
                       for seed in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(PATIENCE_S)
                self.assertFalse(thread.is_alive())

    def test_bulk_with_loss_is_the_same(self):
        with self.serve():
            sock = self.connect()
            netns.lose(1)
            self.addCleanup(netns.stop_losing)
            self.exchange(sock, max(2 * MEGABYTE, BULK // 4))

    def test_bulk_with_faults_of_every_kind_is_the_same(self):
        with self.serve(',loss=0.01,dup=0.01,reorder=0.02,corrupt=0.005,seed=3', 'impair,'):
            self.exchange(self.connect(), 2 * MEGABYTE)

    def test_bulk_over_another_mtu_is_the_same(self):
        for mtu in (600, 1280):
            netns.ip('link', 'set', self.device, 'mtu', str(mtu))
            with self.subTest(mtu=mtu), self.serve(f',mtu={mtu}'):
                self.exchange(self.connect(), MEGABYTE)

    def test_a_change_of_mtu_under_way_changes_no_byte(self):
        with self.serve():
            sock = self.connect()
            sock.sendall(b'before')
            self.assertEqual(sock.recv(100), b'before')
            netns.ip('link', 'set', self.device, 'mtu', '900')
            self.exchange(sock, MEGABYTE)

    # --- TCP: opening and ending ---

    def test_connects_and_closes_from_the_kernel(self):
        with self.serve():
            for number in range(CONNECTS):
                with socket.create_connection((OURS, ECHO), timeout=PATIENCE_S) as sock:
                    data = b'%08d' % number
                    sock.sendall(data)
                    self.assertEqual(sock.recv(100), data)

    def test_connects_that_we_close_first(self):
        with self.serve():
            for _ in range(CONNECTS):
                with socket.create_connection((OURS, SPEAK), timeout=PATIENCE_S) as sock:
                    got = b''
                    while True:
                        part = sock.recv(1000)
                        if not part:
                            break
                        got += part
                    self.assertEqual(len(got), 100)

    def test_connects_and_closes_to_the_kernel(self):
        server = socket.create_server((KERNEL, 0), backlog=1024)
        self.addCleanup(server.close)
        stop = threading.Event()

        def echo():
            selector = selectors.DefaultSelector()
            selector.register(server, selectors.EVENT_READ)
            while not stop.is_set():
                for key, _ in selector.select(0.05):
                    if key.fileobj is server:
                        selector.register(server.accept()[0], selectors.EVENT_READ)
                        continue
                    try:
                        data = key.fileobj.recv(65536)
                        if data:
                            key.fileobj.sendall(data)
                            continue
                    except ConnectionError:
                        pass
                    selector.unregister(key.fileobj)
                    key.fileobj.close()

        thread = threading.Thread(target=echo)
        thread.start()
        try:
            port = server.getsockname()[1]
            self.assertEqual(self.connects(port, CONNECTS), f'DONE {CONNECTS} 0')
        finally:
            stop.set()
            thread.join(PATIENCE_S)

    def test_a_connect_to_nobody_is_refused(self):
        self.assertEqual(self.connects(4444, 10), 'DONE 0 10')
        with self.serve(), self.assertRaises(ConnectionRefusedError):
            socket.create_connection((OURS, 4444), timeout=PATIENCE_S)

    def test_a_half_closed_stream_goes_on_the_other_way(self):
        with self.serve():
            sock = self.connect()
            sock.sendall(b'x' * 100000)
            sock.shutdown(socket.SHUT_WR)
            time.sleep(0.1)
            count = 0
            while True:
                part = sock.recv(1000)
                if not part:
                    break
                count += len(part)
            self.assertEqual(count, 100000)

    def test_our_reset_reaches_the_kernel(self):
        with self.serve():
            sock = self.connect(RESET)
            sock.sendall(b'x')
            with self.assertRaises(ConnectionResetError):
                sock.recv(10)

    def test_the_kernels_reset_ends_one_connection_alone(self):
        with self.serve():
            other = self.connect()
            for _ in range(50):
                sock = socket.create_connection((OURS, ECHO), timeout=PATIENCE_S)
                sock.sendall(b'x' * 1000)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
                sock.close()
            other.sendall(b'still here')
            self.assertEqual(other.recv(100), b'still here')

    # --- TCP: flow control ---

    def test_our_zero_window_holds_the_kernel_and_opens_again(self):
        with self.serve():
            sock = self.connect(DEAF)
            sock.setblocking(False)
            sent = 0
            until = time.monotonic() + PATIENCE_S
            while sent < 20 * MEGABYTE and time.monotonic() < until:
                if select.select([], [sock], [], 1)[1]:
                    sent += sock.send(b'\0' * 65536)
            self.assertEqual(sent, 20 * MEGABYTE)
            sock.setblocking(True)
            sock.settimeout(PATIENCE_S)
            sock.shutdown(socket.SHUT_WR)
            self.assertEqual(sock.recv(10), b'')

    def test_the_kernels_zero_window_holds_us_and_opens_again(self):
        with self.serve():
            sock = socket.socket()
            self.addCleanup(sock.close)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
            sock.settimeout(PATIENCE_S)
            sock.connect((OURS, ECHO))
            data = random.Random(5).randbytes(4 * MEGABYTE)
            sender = threading.Thread(target=sock.sendall, args=(data,))
            sender.start()
            time.sleep(1)
            got = bytearray()
            while len(got) < len(data):
                part = sock.recv(65536)
                self.assertTrue(part)
                got += part
            sender.join(PATIENCE_S)
            self.assertEqual(got, data)

    # --- what a bystander sees ---

    def test_tshark_finds_nothing_wrong_with_our_frames(self):
        netns.need('tshark', 'tshark')
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a.pcap')
            with self.serve(f',file={path}', 'pcap,'):
                self.exchange(self.connect(), MEGABYTE)
                self.exchange(self.connect(), 1)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                    sock.settimeout(PATIENCE_S)
                    sock.sendto(b'abc', (OURS, ECHO))
                    sock.recv(10)
                self.connect(SPEAK).recv(1000)
                sock = self.connect(RESET)
                sock.sendall(b'x')
            def count(what):
                done = subprocess.run(
                    ['tshark', '-n', '-r', path, '-o', 'tcp.check_checksum:TRUE', '-o',
                     'ip.check_checksum:TRUE', '-o', 'udp.check_checksum:TRUE', '-Y', what],
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                    text=True, check=True)
                return done.stdout.splitlines()
            ours = 'eth.src == 02:54:00:00:00:01'
            self.assertGreater(len(count(f'{ours} && tcp')), 100)
            self.assertGreater(len(count(f'{ours} && udp')), 0)
            self.assertGreater(len(count(f'{ours} && arp')), 0)
            self.assertEqual(count('_ws.malformed'), [])
            for layer in ('ip', 'tcp', 'udp'):
                self.assertEqual(count(f'{ours} && {layer}.checksum.status == "Bad"'), [])
            self.assertEqual(count(f'{ours} && _ws.expert.severity == "Error"'), [])

    def test_a_delayed_ack_provokes_no_retransmission(self):
        netns.need('tshark', 'tshark')
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'a.pcap')
            with self.serve(f',file={path}', 'pcap,'):
                sock = self.connect()
                # one way only: the kernel delays its ACKs by 40 ms, and has nothing to send
                for _ in range(20):
                    sock.sendall(b'x' * 64)
                    self.assertEqual(len(sock.recv(100)), 64)
                    time.sleep(0.06)
            done = subprocess.run(['tshark', '-n', '-r', path, '-Y',
                                   f'ip.src == {OURS} && tcp.analysis.retransmission'],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, check=True)
            self.assertEqual(done.stdout, '')

    # --- an application ---

    def test_http_is_served_to_curl(self):
        netns.need('curl', 'curl')
        with Process(HTTP, f'{OURS}:80', self.nic(), ready=False):
            done = subprocess.run(['curl', '-sS', '--retry', '20', '--retry-connrefused',
                                   '--retry-delay', '0', '--noproxy', '*', f'http://{OURS}/',
                                   f'http://{OURS}/again'],
                                  stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S,
                                  check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(done.stdout, 'Hello from user space.\n' * 2)


class Packet(Kernel):
    """A few of the same by a packet socket at one end of a veth."""

    device = 'veth0'

    def setUp(self):
        netns.add_veth(self.device, f'{KERNEL}/24', 'veth1')
        self.addCleanup(netns.remove, self.device)

    def nic(self, more='', wires=''):
        return f'inet:{wires}packet,dev=veth1,ip={OURS}/24{more}'


class Offload(Kernel):
    """A tap that leaves checksums to the kernel, and long segments to be cut (TSO)."""

    def nic(self, more='', wires=''):
        return f'inet:{wires}tap,dev={self.device},csum=offload,ip={OURS}/24{more}'

    def sent(self):
        """What we have sent, as the kernel counts it: frames, bytes."""
        with open('/proc/self/net/dev', encoding='ascii') as file:
            words = next(line for line in file if line.strip().startswith(f'{self.device}:')).split()
        return int(words[2]), int(words[1])

    def bytes_per_frame(self, more=''):
        before = self.sent()
        with self.serve(more):
            self.exchange(self.connect(), BULK)
        frames, count = (after - at for after, at in zip(self.sent(), before))
        self.assertGreater(count, BULK)
        return count / frames

    def test_long_segments_are_left_to_the_kernel_to_cut(self):
        # bare ACKs are in it
        self.assertGreater(self.bytes_per_frame(), 2000)

    def test_a_wire_told_not_to_cut_gets_none(self):
        self.assertLess(self.bytes_per_frame(',tso=0'), 1515)

    def test_long_segments_of_another_mtu_are_the_same(self):
        for mtu in (576, 1280):
            netns.ip('link', 'set', self.device, 'mtu', str(mtu))
            with self.subTest(mtu=mtu), self.serve(f',mtu={mtu}'):
                self.exchange(self.connect(), MEGABYTE)


def keep(kind, *names):
    """Of what `kind` inherits these tests alone: one class runs all, the others what concerns their wires."""
    for inherited in [name for name in dir(Kernel) if name.startswith('test_')]:
        if inherited not in names:
            setattr(kind, inherited, None)


keep(Packet, 'test_ping_is_answered', 'test_datagrams_come_back_whole', 'test_bulk_both_ways_is_the_same',
     'test_http_is_served_to_curl')
keep(Offload, 'test_ping_is_answered', 'test_datagrams_come_back_whole', 'test_many_streams_at_once_are_the_same',
     'test_bulk_with_loss_is_the_same', 'test_a_change_of_mtu_under_way_changes_no_byte',
     'test_a_half_closed_stream_goes_on_the_other_way', 'test_the_kernels_zero_window_holds_us_and_opens_again')

if __name__ == '__main__':
    unittest.main()
