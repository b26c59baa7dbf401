#!/usr/bin/python3
"""prove_bench.py - shows what the bench can and cannot tell apart, on this machine

usage: prove_bench.py [options] PART...

  aa          the same variant under two names, again and again: how often a verdict is wrong
  equivalent  the same, until it is decided: EQUIVALENT within --budget
  slower      a busy loop of 5% of a message's CPU time: found SLOWER by CPU per message. Both servers
              work --base-cycles for each message, too, so that they and not the load are the bottleneck
  slower-rate the same, by rate
  slower-bare the same by CPU per message without that work
  ceiling     what the load itself can do: against the cheapest server there is, with one message under
              way on each of 100 connections and with 64, over both nics, beside c_epoll
  load        the load's CPU per message beside c_epoll's, over both nics, at 100, 1,000 and 10,000 connections
  little      Little's law from 1 connection to 10,000, and with 64 messages under way on each
  many        30,000 connections: two load cores against two threads, each with descriptors of its own
  freeze      a server that stands still for 1 s of every 5: in an open loop and in a closed one
  syscalls    system calls of each message, row by row
  summary     what was measured so far, as Markdown

Results are kept in --folder, session by session: a part that was cut short goes on where it was. With
--seconds nothing is begun that would take longer, so that all of it can be had in pieces:

    until scripts/prove_bench.py --seconds 110 all; do sleep 1; done

The exit code is 0 when all parts asked for are complete, 75 while some are not.
"""

import argparse
import glob
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROWS = ['c_epoll', 'c_poll', 'c_thread', 'asyncio_proto', 'uvloop_proto', 'volley_epoll', 'volley_uring']
VERDICT = re.compile(r'^(\S+) is ([A-Z]+) \S+ (\S+) by (CPU per message|rate): ([\d.]+) times as much, ([\d.]+) to '
                     r'([\d.]+) with ([\d.]+)% confidence, (\d+) blocks', re.MULTILINE)
PARTS = ['load', 'little', 'ceiling', 'freeze', 'syscalls', 'many', 'equivalent', 'slower', 'slower-rate', 'slower-bare', 'aa']
LOADS = [(connections, nic) for connections in (100, 1000, 10000) for nic in ('epoll', 'uring')]
LITTLES = [(1, 1), (10, 1), (100, 1), (1000, 1), (10000, 1), (1, 64), (10, 64), (100, 64), (1000, 64), (1, 1024)]
CEILINGS = [(depth, nic) for depth in (1, 64) for nic in ('epoll', 'uring')]
FREEZES = {'freeze-open': ['--rate', '1k', '--depth', '64'], 'freeze-closed': []}
# Student's t for so many values, two-sided 95%.
T95 = {5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262, 11: 2.228, 12: 2.201}
WINDOW = ['--warmup', '200ms', '--duration', '1s']


class Proof:
    """Runs volley and keeps what it wrote."""

    def __init__(self, args):
        self.args = args
        args.build = os.path.abspath(args.build)
        self.volley = os.path.join(args.build, 'volley')
        self.null = os.path.join(args.build, 'tests', 'proof', 'null_server')
        self.slow = os.path.join(args.build, 'tests', 'proof', 'slow_epoll')
        os.makedirs(args.folder, exist_ok=True)
        self.end = time.monotonic() + args.seconds
        self.left = 0

    def path(self, name):
        return os.path.join(self.args.folder, name)

    def run(self, name, *words):
        """Runs volley, keeps its table as NAME.txt and its file as NAME.jsonl; the verdicts by figure."""
        began = time.monotonic()
        done = subprocess.run([self.volley, *words, '--json', self.path(f'{name}.part')], check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if done.returncode not in (0, 4):
            sys.exit(f'volley {" ".join(words)} ended with {done.returncode}')
        with open(self.path(f'{name}.txt'), 'w', encoding='utf-8') as file:
            file.write(f'volley {" ".join(words)}\n{time.monotonic() - began:.0f} s\n\n{done.stdout}')
        os.replace(self.path(f'{name}.part'), self.path(f'{name}.jsonl'))
        print(f'{name}: {time.monotonic() - began:.0f} s: {verdicts(done.stdout)}', flush=True)
        return done.stdout

    def done(self, name):
        return os.path.exists(self.path(f'{name}.jsonl'))

    def runs(self, name):
        """The ok run lines of a file, canaries left out."""
        with open(self.path(f'{name}.jsonl'), encoding='utf-8') as file:
            lines = [json.loads(line) for line in file]
        return [line for line in lines
                if line['type'] == 'run' and line['status'] == 'ok' and not line['canary']]

    def session(self, name, seconds, *words):
        """Runs one that is not done yet, unless it would last too long. True: its results are there."""
        if self.done(name):
            return True
        if time.monotonic() + seconds > self.end:
            self.left += 1
            return False
        self.run(name, *words)
        return True

    def slowed(self, cycles):
        return f'env SLOW_CYCLES={cycles} {self.slow} {{port}} {self.args.server_cpu}'

    def aa(self):
        """Every repetition is a session of its own: 5 blocks between two canaries."""
        for number in range(1, self.args.repetitions + 1):
            self.session(f'aa-{number}', 25, 'ab', self.args.row, self.args.row, *WINDOW, '--runs', '5')

    def equivalent(self):
        self.session('equivalent', 135, 'ab', self.args.row, self.args.row, *WINDOW, '--by', 'cpu', '--budget',
                     self.args.budget, '--runs', '33')

    def find_slower(self, name, base, figure):
        """A message's core cycles on the server's CPU are measured first, by three runs."""
        if not self.session(f'calibration-{base}', 15, 'pingpong', '--exec', self.slowed(base), *WINDOW, '--runs', '3'):
            return
        found = sorted(run['cycles_per_msg']['server'] for run in self.runs(f'calibration-{base}'))
        added = round(found[len(found) // 2] * self.args.percent / 100)
        self.session(name, 125, 'ab', '--exec', self.slowed(base), '--exec', self.slowed(base + added), *WINDOW,
                     '--by', figure, '--runs', '33')

    def slower(self):
        self.find_slower('slower', self.args.base_cycles, 'cpu')

    def slower_rate(self):
        self.find_slower('slower-rate', self.args.base_cycles, 'rate')

    def slower_bare(self):
        self.find_slower('slower-bare', 0, 'cpu')

    def ceiling(self):
        """The null server waits for all that the load keeps under way on a connection: depth times 64 bytes."""
        for depth, nic in CEILINGS:
            null = f'env NULL_BYTES={depth * 64} {self.null} {{port}} {self.args.server_cpu}'
            self.session(f'ceiling-{depth}-{nic}', 25, 'pingpong', '--exec', null, 'c_epoll', '--load-nic', nic,
                         '--connections', '100', '--size', '64', '--depth', str(depth), *WINDOW, '--runs', '3')

    def load(self):
        """Rounds of short sessions, so that both nics meet the same minutes of the machine; in every other one server
        and load change places, for two virtual CPUs are seldom equally fast."""
        first, second = sorted(os.sched_getaffinity(0))[:2]
        for number in range(1, self.args.rounds + 1):
            server, load = (first, second) if number % 2 else (second, first)
            for connections, nic in LOADS:
                self.session(f'load-{connections}-{nic}-{number}', 5, 'pingpong', 'c_epoll', '--load-nic', nic,
                             '--connections', str(connections), '--server-cpus', str(server), '--load-cpus', str(load),
                             *WINDOW)

    def little(self):
        for connections, depth in LITTLES:
            self.session(f'little-{connections}-{depth}', 6, 'pingpong', 'c_epoll', '--connections', str(connections),
                         '--depth', str(depth), '--warmup', '500ms', '--duration', '2s')

    def many(self):
        server = os.path.join(self.args.build, 'bench', 'volley-c_epoll')
        self.session('many', 60, 'pingpong', '--exec', f'{server} {{port}} 0,1', '--server-cpus', 'none', '--load-cpus',
                     '0,1', '--connections', '30000', '--warmup', '1s', '--duration', '5s')

    def freeze(self):
        peer = f'{sys.executable} -B {os.path.join(TOP, "tests", "cli", "peer.py")} {{port}} freeze:1:5'
        for name, words in FREEZES.items():
            self.session(name, 25, 'pingpong', '--exec', peer, '--connections', '10', *words, '--warmup', '500ms',
                         '--duration', '15s')

    def syscalls(self):
        self.session('syscalls', 90, 'pingpong', *ROWS, '--syscalls', '--connections', '100', '--warmup', '1s',
                     '--duration', '2s')

    def summary(self):
        names = sorted(glob.glob(self.path('aa-*.txt')), key=lambda p: int(re.findall(r'\d+', p)[-1]))
        count = {}
        for path in names:
            with open(path, encoding='utf-8') as file:
                for _, word, _, figure, *_ in VERDICT.findall(file.read()):
                    count.setdefault(figure, {}).setdefault(word, 0)
                    count[figure][word] += 1
        if names:
            print(f'A/A, {len(names)} sessions:')
            for figure, words in count.items():
                print(f'- by {figure}: ' + ', '.join(f'{n} {word}' for word, n in sorted(words.items())))
        for name in ('equivalent', 'slower', 'slower-rate', 'slower-bare'):
            if self.done(name):
                with open(self.path(f'{name}.txt'), encoding='utf-8') as file:
                    text = file.read()
                print(f'{name}: {text.splitlines()[1]}: {verdicts(text)}')
        self.summarise_loads()
        self.summarise_littles()
        self.summarise_ceilings()
        self.summarise_freezes()
        if self.done('syscalls'):
            self.summarise_syscalls()

    def summarise_loads(self):
        print('| connections | load nic | pairs of runs | load us/msg | `c_epoll` us/msg | load over row |\n'
              '|---:|---|---:|---:|---:|---|')
        for connections, nic in LOADS:
            found = {number: run for number in range(1, self.args.rounds + 1)
                     if self.done(f'load-{connections}-{nic}-{number}')
                     for run in self.runs(f'load-{connections}-{nic}-{number}')}
            if not found:
                continue
            load, row = ([run[key] for run in found.values()] for key in ('load_cpu_us_per_msg', 'cpu_us_per_msg'))
            ratios = {number: run['load_cpu_us_per_msg'] / run['cpu_us_per_msg'] for number, run in found.items()}
            # One on the one pair of CPUs, one on the other.
            pairs = [math.sqrt(ratios[number] * ratios[number + 1]) for number in range(1, self.args.rounds, 2)
                     if number in ratios and number + 1 in ratios]
            print(f'| {connections:,} | {nic} | {len(pairs)} | {statistics.geometric_mean(load):.2f} | '
                  f'{statistics.geometric_mean(row):.2f} | {interval(pairs)} |')

    def summarise_littles(self):
        print('| connections | depth | load nic | messages/s | mean | quotient |\n|---:|---:|---|---:|---:|---:|')
        for connections, depth in LITTLES + [('many', None)]:
            name = 'many' if connections == 'many' else f'little-{connections}-{depth}'
            if not self.done(name):
                continue
            with open(self.path(f'{name}.jsonl'), encoding='utf-8') as file:
                nic = json.loads(file.readline())['load_nic']
            for run in self.runs(name):
                print(f'| {run["connections"]:,} | {run["depth"]} | {nic} | {run["rate_msg_per_s"]:,.0f} | '
                      f'{run["latency_ns"]["mean"] / 1e3:,.1f} us | {run["little"]:.3f} |')

    def summarise_ceilings(self):
        print('| depth | load nic | server | messages/s | load busy | load us/msg | server us/msg | server busy |\n'
              '|---:|---|---|---:|---:|---:|---:|---:|')
        for depth, nic in CEILINGS:
            if not self.done(f'ceiling-{depth}-{nic}'):
                continue
            runs = self.runs(f'ceiling-{depth}-{nic}')
            for row in sorted({run['variant'] for run in runs}):
                mine = [run for run in runs if run['variant'] == row]

                def mean(key, mine=mine):
                    return statistics.fmean(run[key] for run in mine)
                print(f'| {depth} | {nic} | `{row}` | {mean("rate_msg_per_s"):,.0f} | '
                      f'{mean("load_busy_share"):.0%} | {mean("load_cpu_us_per_msg"):.3f} | '
                      f'{mean("cpu_us_per_msg"):.3f} | {mean("server_busy_share"):.0%} |')

    def summarise_freezes(self):
        for name in FREEZES:
            if self.done(name):
                for run in self.runs(name):
                    told = {key: value / 1e6 for key, value in run['latency_ns'].items() if value is not None}
                    print(f'{name}: {run["messages"]} messages; ms: '
                          + ', '.join(f'{key} {value:.3f}' for key, value in told.items()))
                    print(*run['warnings'], sep='\n')

    def summarise_syscalls(self):
        print('| row | calls a message | by name |\n|---|---:|---|')
        rows = {run['variant']: run for run in self.runs('syscalls')}
        for name in ROWS:
            run = rows.get(name)
            if not run or run['syscalls_per_msg'] is None:
                continue
            calls = sorted(run['syscalls_by_name'].items(), key=lambda item: -item[1])
            text = ', '.join(f'{call} {value:.3g}' for call, value in calls if value >= 0.0005)
            print(f'| `{name}` | {run["syscalls_per_msg"]:.3f} | {text} |')


def interval(values):
    """Geometric mean with its 95% t interval; the bare mean of fewer than 5."""
    logs = [math.log(value) for value in values]
    mean = statistics.fmean(logs)
    if len(logs) < 5:
        return f'{math.exp(mean):.3f}'
    half = T95.get(len(logs), 2.0) * statistics.stdev(logs) / math.sqrt(len(logs))
    return f'{math.exp(mean):.3f} ({math.exp(mean - half):.3f} to {math.exp(mean + half):.3f})'


def verdicts(text):
    """The sentences of a session, shortened."""
    return '; '.join(f'{tested} {word} by {figure}: {ratio} ({lower} to {upper}), {blocks} blocks'
                     for tested, word, _, figure, ratio, lower, upper, _, blocks in VERDICT.findall(text))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='+', metavar='PART',
                        choices=[*PARTS, 'all', 'summary'])
    parser.add_argument('--build', default=os.path.join(TOP, 'build'), help='build folder')
    parser.add_argument('--folder', default=os.path.join(TOP, 'build', 'proof'), help='of the results')
    parser.add_argument('--seconds', type=float, default=1e9, help='begin nothing that would end later')
    parser.add_argument('--repetitions', type=int, default=40, help='of aa')
    parser.add_argument('--rounds', type=int, default=10, help='of load')
    parser.add_argument('--row', default='c_epoll', help='of aa and equivalent')
    parser.add_argument('--budget', default='120s', help='of equivalent')
    parser.add_argument('--percent', type=float, default=5, help='by which a server is slowed down')
    parser.add_argument('--base-cycles', type=int, default=6000, help='of slower and slower-rate, for each message')
    parser.add_argument('--server-cpu', type=int, default=0, help='of slowed servers')
    proof = Proof(parser.parse_args())
    for asked in proof.args.parts:
        for part in PARTS if asked == 'all' else [asked]:
            getattr(proof, part.replace('-', '_'))()
    if proof.left:
        print(f'{proof.left} sessions are left for another call', file=sys.stderr)
    return 75 if proof.left else 0


if __name__ == '__main__':
    sys.exit(main())
