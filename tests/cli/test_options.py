"""test_options.py - the command line: help that teaches, errors that name the range or the nearest name"""

import os
import re
import unittest

import volley_cli
from volley_cli import VolleyTest

COMMANDS = ('pingpong', 'ab', 'keepup', 'compare', 'serve', 'load', 'list', 'doctor')


class Help(VolleyTest):
    """What is printed for who asks."""

    def test_help_names_every_command_and_shows_examples(self):
        for words in (['--help'], ['help'], ['-h']):
            done = self.expect(0, *words)
            self.assertEqual(done.err, '')
            for command in COMMANDS:
                self.assertIn(command, done.out)
            self.assertIn('examples:', done.out)
            self.assertIn('exit codes:', done.out)
            self.assertNotIn('supervise', done.out)

    def test_each_command_has_a_help_with_examples(self):
        for command in COMMANDS:
            done = self.expect(0, command, '--help')
            self.assertEqual(done.err, '')
            self.assertIn(f'Usage: volley {command}', done.out)
            if command != 'list':
                self.assertIn('Examples:', done.out)
            self.assertEqual(self.expect(0, 'help', command).out, done.out)

    def test_help_fits_a_terminal(self):
        for command in COMMANDS:
            for line in self.expect(0, command, '--help').out.splitlines():
                self.assertLessEqual(len(line), 80, line)

    def test_manual_has_every_option_and_no_other(self):
        path = os.path.join(volley_cli.TOP, 'docs', 'volley.1.scd')
        with open(path, encoding='utf-8') as file:
            manual = file.read()
        options = set()
        for command in COMMANDS:
            options |= set(re.findall(r'^ +(?:-., +)?--([a-z-]+)', self.expect(0, command, '--help').out,
                                      re.MULTILINE))
        options -= {'help', 'usage'}
        self.assertEqual(options, set(re.findall(r'\*--([a-z-]+)\*', manual)))

    def test_manual_has_the_letters_and_values_of_the_option_tables(self):
        tables = set()
        for command in COMMANDS:
            tables |= set(re.findall(r'^ +(?:-(.), +)?--([a-z-]+)(?:\[?=([^\s\]]+)\]?)?',
                                     self.expect(0, command, '--help').out, re.MULTILINE))
        with open(os.path.join(volley_cli.TOP, 'docs', 'volley.1.scd'), encoding='utf-8') as file:
            lines = [line for line in file if re.match(r'\*-', line) and not line.endswith('.\n')]
        found = re.findall(r'(?:\*-(.)\*, )?\*--([a-z-]+)\*(?:\[?=| |)(_[^,\]\n]*)?', ''.join(lines))
        self.assertGreater(len(found), 40)
        for letter, name, value in found:
            self.assertIn((name, value.replace('_', '').replace('[', '')), {(n, v.replace('[', '')) for _, n, v in tables})
            if letter:
                self.assertIn((letter, name), {(s, n) for s, n, _ in tables})

    def test_version_is_told(self):
        self.assertRegex(self.expect(0, '--version').out, r'^volley \d+\.\d+\.\d+ \(\S+\)\n$')

    def test_nothing_is_a_usage_error_with_the_help(self):
        done = self.expect(2)
        self.assertEqual(done.out, '')
        self.assertIn('usage: volley COMMAND', done.err)


class Names(VolleyTest):
    """Mistyped words."""

    def test_nearest_command_is_named(self):
        self.assertIn('did you mean pingpong?', self.complaint(2, 'pinpong'))
        self.assertIn("no command 'xyzzy'", self.complaint(2, 'xyzzy'))

    def test_nearest_variant_is_named(self):
        for typed, meant in (('c_epol', 'c_epoll'), ('volley-epoll', 'volley_epoll'),
                             ('uvloop', 'uvloop_proto'), ('asynico_proto', 'asyncio_proto')):
            self.assertIn(f'did you mean {meant}?', self.complaint(2, 'pingpong', typed))
            self.assertIn(f'did you mean {meant}?', self.complaint(2, 'serve', typed))

    def test_variant_like_nothing_points_to_the_list(self):
        self.assertIn('volley list', self.complaint(2, 'pingpong', 'qqqqqqq'))

    def test_nearest_option_is_named(self):
        line = self.complaint(2, 'pingpong', 'c_epoll', '--conections', '5')
        self.assertIn('did you mean --connections?', line)
        self.assertIn('did you mean --duration?', self.complaint(2, 'load', ':1', '--duraton=5'))
        self.assertIn('did you mean --plan?', self.complaint(2, 'doctor', '--plam'))

    def test_a_word_after_an_option_is_not_taken_for_one(self):
        line = self.complaint(2, 'pingpong', 'c_epoll', '--connections', '--bogus')
        self.assertIn("--connections: '--bogus' is not a whole number", line)

    def test_hidden_commands_refuse_people(self):
        self.assertIn('started by the other commands', self.complaint(2, 'supervise'))

    def test_a_row_named_twice_is_refused(self):
        self.assertIn('named twice', self.complaint(2, 'pingpong', 'c_epoll', 'c_epoll'))

    def test_no_row_at_all_is_refused(self):
        self.assertIn('name at least one variant', self.complaint(2, 'pingpong'))


class Numbers(VolleyTest):
    """Each error names option, value and range."""

    def refuse(self, option, value, *parts):
        line = self.complaint(2, 'pingpong', 'c_epoll', f'--{option}={value}')
        for part in (f'--{option}:', *parts):
            self.assertIn(part, line)

    def test_zero_negative_absurd_and_trailing_junk_are_refused(self):
        for option, largest in (('connections', '10000000'), ('size', '1048576'), ('depth', '1024'),
                                ('runs', '10000')):
            self.refuse(option, '0', '0 is out of range', f'1 to {largest}')
            self.refuse(option, '-1', "'-1' is not a whole number", f'1 to {largest}')
            self.refuse(option, '99999999999999999999999', 'out of range', f'1 to {largest}')
            for junk in ('5x', '', ' 5', '+5', '1e3', '0x10', '5.5', 'many'):
                self.refuse(option, junk, f"'{junk}' is not a whole number", f'1 to {largest}')

    def test_limits_themselves_are_allowed(self):
        # The variant is wrong, so nothing starts; the number was read before it.
        for option, value in (('connections', '10000000'), ('size', '1'), ('depth', '1024')):
            self.assertIn('no variant', self.complaint(2, 'pingpong', f'--{option}={value}', 'qqqqqq'))

    def test_times_are_strict(self):
        for junk in ('5x', '', '-1s', 'inf', 'nan', '1e3', '0x5', '5 s', '1.2.3s', 's', '.5s'):
            self.refuse('duration', junk, 'is not a time', '500ms, 10s, 5m or 2h', '1 ms')
        self.refuse('duration', '0', 'out of range', '1 ms')
        self.refuse('duration', '25h', 'out of range', '24 h')
        self.refuse('warmup', '2d', 'is not a time')

    def test_times_take_units(self):
        for good in ('1', '1s', '1.5s', '250ms', '2m', '1h', '0'):
            self.assertIn('no variant', self.complaint(2, 'pingpong', f'--warmup={good}', 'qqqqqq'))

    def test_more_in_flight_than_a_connection_holds_is_refused(self):
        line = self.complaint(2, 'pingpong', 'c_epoll', '--size=1048576', '--depth=1024')
        self.assertIn('--size 1048576 times --depth 1024', line)

    def test_rates_are_strict(self):
        for junk in ('', 'x', '-5', '5x', '1e5', 'inf', '5kk', '0x10'):
            self.refuse('rate', junk, 'is not a rate', '5000, 20k or 1.5M')
        self.refuse('rate', '0', 'out of range')
        self.refuse('rate', '1001M', 'out of range', '1000000000')

    def test_pauses_and_arrivals_are_strict(self):
        self.refuse('think', '5ms-', 'is not a time')
        self.refuse('think', '5ms-1ms', 'ends before it begins')
        self.refuse('arrivals', 'poison', 'did you mean poisson')
        self.refuse('reconnect', '0', 'out of range')
        self.refuse('ramp', 'soon', 'is not a time')
        self.refuse('source-ip', 'here', 'is no range of addresses')

    def test_what_excludes_each_other_is_refused(self):
        for words, why in ((['--arrivals=constant'], '--rate, which is missing'),
                           (['--rate=9', '--think=1ms'], 'exclude each other'),
                           (['--think=1ms', '--depth=2'], 'goes with --depth 1')):
            self.assertIn(why, self.complaint(2, 'pingpong', 'c_epoll', *words))

    def test_a_load_nic_that_is_none_makes_rows_unavailable(self):
        done = self.expect(3, 'pingpong', 'c_epoll', '--load-nic=carrier-pigeon')
        self.assertIn('carrier-pigeon', done.err)


class Cpus(VolleyTest):
    """Where roles run."""

    def test_lists_are_strict(self):
        for junk in ('x', '1-', '0,', '3-1', '0,0', '9999', '', '0-1-2', 'nones'):
            line = self.complaint(2, 'pingpong', 'c_epoll', f'--server-cpus={junk}')
            self.assertIn('--server-cpus:', line)

    def test_a_cpu_that_may_not_be_used_is_refused_with_those_that_may(self):
        line = self.complaint(2, 'pingpong', 'c_epoll', '--load-cpus=1023')
        self.assertIn('CPU 1023 does not exist or may not be used; allowed are', line)

    def test_overlap_is_refused(self):
        cpu = min(os.sched_getaffinity(0))
        if len(os.sched_getaffinity(0)) < 2:
            self.skipTest('a single CPU is shared')
        line = self.complaint(2, 'pingpong', 'c_epoll', f'--server-cpus={cpu}', f'--load-cpus={cpu}')
        self.assertIn(f'overlap at CPU {cpu}', line)

    def test_a_numa_node_that_is_not_there_is_refused(self):
        self.assertIn('no node 999', self.complaint(2, 'pingpong', 'c_epoll', '--numa-node=999'))


class Places(VolleyTest):
    """Addresses, files and programs of the command line."""

    def test_bad_targets_are_refused(self):
        for target in ('localhost', ':80', '1.2.3.4:', '1.2.3.4:0', '1.2.3.4:99999', '::1:80', '[]:80'):
            self.assertIn('is not HOST:PORT', self.complaint(2, 'load', target))
        self.assertIn('one argument too many', self.complaint(2, 'load', 'a:1', 'b:2'))
        self.assertIn('name the server', self.complaint(2, 'load'))

    def test_bad_addresses_to_serve_on_are_refused(self):
        for addr in ('nonsense', '1.2.3.4', '127.0.0.1:0', '127.0.0.1:65535'):
            self.complaint(2, 'serve', 'c_epoll', addr)
        self.assertIn('IPv4 only', self.complaint(2, 'serve', 'c_epoll', '[::1]:7007'))

    def test_a_host_that_is_unknown_fails(self):
        done = self.expect(1, 'load', 'no-such-host.invalid:7')
        self.assertIn('no-such-host.invalid', done.err)

    def test_a_file_that_cannot_be_written_is_told_before_anything_starts(self):
        path = os.path.join(self.folder, 'no', 'such', 'folder')
        line = self.complaint(3, 'pingpong', 'c_epoll', '--json', path)
        self.assertIn(f'cannot write {path}: No such file or directory', line)
        self.assertIn('--json: needs a file name', self.complaint(2, 'pingpong', 'c_epoll', '--json='))

    def test_exec_is_split_like_a_shell_would(self):
        self.assertIn('never closed', self.complaint(2, 'pingpong', '--exec', "a 'b"))
        self.assertIn('empty', self.complaint(2, 'pingpong', '--exec', '  '))

    def test_options_of_plan_need_plan(self):
        self.assertIn('belong to --plan', self.complaint(2, 'doctor', '--connections=5'))


NOT_PYTHON = ('c_epoll', 'c_poll', 'c_thread', 'raw_dpdk', 'raw_wire', 'volley_dpdk', 'volley_epoll', 'volley_inet',
              'volley_inet_burst', 'volley_inet_forward', 'volley_inet_offload', 'volley_inet_ts', 'volley_uring')


class Lists(VolleyTest):
    """volley list and volley doctor: they only read."""

    def test_list_names_each_row_in_its_first_column(self):
        done = self.expect(0, 'list')
        names = [line.split()[0] for line in done.out.splitlines()]
        self.assertEqual(sorted(names), sorted((*NOT_PYTHON, 'asyncio_proto', 'uvloop_proto', 'volley_batch',
                                                'volley_columns', 'volley_completion', 'volley_coro',
                                                'volley_inet_batch', 'volley_inet_columns', 'volley_inet_proto',
                                                'volley_proto')))
        states = {line.split()[0]: line.split()[1] for line in done.out.splitlines()}
        self.assertEqual(states['c_epoll'], 'available')
        self.assertEqual(states['volley_epoll'], 'available')
        # One below the other, however long the names are.
        self.assertEqual(len({line.index(line.split()[1]) for line in done.out.splitlines()}), 1, done.out)

    def test_list_says_why_a_row_is_unavailable_and_the_way_out(self):
        done = self.expect(0, 'list', '--python', '/no/such/python')
        for line in done.out.splitlines():
            name, state = line.split()[:2]
            python = '  Python' in line
            self.assertEqual(state == 'unavailable', python, line)
            self.assertEqual(python, name not in NOT_PYTHON)
            if state == 'unavailable':
                self.assertIn('no Python at /no/such/python; apt install python3', line)

    def test_doctor_looks_at_everything_and_changes_nothing(self):
        def settings():
            found = []
            for name in ('net/core/somaxconn', 'net/ipv4/ip_local_port_range', 'vm/nr_hugepages'):
                with open(f'/proc/sys/{name}', encoding='utf-8') as file:
                    found.append(file.read())
            return found
        before = settings()
        done = self.expect(0, 'doctor')
        for name in ('kernel', 'io_uring', 'descriptors', 'ports', 'backlog', 'huge pages', 'CPU speed',
                     'SMT', 'governor'):
            self.assertRegex(done.out, rf'(?m)^(ok|note|WARN) +{name} ')
        # a single one has no distance
        self.assertEqual(bool(re.search(r'(?m)^(ok|note|WARN) +CPU distance ', done.out)),
                         len(os.sched_getaffinity(0)) > 1, done)
        self.assertEqual(before, settings())

    def test_doctor_names_a_low_limit_and_the_command_that_mends_it(self):
        done = self.finish(self.start('doctor', preexec_fn=limit_descriptors(500)))
        self.assertEqual(done.code, 0, done)
        self.assertRegex(done.out, r'WARN +descriptors +500 for each process')
        self.assertIn('prlimit --pid $$ --nofile=', done.out)
        self.assertRegex(done.out, r'\d+ warnings?:')

    def test_plan_adds_up(self):
        done = self.expect(0, 'doctor', '--plan', '--connections', '10000')
        rows = [line.split() for line in done.out.splitlines()[3:]]
        items = [row for row in rows if len(row) >= 4 and row[2].isdigit()]
        totals = {' '.join(row[1:]).split(',')[0]: int(row[0]) for row in rows if row not in items}
        self.assertGreater(len(items), 5)
        self.assertEqual(sum(int(row[2]) for row in items), totals['one core'])
        self.assertIn('10001 slots', done.out)

    def test_plan_refuses_what_the_library_refuses(self):
        self.assertNotEqual(self.volley('doctor', '--plan', '--nic', 'nonsense').code, 0)


def limit_descriptors(limit):
    """For preexec_fn."""
    def apply():
        import resource
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return apply


if __name__ == '__main__':
    print(volley_cli.VOLLEY)
    unittest.main()
