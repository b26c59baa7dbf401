"""volley_cli.py - runs the volley command for the tests, and checks what it leaves behind"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
import unittest

import jsonschema

TOP = os.environ.get('VOLLEY_TOP') or os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))
VOLLEY = os.environ.get('VOLLEY') or os.path.join(TOP, 'build', 'volley')
PYTHON = '/usr/bin/python3'
PEER = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'peer.py')
PATIENCE_S = 120

# Short, and with CPUs shared if there is only one: nothing here depends on speed.
QUICK = ['-c', '8', '--warmup', '50ms', '--duration', '200ms']


def peer(mode):
    """A command for --exec."""
    return f'{PYTHON} -B {PEER} {{port}} {mode}'


def schema():
    with open(os.path.join(TOP, 'docs', 'result.schema.json'), encoding='utf-8') as file:
        return json.load(file)


def stat_fields(pid):
    """Of /proc/PID/stat what follows the name: state, parent, ..."""
    with open(f'/proc/{pid}/stat', encoding='utf-8', errors='replace') as file:
        return file.read().rpartition(')')[2].split()


def processes():
    """Every process: {pid: (parent, command line)}."""
    found = {}
    for name in os.listdir('/proc'):
        if not name.isdigit():
            continue
        try:
            fields = stat_fields(name)
            with open(f'/proc/{name}/cmdline', 'rb') as file:
                words = file.read().split(b'\0')
        except OSError:
            continue
        if fields[0] != 'Z':
            found[int(name)] = (int(fields[1]), b' '.join(words).decode(errors='replace').strip())
    return found


def descendants(pid):
    """All processes below `pid`."""
    table = processes()
    below = set()
    while True:
        more = {p for p, (parent, _) in table.items() if parent == pid or parent in below} - below
        if not more:
            return below
        below |= more


def states(pid):
    """Of all processes below `pid`: {pid: 'R', 'S', 'T', ...}."""
    found = {}
    for below in descendants(pid):
        with contextlib.suppress(OSError):  # it ended
            found[below] = stat_fields(below)[0]
    return found


def sleepers(pids=None):
    """Processes that peer.py's mode "children" starts, of all or of `pids`."""
    return {pid for pid, (_, line) in processes().items()
            if line == 'sleep 600' and (pids is None or pid in pids)}


def wait_until(condition, what):
    """Waits for `condition` and returns what it returned; fails after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f'waited in vain: {what}')


class Done:
    """A finished command."""

    def __init__(self, code, out, err):
        self.code = code
        self.out = out
        self.err = err

    def __repr__(self):
        return f'exit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}'


class VolleyTest(unittest.TestCase):
    """Runs volley; files go into a folder of their own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.json = os.path.join(folder.name, 'result.jsonl')

    def start(self, *args, **options):
        child = subprocess.Popen([VOLLEY, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, **options)
        self.addCleanup(self.reap, child)
        return child

    @staticmethod
    def reap(child):
        if child.poll() is None:
            child.kill()
        child.communicate()

    def finish(self, child):
        out, err = child.communicate(timeout=PATIENCE_S)
        return Done(child.returncode, out, err)

    def volley(self, *args, **options):
        return self.finish(self.start(*args, **options))

    def expect(self, code, *args, **options):
        done = self.volley(*args, **options)
        self.assertEqual(done.code, code, done)
        return done

    def complaint(self, code, *args, **options):
        """The one line on stderr of a command that refuses."""
        done = self.expect(code, *args, **options)
        lines = done.err.splitlines()
        self.assertEqual(len(lines), 1, done)
        self.assertEqual(done.out, '', done)
        return lines[0]

    def read(self, path=None):
        """Header, runs and end of a result file, each checked against the schema."""
        with open(path or self.json, encoding='utf-8') as file:
            return self.check_lines(file.read())

    def check_lines(self, text):
        self.assertTrue(text.endswith('\n'))
        lines = [json.loads(line, parse_constant=self.fail) for line in text.splitlines()]
        validator = jsonschema.Draft202012Validator(schema())
        for line in lines:
            # By its own part of the schema: a failed oneOf does not say what is wrong.
            part = {'$ref': f'#/$defs/{line["type"]}', '$defs': validator.schema['$defs']}
            jsonschema.Draft202012Validator(part).validate(line)
            validator.validate(line)
        self.assertEqual(lines[0]['type'], 'header')
        self.assertEqual(lines[-1]['type'], 'end')
        runs = [line for line in lines[1:-1] if line['type'] == 'run']
        self.answers = lines[1 + len(runs):-1]
        wanted = {'answer'} if lines[0]['workload'] == 'keepup' else set()
        self.assertEqual({answer['type'] for answer in self.answers} - wanted, set())
        for status, count in lines[-1]['runs'].items():
            self.assertEqual(count, sum(run['status'] == status for run in runs), status)
        return lines[0], runs, lines[-1]

    def pingpong(self, code, *args):
        """Runs pingpong with a result file; returns the finished command and the run lines."""
        done = self.expect(code, 'pingpong', *QUICK, '--json', self.json, *args)
        header, runs, end = self.read()
        self.assertEqual(end['exit_code'], code)
        self.assertEqual(header['argv'][0], 'pingpong')
        return done, runs

    def valid(self, code, *args):
        """pingpong() where the machine may be too restless for a valid run: then the case is skipped."""
        done = self.volley('pingpong', *QUICK, '--json', self.json, *args)
        _, runs, _ = self.read()
        if done.code == 4:
            self.skipTest(f'the speed of a CPU changed in every attempt: {runs[-1]["reasons"]}')
        self.assertEqual(done.code, code, done)
        return done, [run for run in runs if run['status'] != 'invalid']


if __name__ == '__main__':
    sys.exit('a library of the tests')
