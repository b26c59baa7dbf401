#!/usr/bin/python3
"""goodput.py - one bulk stream over a path with faults: the engine's TCP beside the kernel's

usage: goodput.py [--build FOLDER] [--rtt MS] [--seconds S] [--runs N] [--reorder-by MS] [--faults LIST]

Two namespaces, a tap in each, and between them a bridge that delays each frame by half a round trip and loses, or holds back, so
many of them, each way (tests/interop/bridge.c, the impair wire). At each end the kernel's TCP or ours, by a packet socket on the
same tap: four pairs, taking turns. Goodput is what the receiver got, from the first byte to the last, in Mbit/s: the median of the
runs, with the least and the most. Both use CUBIC, windows of 4 MB and more, timestamps and SACK; ours its default profile.

LIST names faults: none, 0.1%, 1%, 5% (loss), reorder (1% of the frames come later by --reorder-by, 2 ms unless told).
"""

import argparse
import ctypes
import os
import signal
import socket
import statistics
import subprocess
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, os.path.join(TOP, 'tests', 'interop'))
import netns  # noqa: E402

LEFT, RIGHT = '10.9.0.1', '10.9.0.2'
PORT = 5001
PAIRS = [('kernel', 'kernel'), ('ours', 'kernel'), ('kernel', 'ours'), ('ours', 'ours')]
FAULTS = {'none': '', '0.1%': ',loss=0.001', '1%': ',loss=0.01', '5%': ',loss=0.05', 'reorder': ',reorder=0.01,late={late}'}
PATIENCE_S = 60


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Child:
    """A program that says READY; what it says afterwards is awaited by result()."""

    def __init__(self, command, inside=None):
        if inside:
            command = ['nsenter', '-t', str(inside), '-n'] + command
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                      preexec_fn=die_with_parent)
        line = self.child.stdout.readline()
        if line != 'READY\n':
            self.child.kill()
            raise SystemExit(f'{command[0]} is not ready: {line}')

    def result(self):
        out, _ = self.child.communicate(timeout=PATIENCE_S)
        if self.child.returncode:
            raise SystemExit(f'{self.child.args}: exit code {self.child.returncode}')
        return out

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        return self.result()


# --- the kernel's ends, each a process of its own ---

def kernel_receive():
    server = socket.create_server((RIGHT, PORT))
    print('READY', flush=True)
    conn, _ = server.accept()
    room, count, began = bytearray(1 << 18), 0, 0.0
    while True:
        got = conn.recv_into(room)
        if not got:
            break
        began = began or time.monotonic()
        count += got
        last = time.monotonic()
    print(count, last - began)


def kernel_send(seconds):
    print('READY', flush=True)
    sock = socket.socket()
    # whatever the machine's default is
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, b'cubic')
    sock.settimeout(PATIENCE_S)
    sock.connect((RIGHT, PORT))
    pattern = bytes(i % 251 for i in range(251 * 4096))
    piece, at, until = memoryview(pattern), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        sent = sock.send(piece[at:at + 65536])
        at = (at + sent) % 251
    sock.shutdown(socket.SHUT_WR)
    sock.recv(1)


# --- both namespaces ---

def settings(inside=None):
    """Nothing is remembered from one connection to the next."""
    command = ['nsenter', '-t', str(inside), '-n'] if inside else []
    subprocess.run(command + ['sh', '-c', 'echo 1 > /proc/sys/net/ipv4/tcp_no_metrics_save'], check=True)


def other_namespace():
    libc = ctypes.CDLL(None, use_errno=True)

    def leave():
        die_with_parent()
        if libc.unshare(netns.CLONE_NEWNET):
            os._exit(1)

    return subprocess.Popen(['sleep', 'infinity'], preexec_fn=leave)


def give_address(device, address, inside=None):
    command = ['nsenter', '-t', str(inside), '-n', 'ip'] if inside else ['ip']
    subprocess.run(command + ['addr', 'flush', 'dev', device], check=True)
    if address:
        subprocess.run(command + ['addr', 'add', f'{address}/24', 'dev', device], check=True)
    subprocess.run(command + ['link', 'set', device, 'up'], check=True)


class Path:
    """Two taps and the bridge between them."""

    def __init__(self, build, other, fault, args):
        self.build, self.other = build, other
        delay = f',delay={int(args.rtt * 500)},limit=16384' + FAULTS[fault].format(late=int(args.reorder_by * 1000))
        for device in ('left', 'right'):
            netns.ip('tuntap', 'add', 'dev', device, 'mode', 'tap')
            netns.configure(device, None, 1500)
        bridge = os.path.join(build, 'tests', 'interop', 'interop_bridge')
        self.bridge = Child([bridge, f'inet:impair,tap,dev=left{delay}', f'inet:impair,tap,dev=right{delay}'])
        netns.ip('link', 'set', 'right', 'netns', str(other))
        subprocess.run(['nsenter', '-t', str(other), '-n', 'sh', '-c',
                        'echo 1 > /proc/sys/net/ipv6/conf/right/disable_ipv6'], check=False, stderr=subprocess.DEVNULL)

    def close(self):
        self.bridge.stop()
        netns.ip('link', 'del', 'left')
        subprocess.run(['nsenter', '-t', str(self.other), '-n', 'ip', 'link', 'del', 'right'], check=False)

    def run(self, sender, receiver, seconds):
        """Mbit/s."""
        stream = os.path.join(self.build, 'tests', 'interop', 'interop_stream')
        me = [sys.executable, '-B', os.path.abspath(__file__)]
        give_address('left', LEFT if sender == 'kernel' else None)
        give_address('right', RIGHT if receiver == 'kernel' else None, self.other)
        more = ',window=4194304'
        if receiver == 'kernel':
            down = Child(me + ['--kernel-receive'], self.other)
        else:
            down = Child([stream, f'inet:packet,dev=right,ip={RIGHT}/24{more}', 'receive', f'{RIGHT}:{PORT}'], self.other)
        if sender == 'kernel':
            up = Child(me + ['--kernel-send', str(seconds)])
        else:
            up = Child([stream, f'inet:packet,dev=left,ip={LEFT}/24{more}', 'send', f'{RIGHT}:{PORT}', str(seconds)])
        count, took = down.result().split()
        up.result()
        return int(count) * 8 / float(took) / 1e6


def show(values):
    return f'{statistics.median(values):8.1f} ({min(values):.1f}..{max(values):.1f})'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--build', default=os.path.join(TOP, 'build'))
    parser.add_argument('--rtt', type=float, default=10, help='round trip in ms (10)')
    parser.add_argument('--seconds', type=float, default=3, help='of each run (3)')
    parser.add_argument('--runs', type=int, default=3, help='of each pair (3)')
    parser.add_argument('--reorder-by', type=float, default=2, help='ms by which a frame comes late (2)')
    parser.add_argument('--faults', default=','.join(FAULTS), help=f'of {", ".join(FAULTS)} (all)')
    parser.add_argument('--kernel-receive', action='store_true', help=argparse.SUPPRESS)
    parser.add_argument('--kernel-send', type=float, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kernel_receive:
        return kernel_receive()
    if args.kernel_send:
        return kernel_send(args.kernel_send)
    faults = args.faults.split(',')
    if any(fault not in FAULTS for fault in faults):
        parser.error(f'--faults: {", ".join(FAULTS)} are known')
    try:
        netns.enter()
        netns.need('nsenter', 'util-linux')
    except netns.Refused as refused:
        print(f'goodput: {refused}: skipped')
        return 77
    other = other_namespace()
    time.sleep(0.2)
    try:
        settings()
        settings(other.pid)
        heads = [f'{sender} to {receiver}' for sender, receiver in PAIRS]
        print(f'goodput in Mbit/s, round trip {args.rtt:g} ms, {args.runs} runs of {args.seconds:g} s: median (least..most)')
        print(f'{"fault":8}' + ''.join(f'{head:>28}' for head in heads), flush=True)
        for fault in faults:
            got = {pair: [] for pair in PAIRS}
            for _ in range(args.runs):
                for pair in PAIRS:
                    path = Path(args.build, other.pid, fault, args)
                    got[pair].append(path.run(*pair, args.seconds))
                    path.close()
            print(f'{fault:8}' + ''.join(f'{show(got[pair]):>28}' for pair in PAIRS), flush=True)
    finally:
        other.kill()
        other.wait()
    return 0


if __name__ == '__main__':
    sys.exit(main())
