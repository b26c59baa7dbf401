"""machine.py - the virtual machine: its command line, its console, its end"""

import os
import re
import selectors
import shutil
import subprocess
import sys
import time

QEMU = 'qemu-system-x86_64'
# Cards with a kernel between them, which cuts long segments: of vmxnet3's qemu 7.2 makes fragments of IP else.
TAP_QUEUES = {'virtio': 4, 'vmxnet3': 1}
NICS = ('virtio', 'vmxnet3', 'e1000e')
DEVICE = {'virtio': 'virtio-net-pci,disable-legacy=on,iommu_platform=on', 'vmxnet3': 'vmxnet3',
          'e1000e': 'e1000e'}
# What the kernel says when something is wrong with it, or with what we do to it.
BAD = re.compile(r'BUG:|WARNING: CPU|Oops|general protection|Out of memory|DMAR:.*fault addr|Kernel panic')
# The emulated vmxnet3 looks once more into what it shares with its driver, when that has told it by address 0 that
# there is nothing any more; a remark of qemu's own may cut that line. And what qemu itself warns of.
KNOWN = re.compile(r'DMAR:.*fault addr 0x(0 |\[)|: warning: |: vtd_|: New fault is not recorded')
# Emulation knows no speculation to mitigate; pt leaves devices of kernel drivers untranslated, so that
# uio works beside vfio; the counter is the host's own. A host that gives the machine no time for a
# minute is no fault of the guest's: no watchdogs.
KERNEL_WORDS = ('console=ttyS0 loglevel=4 panic=-1 mitigations=off nokaslr tsc=reliable '
                'random.trust_cpu=on intel_iommu=on iommu=pt '
                'no_timer_check nowatchdog rcupdate.rcu_cpu_stall_suppress=1')
# All that can be emulated, but as an Intel CPU (the vendor that "max" has sets off work-arounds for a
# chip of AMD's), and with the page tables that nearly all machines have.
CPU = 'max,vendor=GenuineIntel,family=6,model=106,stepping=6,-la57'
TICK_S = 30


def memory(mib):
    """Two nodes, half of the memory and two of the CPUs each."""
    words = []
    for node in (0, 1):
        words += ['-object', f'memory-backend-ram,id=m{node},size={mib // 2}M',
                  '-numa', f'node,nodeid={node},cpus={2 * node}-{2 * node + 1},memdev=m{node}']
    return words + ['-numa', 'dist,src=0,dst=1,val=21']


def cards(taps):
    """For each kind two cards wired back to back, the first on node 0, the second on node 1."""
    words = []
    for node in (0, 1):
        words += ['-device', f'pxb-pcie,id=pxb{node},bus=pcie.0,bus_nr={0x40 + 0x40 * node},'
                             f'numa_node={node}']
    for place, nic in enumerate(NICS):
        for node in (0, 1):
            name = f'{nic}{node}'
            queues = ''
            if nic in taps:
                several = f',queues={TAP_QUEUES[nic]}' if TAP_QUEUES[nic] > 1 else ''
                words += ['-netdev', f'tap,id={name},ifname={taps[nic][node]},script=no,downscript=no,'
                                     f'vhost=off{several}']
                queues = ',mq=on,vectors=10,rss=on' if several else ''
            else:
                words += ['-netdev', f'hubport,id={name},hubid={place}']
            words += ['-device', f'pcie-root-port,id=rp-{name},bus=pxb{node},chassis={node},'
                                 f'slot={place}',
                      '-device', f'{DEVICE[nic]},netdev={name},bus=rp-{name},romfile=,'
                                 f'mac=52:54:00:00:0{place}:0{node}{queues}']
    return words


def command(kernel, initrd, top, run, options):
    share = 'security_model=none,multidevs=remap'
    return [QEMU, '-nodefaults', '-no-user-config', '-no-reboot', '-display', 'none',
            '-monitor', 'none', '-serial', 'stdio',
            '-machine', 'q35', '-accel', 'tcg,thread=multi,tb-size=512', '-cpu', CPU,
            '-device', 'intel-iommu,intremap=on,aw-bits=48',
            '-smp', '4,sockets=2,cores=2', '-m', str(options.memory), *memory(options.memory),
            '-virtfs', f'local,path=/,mount_tag=root,readonly=on,{share}',
            '-virtfs', f'local,path={run},mount_tag=run,{share}',
            *cards(options.taps),
            '-kernel', kernel.image, '-initrd', initrd,
            '-append', f'{KERNEL_WORDS} vm.top={top} vm.run={run}']


class Machine:
    """Runs qemu until the guest switches off, or the time is up. Lines of guest.py are shown."""

    def __init__(self, words, log_path, limit_s):
        self.words = words
        self.log_path = log_path
        self.limit_s = limit_s
        self.complaints = []  # of the kernel
        self.last = 'booting ...'

    def run(self):
        """'' or one line that says how it went wrong."""
        began = time.monotonic()
        child = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.STDOUT)
        try:
            with open(self.log_path, 'wb') as log:
                late = self.watch(child, log, began)
        finally:
            # Never leave one running, whatever happened here.
            child.kill()
            child.wait()
        if late:
            return f'the machine was stopped after {self.limit_s} s at: {self.last}'
        return ''

    def watch(self, child, log, began):
        """Reads the console to its end; True when the time was up first."""
        rest = b''
        with selectors.DefaultSelector() as selector:
            selector.register(child.stdout, selectors.EVENT_READ)
            while True:
                left = began + self.limit_s - time.monotonic()
                if left <= 0:
                    return True
                if not selector.select(min(TICK_S, left)):
                    print(f'{self.last} {time.monotonic() - began:.0f} s', flush=True)
                    continue
                data = os.read(child.stdout.fileno(), 65536)
                if not data:
                    return False
                log.write(data)
                log.flush()
                *lines, rest = (rest + data).split(b'\n')
                for line in lines:
                    self.line(line.decode(errors='replace').strip())

    def line(self, text):
        if text.startswith('vm: '):
            print(text, flush=True)
            self.last = text
        elif KNOWN.search(text):
            return
        elif text.startswith(('init: ', QEMU)) or BAD.search(text):
            self.complaints.append(text)


def interactive(words):
    """The console on this terminal."""
    return subprocess.run(words, check=False).returncode


def check():
    """'' or what is missing."""
    if not shutil.which(QEMU):
        return f'{QEMU} is missing: scripts/deps.sh vm'
    if sys.platform != 'linux' or os.uname().machine != 'x86_64':
        return 'the guest runs the programs of this machine, which has to be Linux on x86_64'
    return ''
