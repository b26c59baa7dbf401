#!/usr/bin/python3
"""testpmd.py - in the guest: DPDK's own test program over two cards wired back to back: testpmd.py PORT0 PORT1 NIC DRIVER

It shows that card, driver, IOMMU and wire work before anything of ours does. TAP on stdout.
"""

import os
import re
import selectors
import shutil
import subprocess
import sys
import time

PATIENCE_S = 240  # a watchdog: EAL starts slowly under emulation
FRAMES = 200      # each way
QUEUES = {'virtio': 4, 'vmxnet3': 2, 'e1000e': 1}


class Testpmd:
    """Its prompt, asked one command at a time."""

    # What it says to a word that it does not know: the end of the answer before.
    END = b'Command not found'

    def __init__(self, ports, queues):
        # A core on each node, as the cards are.
        words = ['stdbuf', '-oL', 'dpdk-testpmd', '--lcores', '0@0,1@1,2@2', '--in-memory', '--no-telemetry',
                 '--file-prefix', 'vm', *(word for port in ports for word in ('-a', port)), '--',
                 '-i', '--nb-cores=2', f'--rxq={queues}', f'--txq={queues}', '--total-num-mbufs=4096',
                 '--port-numa-config=(0,0),(1,1)', '--rxd=256', '--txd=512', '--no-lsc-interrupt']
        self.child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                      stderr=subprocess.STDOUT)
        self.start = self.ask('')

    def ask(self, command):
        """What it says to a command. All it says goes to stderr, too."""
        self.child.stdin.write(command.encode() + b'\nover\n')
        self.child.stdin.flush()
        until = time.monotonic() + PATIENCE_S
        data = b''
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stdout, selectors.EVENT_READ)
            while self.END not in data:
                if not selector.select(max(0, until - time.monotonic())):
                    raise TimeoutError(f'testpmd says nothing for {PATIENCE_S} s')
                piece = os.read(self.child.stdout.fileno(), 65536)
                data += piece
                os.write(2, piece)
                if not piece:
                    raise EOFError('testpmd ended')
        return data.decode(errors='replace')

    def end(self):
        try:
            self.child.communicate(b'quit\n', timeout=60)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.child.kill()
            self.child.wait()


class Checks:
    """Cases, numbered as they come."""

    def __init__(self):
        self.count = 0
        self.failed = 0

    def case(self, name, good, why=''):
        self.count += 1
        self.failed += not good
        print(f'{"ok" if good else "not ok"} {self.count} - {name}', flush=True)
        if not good and why:
            print(''.join(f'# {line}\n' for line in why.splitlines()), end='', flush=True)

    def end(self):
        print(f'1..{self.count}')
        return 1 if self.failed or not self.count else 0


def numbers(text, name):
    return [int(n) for n in re.findall(rf'{re.escape(name)}\s*:?\s*(\d+)', text)]


def exchange(pmd):
    """Sends a burst from each card and lets both forward for a while; the counters of both."""
    pmd.ask('clear port stats all')
    pmd.ask('set fwd io')
    pmd.ask('start tx_first 2')
    for _ in range(60):
        time.sleep(1)
        stats = pmd.ask('show port stats all')
        if min(numbers(stats, 'RX-packets') or [0]) >= FRAMES:
            break
    pmd.ask('stop')
    return pmd.ask('show port stats all')


def spread(pmd, queues):
    """Sends many flows from port 1; how many frames each queue of port 0 got."""
    pmd.ask('set portlist 0,1')
    pmd.ask('set fwd flowgen')
    pmd.ask('start')
    time.sleep(4)
    said = pmd.ask('stop')
    got = {}
    for port, queue, frames in re.findall(
            r'Forward Stats for RX Port=\s*(\d+)/Queue=\s*(\d+).*?RX-packets:\s*(\d+)', said, re.S):
        if port == '0':
            got[int(queue)] = int(frames)
    if not got:  # one queue: the statistics are the port's
        got[0] = (numbers(said, 'RX-packets') or [0])[0]
    return [got.get(queue, 0) for queue in range(queues)], said


def run(ports, nic, driver, checks):
    queues = QUEUES[nic]
    pmd = Testpmd(ports, queues)
    try:
        mode = 'VA' if driver == 'vfio-pci' else 'PA'
        found = re.search(r"IOVA mode '(\w+)'", pmd.start)
        checks.case(f'addresses are those of IOVA as {mode}', found and found.group(1) == mode,
                    pmd.start)
        info = pmd.ask('show port info all')
        checks.case('each card is found on its NUMA node',
                    numbers(info, 'Connect to socket') == [0, 1], info)
        checks.case(f'{queues} queues are set up',
                    numbers(info, 'Current number of RX queues') == [queues, queues], info)
        checks.case('both links are up', info.count('Link status: up') == 2, info)
        stats = exchange(pmd)
        checks.case(f'{FRAMES} frames and more come through each way',
                    min(numbers(stats, 'RX-packets') or [0]) >= FRAMES, stats)
        checks.case('no frame had an error', set(numbers(stats, 'RX-errors')) == {0} ==
                    set(numbers(stats, 'TX-errors')), stats)
        frames, said = spread(pmd, queues)
        print(f'# frames of many flows, queue by queue: {frames}')
        checks.case('frames of many flows come through', sum(frames) >= FRAMES, said)
        if nic == 'virtio' and queues > 1 and 'taps' in os.environ.get('VOLLEY_VM_CARDS', ''):
            checks.case('flows are spread over all queues', min(frames) > 0, said)
    finally:
        pmd.end()


def main(port0, port1, nic, driver):
    if not shutil.which('dpdk-testpmd'):
        print('there is no dpdk-testpmd: scripts/deps.sh vm')
        return 77
    checks = Checks()
    print('TAP version 13')
    try:
        run([port0, port1], nic, driver, checks)
    except (TimeoutError, EOFError) as error:
        checks.case(str(error), False)
    return checks.end()


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
