"""test_load.py - how a load comes: rates, pauses, reconnects, many connections; what it tells of the server"""

import os
import resource
import signal
import socket
import subprocess
import unittest

import volley_cli
from volley_cli import VolleyTest, descendants, peer, processes, wait_until

PRECISION = 1 / 1024  # of the histogram
LATENCIES = ('p50', 'p90', 'p95', 'p99', 'p999', 'p9999')


def beyond_the_window(run):
    """How much of a window the longest round trip is: so much of Little's law may lie beyond its ends."""
    return run['latency_ns']['max'] / 1e9 / run['window_s']


class Load(VolleyTest):
    """A run with a result file."""

    def load(self, *words, row=('c_epoll',)):
        """The run line, header and finished command of one ok run."""
        done = self.volley('pingpong', *row, '--warmup', '100ms', '--json', self.json, *words)
        header, runs, _ = self.read()
        if done.code == 4:
            self.skipTest(f'invalid in every attempt: {runs[-1]["reasons"]}')
        self.assertEqual(done.code, 0, done)
        return runs[-1], header, done

    def unavailable(self, *words):
        done = self.expect(3, 'pingpong', 'c_epoll', '--json', self.json, *words)
        _, (run,), _ = self.read()
        self.assertEqual(run['status'], 'unavailable')
        return run['reasons'][0], done


class OpenLoop(Load):
    """--rate."""

    def test_a_rate_that_can_be_kept_is_kept(self):
        run, header, done = self.load('-c', '10', '--rate', '500', '--arrivals', 'constant', '--duration', '1s')
        self.assertEqual(run['loop'], 'open')
        self.assertEqual(header['plan']['load']['rate_msg_per_s'], 500)
        self.assertEqual(header['plan']['load']['arrivals'], 'constant')
        # Its intended times do not depend on any machine: 500 in a second, give or take the edges.
        self.assertAlmostEqual(run['scheduled'], 500, delta=1)
        self.assertLessEqual(run['unsent'], run['scheduled'])
        self.assertIsNotNone(run['hdr_service'])
        self.assertIn('open loop at 500 msg/s (constant)', done.out)
        self.assertIn('service p50', done.out)

    def test_response_times_contain_service_times(self):
        run, _, _ = self.load('-c', '10', '--rate', '2k', '--duration', '1s')
        self.assertGreaterEqual(run['latency_ns']['mean'], run['service_ns']['mean'])
        if run['service_ns']['p50'] is not None:
            self.assertGreaterEqual(run['latency_ns']['p50'] * (1 + PRECISION), run['service_ns']['p50'])
        self.assertGreaterEqual(run['latency_ns']['max'], run['service_ns']['max'])

    def test_a_rate_that_no_machine_can_offer_is_told(self):
        run, _, done = self.load('-c', '10', '--rate', '900M', '--duration', '300ms')
        # Poisson: 270 million, within 10 standard deviations.
        self.assertAlmostEqual(run['scheduled'], 270e6, delta=164317)
        self.assertGreater(run['unsent'], run['scheduled'] // 2)
        self.assertIn('the rate was not kept', done.out)
        self.assertIn('open loop at 900000000 msg/s', done.out)

    def test_depth_bounds_what_is_under_way(self):
        run, _, _ = self.load('-c', '2', '--rate', '1M', '--depth', '4', '--duration', '300ms')
        self.assertLessEqual(run['under_way'], 8.001)
        self.assertGreater(run['unsent'], 0)

    def test_a_closed_loop_has_no_schedule(self):
        run, header, done = self.load('-c', '10', '--duration', '300ms')
        self.assertEqual(run['loop'], 'closed')
        for key in ('offered_msg_per_s', 'scheduled', 'unsent', 'send_lag_ns', 'service_ns', 'hdr_service',
                    'connects_per_s'):
            self.assertIsNone(run[key], key)
        self.assertIsNone(header['plan']['load']['arrivals'])
        self.assertNotIn('service', done.out)


class Truth(Load):
    """Servers of which it is known what they do."""

    def test_coordinated_omission_is_seen_in_an_open_loop_and_told_in_a_closed_one(self):
        # It stands still for 0.4 of every second.
        row = ('--exec', peer('freeze'))
        opened, _, _ = self.load('-c', '8', '--rate', '2k', '--depth', '64', '--duration', '2s', row=row)
        closed, _, done = self.load('-c', '8', '--duration', '2s', row=row)
        if closed['latency_ns']['p90'] is None or opened['latency_ns']['p90'] is None:
            self.skipTest('so busy is the machine that too few messages came for a percentile')
        # A tenth of what was due then waited for 0.3 s and more.
        self.assertGreater(opened['latency_ns']['p90'], 100e6)
        # Of what was sent in a closed loop, 8 messages a second waited.
        self.assertLess(closed['latency_ns']['p90'], opened['latency_ns']['p90'] / 2)
        self.assertGreater(closed['silence_ns'], 300e6)
        self.assertIn('coordinated omission', done.out)

    def test_known_delays_come_out_never_too_short(self):
        run, _, _ = self.load('-c', '50', '--duration', '2s', '--stall-timeout', '60s', row=('--exec', peer('delay')))
        latency = run['latency_ns']
        known = [latency[name] for name in LATENCIES if latency[name] is not None]
        self.assertEqual(known, sorted(known))
        # Of each connection's messages 9 of 10 take 8 ms, one takes 40; how much longer the machine makes them is its own
        # affair. (tests/unit/test_pingpong_client.c has a clock of its own, and so an upper end.)
        self.assertGreaterEqual(latency['mean'], 8e6 * (1 - PRECISION))
        for name, least_ns in (('p50', 8e6), ('p95', 40e6)):
            if latency[name] is not None:
                self.assertGreaterEqual(latency[name], least_ns * (1 - PRECISION), name)

    def test_littles_law_holds_from_one_connection_to_a_thousand(self):
        for connections in ('1', '10', '100', '1000'):
            run, _, _ = self.load('-c', connections, '--duration', '300ms')
            told = any("Little's law" in line for line in run['warnings'])
            self.assertEqual(told, abs(run['little'] - 1) > 0.05, run['little'])
            # It is an identity, but for round trips that began before the window: each connection has one at most.
            self.assertLessEqual(run['little'], 1 + beyond_the_window(run))

    def test_messages_in_the_generators_hands_are_few_at_any_depth(self):
        # They were a quarter, when all echoes of a batch were timed by one reading before it was handled.
        for connections, depth, nic in (('100', '64', 'epoll'), ('100', '64', 'auto'), ('10', '64', 'auto')):
            run, _, _ = self.load('-c', connections, '--depth', depth, '--load-nic', nic, '--duration', '300ms')
            # Those under way at the end of the window are in no round trip that counts.
            self.assertGreater(run['little'], 0.85 - beyond_the_window(run), (connections, depth, nic))


class Shapes(Load):
    """Pauses, reconnects, ramps, addresses."""

    def test_thinking_bounds_the_rate(self):
        run, header, _ = self.load('-c', '10', '--think', '20ms-40ms', '--duration', '1s')
        self.assertEqual(header['plan']['load']['think_max_s'], 0.04)
        # At most one message in 20 ms on each.
        self.assertLessEqual(run['messages'], 10 * 51)
        self.assertLess(run['under_way'], 10)

    def test_connections_are_opened_again_after_so_many_messages(self):
        run, _, done = self.load('-c', '4', '--reconnect', '10', '--duration', '500ms')
        opened = run['connects_per_s'] * run['window_s']
        self.assertAlmostEqual(opened, run['messages'] / 10, delta=5)
        self.assertIn('connects/s', done.out)

    def test_connections_are_opened_again_in_an_open_loop_and_at_depth(self):
        run, _, _ = self.load('-c', '4', '--reconnect', '10', '--depth', '8', '--rate', '2k', '--duration', '500ms')
        opened = run['connects_per_s'] * run['window_s']
        self.assertAlmostEqual(opened, run['messages'] / 10, delta=5)

    def test_every_engine_row_bears_reconnects(self):
        for row in ('volley_epoll', 'volley_uring'):
            done = self.volley('pingpong', row, '-c', '4', '--reconnect', '3', '--warmup', '50ms', '--duration',
                               '300ms')
            self.assertIn(done.code, (0, 3, 4), done)

    def test_a_window_without_a_message_is_a_failure_with_ways_out(self):
        done = self.expect(1, 'pingpong', 'c_epoll', '-c', '2', '--rate', '0.001', '--seed', '1', '--duration', '20ms',
                           '--warmup', '0')
        self.assertIn('not one message came back within the window: a longer --duration', done.err)

    def test_a_ramp_takes_its_time(self):
        run, _, _ = self.load('-c', '50', '--ramp', '500ms', '--duration', '200ms')
        self.assertGreaterEqual(run['connecting_s'], 0.45)

    def test_connections_come_from_the_addresses_given(self):
        seen = set()
        with socket.create_server(('127.0.0.1', 0), backlog=64) as server:
            port = server.getsockname()[1]
            server.settimeout(volley_cli.PATIENCE_S)
            child = self.start('load', f'127.0.0.1:{port}', '-c', '6', '--source-ip', '127.0.1.5-127.0.1.7',
                               '--duration', '100ms', '--connect-timeout', '60s', '--stall-timeout', '60s')
            for _ in range(6):
                connection, (address, _) = server.accept()
                self.addCleanup(connection.close)
                seen.add(address)
            child.send_signal(signal.SIGINT)
            self.assertEqual(self.finish(child).code, 130)
        self.assertEqual(seen, {'127.0.1.5', '127.0.1.6', '127.0.1.7'})

    def test_an_address_that_is_not_ours_is_refused_before_anything_starts(self):
        for words, why in (('192.0.2.1', 'from 192.0.2.1: Cannot assign'),
                           ('127.255.255.254-128.0.0.1', 'from 128.0.0.1: Cannot assign'),
                           ('::1', 'reached by IPv4, these are IPv6 addresses')):
            reason, done = self.unavailable('-c', '4', '--source-ip', words)
            self.assertIn(why, reason)
            self.assertNotIn('1 run, about', done.err)

    def test_ports_that_run_out_are_a_failure_with_the_whole_hint(self):
        # In a network of its own with four ports, each of which rests after its connection.
        script = ('ip link set lo up && sysctl -qw net.ipv4.ip_local_port_range="40000 40003" '
                  'net.ipv4.tcp_tw_reuse=0 || exit 77; exec "$@"')
        done = subprocess.run(['unshare', '-n', 'sh', '-c', script, 'sh', volley_cli.VOLLEY, 'pingpong', 'c_epoll',
                               '-c', '4', '--reconnect', '1', '--source-ip', '127.0.0.1', '--duration', '1s',
                               '--warmup', '100ms'], check=False, capture_output=True, text=True,
                              timeout=volley_cli.PATIENCE_S)
        if done.returncode == 77 or 'unshare failed' in done.stderr:
            self.skipTest('no network of its own can be had here')
        self.assertEqual(done.returncode, 1, done)
        self.assertIn('net.ipv4.ip_local_port_range widens the range)', done.stderr)

    def test_ports_that_would_run_out_are_had_of_further_addresses(self):
        # In a network of its own with 64 ports, of which each address gives 56.
        script = 'ip link set lo up && sysctl -qw net.ipv4.ip_local_port_range="40000 40063" || exit 77; exec "$@"'
        def alone(*words):
            return subprocess.run(['unshare', '-n', 'sh', '-c', script, 'sh', volley_cli.VOLLEY, 'pingpong', 'c_epoll',
                                   *words, '--warmup', '50ms', '--duration', '300ms', '--json', self.json],
                                  check=False, capture_output=True, text=True, timeout=volley_cli.PATIENCE_S)
        done = alone('-c', '200')
        if done.returncode == 77 or 'unshare failed' in done.stderr:
            self.skipTest('no network of its own can be had here')
        self.assertIn(done.returncode, (0, 4), done)
        header, runs, _ = self.read()
        self.assertEqual(header['plan']['load']['sources'], '127.0.0.1-127.0.0.4')
        self.assertEqual(runs[-1]['errors']['connections'], 0)
        # One that was named is all there is: then it is refused, with the number that is enough.
        done = alone('-c', '200', '--source-ip', '127.0.0.1')
        self.assertEqual(done.returncode, 3, done)
        self.assertIn('gives each local address 64 ports, 200 connections from 1 address need 200', done.stderr)
        self.assertIn('spread over 4 local addresses with --source-ip A-B', done.stderr)

    def over_the_limit(self, connections, *words, limit=None):
        """A load of two cores against two threads, each with descriptors of its own."""
        cpus = sorted(os.sched_getaffinity(0))
        if len(cpus) < 2:
            self.skipTest('there is one CPU, so one load core')
        if os.environ.get('VOLLEY_SANITIZE', 'none') != 'none':
            self.skipTest('sanitizers need descriptors of their own')
        def lower():
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
        two = f'{cpus[0]},{cpus[-1]}'
        server = os.path.join(os.path.dirname(volley_cli.VOLLEY), 'bench', 'volley-c_epoll')
        child = self.start('pingpong', '--exec', f'{server} {{port}} {two}', '--server-cpus', 'none', '--load-cpus', two,
                           '-c', str(connections), *words, '--json', self.json, preexec_fn=lower if limit else None)
        done = self.finish(child)
        self.assertIn(done.code, (0, 4), done)
        header, runs, _ = self.read()
        self.assertEqual(runs[-1]['errors']['connections'], 0)
        return header, runs[-1]

    def test_each_load_core_has_descriptors_of_its_own(self):
        for nic in ('epoll', 'auto'):
            self.over_the_limit(600, '--load-nic', nic, '--warmup', '50ms', '--duration', '300ms', limit=420)

    def test_too_few_descriptors_are_told_with_the_number_of_load_cores_that_would_do(self):
        def lower():
            resource.setrlimit(resource.RLIMIT_NOFILE, (400, 400))
        child = self.start('pingpong', '--exec', volley_cli.peer('echo'), '-c', '380', '--load-cpus', 'none',
                           preexec_fn=lower)
        done = self.finish(child)
        self.assertEqual(done.code, 3, done)
        self.assertIn('the load generator needs 460 for 380 connections', done.err)
        self.assertIn('name more --load-cpus (the limit counts for each)', done.err)

    @unittest.skipUnless(os.environ.get('VOLLEY_TEST_MANY'), '30,000 connections take a while: set VOLLEY_TEST_MANY=1')
    def test_30000_connections_are_served(self):
        header, run = self.over_the_limit(30000, '--warmup', '500ms', '--duration', '2s', '--connect-timeout', '60s')
        self.assertEqual(header['plan']['load']['sources'], '127.0.0.1-127.0.0.2')
        self.assertEqual(run['connections'], 30000)
        self.assertGreater(run['messages'], 0)

    def test_more_connections_than_an_address_has_ports_come_from_several(self):
        with open('/proc/sys/net/ipv4/ip_local_port_range', encoding='ascii') as file:
            first, last = map(int, file.read().split())
        wanted = last - first + 2
        if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < wanted + 200:
            # Then at least: it is not the ports that refuse.
            reason, _ = self.unavailable('-c', str(wanted))
            self.assertIn('descriptors', reason)
            self.skipTest('the descriptors do not allow it')
        run, header, _ = self.load('-c', str(wanted), '--duration', '1s', '--connect-timeout', '60s')
        self.assertEqual(header['plan']['load']['sources'], '127.0.0.1-127.0.0.2')
        self.assertEqual(run['errors']['connections'], 0)

    def test_load_nics_are_told_in_the_header(self):
        _, header, _ = self.load('-c', '4', '--load-nic', 'epoll', '--duration', '100ms')
        self.assertEqual(header['load_nic'], 'epoll')

    def test_the_load_takes_the_nic_that_is_cheaper_at_so_many_connections(self):
        for words in ([], ['--load-nic', 'auto']):
            for connections, nics in (('8', ('uring', 'epoll')), ('10000', ('epoll',))):
                self.expect(3, 'pingpong', '--exec', '/no/such/server', '-c', connections, *words, '--json', self.json)
                header, _, _ = self.read()
                self.assertIn(header['load_nic'], nics)


class Polling(Load):
    """Cores that never sleep run all the time: they are busy while polls return something."""

    def test_servers_and_loads_that_poll_are_as_busy_as_what_they_have_to_do(self):
        rows = ['volley_inet']
        if 'unavailable' not in next(line for line in self.expect(0, 'list').out.splitlines()
                                     if line.startswith('volley_inet_proto ')):
            rows.append('volley_inet_proto')
        for row in rows:
            run, _, _ = self.load('-c', '4', '--rate', '500', '--duration', '500ms', row=(row,))
            self.assertLess(run['server_busy_share'], 0.9, row)
            self.assertLess(run['load_busy_share'], 0.9, row)
            self.assertEqual(run['limited'], 'no')


class Deaths(Load):
    """kill -9 while an open loop runs."""

    def killed(self, find, reason):
        child = self.start('pingpong', 'c_epoll', '-c', '4', '--rate', '500', '--warmup', '50ms', '--duration', '100s',
                           '--json', self.json)
        pid = wait_until(lambda: next((p for p in descendants(child.pid)
                                       if find in processes().get(p, (0, ''))[1]), None), find)
        os.kill(pid, signal.SIGKILL)
        pids = descendants(child.pid)
        done = self.finish(child)
        self.assertEqual(done.code, 1, done)
        _, (run,), end = self.read()
        self.assertEqual(run['status'], 'failed')
        self.assertRegex(' '.join(run['reasons']), reason)
        self.assertEqual(end['exit_code'], 1)
        self.assertEqual({p for p in pids if p in processes()}, set())

    def test_kill_of_the_load_process_leaves_a_valid_file_and_no_process(self):
        # At whatever moment: before it said a word, "control handshake: Broken pipe" was all that was told.
        self.killed('volley load --control-fd', 'load process died: .*signal 9')

    def test_kill_of_the_server_leaves_a_valid_file_and_no_process(self):
        self.killed('volley-c_epoll', 'signal 9')


class Clocks(Load):
    """Time as the load sees it."""

    def test_the_clock_without_a_counter_measures_the_same_things(self):
        env = {**os.environ, 'VOLLEY_CLOCK': 'gettime'}
        done = self.expect(0, 'pingpong', 'c_epoll', '-c', '4', '--rate', '500', '--arrivals', 'constant', '--warmup',
                           '50ms', '--duration', '500ms', '--json', self.json, env=env)
        _, runs, _ = self.read()
        self.assertAlmostEqual(runs[-1]['scheduled'], 250, delta=1)
        self.assertIn('open loop', done.out)

    def test_a_calendar_that_jumps_by_hours_changes_nothing(self):
        # For every process, to and fro, whenever it is read.
        log = os.path.join(self.folder, 'readers')
        env = {**os.environ, 'LD_PRELOAD': os.environ['VOLLEY_CLOCK_STEPS'], 'CLOCK_STEPS_LOG': log,
               'ASAN_OPTIONS': 'verify_asan_link_order=0:' + os.environ.get('ASAN_OPTIONS', '')}
        for clock in ('tsc', 'gettime'):
            done = self.volley('pingpong', 'c_epoll', 'volley_epoll', '-c', '4', '--rate', '500', '--arrivals',
                               'constant', '--warmup', '50ms', '--duration', '500ms', '--json', self.json,
                               env={**env, 'VOLLEY_CLOCK': clock})
            _, runs, _ = self.read()
            if done.code == 4:
                self.skipTest(f'invalid in every attempt: {runs[-1]["reasons"]}')
            self.assertEqual(done.code, 0, done)
            for run in (run for run in runs if run['status'] == 'ok'):
                self.assertAlmostEqual(run['scheduled'], 250, delta=1)
                self.assertAlmostEqual(run['window_s'], 0.5, delta=1e-9)
                # What went by from the first intended send to the last echo.
                self.assertLess(run['latency_ns']['max'], 60e9)
                self.assertGreater(run['latency_ns']['max'], 0)
        with open(log, encoding='utf-8') as file:
            readers = file.read().splitlines()
        # The header says when it was: so the jumps took place. No process that measures looks at the calendar.
        self.assertTrue(any(' pingpong ' in reader for reader in readers), readers)
        self.assertEqual([reader for reader in readers if '--control-fd' in reader], [])


if __name__ == '__main__':
    unittest.main()
