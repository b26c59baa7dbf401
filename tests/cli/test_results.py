"""test_results.py - result files follow their schema, tables say what the files say"""

import base64
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import unittest
import zlib

import jsonschema

import volley_cli
from volley_cli import QUICK, VolleyTest, peer, schema


class Files(VolleyTest):
    """JSON Lines: header, a line per run, end."""

    def test_schema_is_a_schema(self):
        jsonschema.Draft202012Validator.check_schema(schema())

    def test_a_run_is_written_whole(self):
        _, runs = self.valid(0, 'c_epoll', '--seed', '7')
        header, _, end = self.read()
        self.assertEqual(header['seed'], 7)
        self.assertEqual(header['rows'], [{'name': 'c_epoll', 'exec': None}])
        self.assertEqual(header['plan']['connections'], 8)
        self.assertIn(header['load_nic'], ('uring', 'epoll'))
        self.assertEqual(end['status'], 'complete')
        run, = runs
        self.assertEqual((run['variant'], run['run'], run['status']), ('c_epoll', 1, 'ok'))
        self.assertEqual((run['connections'], run['size_bytes'], run['depth']), (8, 64, 1))
        self.assertGreater(run['messages'], 0)
        self.assertAlmostEqual(run['rate_msg_per_s'], run['messages'] / run['window_s'], delta=1)
        latency = run['latency_ns']
        self.assertLessEqual(latency['p50'], latency['p90'])
        self.assertLessEqual(latency['p90'], latency['max'])
        self.assertGreater(run['cpu_us_per_msg'], 0)
        self.assertGreater(run['load_cpu_us_per_msg'], 0)
        self.assertIsNotNone(run['effective_ghz']['server'])
        self.assertIsNotNone(run['effective_ghz']['load'])
        fairness = run['fairness']
        self.assertLessEqual(fairness['min'], fairness['max'])
        self.assertLessEqual(fairness['min'] * 8, run['messages'])
        self.assertGreaterEqual(fairness['max'] * 8, run['messages'])
        self.assertIsNone(run['syscalls_per_msg'])

    def hdr_counts(self, text):
        """Counts of a histogram, {index: count}. The V2 encoding: a cookie, then zlib; the counts are zigzag varints."""
        raw = base64.b64decode(text)
        cookie, size = struct.unpack('>II', raw[:8])
        self.assertEqual(cookie & ~0xf0, 0x1c849304 & ~0xf0)
        body = zlib.decompress(raw[8:8 + size])
        payload = body[40:]
        counts, index, at = {}, 0, 0
        while at < len(payload):
            value, shift = 0, 0
            while True:
                byte = payload[at]
                at += 1
                value |= (byte & 0x7f if shift < 56 else byte) << shift
                shift += 7
                if byte < 0x80 or shift > 56:
                    break
            value = (value >> 1) ^ -(value & 1)
            if value > 0:
                counts[index] = value
            index += max(1, -value)
        return counts

    def test_histogram_holds_every_message(self):
        _, (run,) = self.valid(0, 'c_epoll')
        self.assertEqual(sum(self.hdr_counts(run['hdr']).values()), run['messages'])

    def test_messages_of_every_connection_stand_in_the_file(self):
        _, (run,) = self.valid(0, 'c_epoll', '--rate', '2k', '--duration', '500ms')
        # Up to 2,047 a count is its own index.
        counts = self.hdr_counts(run['hdr_per_connection'])
        self.assertEqual(sum(counts.values()), 8)
        self.assertEqual(sum(index * count for index, count in counts.items()), run['messages'])
        self.assertEqual((min(counts), max(counts)), (run['fairness']['min'], run['fairness']['max']))

    def test_rare_percentiles_are_hidden(self):
        _, (run,) = self.valid(0, '--exec', peer('bytewise'))
        latency = run['latency_ns']
        self.assertLess(run['messages'], 1000000)
        self.assertIsNone(latency['p9999'])
        self.assertIsNotNone(latency['max'])

    def test_a_file_is_overwritten(self):
        with open(self.json, 'w', encoding='utf-8') as file:
            file.write('old\n' * 1000)
        self.valid(0, 'c_epoll')

    def test_dash_gives_the_file_alone_on_stdout_and_the_table_on_stderr(self):
        done = self.volley('pingpong', *QUICK, 'c_epoll', '--json', '-')
        self.check_lines(done.out)
        self.assertIn('msg/s', done.err)

    def test_same_seed_same_order_another_seed_another(self):
        def order(seed):
            self.volley('pingpong', '-c', '1', '--warmup', '0', '--duration', '10ms', '--runs', '4',
                        '--seed', str(seed), '--json', self.json, '--exec', 'false {port}', '--exec',
                        'false {port}', 'c_epoll')
            _, runs, _ = self.read()
            return [(run['variant'], run['run'], run['order']) for run in runs if run['attempt'] == 1]
        first = order(1)
        self.assertEqual(len(first), 12)
        self.assertEqual(first, order(1))
        self.assertTrue(any(order(seed) != first for seed in (2, 3, 4)))
        for block in range(1, 5):
            rows = sorted(variant for variant, run, _ in first if run == block)
            self.assertEqual(rows, ['c_epoll', 'exec', 'exec-2'])

    def test_a_full_disk_is_told(self):
        if not os.path.exists('/dev/full'):
            self.skipTest('there is no /dev/full')
        done = self.volley('pingpong', *QUICK, 'c_epoll', '--json', '/dev/full')
        self.assertNotEqual(done.code, 0)
        self.assertIn('No space left on device; the file is incomplete', done.err)
        self.assertIn('c_epoll', done.out)

    def test_a_table_that_cannot_be_written_is_a_failure_and_the_file_says_so(self):
        if not os.path.exists('/dev/full'):
            self.skipTest('there is no /dev/full')
        for words in (['pingpong', *QUICK, 'c_epoll', '--json', self.json], ['list'], ['--help']):
            with open('/dev/full', 'w', encoding='utf-8') as full:
                done = subprocess.run([volley_cli.VOLLEY, *words], check=False, stdout=full, text=True,
                                      stderr=subprocess.PIPE, timeout=volley_cli.PATIENCE_S)
            self.assertEqual(done.returncode, 1, words)
            self.assertEqual(done.stderr.count('the output could not be written: No space left on device'), 1, done.stderr)
        self.assertEqual(self.read()[2]['exit_code'], 1)

    def test_a_file_that_outgrows_its_limit_is_told_and_compare_refuses_it(self):
        import resource
        def limit():
            resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
        self.outgrows(self.finish(self.start('pingpong', *QUICK, '--runs', '4', 'c_epoll', '--json', self.json,
                                             preexec_fn=limit)), 'File too large')

    def test_a_disk_that_fills_up_is_told_and_compare_refuses_the_file(self):
        disk = os.path.join(self.folder, 'disk')
        os.mkdir(disk)
        # In a mount namespace of its own, so that nothing is left over. Three blocks of 4 KiB.
        script = f'mount -t tmpfs -o size=12k tmpfs {disk} || exit 77; "$@"; code=$?; cp {disk}/r {self.json}; exit $code'
        done = subprocess.run(['unshare', '-m', '--propagation', 'private', 'sh', '-c', script, 'sh',
                               volley_cli.VOLLEY, 'pingpong', *QUICK, '--runs', '6', 'c_epoll', '--json',
                               f'{disk}/r'], check=False, capture_output=True, text=True,
                              timeout=volley_cli.PATIENCE_S)
        if done.returncode == 77 or 'unshare failed' in done.stderr:
            self.skipTest('no file system may be mounted here')
        self.outgrows(volley_cli.Done(done.returncode, done.stdout, done.stderr), 'No space left on device')

    def outgrows(self, done, why):
        self.assertIn(done.code, (1, 4), done)
        self.assertIn(f'{why}; the file is incomplete', done.err)
        # What was measured is not lost with the file.
        self.assertIn('c_epoll', done.out)
        with open(self.json, encoding='utf-8') as file:
            self.assertTrue(file.readline().endswith('}\n'))
        refused = self.expect(4, 'compare', self.json, self.json)
        self.assertRegex(refused.err, 'is cut off')


class Tables(VolleyTest):
    """What people read."""

    def test_table_shows_a_row_for_each_variant_in_the_order_given(self):
        done, runs = self.valid(0, 'volley_epoll', 'c_epoll')
        lines = done.out.splitlines()
        self.assertIn('8 connections, 64 bytes, 1 in flight on each', lines[0])
        self.assertEqual(lines[2].split()[:3], ['variant', 'msg/s', 'ratio'])
        self.assertEqual([line.split()[0] for line in lines[3:5]], ['volley_epoll', 'c_epoll'])
        self.assertEqual({run['variant']: run['nic'] for run in runs},
                         {'volley_epoll': 'epoll', 'c_epoll': None})

    def test_fewer_than_five_runs_have_no_interval_five_have_one(self):
        few, _ = self.valid(0, 'c_epoll', '--runs', '2')
        self.assertNotIn('95%', few.out.splitlines()[2])
        many, runs = self.valid(0, 'c_epoll', '--runs', '5')
        self.assertEqual(len(runs), 5)
        self.assertIn('95%', many.out.splitlines()[2])
        self.assertRegex(many.out, r'\+-\d+\.\d%')

    def test_csv_is_alone_on_stdout_and_says_what_the_file_says(self):
        import csv
        done, runs = self.valid(0, 'c_epoll', 'volley_epoll', '--format', 'csv')
        rows = list(csv.DictReader(done.out.splitlines()))
        self.assertEqual([row['variant'] for row in rows], ['c_epoll', 'volley_epoll'])
        for row in rows:
            run, = (run for run in runs if run['variant'] == row['variant'])
            for key in ('rate_msg_per_s', 'cpu_us_per_msg', 'load_cpu_us_per_msg'):
                self.assertAlmostEqual(float(row[key]), run[key], delta=run[key] * 1e-6)
            self.assertEqual(row['syscalls_per_msg'], '')
            self.assertEqual(row['rate_lower_95'], '')
        self.assertNotIn('variant', done.err)

    def test_markdown_is_a_table_and_a_list(self):
        done, _ = self.valid(0, 'c_epoll', '--format', 'markdown')
        lines = done.out.splitlines()
        self.assertTrue(lines[2].startswith('| variant | msg/s |'))
        self.assertTrue(lines[4].startswith('| c_epoll | '))
        self.assertEqual([line[:9] for line in lines[6:9]], ['| checks ', '|---|---:', '| c_epoll'])
        self.assertEqual({line[:2] for line in lines[9:] if line} - {'- '}, set())

    def on_a_terminal(self, columns, *words):
        """What a command writes to a terminal of that width."""
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack('HHHH', 50, columns, 0, 0))
        text = []

        def read():
            try:
                while data := os.read(ours, 65536):
                    text.append(data)
            except OSError:
                pass  # the last writer has closed it
        reader = threading.Thread(target=read)
        reader.start()
        child = subprocess.Popen([volley_cli.VOLLEY, *words], stdin=subprocess.DEVNULL, stdout=theirs,
                                 stderr=subprocess.DEVNULL)
        os.close(theirs)
        self.assertIn(child.wait(volley_cli.PATIENCE_S), (0, 4))
        reader.join()
        os.close(ours)
        return b''.join(text).decode().replace('\r', '').splitlines()

    def test_tables_and_notes_fit_a_terminal_and_lose_nothing(self):
        for columns in (80, 120):
            lines = self.on_a_terminal(columns, 'pingpong', *QUICK, '--runs', '5', 'c_epoll', '--exec', peer('echo'))
            for line in lines:
                self.assertLessEqual(len(line), columns, line)
            text = '\n'.join(lines)
            for head in ('msg/s', '95%', 'spread', 'ratio', 'p99.9', 'CPU us/msg', 'load us/msg', 'user', 'Little', 'Jain'):
                self.assertIn(head, text)

    def test_an_unknown_format_is_refused(self):
        self.assertIn("'xml' is none of text, markdown, csv",
                      self.complaint(2, 'pingpong', 'c_epoll', '--format', 'xml'))

    def test_python_rows_run(self):
        for name, module in (('asyncio_proto', 'asyncio'), ('uvloop_proto', 'uvloop')):
            if subprocess.run(['/usr/bin/python3', '-c', f'import {module}'], check=False,
                              stderr=subprocess.DEVNULL).returncode:
                continue
            _, runs = self.valid(0, name)
            self.assertEqual(runs[0]['status'], 'ok')

    def test_large_and_deep_messages_are_verified_too(self):
        _, (run,) = self.valid(0, 'volley_epoll', '--size', '100000', '--depth', '4')
        self.assertGreater(run['messages'], 0)

    def test_unpinned_roles_run(self):
        self.valid(0, 'volley_epoll', '--server-cpus', 'none', '--load-cpus', 'none')


class Unavailable(VolleyTest):
    """Rows that cannot run are told before anything starts; the others run."""

    def test_missing_python_makes_its_row_unavailable_and_the_rest_runs(self):
        done, runs = self.pingpong_with_unavailable('--python', '/no/such/python', 'asyncio_proto',
                                                    'c_epoll')
        self.assertIn('no Python at /no/such/python', done.err)
        self.assertIn('unavailable', done.out)
        self.assertIn('--python PATH', runs['asyncio_proto']['reasons'][0])

    def test_missing_program_makes_its_row_unavailable(self):
        done, runs = self.pingpong_with_unavailable('--exec', '/no/such/server {port}', 'c_epoll')
        self.assertIn("no program '/no/such/server'", done.err)
        self.assertEqual(runs['exec']['status'], 'unavailable')

    def pingpong_with_unavailable(self, *args):
        done = self.expect(3, 'pingpong', *QUICK, '--json', self.json, *args)
        _, runs, end = self.read()
        self.assertEqual(end['exit_code'], 3)
        by_name = {run['variant']: run for run in runs}
        self.assertIn(by_name['c_epoll']['status'], ('ok', 'invalid'))
        self.assertEqual(runs[0]['status'], 'unavailable')
        self.assertIsNone(runs[0]['rate_msg_per_s'])
        return done, by_name

    def test_descriptors_above_the_limit_are_refused_with_value_and_way_out(self):
        import resource
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (1000, 1000))
        child = self.start('pingpong', 'c_epoll', 'volley_epoll', '--connections', '5000', '--json',
                           self.json, preexec_fn=limit)
        done = self.finish(child)
        self.assertEqual(done.code, 3, done)
        for part in ('the limit is 1000', 'c_epoll needs 5096 for 5000 connections',
                     'prlimit --pid $$ --nofile=5128:5128', '--connections 872 or fewer'):
            self.assertIn(part, done.err)
        _, runs, _ = self.read()
        self.assertEqual([run['status'] for run in runs], ['unavailable'] * 2)

    def test_a_soft_limit_is_raised_by_itself(self):
        import resource
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < 1000:
            self.skipTest('the hard limit is low itself')
        def limit():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
        child = self.start('pingpong', *QUICK, '-c', '200', 'c_epoll', '--json', self.json,
                           preexec_fn=limit)
        self.assertIn(self.finish(child).code, (0, 4))

    def test_more_connections_than_ports_are_refused(self):
        done = self.expect(3, 'pingpong', 'c_epoll', '--connections', '70000', '--json', self.json)
        self.assertRegex(done.err, r'unavailable: (ports|descriptors): ')

    def test_a_port_in_use_is_refused(self):
        import socket
        with socket.create_server(('127.0.0.1', 0)) as taken:
            port = taken.getsockname()[1]
            done = self.expect(3, 'pingpong', *QUICK, 'c_epoll', '--port', str(port))
        self.assertIn(f'port {port} is in use', done.err)


if __name__ == '__main__':
    sys.exit(unittest.main())
