"""test_keepup.py - volley keepup: answers, files, faults of consumers. Nothing here depends on speed."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

import volley_cli
from volley_cli import VolleyTest, peer, wait_until

SANITIZED = os.environ.get('VOLLEY_SANITIZE', 'none') != 'none'
# One rate, and a lag that any machine can do; what it says of the rate nothing here depends on.
QUICK = ['keepup', '-c', '4', '--duration', '60ms', '--warmup', '30ms', '--confirm', '60ms', '--start', '2k', '--min-rate', '2k', '--max-rate', '2k',
         '--lag', '5s', '--seed', '3', '--attempts', '1']
SHORT = [*QUICK, '--no-overload']


class Keepup(VolleyTest):
    def setUp(self):
        super().setUp()
        self.started = []
        self.addCleanup(self.no_files_left)

    def no_files_left(self):
        """Of those that this test has started; their names have the number of the process."""
        self.assertEqual([name for folder in ('/dev/shm', '/tmp') for name in os.listdir(folder) for pid in self.started
                          if name.startswith(tuple(f'volley-{what}-{pid}-' for what in ('meter', 'report', 'keepup')))], [])

    def start(self, *args, **options):
        child = super().start(*args, **options)
        self.started.append(child.pid)
        return child

    def python(self):
        if SANITIZED:
            self.skipTest('the interpreter of a consumer would not load a sanitized module')

    def search(self, code, *args, words=None, **options):
        """A search with a result file: its trials; self.answers has what they say."""
        done = self.expect(code, *(words or SHORT), '--json', self.json, *args, **options)
        header, runs, end = self.read()
        self.assertEqual(header['workload'], 'keepup')
        self.assertEqual(end['exit_code'], code)
        return done, runs

    def all_counted(self, runs):
        """The command has compared what each counted with what it was given. A restless machine may spoil a run, not that."""
        for answer in self.answers:
            self.assertEqual(answer['status'], 'ok', answer)
        for run in runs:
            self.assertIn(run['status'], ('ok', 'invalid'), run)
            self.assertFalse([reason for reason in run['reasons']
                              if not reason.startswith('the speed of') and 'made no room' not in reason], run)
            # in its whole life: on a crowded machine a short window may pass without the consumer
            self.assertGreater(run['keepup']['delivered'], 0, run)

    def consumer(self, text, name='mine'):
        """A module with this text; the word for --consumer."""
        self.python()
        with open(os.path.join(self.folder, name + '.py'), 'w', encoding='utf-8') as file:
            file.write(text)
        return f'--consumer={name}:consume'

    def fails(self, text, reason, *args):
        """A consumer that the bench finds out about, and that nothing is left of."""
        done, runs = self.search(1, self.consumer(text), *args, cwd=self.folder)
        answer, = self.answers
        self.assertEqual(answer['status'], 'failed')
        self.assertRegex(answer['reason'], reason)
        self.assertIn(answer['sentence'], done.out)
        self.assertEqual(runs[-1]['status'], 'failed')
        return runs


class Answers(Keepup):
    def test_every_message_of_a_control_is_accounted_for(self):
        done, runs = self.search(0, 'c_null', 'c_echo', '--start', '100k', '--min-rate', '100k', '--max-rate', '100k')
        self.all_counted(runs)
        # a CPU whose speed changed meanwhile makes a trial invalid: it is made again, five times at most
        runs = [run for run in runs if run['status'] == 'ok']
        if [run['keepup']['trial'] for run in runs[:2]] != ['generator', 'ceiling']:
            self.skipTest('the speed of the CPUs changes all the time')
        for run in runs:
            trial = run['keepup']
            if trial['trial'] in ('search', 'confirm'):
                self.assertGreaterEqual(trial['delivered'], trial['consumed'])
                self.assertEqual(trial['replied'], trial['delivered'] if run['variant'] == 'c_echo' else 0)
                self.assertIsNotNone(trial['late_p99_ns'])
        # The generator is proved where rates are high enough to ask for it.
        self.assertEqual([run['keepup']['trial'] for run in runs[:3]], ['generator', 'ceiling', 'search'])
        self.assertGreater(runs[0]['rate_msg_per_s'], 0)
        self.assertIsNone(runs[0]['keepup']['generator_pace_msg_per_s'])
        self.assertGreater(runs[1]['keepup']['generator_pace_msg_per_s'], 0)
        self.assertIn('The generator can offer', done.out)
        for answer in self.answers:
            self.assertEqual(answer['status'], 'ok')
            self.assertIn(answer['sentence'], done.out)
            self.assertEqual([rate['lag_limit_ns'] for rate in answer['rates']], [5e9, 5e8])

    def test_one_limit_of_the_lag_is_searched_for_alone(self):
        done, _ = self.search(0, 'c_null', '--one-lag')
        answer, = self.answers
        self.assertIsNotNone(answer['rates'][0]['rate_msg_per_s'])
        self.assertIsNone(answer['rates'][1]['rate_msg_per_s'])
        self.assertNotIn('500 ms', answer['sentence'])
        self.assertIn(answer['sentence'], done.out)

    def test_who_knows_the_full_pace_sees_that_others_were_there_all_the_time(self):
        done, runs = self.search(0, 'c_null', '--full-pace', '999.5', '--lag', '1us')
        self.assertEqual({run['keepup']['full_pace_op_per_ns'] for run in runs}, {999.5})
        if self.answers[0]['rates'][0]['rate_msg_per_s'] == 0:
            self.assertIn('Others used the cores of these CPUs all the time', done.out)

    def test_more_than_it_keeps_up_with_is_offered_too(self):
        _, runs = self.search(0, 'c_null', words=QUICK)
        answer, = self.answers
        if answer['rates'][0]['rate_msg_per_s'] == 0:
            self.skipTest('the machine is too restless for any rate')
        self.assertEqual([overload['factor'] for overload in answer['overloads']], [1.1, 1.5, 2])
        self.assertEqual({run['offered_msg_per_s'] for run in runs if run['keepup']['trial'] == 'overload'}, {2200, 3000, 4000})

    def test_each_style_of_the_module_counts_what_it_is_given(self):
        self.python()
        for work, styles in (('echo', ('proto', 'coro', 'batch')), ('sink', ('columns',)), ('record', ('completion', 'columns'))):
            with self.subTest(work=work):
                _, runs = self.search(0, '--work', work, *['volley_' + style for style in styles])
                self.all_counted(runs)

    def test_thread_mode_frozen_collector_and_a_competing_thread_are_measured(self):
        self.python()
        done, runs = self.search(0, 'volley_batch', '--mode', 'thread', '--gc', 'frozen', '--competing-thread',
                                 '--no-prefetch')
        trial = runs[-1]['keepup']
        self.assertIsNotNone(trial['gil_wait_p99_ns'])
        self.assertIsNotNone(trial['gc_pauses'])
        self.assertIn('volley_batch ', done.out)

    def test_an_engine_that_waits_for_python_says_how_long_nothing_was_read(self):
        self.python()
        _, runs = self.search(0, 'volley_completion', '--mode', 'thread', '--work', 'sink', '--slow', '100us', '--duration', '300ms',
                              '--start', '50k', '--min-rate', '50k', '--max-rate', '50k')
        for run in runs:
            self.assertGreater(run['keepup']['paused_share'], 0.01, run)
        self.assertEqual(self.answers[0]['rates'][0]['rate_msg_per_s'], 0)

    def test_a_slowed_consumer_knows_by_how_much(self):
        self.python()
        done, runs = self.search(0, 'volley_completion', 'volley_columns', '--work', 'sink', '--slow', '20us')
        self.all_counted(runs)
        for answer in self.answers:
            trials = [run['keepup'] for run in runs if run['variant'] == answer['variant']]
            if None in (trial['unslowed_ns'] for trial in trials):
                self.skipTest('others had the CPU all the time')
            for trial in trials:
                self.assertGreater(trial['slowed_by_ns'], 15000)
                self.assertLess(trial['unslowed_ns'], trial['slowed_by_ns'])
            if answer['rates'][0]['rate_msg_per_s']:
                # of the trial that the answer stands on
                predicted = [round(1e9 / (trial['unslowed_ns'] + trial['slowed_by_ns'])) for trial in trials]
                self.assertIn(round(answer['predicted_msg_per_s']), predicted)
                self.assertIn('so arithmetic predicts', done.out)

    def test_columns_of_real_work_are_slowed_too(self):
        self.python()
        _, runs = self.search(0, 'volley_columns', '--work', 'record', '--slow', '20us', '--one-lag')
        self.all_counted(runs)
        for run in runs:
            self.assertGreater(run['keepup']['slowed_by_ns'] or 20000, 15000)

    def test_the_rehearsal_of_a_delay_makes_no_file_that_could_stay_behind(self):
        self.python()
        folder, seen = os.path.join(self.folder, 'temporary'), set()
        os.mkdir(folder)
        child = self.start(*SHORT, 'volley_completion', '--slow', '20us', '--one-lag', '--json', self.json, env={**os.environ, 'TMPDIR': folder})
        wait_until(lambda: seen.update(os.listdir(folder)) or child.poll() is not None, 'the end of the search')
        self.assertEqual(self.finish(child).code, 0)
        self.assertEqual(seen, set())

    def kept_up(self, *words):
        """(header, run line) of a search with these words, whose trial kept up, whatever this machine did."""
        self.search(0, *words)
        with open(self.json, encoding='utf-8') as file:
            header, run = (json.loads(file.readline()) for _ in range(2))
        trial = run['keepup']
        run['status'] = 'ok'
        trial.update(dict.fromkeys(('dropped', 'lost', 'backlog_slope_msg_per_s', 'excluded_share', 'taken_share', 'generator_taken_share',
                                    'paused_share'), 0))
        trial['offered'] = trial['consumed'] = trial['offered_rate_msg_per_s'] * run['window_s']
        trial['lag_ns']['p99'] = 1000
        return header, run

    def test_an_answer_below_the_trials_that_passed_has_none_of_their_figures(self):
        words = ['c_null', '--min-rate', '1900', '--one-lag']
        header, run = self.kept_up(*words)
        trial = run['keepup']
        run['effective_ghz']['server'] = 3.9
        for rate, known in ((2000, 3.9), (1940, None)):
            with open(self.json, 'w', encoding='utf-8') as file:
                print(json.dumps(header), file=file)
                for kind, offered, dropped in (('search', 2000, 0), ('confirm', 2000, 0 if known else 1e9), ('confirm', 1940, 1e9)):
                    trial.update(trial=kind, offered_rate_msg_per_s=offered, dropped=dropped)
                    print(json.dumps(run), file=file)
            self.expect(0, *SHORT, *words, '--json', self.json, '--resume')
            self.read()
            self.assertEqual((self.answers[0]['rates'][0]['rate_msg_per_s'], self.answers[0]['effective_ghz']), (rate, known))

    def test_a_trial_whose_delay_was_set_on_a_shared_core_counts_for_nothing(self):
        self.python()
        words = ['volley_completion', '--work', 'sink', '--slow', '60us', '--one-lag']
        header, run = self.kept_up(*words)
        trial = run['keepup']
        # one that was 15% luckier than the other is not held against it
        for search_ns, confirm_ns, confirmed in ((100, 110, True), (86, 101, True), (100, 200, False)):
            with open(self.json, 'w', encoding='utf-8') as file:
                print(json.dumps(header), file=file)
                for kind, unslowed_ns in (('search', search_ns), ('confirm', confirm_ns)):
                    trial.update(trial=kind, unslowed_ns=unslowed_ns)
                    print(json.dumps(run), file=file)
            done = self.expect(0, *SHORT, *words, '--json', self.json, '--resume')
            self.read()
            self.assertEqual(self.answers[0]['rates'][0]['confirmed'], confirmed, confirm_ns)
            self.assertEqual('Others used the cores of these CPUs' in done.out, not confirmed, confirm_ns)

    def test_a_delay_that_nobody_would_pay_is_refused(self):
        word = self.consumer('def consume(batch):\n  batch.reply_all()\n')
        done, _ = self.search(3, 'c_null', word, '--slow', '20us', cwd=self.folder)
        self.assertEqual(done.out.count("bench's own Python consumers"), 2, done.out)
        self.assertEqual(done.out.count('name one of them, as volley_batch, or leave --slow out'), 2, done.out)

    def test_who_cannot_take_part_is_told_why_and_the_others_run(self):
        done, _ = self.search(3, 'c_null', 'asyncio_proto')
        self.assertIn('asyncio_proto cannot be measured here: it', done.out)
        self.assertIn('--source uring', done.out)
        self.assertRegex(done.out, 'c_null (keeps|does not keep) up')


class Sources(Keepup):
    """The load generator instead of the one inside; counts are compared there, too."""

    NETWORK = [*SHORT, '--duration', '100ms', '--confirm', '100ms']

    def over(self, source, *args, code=0, **options):
        words = [*self.NETWORK, '--source', source, *args, '--json', self.json]
        done = self.volley(*words, **options)
        self.read()
        if any('a machine that is less busy' in (answer['reason'] or '') for answer in self.answers):
            done = self.volley(*words, '--duration', '1s', '--confirm', '1s', **options)  # not one message in the window
        self.assertEqual(done.code, code, done)
        _, runs, _ = self.read()
        self.assertEqual({run['nic'] for run in runs}, {source})
        self.all_counted(runs)
        return done, runs

    def test_over_kernel_sockets_every_loop_is_a_consumer(self):
        self.python()
        loops = ['asyncio_proto', 'asyncio', 'volley_loop', 'volley_columns', 'c_echo']
        if not subprocess.run([volley_cli.PYTHON, '-c', 'import uvloop'], check=False, capture_output=True).returncode:
            loops += ['uvloop_proto', 'uvloop']
        self.over('uring', *loops)
        self.assertEqual([answer['variant'] for answer in self.answers], loops)

    def test_over_kernel_sockets_anything_that_echoes_is_measured(self):
        done, _ = self.over('uring', '--exec', peer('echo'))
        self.assertIn('exec', done.out)

    def test_over_a_network_the_pace_is_waited_for_beside_the_consumer(self):
        module = ('import os, time\nbegan = time.monotonic()\ndef consume(batch):\n  if any(batch.lengths) and not os.path.exists("told"):\n'
                  '    open("part", "w").write(str(time.monotonic() - began))\n    os.rename("part", "told")\n  batch.reply_all()\n')
        told = os.path.join(self.folder, 'told')
        # nobody has that pace: the first message comes when the patience of 4 s is over, however slow this machine is
        child = self.start(*SHORT, '--source', 'uring', '--attempts', '2', '--full-pace', '1000', self.consumer(module), cwd=self.folder)
        wait_until(lambda: os.path.exists(told), 'a first message')
        child.send_signal(signal.SIGINT)
        self.finish(child)
        with open(told, encoding='ascii') as file:
            self.assertGreater(float(file.read()), 4)

    def test_over_this_engines_tcp_in_memory(self):
        _, runs = self.over('loop', 'c_echo')
        self.assertEqual({run['idle_policy'] for run in runs}, {'busy'})
        self.python()
        _, runs = self.over('loop', 'volley_batch', 'volley_loop')
        for run in runs:
            self.assertTrue(0 < run['keepup']['callback_share'] < 1.5, run)
            self.assertIsNotNone(run['keepup']['turn_lag_p99_ns'])

    def test_over_ports_of_dpdk(self):
        self.python()
        done = self.volley(*self.NETWORK, '--source', 'dpdk', 'c_echo', 'volley_columns', '--json', self.json)
        _, runs, _ = self.read()
        if done.code == 3:
            self.skipTest(self.answers[0]['reason'])
        self.assertEqual(done.code, 0, done)
        self.all_counted(runs)

    def test_several_processes_share_a_port_and_count_together(self):
        self.python()
        _, runs = self.over('uring', '--mode', 'process', 'volley_completion', 'asyncio_proto')
        self.assertIsNotNone(runs[0]['keepup']['gc_pauses'])
        done, _ = self.search(3, '--mode', 'process', 'volley_batch')
        self.assertIn('share a port', done.out)

    def test_a_consumer_of_streams_has_sockets_only(self):
        word = self.consumer('async def consume(reader, writer):\n  while data := await reader.read(65536):\n    writer.write(data)\n')
        self.over('uring', word, cwd=self.folder)
        done, _ = self.search(3, word, cwd=self.folder)
        self.assertIn('--source uring', done.out)


class Files(Keepup):
    def test_the_same_seed_asks_for_the_same_rates(self):
        def first():
            _, runs = self.search(0, 'c_null')
            return [(run['keepup']['trial'], run['offered_msg_per_s'], run['status']) for run in runs[:3]]
        for one, other in zip(first(), first()):
            self.assertEqual(one[:2], other[:2])
            if one != other:
                break  # the machine has spoilt one of them: another trial follows

    def test_an_interrupted_search_is_saved_told_and_resumed(self):
        child = self.start(*SHORT, '--duration', '300ms', 'c_null', 'c_echo', '--json', self.json)
        wait_until(lambda: os.path.exists(self.json) and '"search"' in open(self.json, encoding='utf-8').read(),
                   'a first trial')
        child.send_signal(signal.SIGINT)
        done = self.finish(child)
        self.assertEqual(done.code, 130, done)
        self.assertIn('interrupted', done.out)
        _, before, end = self.read()
        self.assertEqual(end['status'], 'interrupted')
        known = [run['began'] for run in before if run['status'] == 'ok']
        self.expect(0, *SHORT, '--duration', '300ms', 'c_null', 'c_echo', '--json', self.json, '--resume')
        _, after, end = self.read()
        self.assertEqual(end['status'], 'complete')
        self.assertEqual([run['began'] for run in after][:len(known)], known)
        self.assertEqual({answer['status'] for answer in self.answers}, {'ok'})

    def test_a_complete_file_is_resumed_without_a_trial_and_a_cut_one_goes_on(self):
        _, runs = self.search(0, 'c_null')
        with open(self.json, encoding='utf-8') as file:
            lines = file.readlines()
        done = self.expect(0, *SHORT, 'c_null', '--json', self.json, '--resume')
        self.assertRegex(done.out, 'c_null (keeps|does not keep) up')
        self.assertEqual(len(self.read()[1]), len(runs))
        with open(self.json, 'w', encoding='utf-8') as file:
            file.write(''.join(lines[:2]) + lines[2][:40])
        self.expect(0, *SHORT, 'c_null', '--json', self.json, '--resume')
        _, again, end = self.read()
        self.assertEqual(again[0], runs[0])
        self.assertEqual(end['status'], 'complete')

    def test_a_proof_of_the_generator_that_the_machine_spoilt_is_made_again(self):
        """One invalid trial made every answer a lower bound, and no line said why."""
        words = ['c_null', '--start', '100k', '--min-rate', '100k', '--max-rate', '100k']
        self.search(0, *words)
        with open(self.json, encoding='utf-8') as file:
            lines = [json.loads(line) for line in file]
        at = next(i for i, line in enumerate(lines) if line['type'] == 'run' and line['keepup']['trial'] == 'generator')
        lines[at].update(status='invalid', reasons=['the speed of server CPU 0 changed'], attempt=1)
        with open(self.json, 'w', encoding='utf-8') as file:
            file.write(''.join(json.dumps(line) + '\n' for line in lines[:at + 1]))
        self.expect(0, *SHORT, *words, '--json', self.json, '--resume')
        proofs = [run for run in self.read()[1] if run['keepup']['trial'] == 'generator']
        self.assertEqual([run['attempt'] for run in proofs], list(range(1, len(proofs) + 1)))
        self.assertGreater(len(proofs), 1)
        self.assertTrue(proofs[-1]['status'] == 'ok' or len(proofs) == 5, proofs)

    def test_a_file_of_other_settings_or_of_another_command_is_not_gone_on_with(self):
        self.search(0, 'c_null')
        with open(self.json, encoding='utf-8') as file:
            before = file.read()
        self.assertIn('other settings', self.complaint(4, *SHORT, '--confirm', '70ms', 'c_null', '--json', self.json, '--resume'))
        with open(self.json, encoding='utf-8') as file:
            self.assertEqual(file.read(), before)
        with open(self.json, 'w', encoding='utf-8') as file:
            file.write('{"type": "header", "workload": "pingpong"}\n')
        self.assertIn('not a result file of volley keepup', self.complaint(4, *SHORT, 'c_null', '--json', self.json, '--resume'))

    def test_a_plot_is_drawn_without_a_display(self):
        if subprocess.run(['/usr/bin/python3', '-c', 'import matplotlib'], check=False, capture_output=True).returncode:
            self.skipTest('no matplotlib')
        environment = {name: value for name, value in os.environ.items() if name != 'DISPLAY'}
        environment['MPLCONFIGDIR'] = self.folder
        for name, begins in (('lag.png', b'\x89PNG'), ('lag.svg', b'<?xml')):
            path = os.path.join(self.folder, name)
            # Resumed: the second picture is of the same trials.
            self.expect(0, *SHORT, 'c_null', '--json', self.json, '--resume', f'--save-plot={path}', env=environment)
            with open(path, 'rb') as file:
                self.assertTrue(file.read().startswith(begins))

    def test_without_matplotlib_a_plot_names_the_package(self):
        with open(os.path.join(self.folder, 'matplotlib.py'), 'w', encoding='utf-8') as file:
            file.write('raise ImportError\n')
        done = self.expect(3, *SHORT, 'c_null', f'--save-plot={self.folder}/lag.png',
                           env={**os.environ, 'PYTHONPATH': self.folder})
        self.assertIn('apt install python3-matplotlib', done.err)
        self.assertRegex(done.out, 'c_null (keeps|does not keep) up')


class Seeds(unittest.TestCase):
    """scripts/keepup_seeds.py beside a command that answers at once."""

    def repeat(self, *sayings, code=0):
        """What it prints of searches that end with (exit code, lines) each."""
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, 'volley')
            with open(path, 'w', encoding='utf-8') as file:
                file.write(f'#!/usr/bin/python3\nimport json, sys\ncode, lines = {sayings!r}[int(sys.argv[sys.argv.index("--seed") + 1]) - 1]\n'
                           'with open(sys.argv[sys.argv.index("--json") + 1], "w") as file:\n'
                           '  file.writelines(json.dumps(line) + "\\n" for line in lines)\nsys.exit(code)\n')
            os.chmod(path, 0o755)
            with open(os.path.join(folder, 'picture.png'), 'wb') as file:
                file.write(b'\x89PNG')
            os.mkdir(os.path.join(folder, 'old'))
            done = subprocess.run([volley_cli.PYTHON, '-B', os.path.join(volley_cli.TOP, 'scripts', 'keepup_seeds.py'), folder, '--seeds',
                                   str(len(sayings)), '--volley', path, '--', 'c_null'], check=False, capture_output=True, text=True)
        self.assertEqual(done.returncode, code, done)
        return done.stdout + done.stderr

    @staticmethod
    def found(rate, **figures):
        answer = {'type': 'answer', 'rates': [{'rate_msg_per_s': rate, 'confirmed': True}], 'effective_ghz': 4.0, 'pace_op_per_ns': 16.3,
                  'predicted_msg_per_s': None, 'sentence': 'c_null says why.', **figures}
        return [answer, {'type': 'end', 'status': 'complete'}]

    def test_a_search_that_found_no_rate_is_complete(self):
        said = self.repeat((0, self.found(4e6)), (0, self.found(0)), (3, self.found(None)), code=1)
        self.assertEqual(said.count('c_null says why'), 2, said)
        self.assertIn('2 of 3 searches found no rate', said)

    def test_what_is_not_known_of_a_search_is_a_dash(self):
        said = self.repeat((0, self.found(4e6)), (0, self.found(5e6, effective_ghz=None, pace_op_per_ns=None)))
        self.assertIn('-', said.splitlines()[2])
        self.assertIn('2 seeds: 22.2% between', said)

    def test_a_search_that_is_refused_ends_it_and_one_that_was_interrupted_is_gone_on_with(self):
        self.assertIn('exit code 2', self.repeat((2, []), code=1))
        self.assertIn('1 of 1 searches are not complete: call it again', self.repeat((130, []), code=1))


class Rehearsals(unittest.TestCase):
    """How a delay is set when there is no patience left."""

    def calibrated(self, *pairs):
        """(what is found, by how much longer it was set) of these comparisons."""
        longer = []
        with unittest.mock.patch.object(sys, 'path', [os.path.join(volley_cli.TOP, 'bench', 'rows'), *sys.path]):
            import keepup_rehearsal
        rehearsal = keepup_rehearsal.Rehearsal(None, None, None, float('inf'))
        rehearsal.until = 0
        rehearsal.compare = iter([*pairs, *[None] * 100]).__next__
        return keepup_rehearsal.calibrate(rehearsal, longer.append, 1000), longer

    def test_a_delay_is_never_set_by_one_comparison_alone(self):
        _, longer = self.calibrated((100, 5000), (100, 900), (100, 900))
        self.assertEqual(longer, [100])
        self.assertEqual(self.calibrated((100, 5000), None, (100, 900)), (None, []))

    def test_what_was_found_before_the_delay_was_set_anew_is_not_told(self):
        found, _ = self.calibrated(*[(100, 900)] * 15)
        self.assertIsNone(found)


class Nonsense(Keepup):
    def test_rates_and_lags_that_make_no_sense_are_refused(self):
        for words, said in ((['--start', 'fast'], 'is not a rate'), (['--start', '1'], '100 to 1000M'),
                            (['--max-rate', '2G'], 'is not a rate'), (['--start', '5k', '--max-rate', '1k'], 'not between'),
                            (['--lag', '5'], 'is not a time'), (['--lag', '1ns'], 'out of range'),
                            (['--lag', '-1ms'], 'is not a time'), (['--slow', '1ns'], 'out of range'),
                            (['--rate', '5k'], 'no meaning'), (['--runs', '3'], 'no meaning'),
                            (['--size', '8'], '16 to 65536'), (['--work', 'play'], 'none of echo, sink, record'),
                            (['--source', 'tape'], 'none of internal'), (['--save-plot', 'x.gif'], '.png'),
                            (['--resume'], '--json FILE'), (['--full-pace', '0'], '1 to 1000'), (['--full-pace', '1e2'], '1 to 1000'),
                            (['--full-pace', 'x'], "'x' is no number from 1 to 1000 (operations per ns); full_pace_op_per_ns in the"),
                            (['--attempts', '0'], '--attempts'), (['--confirm', '1ms'], '--confirm')):
            with self.subTest(words=words):
                self.assertIn(said, self.complaint(2, 'keepup', 'c_null', *words))
        self.assertIn('did you mean volley_batch', self.complaint(2, 'keepup', 'voley_batch'))
        self.assertIn('named twice', self.complaint(2, 'keepup', 'c_null', 'c_null'))
        self.assertIn('at least one', self.complaint(2, 'keepup'))

    def test_a_module_that_does_not_import_is_told_with_its_error(self):
        word = self.consumer('import nothing_of_that_name\n')
        done, _ = self.search(3, word, cwd=self.folder)
        self.assertIn("No module named 'nothing_of_that_name'", done.out)
        for text in ('--consumer=nowhere:x', '--consumer=mine:missing', '--consumer=plain'):
            with open(os.path.join(self.folder, 'mine.py'), 'w', encoding='utf-8') as file:
                file.write('consume = 3\n')
            self.search(3, text, cwd=self.folder)

    def test_without_numpy_the_columns_name_the_package(self):
        self.python()
        with open(os.path.join(self.folder, 'numpy.py'), 'w', encoding='utf-8') as file:
            file.write('raise ImportError("none")\n')
        done, _ = self.search(3, 'volley_columns', 'volley_batch', env={**os.environ, 'PYTHONPATH': self.folder})
        self.assertIn('apt install python3-numpy', done.out)
        self.assertRegex(done.out, 'volley_batch (keeps|does not keep) up')


class Faults(Keepup):
    """Consumers that go wrong: the command says how, and nothing of them is left."""

    def test_every_style_of_consumer_is_recognised(self):
        for text in ('import asyncio\nclass consume(asyncio.Protocol):\n  def data_received(self, data): pass\n',
                     'class consume:\n  def data_received(self, data): return data\n',
                     'async def consume(conn):\n  while await conn.recv(): pass\n',
                     'def consume(batch):\n  batch.reply_all()\n'):
            with self.subTest(text=text):
                self.search(0, self.consumer(text), cwd=self.folder)

    def test_a_consumer_that_raises(self):
        self.fails('def consume(batch):\n  raise ValueError("oh no")\n', 'raised .* exceptions; the first: ValueError: oh no')

    def test_a_consumer_that_blocks_for_ever(self):
        self.fails('import time\ndef consume(batch):\n  if any(batch.lengths):\n    time.sleep(1000)\n',
                   'the consumer blocks')

    def test_a_consumer_that_was_held_long_and_begins_slowly_does_not_block(self):
        word = self.consumer('import time\nslept = []\ndef consume(batch):\n  if any(batch.lengths) and not slept:\n'
                             '    slept.append(time.sleep(0.3))\n  batch.reply_all()\n')
        # nobody has that pace: a trial is held for as long as there is patience
        child = self.start(*SHORT, '--attempts', '2', '--full-pace', '1000', word, '--json', self.json, cwd=self.folder)
        wait_until(lambda: os.path.exists(self.json) and '"search"' in open(self.json, encoding='utf-8').read(), 'a first trial')
        child.send_signal(signal.SIGINT)
        self.finish(child)
        self.assertFalse([reason for run in self.read()[1] for reason in run['reasons'] if 'blocks' in reason])

    def test_a_consumer_that_exits(self):
        self.fails('import os\ndef consume(batch):\n  os._exit(7)\n', 'ended during the run: exit code 7')
        self.fails('import sys\ndef consume(batch):\n  sys.exit(0)\n', 'ended during the run')

    def test_a_consumer_that_leaks_is_warned_of(self):
        _, runs = self.search(0, self.consumer('kept = []\ndef consume(batch):\n  kept.extend(batch.payloads())\n'),
                              '--start', '50k', '--max-rate', '50k', '--duration', '400ms', cwd=self.folder)
        self.assertTrue(any('memory grows' in warning for run in runs for warning in run['warnings']), runs[-1])

    def test_a_consumer_that_prints_spoils_nothing(self):
        self.search(0, self.consumer('def consume(batch):\n  print("TOTAL 1 1\\nREADY")\n'), cwd=self.folder)

    def test_a_consumer_that_forks_leaves_nobody(self):
        text = ('import os, time\nforked = []\ndef consume(batch):\n  if not forked:\n    forked.append(1)\n'
                '    if os.fork() == 0:\n      time.sleep(600)\n')
        name = f'forks_{os.getpid()}'
        self.search(0, self.consumer(text, name), cwd=self.folder)
        self.assertFalse([line for _, line in volley_cli.processes().values() if f'{name}:consume' in line])


if __name__ == '__main__':
    sys.exit(unittest.main())
