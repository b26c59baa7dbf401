#!/usr/bin/python3
"""run.py - boots a virtual machine under software emulation and runs suites in it

The guest has Debian's kernel, 4 CPUs and two NUMA nodes, an emulated IOMMU, and pairs of virtio, vmxnet3 and
e1000e cards wired back to back. Its files are those of this machine, read only, below a layer in memory, so it
runs the programs of the build folder as they are. Nothing is installed, no image is kept but the kernel
(build-vm/, from apt), no privilege is needed. The last line is 'N passed, N failed[, N skipped]'.
"""

import argparse
import glob
import json
import os
import sys
import tempfile

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(TOP, 'scripts'))
sys.path.insert(1, os.path.join(TOP, 'tests', 'interop'))

import build  # noqa: E402
import image  # noqa: E402
import machine  # noqa: E402
import netns  # noqa: E402
from run_tests import Tally  # noqa: E402
from suites import PLUGIN, SUITES  # noqa: E402


def parse(args):
    listed = '\n'.join(f'  {name:16} {suite.about}' for name, suite in SUITES.items())
    parser = argparse.ArgumentParser(
        description=__doc__.split('\n', 1)[1], epilog=f'suites:\n{listed}',
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('suites', nargs='*', metavar='SUITE', help='which ones (default: all)')
    parser.add_argument('--filter', default='', metavar='GLOB',
                        help="cases of Criterion programs, 'close/*' for one")
    parser.add_argument('--limit', type=int, default=3600, metavar='S',
                        help='seconds until the machine is stopped (default 3600)')
    parser.add_argument('--memory', type=int, default=3072, metavar='MIB',
                        help='of the guest (default 3072)')
    parser.add_argument('--kernel', default=image.PACKAGE, metavar='PACKAGE',
                        help=f'Debian package of the kernel (default {image.PACKAGE})')
    parser.add_argument('--no-build', action='store_true', help='take the programs as they are')
    parser.add_argument('--shell', action='store_true', help='a shell in the guest, no suites')
    parser.add_argument('--keep', metavar='FOLDER', help='leave console and records there')
    options = parser.parse_args(args)
    for name in options.suites:
        if name not in SUITES:
            parser.error(f'there is no suite "{name}"; there are: {", ".join(SUITES)}')
    options.suites = options.suites or list(SUITES)
    return options


def has_target(name):
    """The plugin is built where DPDK is installed."""
    with open(os.path.join(build.configure('release'), 'build.ninja'), encoding='utf-8') as file:
        return any(line.startswith(f'build {name}') for line in file)


def targets(options):
    """Ninja targets of the programs that the suites run."""
    wanted = []
    for name in options.suites:
        for program in SUITES[name].programs:
            path = program.command[0]
            if path.startswith('build/'):
                wanted.append(path.removeprefix('build/'))
        if SUITES[name].plugin and has_target(PLUGIN):
            wanted.append(PLUGIN)
    return sorted(set(wanted))


def wire_taps():
    """For some kinds of cards two taps on a bridge, in a namespace of our own; {} where that is refused."""
    taps = {}
    try:
        netns.enter()
        if not os.access('/dev/net/tun', os.R_OK | os.W_OK):
            raise netns.Refused('/dev/net/tun cannot be opened')
        for nic, queues in machine.TAP_QUEUES.items():
            netns.ip('link', 'add', f'{nic}-wire', 'type', 'bridge')
            netns.configure(f'{nic}-wire', None, 1500)
            taps[nic] = [f'{nic}-0', f'{nic}-1']
            for tap in taps[nic]:
                netns.ip('tuntap', 'add', 'dev', tap, 'mode', 'tap', *(['multi_queue'] if queues > 1 else []))
                netns.configure(tap, None, 1500)
                netns.ip('link', 'set', tap, 'master', f'{nic}-wire')
        return taps
    except netns.Refused as reason:
        print(f'vm: virtio cards have one queue, and vmxnet3 cuts nothing: {reason}', flush=True)
        return {}


def count(run, options, fault, complaints):
    """Adds up what the programs left; what never ran is a failure, too."""
    tally = Tally()
    for name in options.suites:
        for number, program in enumerate(SUITES[name].programs):
            path = os.path.join(run, f'{name}-{number}.json')
            if not os.path.exists(path):
                tally.failures.append((f'{name}: {program.name}: never ended', ''))
                continue
            with open(path, encoding='utf-8') as file:
                record = json.load(file)
            tally.add(f'{name}: {record["name"]}', record)
            if program.kind == 'plain':
                print(record['stdout'], end='')
    if fault:
        tally.failures.append((fault, ''))
    if complaints:
        lines = ''.join(f'    {line}\n' for line in complaints[:20])
        tally.failures.append(('the kernel of the guest complained', lines))
    for name, reason in tally.skips:
        print(f'skipped: {name}: {reason}')
    for name, output in tally.failures:
        print(f'FAILED: {name}\n{output}', end='')
    summary = f'{tally.passed} passed, {len(tally.failures)} failed'
    if tally.skips:
        summary += f', {len(tally.skips)} skipped'
    print(summary, flush=True)
    return 1 if tally.failures or not tally.passed else 0


def boot(run, options):
    """Makes the folder of this run and runs the machine; the exit code."""
    linux = image.kernel(os.path.join(TOP, 'build-vm'), options.kernel)
    initrd = os.path.join(run, 'initrd')
    image.initramfs(initrd, linux)
    options.taps = wire_taps()
    plan = {'suites': options.suites, 'filter': options.filter, 'limit_s': options.limit,
            'shell': options.shell, 'cards': 'taps' if options.taps else ''}
    with open(os.path.join(run, 'plan.json'), 'w', encoding='utf-8') as file:
        json.dump(plan, file)
    with open(os.path.join(run, 'modules'), 'w', encoding='utf-8') as file:
        file.write(linux.modules)
    words = machine.command(linux, initrd, TOP, run, options)
    if options.shell:
        return machine.interactive(words)
    guest = machine.Machine(words, os.path.join(run, 'console'), options.limit)
    fault = ''
    try:
        fault = guest.run()
    except KeyboardInterrupt:
        fault = 'interrupted'
    if not fault and not os.path.exists(os.path.join(run, 'rc')):
        fault = f'the machine went off at: {guest.last}'
    code = count(run, options, fault, guest.complaints)
    if fault:
        with open(guest.log_path, encoding='utf-8', errors='replace') as file:
            print('console:', *file.read().splitlines()[-15:], sep='\n    ', file=sys.stderr)
    return 130 if fault == 'interrupted' else code


def main(args):
    options = parse(args)
    missing = machine.check()
    if missing:
        print(f'vm: {missing}', file=sys.stderr)
        return 1
    try:
        if not options.no_build:
            build.build('release', targets(options))
        if options.keep:
            run = os.path.abspath(options.keep)
            os.makedirs(run, exist_ok=True)
            for old in glob.glob(os.path.join(run, '*.json')) + [os.path.join(run, 'rc')]:
                if os.path.exists(old):
                    os.unlink(old)
            return boot(run, options)
        with tempfile.TemporaryDirectory(prefix='volley-vm-') as run:
            return boot(run, options)
    except (image.ImageError, build.StepFailed) as error:
        print(f'vm: {error}', file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
