"""test_faults.py - what goes wrong is named, counted, never looks good, and leaves no process behind"""

import json
import os
import re
import signal
import socket
import sys
import unittest

import jsonschema

import volley_cli
from free_port import free_port
from volley_cli import (PYTHON, PEER, QUICK, VolleyTest, descendants, peer, processes, sleepers,
                        stat_fields, wait_until)

LONG = ['-c', '8', '--warmup', '50ms', '--duration', '100s']
# For faults that end a run: on a busy machine a peer may take seconds for the messages after which it misbehaves.
PATIENT = ['--duration', '100s']


class Peers(VolleyTest):
    """Servers that misbehave, by --exec."""

    def fails(self, mode, reason, count=None, *more):
        done, runs = self.pingpong(1, *PATIENT, '--stall-timeout', '500ms', *more, '--exec', peer(mode))
        run, = runs
        self.assertEqual(run['status'], 'failed')
        self.assertIsNone(run['rate_msg_per_s'])
        self.assertRegex(run['reasons'][0], reason)
        self.assertRegex(done.err, rf'volley pingpong: exec: failed: .*{reason}')
        self.assertIn('failed', done.out)
        if count:
            self.assertGreater(run['errors'][count], 0)
            self.assertGreater(run['errors']['connections'], 0)
        return run

    def test_reset_is_a_failure(self):
        self.fails('reset', 'reset by peer', 'lost')

    def test_close_is_a_failure(self):
        self.fails('close', 'closed by the server', 'lost')

    def test_half_close_is_a_failure(self):
        self.fails('halfclose', 'closed by the server', 'lost')

    def test_wrong_payload_is_a_failure(self):
        self.fails('wrong', 'wrong echo: byte 63 ', 'wrong')

    def test_echo_of_an_older_message_is_a_failure(self):
        self.fails('stale', 'wrong echo', 'wrong')

    def test_more_than_was_sent_is_a_failure(self):
        self.fails('excess', 'more than it sent', 'excess')

    def test_a_server_that_stops_reading_is_a_failure(self):
        self.fails('stuck', 'no echo (on any of 8 connections )?for 0.5 s', 'silent')

    def test_one_byte_at_a_time_is_right(self):
        _, runs = self.valid(0, '--exec', peer('bytewise'))
        self.assertGreater(runs[-1]['messages'], 0)

    def test_output_of_the_server_never_blocks_it(self):
        self.valid(0, '--exec', peer('loud'))

    def test_exit_before_ready_tells_code_and_last_words(self):
        self.fails('exit', 'before READY: exit code 1; its last line: peer: cannot work today')

    def test_death_in_the_run_tells_code_and_last_words(self):
        self.fails('die', 'during the run: exit code 7; its last line: peer: giving up')

    def test_crash_tells_the_signal(self):
        self.fails('crash', r'killed by signal 11 \(Segmentation fault\)')

    def invalid(self, mode, reason):
        done, runs = self.pingpong(4, '--exec', peer(mode))
        for run in runs:
            self.assertEqual(run['status'], 'invalid')
            self.assertIsNone(run['rate_msg_per_s'])
        self.assertTrue(any(re.search(reason, text) for run in runs for text in run['reasons']), done)

    def test_a_total_that_is_right_is_no_fault(self):
        _, runs = self.valid(0, '--exec', peer('total'))
        self.assertGreater(runs[-1]['messages'], 0)
        _, runs = self.valid(0, '--depth', '5', '--exec', peer('total'))
        self.assertGreater(runs[-1]['messages'], 0)

    def test_a_total_of_fewer_messages_is_invalid(self):
        self.invalid('total_less', r"server's code saw \d+ messages, but \d+ were sent")

    def test_a_total_of_other_bytes_is_invalid(self):
        self.invalid('total_other', 'saw other bytes than were sent')

    def test_no_ready_is_a_failure(self):
        self.fails('noready', 'did not print READY in time', None, '--ready-timeout', '500ms')

    def test_a_ready_that_is_none_is_a_failure(self):
        self.fails('badready', "printed 'READY or not'")

    def test_a_program_that_is_no_server_is_a_failure(self):
        done, _ = self.pingpong(1, '--exec', 'true {port}')
        self.assertIn('before READY: exit code 0', done.err)

    def test_ready_without_a_listener_is_a_failure(self):
        done, _ = self.pingpong(1, '--connect-timeout', '1s', '--exec', 'sh -c "echo READY; sleep 60"')
        self.assertIn('refused', done.err)

    def test_descriptors_exhausted_in_the_server_are_a_failure(self):
        done, runs = self.pingpong(1, '-c', '60', '--connect-timeout', '2s', '--stall-timeout', '2s',
                                   '--exec', f'prlimit --nofile=30:30 {peer("echo")}')
        self.assertEqual(runs[0]['status'], 'failed')
        self.assertIsNone(runs[0]['rate_msg_per_s'])
        self.assertTrue(runs[0]['reasons'][0])
        self.assertIn('failed', done.err)

    def test_children_of_the_server_end_with_it(self):
        child = self.start('pingpong', '-c', '1', '--duration', '1s', '--exec', peer('children'))
        pids = wait_until(lambda: (lambda found: found if len(found) == 2 else None)(
            sleepers(descendants(child.pid))), 'two children of the server')
        self.assertIn(self.finish(child).code, (0, 4))
        self.assertEqual(sleepers() & pids, set())

    def test_other_rows_run_after_a_failure(self):
        _, runs = self.pingpong(1, '--exec', peer('die'), 'c_epoll', '--seed', '3', '--duration', '3s')
        self.assertEqual({run['variant'] for run in runs}, {'exec', 'c_epoll'})
        for run in runs:
            self.assertIn(run['status'], ('failed',) if run['variant'] == 'exec' else ('ok', 'invalid'))


class Hosts(VolleyTest):
    """volley load without a good peer."""

    def test_a_host_that_refuses_is_a_failure(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
        done = self.expect(1, 'load', f'127.0.0.1:{port}', *QUICK, '--connect-timeout', '1s', '--json',
                           self.json)
        self.assertIn('refused', done.err)
        _, runs, _ = self.read()
        self.assertEqual([run['status'] for run in runs], ['failed'])

    def test_a_host_that_accepts_and_says_nothing_is_a_failure(self):
        with socket.create_server(('127.0.0.1', 0), backlog=64) as server:
            port = server.getsockname()[1]
            done = self.expect(1, 'load', f'127.0.0.1:{port}', *QUICK, '--connect-timeout', '1s',
                               '--stall-timeout', '1s', '--json', self.json)
        self.assertIn('failed', done.err)
        _, runs, _ = self.read()
        self.assertIsNone(runs[0]['rate_msg_per_s'])

    def test_a_control_port_that_speaks_something_else_is_told_and_ignored(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1] - 1
            child = self.start('load', f'127.0.0.1:{port}', *QUICK, '--connect-timeout', '1s')
            client = server.accept()[0]
            with client:
                client.sendall(b'HTTP/1.1 400 Bad Request\n')
                done = self.finish(child)
        self.assertIn('does not speak volley-control', done.err)

    def test_another_version_of_the_control_protocol_is_named_with_ours(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1] - 1
            child = self.start('load', f'127.0.0.1:{port}', *QUICK, '--connect-timeout', '1s')
            client = server.accept()[0]
            with client:
                client.sendall(b'{"type":"hello","magic":"volley-control","version":99}\n')
                done = self.finish(child)
        self.assertIn('speaks version 99 of the protocol, this volley version 1', done.err)


class Ends(VolleyTest):
    """Signals, to the bench and to what it started."""

    def under_load(self, *args):
        """Starts a long run; returns it once the load has connected, with all that belongs to it."""
        child = self.start('pingpong', *LONG, '--json', self.json, *args, start_new_session=True)

        def running():
            lines = {pid: line for pid, (_, line) in processes().items()
                     if pid in descendants(child.pid)}
            roles = {role: pid for pid, line in lines.items()
                     for role in ('supervise', 'load', 'c_epoll') if role in line}
            return roles if len(roles) == 3 and connections(roles['c_epoll']) >= 8 else None
        return child, wait_until(running, 'a running load')

    def runs_so_far(self):
        try:
            with open(self.json, encoding='utf-8') as file:
                return file.read().count('"type":"run"')
        except FileNotFoundError:
            return 0

    def none_left(self, pids):
        wait_until(lambda: not set(pids) & set(processes()), f'{pids} to end')

    def test_ctrl_c_leaves_a_valid_file_and_exits_130(self):
        child, roles = self.under_load('c_epoll')
        # As a terminal does it: to the whole foreground process group.
        os.killpg(child.pid, signal.SIGINT)
        done = self.finish(child)
        self.assertEqual(done.code, 130, done)
        self.none_left(roles.values())
        _, runs, end = self.read()
        self.assertEqual((end['status'], end['exit_code']), ('interrupted', 130))
        self.assertEqual([run['status'] for run in runs], ['interrupted'])
        self.assertIsNone(runs[0]['rate_msg_per_s'])
        self.assertIn('interrupted', done.out)

    def test_ctrl_c_keeps_finished_runs(self):
        child = self.start('pingpong', *QUICK, '--runs', '1000', 'c_epoll', '--json', self.json)
        wait_until(lambda: self.runs_so_far() >= 2, 'two runs')
        child.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(child).code, 130)
        _, runs, _ = self.read()
        self.assertGreaterEqual(len(runs), 2)
        self.assertIn(runs[0]['status'], ('ok', 'invalid'))

    def test_ctrl_c_while_the_server_starts_ends_it(self):
        child = self.start('pingpong', *QUICK, '--json', self.json, '--exec', peer('noready'))
        pids = wait_until(lambda: {pid for pid in descendants(child.pid)
                                   if 'peer.py' in processes().get(pid, (0, ''))[1]}, 'the server')
        child.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(child).code, 130)
        self.none_left(pids)
        self.read()

    def test_sigterm_exits_143(self):
        child, roles = self.under_load('c_epoll')
        child.terminate()
        self.assertEqual(self.finish(child).code, 143)
        self.none_left(roles.values())
        self.read()

    def test_kill_of_the_bench_leaves_no_process(self):
        child, roles = self.under_load('c_epoll')
        child.kill()
        self.finish(child)
        self.none_left(roles.values())
        with open(self.json, encoding='utf-8') as file:
            self.assertEqual(file.read().count('"type":"header"'), 1)

    def test_kill_of_the_bench_keeps_whole_lines_and_compare_says_what_is_missing(self):
        child = self.start('pingpong', *QUICK, '--runs', '1000', 'c_epoll', '--json', self.json)
        wait_until(lambda: self.runs_so_far() >= 2, 'two runs')
        pids = descendants(child.pid)
        child.kill()
        self.finish(child)
        self.none_left(pids)
        with open(self.json, encoding='utf-8') as file:
            text = file.read()
        self.assertTrue(text.endswith('\n'))
        lines = [json.loads(line) for line in text.splitlines()]
        self.assertEqual([line['type'] for line in lines], ['header'] + ['run'] * (len(lines) - 1))
        validator = jsonschema.Draft202012Validator(volley_cli.schema())
        for line in lines:
            validator.validate(line)
        done = self.expect(4, 'compare', self.json, self.json)
        self.assertIn('is cut off: its end is missing', done.err)

    def test_kill_of_the_bench_leaves_no_child_of_the_server(self):
        child = self.start('pingpong', *LONG, '--exec', peer('children'))
        wait_until(lambda: len(sleepers(descendants(child.pid))) == 2, 'two children of the server')
        pids = descendants(child.pid)
        child.kill()
        self.finish(child)
        self.none_left(pids)

    def killed(self, role, reason):
        child, roles = self.under_load('c_epoll')
        os.kill(roles[role], signal.SIGKILL)
        done = self.finish(child)
        self.assertEqual(done.code, 1, done)
        self.none_left(roles.values())
        _, runs, end = self.read()
        self.assertEqual(end['exit_code'], 1)
        self.assertEqual([run['status'] for run in runs], ['failed'])
        self.assertRegex(runs[0]['reasons'][0], reason)

    def test_kill_of_the_server_fails_the_run(self):
        self.killed('c_epoll', 'the server ended during the run: killed by signal 9')

    def test_kill_of_the_load_process_fails_the_run(self):
        self.killed('load', 'the load process died: killed by signal 9')

    def test_kill_of_the_supervisor_fails_the_run(self):
        self.killed('supervise', 'the supervisor of the server died')


class Turns(VolleyTest):
    """Rows of a block that alternate: one polls, and is stopped while the other has its turn."""

    def begin(self, duration):
        """Starts them; returns the bench and, once somebody is stopped, all that it started and who that is."""
        child = self.start('pingpong', '-c', '4', '--warmup', '20ms', '--duration', duration, '--turns', '20',
                           'volley_inet', 'c_epoll', '--json', self.json)

        def somebody():
            pids = descendants(child.pid)
            stopped = {role: pid for pid in pids for role in ('serve', 'load') if self.is_stopped(pid, role)}
            return (pids, stopped) if len(stopped) == 2 else None
        return child, *wait_until(somebody, 'server and load of a row to be stopped')

    @staticmethod
    def is_stopped(pid, role):
        try:
            state = stat_fields(pid)[0]
        except OSError:
            return False
        return state == 'T' and role in processes().get(pid, (0, ''))[1]

    def none_left(self, pids):
        wait_until(lambda: not set(pids) & set(processes()), f'{pids} to end')

    def test_kill_of_the_bench_leaves_nobody_stopped(self):
        child, pids, _ = self.begin('100s')
        child.kill()
        self.finish(child)
        self.none_left(pids)

    def test_ctrl_c_ends_those_who_are_stopped_too(self):
        child, pids, _ = self.begin('100s')
        child.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(child).code, 130)
        self.none_left(pids)
        _, runs, end = self.read()
        self.assertEqual(end['status'], 'interrupted')
        self.assertEqual([run['status'] for run in runs], ['interrupted'] * 2)

    def test_a_program_that_polls_is_found_out_and_stopped(self):
        child = self.start('pingpong', '-c', '4', '--warmup', '20ms', '--duration', '1s', '--turns', '20',
                           '--exec', peer('polls'), 'c_epoll', '--json', self.json)
        wait_until(lambda: any(self.is_stopped(pid, 'peer.py') for pid in descendants(child.pid)),
                   'the program to be stopped')
        self.assertEqual(self.finish(child).code, 0)
        _, runs, _ = self.read()
        self.assertEqual([run['status'] for run in runs], ['ok'] * 2)

    def test_kill_of_one_who_is_stopped_fails_its_row_alone(self):
        for role, reason in (('serve', 'the server ended'), ('load', 'the load process died')):
            with self.subTest(role):
                child, pids, stopped = self.begin('1s')
                os.kill(stopped[role], signal.SIGKILL)
                done = self.finish(child)
                self.assertEqual(done.code, 1, done)
                self.none_left(pids)
                _, runs, _ = self.read()
                found = {run['variant']: (run['status'], ''.join(run['reasons'])) for run in runs}
                self.assertEqual(found['c_epoll'][0], 'ok', found)
                self.assertEqual(found['volley_inet'][0], 'failed', found)
                self.assertIn(reason, found['volley_inet'][1])


class Serves(VolleyTest):
    """volley serve and volley load together."""

    def serve(self, *args):
        port = free_port(2)
        child = self.start('serve', *args, f'127.0.0.1:{port}')
        self.assertEqual(child.stdout.readline(), f'READY {port}\n')
        return child, port

    def test_load_learns_the_costs_from_serve(self):
        child, port = self.serve('volley_epoll')
        done = self.volley('load', f'127.0.0.1:{port}', *QUICK, '--json', self.json)
        if done.code == 4:
            self.skipTest('the speed of a CPU changed in every attempt')
        self.assertEqual(done.code, 0, done)
        _, runs, _ = self.read()
        self.assertEqual((runs[-1]['variant'], runs[-1]['nic']), ('volley_epoll', 'epoll'))
        self.assertGreater(runs[-1]['cpu_us_per_msg'], 0)
        child.terminate()
        self.assertEqual(self.finish(child).code, 0)

    def test_load_works_without_serve_and_then_knows_no_costs(self):
        port = free_port()
        import subprocess
        with subprocess.Popen([PYTHON, '-B', PEER, str(port), 'echo'], stdout=subprocess.PIPE) as server:
            self.assertEqual(server.stdout.readline(), b'READY\n')
            done = self.volley('load', f'localhost:{port}', *QUICK, '--json', self.json)
            server.terminate()
        if done.code == 4:
            self.skipTest('the speed of a CPU changed in every attempt')
        self.assertEqual(done.code, 0, done)
        self.assertIn("the server's costs stay unknown", done.err)
        _, runs, _ = self.read()
        self.assertEqual(runs[-1]['variant'], 'external')
        self.assertGreater(runs[-1]['rate_msg_per_s'], 0)
        self.assertIsNone(runs[-1]['cpu_us_per_msg'])
        self.assertIsNone(runs[-1]['limited'])

    def test_a_second_load_is_told_that_the_first_has_the_costs(self):
        child, port = self.serve('c_epoll')
        first = self.start('load', f'127.0.0.1:{port}', *LONG)
        wait_until(lambda: any('volley load --control-fd' in processes().get(pid, (0, ''))[1]
                               for pid in descendants(first.pid)), 'the first load')
        done = self.volley('load', f'127.0.0.1:{port}', *QUICK)
        self.assertIn('another load is using the server', done.err)
        first.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(first).code, 130)
        child.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(child).code, 130)

    def test_a_port_in_use_is_refused_with_its_number(self):
        port = free_port(2)
        for taken in (port, port + 1):
            with socket.create_server(('127.0.0.1', taken)):
                self.assertIn(f'port {taken} is in use',
                              self.complaint(3, 'serve', 'c_epoll', f'127.0.0.1:{port}'))

    def test_a_server_that_fails_ends_serve(self):
        done = self.expect(1, 'serve', '--exec', peer('exit'), f'127.0.0.1:{free_port(2)}')
        self.assertIn('peer: cannot work today', done.err)

    def test_kill_of_serve_leaves_no_process(self):
        child, _ = self.serve('--exec', peer('children'))
        pids = descendants(child.pid)
        self.assertEqual(len(sleepers(pids)), 2)
        child.kill()
        self.finish(child)
        wait_until(lambda: not pids & set(processes()), 'all of serve to end')


def connections(pid):
    """Sockets of a process."""
    count = 0
    try:
        for name in os.listdir(f'/proc/{pid}/fd'):
            count += os.readlink(f'/proc/{pid}/fd/{name}').startswith('socket:')
    except OSError:
        pass
    return count


if __name__ == '__main__':
    sys.exit(unittest.main())
