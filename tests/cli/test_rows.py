"""test_rows.py - the rows of the Python module: they count what they echo, and are held to it"""

import os
import re
import subprocess
import sys
import unittest

from volley_cli import PATIENCE_S, QUICK, VOLLEY, VolleyTest

STYLES = ('proto', 'completion', 'coro', 'batch', 'columns', 'inet_proto', 'inet_batch', 'inet_columns')
SCRIPT = os.path.join(os.path.dirname(os.path.abspath(VOLLEY)), 'bench', 'volley_python.py')
SANITIZED = os.environ.get('VOLLEY_SANITIZE', 'none') != 'none'


@unittest.skipIf(SANITIZED, 'the interpreter of a row would not load a sanitized module')
class Rows(VolleyTest):
    @classmethod
    def setUpClass(cls):
        # It asks an interpreter for each row: once is enough.
        done = subprocess.run([VOLLEY, 'list'], check=True, capture_output=True, text=True, timeout=PATIENCE_S)
        cls.listed = dict(line.split(None, 1) for line in done.stdout.splitlines())

    def rally(self, styles, *args):
        """One run of each row, in one command: whatever else happened, its totals were right."""
        names = ['volley_' + style for style in styles]
        names = [name for name in names if not self.listed[name].startswith('unavailable')]
        if not names:
            self.skipTest(self.listed['volley_' + styles[0]].partition('; ')[2])
        done = self.volley('pingpong', *QUICK, '--json', self.json, *names, *args)
        self.assertIn(done.code, (0, 4), done)
        _, runs, _ = self.read()
        self.assertEqual({run['variant'] for run in runs}, set(names))
        for run in runs:
            with self.subTest(row=run['variant'], words=args):
                self.assertIn(run['status'], ('ok', 'invalid'))
                self.assertGreater(run['messages'], 0)
                for reason in run['reasons']:
                    self.assertRegex(reason, '^the speed of .* CPU')

    def test_each_style_has_seen_every_message(self):
        self.rally(STYLES)

    def test_messages_in_pieces_and_several_at_once_are_counted(self):
        self.rally(STYLES, '--size', '65', '--depth', '7')
        # The code is the same over either nic.
        sockets = [style for style in STYLES if not style.startswith('inet')]
        for size, depth in (('3', '1'), ('200000', '2')):
            self.rally(sockets, '--size', size, '--depth', depth)

    def change(self, old, new):
        """The row's script, changed, as a row of its own."""
        if self.listed['volley_proto'].startswith('unavailable'):
            self.skipTest(self.listed['volley_proto'].partition('; ')[2])
        with open(SCRIPT, encoding='utf-8') as file:
            text = file.read()
        self.assertEqual(text.count(old), 1, old)
        path = os.path.join(self.folder, 'bench', 'volley_python.py')
        os.makedirs(os.path.dirname(path))
        os.symlink(os.path.join(os.path.dirname(os.path.dirname(SCRIPT)), 'pyshim'),
                   os.path.join(self.folder, 'pyshim'))
        with open(path, 'w', encoding='utf-8') as file:
            file.write(text.replace(old, new))
        return f'/usr/bin/python3 -B {path} proto {{port}} 127.0.0.1 --nic uring'

    def invalid(self, old, new, reason):
        done, runs = self.pingpong(4, '--exec', self.change(old, new))
        self.assertEqual({run['status'] for run in runs}, {'invalid'})
        self.assertTrue(any(re.search(reason, text) for run in runs for text in run['reasons']), done)

    def test_a_consumer_that_does_not_see_all_messages_makes_the_run_invalid(self):
        self.invalid('            self.transport.write(data)\n            if len(data) == size > 7',
                     '            self.transport.write(data)\n            if data[0] % 2:\n                return\n'
                     '            if len(data) == size > 7', r'saw \d+ messages, but \d+ were sent')

    def test_a_consumer_that_does_not_look_at_the_bytes_makes_the_run_invalid(self):
        self.invalid('print("TOTAL", messages, total % 2**64', 'print("TOTAL", messages, 0',
                     'saw other bytes than were sent')

    def test_a_consumer_without_a_total_makes_the_run_of_a_row_invalid(self):
        # The command looks for its rows beside itself.
        self.change('        print("TOTAL", messages, total % 2**64, flush=True)\n', '')
        os.symlink(VOLLEY, os.path.join(self.folder, 'volley'))
        path = os.path.join(self.folder, 'copy')
        subprocess.run(['cp', VOLLEY, path], check=True)
        done = subprocess.run([path, 'pingpong', 'volley_proto', '-c', '8', '--warmup', '50ms', '--duration', '200ms'],
                              capture_output=True, text=True, timeout=PATIENCE_S, check=False)
        self.assertEqual(done.returncode, 4, done)
        self.assertIn('did not end with the TOTAL', done.stderr + done.stdout)


class Unavailable(VolleyTest):
    def interpreter(self, code):
        """A Python that runs `code` before anything else."""
        path = os.path.join(self.folder, 'python')
        with open(os.path.join(self.folder, 'sitecustomize.py'), 'w', encoding='utf-8') as file:
            file.write(code)
        with open(path, 'w', encoding='utf-8') as file:
            file.write(f'#!/bin/sh\nPYTHONPATH={self.folder} exec /usr/bin/python3 "$@"\n')
        os.chmod(path, 0o755)
        return path

    def listing(self, python):
        lines = self.expect(0, 'list', '--python', python).out.splitlines()
        return {line.split()[0]: line for line in lines}

    def test_a_python_without_the_module_is_named_with_the_way_out(self):
        python = self.interpreter('import sys\nsys.modules["volley"] = None\n')
        lines = self.listing(python)
        for style in STYLES:
            line = lines['volley_' + style]
            self.assertIn('unavailable', line)
            self.assertIn(f'{python} cannot import volley', line)
            self.assertIn('--python PATH', line)

    def test_columns_want_numpy(self):
        python = self.interpreter('import sys, types\nsys.modules["volley"] = types.ModuleType("volley")\n'
                                  'sys.modules["numpy"] = None\n')
        lines = self.listing(python)
        self.assertIn('python3-numpy', lines['volley_columns'])
        self.assertIn('python3-numpy', lines['volley_inet_columns'])
        self.assertNotIn('python3-numpy', lines['volley_batch'])

    def test_a_row_on_a_wire_in_memory_is_not_served_alone(self):
        done = self.expect(1, 'serve', 'volley_inet')
        self.assertIn('runs beside its load only', done.err)

    def test_the_row_is_refused_and_the_others_run(self):
        python = self.interpreter('import sys\nsys.modules["volley"] = None\n')
        done = self.volley('pingpong', 'c_epoll', 'volley_proto', '--python', python, '-c', '4', '--warmup', '50ms',
                           '--duration', '100ms')
        self.assertIn(done.code, (3, 4), done)
        self.assertIn('cannot import volley', done.err)


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
