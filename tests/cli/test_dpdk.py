"""test_dpdk.py - the command over ports of DPDK's: serve and load, doctor --port, processes that are killed or meet"""

import os
import signal
import subprocess
import sys
import time
import unittest

import volley_cli
from free_port import free_port
from test_syscalls import perf_counts
from volley_cli import QUICK, VOLLEY, VolleyTest, wait_until


def check_plugin():
    done = subprocess.run([VOLLEY, 'list'], stdout=subprocess.PIPE, text=True, check=False)
    for line in done.stdout.splitlines():
        if line.startswith('volley_dpdk') and ' available' not in line:
            raise unittest.SkipTest(line)


check_plugin()


class Dpdk(VolleyTest):
    """Over memif, whose sockets without a file vanish with their process."""

    def setUp(self):
        super().setUp()
        self.number = 0
        self.port = free_port(2)

    def nic(self, role, more=''):
        host = {'server': '10.0.0.1/24', 'client': '10.0.0.2/24,ips=4'}[role]
        name = f'volley-cli-{os.getpid()}-{id(self)}'
        # as a NIC has: the same for whoever opens it next
        mac = {'server': '02:00:00:00:00:01', 'client': '02:00:00:00:00:02'}[role]
        return f'inet:dpdk,port=0,eal="--vdev=net_memif0,role={role},socket={name},mac={mac}",ip={host},ts=0{more}'

    def serve(self, *args):
        child = self.start('serve', 'volley_dpdk', f'10.0.0.1:{self.port}', '--nic', self.nic('server'),
                           '--connections', '1000', *args)
        line = child.stdout.readline()
        if line != f'READY {self.port}\n':
            child.kill()
            self.fail(child.communicate()[1])
        return child

    def load(self, *args):
        return self.volley('load', f'10.0.0.1:{self.port}', '--load-nic', self.nic('client'), *QUICK, '--json',
                           self.json, *args)

    def expect_load(self, *args):
        done = self.load(*args)
        self.assertIn(done.code, (0, 4), done)
        return done, self.read()[1][0]


class Two(Dpdk):
    """serve and load as on two machines: what they say to each other goes by the kernel."""

    def test_serve_and_load_meet_over_ports_and_costs_are_told(self):
        self.serve()
        _, run = self.expect_load('--control', f'127.0.0.1:{self.port + 1}')
        self.assertEqual(run['variant'], 'volley_dpdk')
        self.assertGreater(run['messages'], 0)
        self.assertGreater(run['cpu_us_per_msg'], 0)
        self.assertIn('net_memif0', run['nic'])

    def test_without_control_the_costs_stay_unknown(self):
        self.serve('--control', f'127.0.0.1:{self.port + 1}')
        done, run = self.expect_load()
        self.assertIn('costs stay unknown', done.err)
        self.assertGreater(run['messages'], 0)

    def test_a_server_outlives_a_load_that_is_killed(self):
        self.serve()
        load = self.start('load', f'10.0.0.1:{self.port}', '--load-nic', self.nic('client'), '-c', '8', '--duration', '60s',
                          '--json', self.json)
        self.kill_under_way(load)
        self.expect_load()

    def kill_under_way(self, load):
        def talking():
            # its process group: the command and the process that has the port
            try:
                with open(self.json, encoding='utf-8') as file:
                    return file.read().count('\n') >= 1
            except OSError:
                return False
        wait_until(talking, 'the load begins')
        time.sleep(1)
        self.kill_all(load)

    @staticmethod
    def kill_all(child):
        below = volley_cli.descendants(child.pid)
        child.kill()
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        child.wait()

    def test_the_next_server_starts_after_one_that_was_killed(self):
        first = self.serve()
        self.expect_load()
        self.kill_all(first)
        self.serve()
        self.expect_load()

    def test_a_second_process_on_the_same_port_is_told_in_one_line(self):
        self.serve()
        other = free_port(2)
        done = self.volley('serve', 'volley_dpdk', f'10.0.0.1:{other}', '--nic', self.nic('server'))
        self.assertNotEqual(done.code, 0)
        self.assertIn('another process has this port', done.err)

    def test_a_load_without_a_server_is_told(self):
        done = self.load()
        self.assertEqual(done.code, 1, done)

    def test_nic_belongs_to_rows_of_the_engine(self):
        self.assertIn('belongs to the rows of this engine',
                      self.complaint(2, 'serve', 'c_epoll', ':9000', '--nic', 'uring'))
        self.assertIn('--control:', self.complaint(2, 'serve', 'volley_dpdk', ':9000', '--control', 'nonsense'))


class Rows(Dpdk):
    """volley_dpdk and raw_dpdk."""

    def test_messages_cost_no_system_call(self):
        if not perf_counts():
            self.skipTest('perf may not trace system calls here')
        done = self.volley('pingpong', 'volley_dpdk', '-c', '100', '--warmup', '200ms', '--duration', '1s', '--syscalls',
                           '--json', self.json)
        self.assertIn(done.code, (0, 4), done)
        self.assertLess(self.read()[1][0]['syscalls_per_msg'], 0.01)

    def test_frames_are_bounced(self):
        done = self.volley('pingpong', 'raw_dpdk', *QUICK, '--json', self.json)
        self.assertIn(done.code, (0, 4), done)
        self.assertGreater(self.read()[1][0]['messages'], 0)


class Doctor(Dpdk):
    """doctor --port: it asks, and changes nothing."""

    def test_port_tells_every_setting_and_where_it_comes_from(self):
        done = self.expect(0, 'doctor', '--port', 'inet:dpdk,port=0,rxd=256,eal="--vdev=net_null0",ip=10.0.0.1/24')
        for line in (r'port +0 net_null0, driver net_null', r'receive descriptors +256 +rxd= ',
                     r'send descriptors +1024 +ours, a default', r'burst +32 +ours', r'mtu +1500 +ours, a default',
                     r'received checksums +in software', r'EAL was started with +.*--no-pci.*--lcores=',
                     r'spreading \(RSS\) +by the port', r'send thresholds +the driver'):
            self.assertRegex(done.out, f'(?m)^{line}')

    def test_the_steps_of_the_page_are_checked(self):
        done = self.expect(0, 'doctor')
        for step in ('1 DPDK', '2 IOMMU', '3 huge pages', '4 vfio-pci', '5 isolated', '6 interrupts', '7 turbo',
                     '7 C-states'):
            self.assertRegex(done.out, f'(?m)^(ok|note) +{step} ')
        # No note without the way out, but for a NIC that carries the machine's own traffic.
        lines = done.out[done.out.index('by the steps of'):].splitlines()[1:]
        for line, following in zip(lines, lines[1:] + ['']):
            if line.startswith('note') and 'default route' not in line:
                self.assertRegex(following, r'^ {20}', line)

    def test_port_that_is_not_there_is_one_line(self):
        done = self.expect(1, 'doctor', '--port', 'inet:dpdk,port=5,eal="--vdev=net_null0",ip=10.0.0.1/24')
        self.assertEqual(len(done.err.splitlines()), 1, done)
        self.assertIn('there is no such port', done.err)
        done = self.expect(1, 'doctor', '--port', 'uring')
        self.assertIn('no device of its own', done.err)
        self.assertIn('ask one', self.complaint(2, 'doctor', '--plan', '--port', 'uring'))

    def test_what_keeps_an_engine_from_opening_is_one_line_however_many_cores(self):
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            self.skipTest('needs two CPUs')
        for options in ('port=9,eal="--vdev=net_null0"',
                        f'port=0,bufs=100,eal="--vdev=net_memif0,role=server,socket=volley-cli-{os.getpid()}"'):
            done = self.volley('echo-server', f'--cpus={cpus[0]},{cpus[1]}', '10.0.0.1:7',
                               f'--nic=inet:dpdk,{options},ip=10.0.0.1/24')
            self.assertNotEqual(done.code, 0)
            self.assertEqual(len(done.err.splitlines()), 1, done)


if __name__ == '__main__':
    sys.exit(unittest.main())
