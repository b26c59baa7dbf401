"""test_dpdk.py - the engine's own TCP/IP against the kernel's over ports of DPDK's: a tap, af_packet on a veth"""

import collections
import os
import socket
import subprocess
import sys
import time
import unittest

os.environ.setdefault('VOLLEY_INTEROP_CONNECTS', '2000')
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import netns  # noqa: E402
import test_kernel  # noqa: E402
from test_kernel import KERNEL, OURS, PEER  # noqa: E402

# Of the whole list: what depends on how frames come and go.
CLAIMS = ('test_ping_is_answered', 'test_datagrams_come_back_whole', 'test_bulk_both_ways_is_the_same',
          'test_many_streams_at_once_are_the_same', 'test_bulk_with_loss_is_the_same',
          'test_connects_and_closes_from_the_kernel', 'test_connects_that_we_close_first',
          'test_connects_and_closes_to_the_kernel', 'test_a_half_closed_stream_goes_on_the_other_way',
          'test_our_reset_reaches_the_kernel', 'test_the_link_goes_down_and_comes_back')


def check_plugin():
    done = subprocess.run([PEER, f'inet:dpdk,port=9,eal="--vdev=net_null0",ip={OURS}/24', 'serve', f'{OURS}:0'],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          check=False)
    if 'there is no such port' not in done.stderr:
        raise netns.Refused(done.stderr.strip() or 'the DPDK plugin is not built')


check_plugin()


class Port(test_kernel.Kernel):
    """What a port can do beside a wire."""

    kernels_end = test_kernel.Kernel.device

    def test_the_link_goes_down_and_comes_back(self):
        with self.serve():
            sock = self.connect()
            for number in range(3):
                data = b'%08d' % number
                sock.sendall(data)
                self.assertEqual(sock.recv(100), data)
                netns.ip('link', 'set', self.kernels_end, 'down')
                # longer than our side looks for a link that is up
                time.sleep(0.3)
                netns.ip('link', 'set', self.kernels_end, 'up')
            self.exchange(sock, test_kernel.MEGABYTE)
            self.exchange(self.connect(), test_kernel.MEGABYTE)


class Tap(Port):
    """net_tap: the kernel is at the other end."""

    def setUp(self):
        if os.getuid() != 0 or not os.access('/dev/net/tun', os.R_OK | os.W_OK):
            raise netns.Refused('net_tap takes root and /dev/net/tun')
        netns.ip('tuntap', 'add', 'dev', self.device, 'mode', 'tap', 'multi_queue')
        netns.configure(self.device, f'{KERNEL}/24', 1500)
        self.addCleanup(netns.remove, self.device)

    def nic(self, more='', wires=''):
        return f'inet:{wires}dpdk,port=0,eal="--vdev=net_tap0,iface={self.device}",ip={OURS}/24{more}'

    def identities(self, more=''):
        """Of a bulk exchange, how many of our frames have which identification in their IP header."""
        seen = collections.Counter()
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sock, self.serve(more):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 22)
            sock.bind((self.device, 0x0800))
            sock.settimeout(0.2)
            self.exchange(self.connect(), test_kernel.MEGABYTE)
            try:
                while True:
                    frame = sock.recv(2048)
                    if frame[26:30] == socket.inet_aton(OURS):
                        seen[int.from_bytes(frame[18:20], 'big')] += 1
            except TimeoutError:
                return seen

    def test_long_segments_are_left_to_the_port_to_cut(self):
        """We number no packet; whoever cuts numbers the pieces (DPDK's lib/gso)."""
        seen = self.identities()
        self.assertGreater(seen.total() - seen[0], 100)
        self.assertLess(max(seen), 32)

    def test_a_port_told_not_to_cut_gets_segments(self):
        self.assertEqual(list(self.identities(',tso=0')), [0])


class AfPacket(Port):
    """net_af_packet: a veth."""

    kernels_end = 'veth0'

    def setUp(self):
        netns.add_veth('veth0', f'{KERNEL}/24', 'veth1')
        self.addCleanup(netns.remove, 'veth0')

    def nic(self, more='', wires=''):
        return f'inet:{wires}dpdk,port=0,eal="--vdev=net_af_packet0,iface=veth1",ip={OURS}/24{more}'


class AfXdp(AfPacket):
    """net_af_xdp: the same, by a socket that takes frames before the kernel's stack does."""

    def setUp(self):
        if os.getuid() != 0:
            raise netns.Refused('net_af_xdp takes root')
        super().setUp()

    def nic(self, more='', wires=''):
        return f'inet:{wires}dpdk,port=0,eal="--vdev=net_af_xdp0,iface=veth1",ip={OURS}/24{more}'


class Queues(unittest.TestCase):
    """Two cores, each with a queue of the port, and connections of the kernel's: every one is answered by its core."""

    def setUp(self):
        cpus = sorted(os.sched_getaffinity(0))
        if os.getuid() != 0:
            raise netns.Refused('sockets of packets, and net_tap, take root')
        if not os.environ.get('VOLLEY') or len(cpus) < 2:
            raise netns.Refused('needs the volley command and two CPUs')
        self.cpus = f'{cpus[0]},{cpus[1]}'

    def talk(self, vdev):
        with test_kernel.Process(os.environ['VOLLEY'], 'echo-server', '--idle=busy', f'--cpus={self.cpus}',
                                 f'--nic=inet:dpdk,port=0,eal="--vdev={vdev}",ip={OURS}/24', f'{OURS}:7',
                                 ready=False) as server:
            self.assertEqual(server.child.stdout.readline(), 'READY 7\n')
            socks = [socket.create_connection((OURS, 7), timeout=test_kernel.PATIENCE_S) for _ in range(64)]
            for sock in socks:
                self.addCleanup(sock.close)
            for number in range(20):
                for index, sock in enumerate(socks):
                    sock.sendall(b'%04d %04d' % (number, index))
                for index, sock in enumerate(socks):
                    self.assertEqual(sock.recv(100), b'%04d %04d' % (number, index))

    def test_two_queues_of_a_tap(self):
        netns.ip('tuntap', 'add', 'dev', 'tap0', 'mode', 'tap', 'multi_queue')
        self.addCleanup(netns.remove, 'tap0')
        netns.configure('tap0', f'{KERNEL}/24', 1500)
        self.talk('net_tap0,iface=tap0')

    def test_two_queues_of_af_packet(self):
        netns.add_veth('veth0', f'{KERNEL}/24', 'veth1')
        self.addCleanup(netns.remove, 'veth0')
        self.talk('net_af_packet0,iface=veth1,qpairs=2')

    def test_two_queues_of_af_xdp_on_a_veth_are_refused_with_the_reason(self):
        """DPDK's driver counts "combined" queues, of which a veth has none."""
        netns.add_veth('veth0', f'{KERNEL}/24', 'veth1', queues=2)
        self.addCleanup(netns.remove, 'veth0')
        vdev = 'net_af_xdp0,iface=veth1,start_queue=0,queue_count=2'
        done = subprocess.run([os.environ['VOLLEY'], 'echo-server', f'--cpus={self.cpus}', f'{OURS}:7',
                               f'--nic=inet:dpdk,port=0,eal="--vdev={vdev}",ip={OURS}/24'], capture_output=True, text=True,
                              check=False, timeout=test_kernel.PATIENCE_S)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('larger than combined queue count', done.stderr)
        self.assertIn('ethtool -L', done.stderr)


def load_tests(loader, tests, pattern):
    suite = unittest.TestSuite(kind(name) for kind in (Tap, AfPacket, AfXdp) for name in CLAIMS)
    suite.addTests(Tap(name) for name in ('test_long_segments_are_left_to_the_port_to_cut',
                                          'test_a_port_told_not_to_cut_gets_segments'))
    suite.addTests(loader.loadTestsFromTestCase(Queues))
    return suite


if __name__ == '__main__':
    unittest.main()
