#!/usr/bin/python3
"""guest.py - in the guest: makes it ready, runs the suites of plan.json, leaves a record of each program"""

import dataclasses
import glob
import json
import os
import re
import resource
import subprocess
import sys
import threading
import time

import machine
import ports
from suites import HUGE_PAGES, PLUGIN, SUITES

DRIVERS = ('bus_pci', 'bus_vdev', 'mempool_ring', 'net_virtio', 'net_vmxnet3', 'net_e1000')
PATIENCE_S = 110  # of the contract's waits: emulation is slow. Its cases are ended after 120 s
STILL_S = 20
RUNS = 5  # of what fails while the host stands still
FILES = 65536  # descriptors; the kernel starts us with 1024
NODES = '/sys/devices/system/node'


def write(path, text):
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)


def read(path):
    with open(path, encoding='utf-8', errors='replace') as file:
        return file.read()


def say(text):
    """One line to the console; run.py shows those with this mark."""
    print(f'vm: {text}', flush=True)


def reserve_huge_pages():
    for name in sorted(os.listdir(NODES)):
        if name.startswith('node') and name[4:].isdigit():
            path = f'{NODES}/{name}/hugepages/hugepages-2048kB/nr_hugepages'
            write(path, str(HUGE_PAGES))
            if int(read(path)) != HUGE_PAGES:
                say(f'{name} gave {read(path).strip()} of {HUGE_PAGES} huge pages')


def few_drivers():
    """EAL opens every driver it finds, some 200 libraries; here only those of the emulated cards.

    It looks for names that end in .so and .so.23.0. Programs that were linked with a driver find it by
    its .so.23, which all keep.
    """
    for number, folder in enumerate(glob.glob('/usr/lib/*/dpdk/pmds-*')):
        whole = f'/run/drivers{number}'  # EAL refuses folders that anyone may write
        os.mkdir(whole)
        subprocess.run(['mount', '--bind', folder, whole], check=True)
        subprocess.run(['mount', '-t', 'tmpfs', 'drivers', folder], check=True)
        for name in os.listdir(whole):
            linked = re.fullmatch(r'.*\.so\.\d+', name)
            if linked or any(f'_{word}.so' in name for word in DRIVERS):
                os.symlink(f'{whole}/{name}', f'{folder}/{name}')


def describe():
    """What this guest is, so that a report says what was tested."""
    nodes = [n for n in sorted(os.listdir(NODES)) if n.startswith('node') and n[4:].isdigit()]
    lists = ', '.join(f'{n} has CPUs {read(f"{NODES}/{n}/cpulist").strip()}' for n in nodes)
    clock = read('/sys/devices/system/clocksource/clocksource0/current_clocksource').strip()
    say(f'kernel {os.uname().release}, {lists}, clock {clock}, up for {read("/proc/uptime").split()[0]} s')


def fill(words, places):
    """Replaces {build}, {port0} and so on."""
    return [word.format(**places) for word in words]


def run_program(program, places, limit_s):
    """Runs one; a record as scripts/run_tests.py counts them."""
    command = fill(program.command, places)
    if program.kind == 'criterion':
        command = ['/usr/bin/python3', '-B', 'tests/support/tap_criterion.py', *command]
    env = dict(os.environ, VOLLEY_TEST_PATIENCE=str(PATIENCE_S),
               VOLLEY_PLUGIN_DIR=os.path.abspath('build'),
               **{key: value.format(**places) for key, value in program.env.items()})
    record = {'name': program.name, 'stdout': '', 'stderr': ''}
    began = time.monotonic()
    child = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True, errors='replace')
    try:
        record['stdout'], record['stderr'] = child.communicate(timeout=limit_s)
        record['result'] = {0: 'OK', 77: 'SKIP'}.get(child.returncode, 'FAIL')
        record['code'] = child.returncode
    except subprocess.TimeoutExpired:
        child.terminate()  # the wrapper passes on what there is
        record['stdout'], record['stderr'] = child.communicate()
        record['result'] = 'TIMEOUT'
    record['seconds'] = round(time.monotonic() - began, 1)
    return record


class Stillness(threading.Thread):
    """The longest time for which this machine got no CPU of its host at all."""

    def __init__(self):
        super().__init__(daemon=True)
        self.longest_s = 0
        self.over = threading.Event()

    def run(self):
        last = time.monotonic()
        while not self.over.wait(0.5):
            now = time.monotonic()
            self.longest_s = max(self.longest_s, now - last - 0.5)
            last = now

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exception):
        self.over.set()
        self.join()


def failed_cases(record):
    """Names of a Criterion program's cases that failed, as --filter takes them.

    None of them where something failed that is no case of its own, as a leak or a case that never reported: any may
    be behind it.
    """
    failed = [line.split(' - ', 1)[1] for line in record['stdout'].splitlines() if line.startswith('not ok - ')]
    names = [line.split()[0].replace('::', '/') for line in failed if '::' in line]
    return names if len(names) == len(failed) else []


def run_undisturbed(program, places, limit_s):
    """Watchdogs go off when the host stands still: then what failed is run again, and no more if cases alone did."""
    with Stillness() as still:
        record = run_program(program, places, limit_s)
    for _ in range(RUNS - 1):
        if record['result'] not in ('FAIL', 'TIMEOUT') or still.longest_s <= STILL_S:
            break
        failed = failed_cases(record)
        say(f'{program.name}: {record["result"]}; the host gave no time for {still.longest_s:.0f} s: once more '
            f'{len(failed) or "all"}')
        again = program
        if failed:
            again = dataclasses.replace(program, command=(*without_filter(program.command), '--filter',
                                                          f'@({"|".join(failed)})'))
        with Stillness() as still:
            once_more = run_program(again, places, limit_s)
        if failed:
            good = [line for line in record['stdout'].splitlines() if line.startswith('ok')]
            once_more['stdout'] = '\n'.join([*good, once_more['stdout']])
            once_more['stdout'] = 'TAP version 13\n' + once_more['stdout'].replace('TAP version 13\n', '')
            once_more['stderr'] = record['stderr'] + once_more['stderr']
        once_more['seconds'] += record['seconds']
        record = once_more
    return record


def without_filter(command):
    return command[:command.index('--filter')] if '--filter' in command else command


def chosen(groups, wanted):
    """What --filter of the machine leaves of a program's own, '' for none: '@(half|stream)/*' takes two of them."""
    if not groups:
        return wanted
    if not wanted or wanted.startswith('*'):
        return groups
    group = groups.split('/')[0]
    names, _, case = wanted.partition('/')
    return f'{group}/{case}' if group in re.findall(r'\w+', names) else ''


def skip(program, reason):
    return {'name': program.name, 'stdout': reason, 'stderr': '', 'result': 'SKIP', 'seconds': 0}


def run_suite(name, plan, out):
    suite = SUITES[name]
    taps = plan['cards'] == 'taps'
    # who sorts the flows of several cores: 2 the port, 3 the cores (enum vly_place_mode)
    places = {'place': 2 if suite.nic == 'virtio' and taps else 3,
              'tso': int(taps and suite.nic in machine.TAP_QUEUES)}
    reason = ''
    if suite.plugin and not os.path.exists(f'build/{PLUGIN}'):
        reason = f'this build has no {PLUGIN}: make deps, then build again'
    elif suite.nic:
        try:
            places |= ports.bind(suite.nic, suite.driver)
        except ports.PortError as error:
            reason = str(error)
    for number, program in enumerate(suite.programs):
        say(f'{name}: {program.name} ...')
        groups = chosen(program.groups, plan['filter'])
        if program.kind == 'criterion' and groups:
            program.command += ('--filter', groups)
        left_out = '' if groups or not program.groups else 'left out by --filter'
        record = (skip(program, reason or left_out) if reason or left_out
                  else run_undisturbed(program, places, plan['limit_s']))
        record['suite'] = name
        path = os.path.join(out, f'{name}-{number}.json')
        with open(path + '.part', 'w', encoding='utf-8') as file:
            json.dump(record, file)
        os.rename(path + '.part', path)
        say(f'{name}: {program.name} {record["result"]} {record["seconds"]} s')


def main(run):
    plan = json.loads(read(os.path.join(run, 'plan.json')))
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))
    describe()
    reserve_huge_pages()
    few_drivers()
    os.environ['VOLLEY_VM_CARDS'] = plan['cards']
    if plan['shell']:
        say('a shell; exit ends the machine')
        return subprocess.run(['/bin/sh', '-i'], check=False).returncode
    for name in plan['suites']:
        run_suite(name, plan, run)
    say('done')
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1]))
