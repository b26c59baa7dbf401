#!/usr/bin/python3
"""keepup_seeds.py - how well volley keepup repeats: the same search with several seeds, and what they found beside each other

usage: keepup_seeds.py FOLDER [--seeds N] [--seconds N] [--volley PATH] -- ARGUMENT...

ARGUMENTs are those of `volley keepup`, one consumer among them. Each search has a result file of its own in FOLDER, and goes
on where it was when --seconds are over and the script is called again. Prints for each seed the rate, the effective clock and
the pace of the CPU (see docs/keepup.md) in the trial that it stands on, the rate that arithmetic predicts where --slow is
given, and how far the seeds are apart: as they are, and by what the CPU did meanwhile.
"""

import argparse
import glob
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import time


INTERRUPTED = 128  # and beyond: an exit code by a signal


def answer_of(path):
    """What a complete file says of its consumer; None if it is not complete."""
    answer = None
    try:
        with open(path, encoding='utf-8') as file:
            for text in file:
                line = json.loads(text)
                if line['type'] == 'answer':
                    answer = line
                if line['type'] == 'end' and line['status'] == 'complete':
                    return answer
    except (FileNotFoundError, json.JSONDecodeError):
        pass
    return None


def search(given, seed, path, until):
    """One search, at the longest until then. What it cannot do at all ends the script."""
    command = [given.volley, 'keepup', *given.arguments, '--seed', str(seed), '--json', path, '--resume']
    known = full_pace(given.folder)
    command += ['--full-pace', str(known)] if known else []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as child:
        try:
            child.wait(timeout=max(1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.send_signal(signal.SIGINT)
    # a consumer that failed, or is not there, has an answer that says so
    if child.returncode and child.returncode < INTERRUPTED and child.returncode >= 0 and not answer_of(path):
        sys.exit(f'{" ".join(command)}: exit code {child.returncode}')


def full_pace(folder):
    """The best that any search in the folder has seen of this machine's cores; 0: there is none."""
    best = 0
    for name in glob.glob(os.path.join(glob.escape(folder), 'seed-*.jsonl')):
        with open(name, encoding='utf-8') as file:
            for text in file:
                try:
                    best = max(best, json.loads(text).get('keepup', {}).get('full_pace_op_per_ns') or 0)
                except json.JSONDecodeError:
                    pass  # its last line: it was cut off
    return math.floor(best * 10) / 10


def spread(values):
    return (max(values) - min(values)) / statistics.median(values)


def figure(value, form):
    """As wide where it is not known."""
    return format(value, form) if value else format('-', '>' + form.split(',')[0].split('.')[0])


def show(answers):
    print('seed      msg/s  confirmed   GHz  op/ns  msg/s per GHz  predicted  off by')
    for seed, answer in answers.items():
        rate, predicted = answer['rates'][0]['rate_msg_per_s'], answer['predicted_msg_per_s']
        known = f'{predicted:11,.0f}  {rate / predicted - 1:+6.1%}' if predicted else '          -       -'
        ghz, pace = answer['effective_ghz'], answer['pace_op_per_ns']
        print(f"{seed:4} {rate:10,.0f}  {'yes' if answer['rates'][0]['confirmed'] else 'no':>9}  {figure(ghz, '4.2f')}  "
              f"{figure(pace, '5.1f')}  {figure(ghz and rate / ghz, '13,.0f')}{known}")
    rates = [answer['rates'][0]['rate_msg_per_s'] for answer in answers.values()]
    per_ghz = [answer['rates'][0]['rate_msg_per_s'] / answer['effective_ghz'] for answer in answers.values() if answer['effective_ghz']]
    print(f'{len(rates)} seeds: {spread(rates):.1%} between the highest and the lowest rate'
          + (f', {spread(per_ghz):.1%} per GHz' if len(per_ghz) == len(rates) else ''))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n', maxsplit=1)[0], usage=__doc__.split('usage: ')[1].split('\n', maxsplit=1)[0])
    parser.add_argument('folder')
    parser.add_argument('--seeds', type=int, default=5)
    parser.add_argument('--seconds', type=float, default=600)
    parser.add_argument('--volley', default=os.path.join(os.path.dirname(__file__), os.pardir, 'build', 'volley'))
    parser.add_argument('arguments', nargs='+')
    given = parser.parse_args()
    until = time.monotonic() + given.seconds
    os.makedirs(given.folder, exist_ok=True)
    answers, missing = {}, 0
    for seed in range(1, given.seeds + 1):
        path = os.path.join(given.folder, f'seed-{seed}.jsonl')
        if not answer_of(path) and time.monotonic() < until:
            search(given, seed, path, until)
        answer = answer_of(path)
        missing += not answer
        if answer and answer['rates'][0]['rate_msg_per_s']:
            answers[seed] = answer
        elif answer:
            print(f"seed {seed}: {answer['sentence']}")
    if answers:
        show(answers)
    if missing:
        sys.exit(f'{missing} of {given.seeds} searches are not complete: call it again')
    sys.exit(f'{given.seeds - len(answers)} of {given.seeds} searches found no rate' if len(answers) < given.seeds else 0)


if __name__ == '__main__':
    main()
