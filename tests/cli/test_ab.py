"""test_ab.py - volley ab and volley compare: verdicts, exit codes, and files that are refused"""

import json
import math
import os
import subprocess
import sys
import time
import unittest

import volley_cli
from volley_cli import VolleyTest, peer, states

QUICK = ['-c', '4', '--warmup', '20ms', '--duration', '100ms']
# The first and the last sleep, those between poll.
FOUR_ROWS = ['pingpong', *QUICK, '--turns', '3', '--runs', '1', 'c_epoll', 'volley_inet', 'raw_wire', 'volley_epoll']
# A CPU has no distance to itself.
LINE = r' \(a line there and back in \d+( to \d+)? ns\)' if len(os.sched_getaffinity(0)) > 1 else ''
OURS = rf'cores all ours(( and near)?: in none|( and near| but far apart)?{LINE} in \d)'


class Ab(VolleyTest):
    """Two rows in blocks."""

    def ab(self, *args):
        done = self.volley('ab', *QUICK, '--json', self.json, *args)
        header, runs, end = self.read()
        self.assertEqual(header['argv'][0], 'ab')
        self.assertEqual(end['exit_code'], done.code)
        return done, runs

    def test_a_far_slower_server_is_found_within_five_blocks_and_fails_the_gate(self):
        done, runs = self.ab('c_epoll', '--exec', peer('echo'), '--by', 'cpu', '--fail-if', '5%')
        blocks = {run['run'] for run in runs if run['status'] == 'ok' and not run['canary']}
        if len(blocks) < 5:
            self.skipTest('the speed of the CPUs changes all the time')
        self.assertEqual(done.code, 5, done)
        self.assertIn('exec is SLOWER than c_epoll by CPU per message', done.out)
        self.assertIn('--fail-if 5%: regression', done.out)
        self.assertLess(len(blocks), 33)

    def test_the_order_of_the_words_says_who_is_a(self):
        done, _ = self.ab('--exec', peer('echo'), 'c_epoll', '--by', 'cpu', '--fail-if', '5%')
        if done.code == 4:
            self.skipTest('the speed of the CPUs changes all the time')
        self.assertEqual(done.code, 0, done)
        self.assertIn('c_epoll is FASTER than exec by CPU per message', done.out)
        self.assertIn('--fail-if 5%: passed', done.out)

    def test_the_same_variant_twice_runs_in_blocks_between_two_canaries(self):
        done, runs = self.ab('c_epoll', 'c_epoll', '--runs', '5')
        self.assertIn(done.code, (0, 4), done)
        self.assertRegex(done.out, 'c_epoll-2 (is|against c_epoll)')
        first = [run for run in runs if run['attempt'] == 1]
        canaries = [run for run in first if run['canary']]
        self.assertEqual([(run['variant'], run['order']) for run in canaries],
                         [('c_epoll', 0), ('c_epoll', 3)])
        self.assertIs(first[0], canaries[0])
        self.assertIs(first[-1], canaries[1])
        for block in range(1, 6):
            rows = [run for run in first if run['run'] == block and not run['canary']]
            self.assertEqual(sorted(run['variant'] for run in rows), ['c_epoll', 'c_epoll-2'])
            self.assertEqual(sorted(run['order'] for run in rows), [1, 2])

    def test_rows_of_a_block_have_turns_and_canaries_have_none(self):
        _, runs = self.ab('c_epoll', 'volley_epoll', '--runs', '5', '--duration', '200ms')
        rows = [run for run in runs if not run['canary'] and run['status'] == 'ok']
        self.assertTrue(rows)
        self.assertEqual({run['turns'] for run in rows}, {4})
        self.assertEqual({run['turns'] for run in runs if run['canary']}, {1})
        for run in rows:
            self.assertAlmostEqual(run['window_s'], 0.2, delta=1e-6)
            self.assertGreater(run['cpu_us_per_msg'], 0)

    def test_turns_that_cannot_be_had_are_refused_with_the_reason(self):
        for words, part in ((['--rate', '1k'], 'falls behind its schedule'), (['--think', '1ms'], '--think'),
                            (['--reconnect', '5'], '--reconnect'), (['--port', '7777'], '--port')):
            line = self.complaint(2, 'ab', 'c_epoll', 'c_epoll', '--turns', '4', *words)
            self.assertIn('--turns cannot be had', line)
            self.assertIn('--turns 1 runs one row behind the other', line)
            self.assertIn(part, line)
        self.assertIn('1 to 20', self.complaint(2, 'ab', 'c_epoll', 'c_epoll', '--turns', '21'))
        _, runs = self.ab('c_epoll', 'c_epoll', '--rate', '1k', '--runs', '5')
        self.assertEqual({run['turns'] for run in runs}, {1})

    def test_a_budget_that_is_too_small_for_five_blocks_is_refused(self):
        line = self.complaint(2, 'ab', 'c_epoll', 'volley_epoll', '--budget', '10s')
        self.assertIn('--budget: 5 blocks take about', line)

    def test_a_server_that_fails_ends_it(self):
        done, runs = self.ab('c_epoll', '--exec', peer('exit'))
        self.assertEqual(done.code, 1, done)
        self.assertEqual({run['run'] for run in runs if not run['canary']}, {1})
        self.assertIn('no verdict', done.out)

    def test_a_row_that_is_unavailable_leaves_nothing_to_compare(self):
        done, runs = self.ab('c_epoll', '--exec', '/no/such/server {port}')
        self.assertEqual(done.code, 3, done)
        self.assertEqual([run['status'] for run in runs], ['unavailable'] * 2)
        self.assertIn('nothing to compare it with', runs[0]['reasons'][0])

    def test_nonsense_is_refused(self):
        for words, part in (([], 'name two variants'), (['c_epoll'], 'name two variants'),
                            (['c_epoll'] * 3, 'twice|name two'),
                            (['c_epoll', 'volley_epoll', '--runs', '4'], 'at least 5 blocks'),
                            (['c_epoll', 'c_epoll', '--by', 'luck'], 'none of auto, cpu, rate'),
                            (['c_epoll', 'c_epoll', '--preset', 'smoky'], 'did you mean smoke'),
                            (['c_epoll', 'c_epoll', '--fail-if', '5'], "'5' is not a limit"),
                            (['c_epoll', 'c_epoll', '--fail-if', '1%'], '2% to 1000%'),
                            (['c_epoll', 'c_epoll', '--fail-if', 'nan%'], 'not a limit')):
            self.assertRegex(self.complaint(2, 'ab', *words), part)


class Pingpong(VolleyTest):
    """The same verdicts below the table of pingpong."""

    def test_five_runs_give_verdicts_against_the_first_row(self):
        done = self.volley('pingpong', *QUICK, '--runs', '5', '--json', self.json, 'c_epoll', '--exec',
                           peer('echo'))
        _, runs, _ = self.read()
        self.assertEqual(sum(run['canary'] for run in runs if run['attempt'] == 1), 2)
        if done.code == 4:
            self.skipTest('the speed of the CPUs changes all the time')
        self.assertIn('exec is SLOWER than c_epoll by CPU per message', done.out)
        self.assertIn('spread', done.out)

    def test_rows_that_sleep_and_rows_that_poll_have_turns_side_by_side(self):
        done = self.expect(0, *FOUR_ROWS, '--json', self.json)
        header, runs, _ = self.read()
        self.assertEqual(header['plan']['turns'], 3)
        self.assertEqual([(run['turns'], run['status']) for run in runs], [(3, 'ok')] * 4, done)
        for run in runs:
            self.assertEqual(len(run['pieces']), 3)
            for piece in run['pieces']:
                # a CPU that was taken away just then has no pace, and no distance
                known = [value for value in piece.values() if value is not None]
                self.assertGreater(min(known), 0, run['pieces'])
                self.assertLessEqual({'rate_msg_per_s', 'cpu_us_per_msg'}, {key for key in piece if piece[key]})
            self.assertRegex(done.out, rf"(?m)^{run['variant']}, {OURS} of 3 turns")

    def test_who_polls_is_stopped_while_others_have_their_turns(self):
        """Server and load of a row that polls; they would take the CPUs of the others, each time."""
        child = self.start(*FOUR_ROWS)
        moments = []
        while child.poll() is None:
            moments.append(states(child.pid))
            time.sleep(0.005)
        self.assertEqual(child.returncode, 0, self.finish(child))
        pollers = {pid for moment in moments for pid in moment if moment[pid] == 'T'}
        self.assertEqual(len(pollers), 4, moments[len(moments) // 2])
        going = [sum(moment[pid] != 'T' for pid in pollers) for moment in moments if pollers <= moment.keys()]
        # for a moment a row goes on already and the one before it was only told to stop
        both = [count for count in going if count > 2]
        self.assertTrue(going)
        self.assertLess(len(both), len(going) / 2, going)

    def test_a_single_row_may_have_turns(self):
        """Each tells whether the cores were all ours; a window that is one piece cannot."""
        self.expect(0, 'pingpong', *QUICK, '--turns', '2', '--runs', '1', 'c_epoll', '--json', self.json)
        self.assertEqual(len(self.read()[1][0]['pieces']), 2)

    def test_a_row_that_fails_among_turns_leaves_the_others_whole(self):
        for how in ('exit', 'die'):
            with self.subTest(how):
                done = self.volley('pingpong', *QUICK, '--turns', '3', 'c_epoll', '--exec', peer(how),
                                   'volley_epoll', '--json', self.json)
                _, runs, _ = self.read()
                self.assertEqual(done.code, 1, done)
                status = {run['variant']: run['status'] for run in runs}
                self.assertEqual(status, {'c_epoll': 'ok', 'exec': 'failed', 'volley_epoll': 'ok'})

    def test_presets_set_what_is_not_given(self):
        self.volley('pingpong', 'c_epoll', '--preset', 'smoke', '--duration', '50ms', '-c', '2', '--json',
                    self.json)
        header, _, _ = self.read()
        self.assertEqual((header['plan']['runs'], header['plan']['warmup_s'],
                          header['plan']['duration_s']), (1, 0.2, 0.05))
        self.volley('pingpong', *QUICK, '--runs', '2', '--preset', 'publish', 'c_epoll', '--json', self.json)
        self.assertEqual(self.read()[0]['plan']['runs'], 2)


class Compare(VolleyTest):
    """Two files; made up, so that the truth is known."""

    @classmethod
    def setUpClass(cls):
        # What is made up begins with a true one: once is enough.
        done = subprocess.run([volley_cli.VOLLEY, 'pingpong', *QUICK, 'c_epoll', '--json', '-'], stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=volley_cli.PATIENCE_S, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        cls.header, cls.sample, cls.end = lines[0], lines[-2], lines[-1]

    def write(self, name, factor=1.0, count=8, limited='no', variant='c_epoll', **plan):
        """A file of runs around the same level, `factor` dearer."""
        runs = []
        for i in range(count):
            noise = math.exp(0.004 * math.sin(1 + 7 * i))
            runs.append({**self.sample, **plan, 'run': i + 1, 'status': 'ok', 'reasons': [],
                         'variant': variant, 'canary': False, 'attempt': 1, 'limited': limited,
                         'rate_msg_per_s': 1e5 * noise / factor, 'cpu_us_per_msg': 4 * factor / noise,
                         'cpu_us_per_msg_scaled': 3 * factor / noise, 'hdr': self.sample['hdr'] or ''})
        end = {**self.end, 'status': 'complete', 'exit_code': 0,
               'runs': {**dict.fromkeys(self.end['runs'], 0), 'ok': count}}
        return self.write_lines(name, [self.header, *runs, end])

    def write_lines(self, name, lines):
        path = os.path.join(self.folder, name)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(''.join(json.dumps(line) + '\n' for line in lines))
        return path

    def test_made_up_files_follow_the_schema(self):
        with open(self.write('a'), encoding='utf-8') as file:
            self.check_lines(file.read())

    def test_the_second_file_is_judged_against_the_first_and_called_unpaired(self):
        base = self.write('a')
        for factor, word in ((1.08, 'SLOWER than'), (0.9, 'FASTER than'), (1.0, 'EQUIVALENT to'),
                             (1.02, 'INCONCLUSIVE against')):
            done = self.expect(0, 'compare', base, self.write('b', factor))
            self.assertIn('UNPAIRED', done.out)
            self.assertIn(f'c_epoll is {word} c_epoll of the first file by CPU per message', done.out)
            self.assertIn(f'c_epoll is {word} c_epoll of the first file by rate', done.out)

    def test_fail_if_gives_5_for_a_regression_4_where_it_cannot_tell(self):
        base = self.write('a')
        for factor, code in ((1.08, 5), (1.03, 0), (0.9, 0)):
            self.expect(code, 'compare', base, self.write('b', factor), '--fail-if', '5%')
        done = self.expect(4, 'compare', base, self.write('b', 1.5, count=4), '--fail-if', '5%')
        self.assertIn('could not be decided', done.out)
        self.assertIn('no verdict on c_epoll', done.out)

    def test_rates_of_a_saturated_load_are_not_compared(self):
        done = self.expect(0, 'compare', self.write('a', limited='client'), self.write('b', 1.08))
        self.assertIn('no verdict on c_epoll by rate', done.out)
        self.assertIn('SLOWER than c_epoll of the first file by CPU', done.out)

    def test_another_shape_of_load_is_not_compared(self):
        base = self.write('a')
        header = {**self.header, 'plan': {**self.header['plan'], 'load': {'rate': 5}}}
        with open(self.write('b'), encoding='utf-8') as file:
            lines = [json.loads(line) for line in file]
        done = self.expect(4, 'compare', base, self.write_lines('c', [header, *lines[1:]]))
        self.assertIn('no row in common that was measured under the same load', done.err)
        self.expect(4, 'compare', base, self.write('d', workload='other'))

    def test_rows_of_other_names_compare_only_if_there_is_one_in_each(self):
        done = self.expect(0, 'compare', self.write('a'), self.write('b', variant='other'))
        self.assertIn('other is EQUIVALENT to c_epoll of the first file', done.out)

    def test_other_loads_have_nothing_in_common(self):
        line = self.complaint(4, 'compare', self.write('a'), self.write('b', connections=77))
        self.assertIn('no row in common', line)

    def test_what_else_differs_is_told(self):
        other = self.write('b')
        with open(other, encoding='utf-8') as file:
            lines = [json.loads(line) for line in file]
        lines[0]['environment']['kernel'] = '0.0.1'
        done = self.expect(0, 'compare', self.write('a'), self.write_lines('b', lines))
        self.assertIn('warning: kernel differs', done.err)

    def refuse(self, path, part, code=4):
        good = self.write('good')
        for words in ((good, path), (path, good)):
            line = self.complaint(code, 'compare', *words)
            self.assertIn(path, line)
            self.assertIn(part, line)

    def test_truncated_files_are_refused(self):
        path = self.write('cut')
        with open(path, 'rb') as file:
            data = file.read()
        whole = data.splitlines(keepends=True)
        for cut, part in ((len(data) - 1, 'cut off in line 10'), (len(data) - 9, 'cut off in line 10'),
                          (len(data) - len(whole[-1]), 'its end is missing behind line 9'),
                          (len(whole[0]), 'its end is missing behind line 1'), (0, 'is empty')):
            with open(path, 'wb') as file:
                file.write(data[:cut])
            self.refuse(path, part)
        with open(path, 'wb') as file:
            file.write(b''.join(whole[:3] + whole[4:]))
        self.refuse(path, 'lines are missing')
        with open(path, 'wb') as file:
            file.write(data + whole[1])
        self.refuse(path, 'behind its end')

    def test_foreign_files_are_refused(self):
        path = os.path.join(self.folder, 'foreign')
        for data in (b'hello\n', b'\x00\xff\x00\n', b'{}\n', b'[1, 2]\n', b'{"schema": "other"}\n',
                     b'{"schema": 7, "schema_version": 1}\n', os.urandom(4096)):
            with open(path, 'wb') as file:
                file.write(data)
            self.refuse(path, 'no result file of volley')
        self.refuse('/dev/zero', 'no result file of volley')

    def test_damaged_lines_are_refused(self):
        run = {**self.sample, 'run': 'one'}
        self.refuse(self.write_lines('odd', [self.header, run, self.end]), 'line 2 is no run')
        self.refuse(self.write_lines('odd', [self.header, {'type': 'x'}]), 'line 2 is neither')
        self.refuse(self.write_lines('odd', [self.header, 5]), 'line 2 is no JSON')
        self.refuse(self.write_lines('odd', [{**self.header, 'type': 'run'}]), 'line 1 is no header')

    def test_newer_files_are_refused(self):
        lines = [{**self.header, 'schema_version': 99}, self.end]
        self.refuse(self.write_lines('new', lines), 'schema version 99, this volley reads up to 1')

    def test_files_that_cannot_be_read_are_told(self):
        self.refuse(os.path.join(self.folder, 'none'), 'No such file', 3)
        self.refuse(self.folder, 'Is a directory', 3)

    def test_two_files_are_needed(self):
        self.assertIn('name two result files', self.complaint(2, 'compare', self.json))
        self.assertIn('one argument too many', self.complaint(2, 'compare', 'a', 'b', 'c'))


if __name__ == '__main__':
    sys.exit(unittest.main())
