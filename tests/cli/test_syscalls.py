"""test_syscalls.py - --syscalls: counted by perf in a run of its own, or the reason why not"""

import os
import shutil
import subprocess
import sys
import unittest

import volley_cli
from free_port import free_port
from volley_cli import PYTHON, QUICK, VolleyTest

FAKE = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'perf.py')


def perf_counts():
    """Whether perf may trace system calls here."""
    done = subprocess.run(['perf', 'stat', '-e', 'raw_syscalls:sys_enter', 'true'], check=False,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return done.returncode == 0


class Probe(VolleyTest):
    """The counts of the probe, in every run line of its row."""

    def counted(self, *args, code=(0, 4), **options):
        done = self.volley('pingpong', *QUICK, '--syscalls', '--json', self.json, *args, **options)
        self.assertIn(done.code, code, done)
        _, runs, _ = self.read()
        return done, runs

    def with_perf(self, manner):
        """An environment whose perf is ours."""
        folder = os.path.join(self.folder, 'bin')
        os.mkdir(folder)
        with open(os.path.join(folder, 'perf'), 'w', encoding='utf-8') as file:
            file.write(f'#!/bin/sh\nexec {PYTHON} -B {FAKE} "$@"\n')
        os.chmod(file.name, 0o755)
        return {**os.environ, 'PATH': f'{folder}:{os.environ["PATH"]}', 'FAKE_PERF': manner}

    def refused(self, runs, reason):
        """The runs went on, and each says why it has no counts."""
        self.assertTrue(runs)
        for run in runs:
            self.assertIn(run['status'], ('ok', 'invalid'))
            self.assertIsNone(run['syscalls_per_msg'])
            self.assertIsNone(run['syscalls_by_name'])
            self.assertRegex(run['warnings'][0], f'^system calls were not counted: .*{reason}')

    def test_counts_of_perf_stand_in_every_run_line_and_no_line_is_the_probes(self):
        _, runs = self.counted('c_epoll', '--runs', '2', env=self.with_perf('good'))
        self.assertEqual({run['run'] for run in runs}, {1, 2})
        for run in runs:
            names = run['syscalls_by_name']
            self.assertEqual(set(names), {'recvfrom', 'sendto', 'other'})
            self.assertAlmostEqual(names['sendto'] / names['recvfrom'], 1.5)
            self.assertAlmostEqual(names['other'], run['syscalls_per_msg'] / 6)
            self.assertAlmostEqual(sum(names.values()), run['syscalls_per_msg'])
        self.assertEqual(len({run['syscalls_per_msg'] for run in runs}), 1)

    def test_without_the_option_nothing_is_counted_and_nothing_said(self):
        done = self.volley('pingpong', *QUICK, 'c_epoll', '--json', self.json, env=self.with_perf('good'))
        self.assertNotIn('system calls', done.err)
        self.assertIsNone(self.read()[1][0]['syscalls_per_msg'])

    def test_a_perf_that_refuses_is_quoted_and_the_run_goes_on(self):
        done, runs = self.counted('c_epoll', env=self.with_perf('refuse'))
        if perf_counts():
            self.refused(runs, 'no counting today')
        else:
            self.refused(runs, '')  # then the machine's own reason is named
        self.assertIn('system calls were not counted', done.err)

    def test_a_perf_that_is_missing_is_told_with_the_way_out(self):
        env = {**os.environ, 'PATH': self.folder}
        _, runs = self.counted('c_epoll', env=env)
        self.refused(runs, 'there is no perf; apt install linux-perf')

    def test_a_perf_that_answers_nothing_is_told(self):
        _, runs = self.counted('c_epoll', env=self.with_perf('silent'))
        self.refused(runs, 'perf')

    def test_a_perf_that_ends_without_counts_is_told(self):
        _, runs = self.counted('c_epoll', env=self.with_perf('empty'))
        self.refused(runs, 'without a count')

    def test_a_perf_that_dies_is_told_and_leaves_no_server(self):
        before = set(volley_cli.processes())
        _, runs = self.counted('c_epoll', env=self.with_perf('die'))
        self.refused(runs, 'exit code 9')
        left = {line for pid, (_, line) in volley_cli.processes().items()
                if pid not in before and 'c_epoll' in line}
        self.assertEqual(left, set())

    def test_load_says_that_it_does_not_start_the_server(self):
        port = free_port()
        server = subprocess.Popen([PYTHON, '-B', volley_cli.PEER, str(port), 'echo'],
                                  stdout=subprocess.PIPE)
        self.addCleanup(server.wait)
        self.addCleanup(server.kill)
        with server.stdout:
            server.stdout.readline()
        done = self.volley('load', f'127.0.0.1:{port}', *QUICK, '--syscalls', '--json', self.json)
        self.assertIn(done.code, (0, 4), done)
        self.refused(self.read()[1], 'does not start the server')


@unittest.skipUnless(shutil.which('perf'), 'there is no perf')
class Real(VolleyTest):
    """With the real perf."""

    def count(self, *args, **options):
        done = self.volley('pingpong', *QUICK, '--syscalls', '--json', self.json, *args, **options)
        self.assertIn(done.code, (0, 4), done)
        return {run['variant']: run for run in self.read()[1]}

    def test_c_epoll_makes_one_recv_and_one_send_for_each_message(self):
        if not perf_counts():
            self.skipTest('perf may not trace system calls here')
        run = self.count('c_epoll', '--duration', '1s')['c_epoll']
        names = run['syscalls_by_name']
        # The counting lasts a little longer than the window, so that a few in a hundred are off.
        self.assertAlmostEqual(names['recvfrom'], 1, delta=0.1)
        self.assertAlmostEqual(names['sendto'], 1, delta=0.1)
        self.assertLess(names['other'], 0.05)
        self.assertAlmostEqual(sum(names.values()), run['syscalls_per_msg'], delta=0.01)

    def test_every_thread_of_the_server_is_counted(self):
        if not perf_counts():
            self.skipTest('perf may not trace system calls here')
        run = self.count('c_thread', '--duration', '1s')['c_thread']
        self.assertAlmostEqual(run['syscalls_by_name']['recvfrom'], 1, delta=0.1)

    def test_tracefs_is_mounted_for_the_probe_alone(self):
        if os.geteuid() != 0 or not perf_counts():
            self.skipTest('needs root, and perf that may trace')
        # In a mount namespace of the test's own; the bench has to make one below it.
        script = ('umount -l /sys/kernel/tracing 2>/dev/null; umount -l /sys/kernel/debug 2>/dev/null; '
                  'test ! -e /sys/kernel/tracing/events || exit 77; "$@"; code=$?; '
                  'test ! -e /sys/kernel/tracing/events || exit 78; exit $code')
        done = subprocess.run(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh',
                               volley_cli.VOLLEY, 'pingpong', *QUICK, '--duration', '500ms', '--syscalls',
                               '--json', self.json, 'c_epoll'], check=False, capture_output=True,
                              text=True, timeout=volley_cli.PATIENCE_S)
        if done.returncode in (1, 77):
            self.skipTest('no mount namespace may be had here')
        self.assertIn(done.returncode, (0, 4), done)
        for run in self.read()[1]:
            self.assertGreater(run['syscalls_per_msg'], 1)

    def test_a_user_without_permission_gets_the_reason_and_the_run(self):
        if os.geteuid() != 0:
            self.skipTest('needs root to become somebody else')
        os.chmod(self.folder, 0o777)
        def nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        try:
            subprocess.run([volley_cli.VOLLEY, '--version'], check=True, preexec_fn=nobody,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        except (OSError, subprocess.SubprocessError):
            self.skipTest('the build folder is closed to other users')
        run = self.count('c_epoll', preexec_fn=nobody)['c_epoll']
        self.assertIsNone(run['syscalls_per_msg'])
        self.assertRegex(run['warnings'][0], 'not counted: .*(perf_event_paranoid|tracing|tracefs)')


if __name__ == '__main__':
    sys.exit(unittest.main())
