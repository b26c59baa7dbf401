"""netns.py - a network namespace for a test: taps and veths that vanish with the process"""

import ctypes
import os
import shutil
import subprocess
import unittest

CLONE_NEWNS = 0x00020000
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000


class Refused(unittest.SkipTest):
    """This machine does not let us have what the test needs."""


def write_map(name, inside, outside):
    with open(f'/proc/self/{name}', 'w', encoding='ascii') as file:
        file.write(f'{inside} {outside} 1')


def enter():
    """Moves this process, while it has one thread, into a network namespace of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET) != 0:
        # Without privileges, as the root of a user namespace of its own.
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0:
            raise Refused(f'no network namespace: {os.strerror(ctypes.get_errno())}')
        with open('/proc/self/setgroups', 'w', encoding='ascii') as file:
            file.write('deny')
        write_map('uid_map', 0, uid)
        write_map('gid_map', 0, gid)
    need('ip', 'iproute2')
    ip('link', 'set', 'lo', 'up')


def need(program, package):
    """Skips the test without the program."""
    if not shutil.which(program, path=os.environ.get('PATH', '') + ':/usr/sbin:/sbin'):
        raise Refused(f'there is no {program}: apt install {package}')


def command(*words, **options):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode != 0:
        raise Refused(f'{" ".join(words)}: {done.stderr.strip()}')
    return done.stdout


def ip(*words):
    return command('ip', *words)


def add_tap(name, address, mtu=1500):
    """The kernel's end has `address` ("10.9.0.1/24"); the other is whoever opens the device."""
    if not os.access('/dev/net/tun', os.R_OK | os.W_OK):
        raise Refused('/dev/net/tun cannot be opened')
    ip('tuntap', 'add', 'dev', name, 'mode', 'tap')
    configure(name, address, mtu)


def configure(name, address, mtu):
    # No IPv6: its own chatter would be in every capture.
    for key in ('disable_ipv6', ):
        path = f'/proc/sys/net/ipv6/conf/{name}/{key}'
        if os.path.exists(path):
            try:
                with open(path, 'w', encoding='ascii') as file:
                    file.write('1')
            except OSError:
                pass
    ip('link', 'set', name, 'mtu', str(mtu))
    if address:
        ip('addr', 'add', address, 'dev', name)
    ip('link', 'set', name, 'up')


def add_veth(name, address, other, queues=1):
    """A pair: the kernel has `address` at `name`; `other` has none, for a packet socket."""
    need('ethtool', 'ethtool')
    many = ('numtxqueues', str(queues), 'numrxqueues', str(queues))
    ip('link', 'add', name, *many, 'type', 'veth', 'peer', 'name', other, *many)
    configure(name, address, 1500)
    configure(other, None, 1500)
    for device in (name, other):
        # Super-frames and checksums left open would be seen on the wire.
        command('ethtool', '-K', device, 'tx', 'off', 'tso', 'off', 'gso', 'off', 'gro', 'off')


def remove(name):
    subprocess.run(['ip', 'link', 'del', name], stderr=subprocess.DEVNULL, check=False)


def lose(percent):
    """Drops that share of the packets in and out, until stop_losing()."""
    need('nft', 'nftables')
    rules = 'table ip volley {\n'
    for hook in ('input', 'output'):
        rules += (f'chain {hook} {{ type filter hook {hook} priority 0; '
                  f'numgen random mod 100 < {percent} drop; }}\n')
    rules += '}\n'
    done = subprocess.run(['nft', '-f', '-'], input=rules, stderr=subprocess.PIPE, text=True,
                          check=False)
    if done.returncode != 0:
        raise Refused(f'nft: {done.stderr.strip().splitlines()[0]}')


def stop_losing():
    subprocess.run(['nft', 'delete', 'table', 'ip', 'volley'], stderr=subprocess.DEVNULL,
                   check=False)
