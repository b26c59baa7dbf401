#!/usr/bin/python3
"""over_port.py - the contract over two ports of DPDK's that the kernel joins: over_port.py KIND RUNNER CONTRACT GROUPS

In a network namespace of its own. KIND: tap (two taps on a bridge of the kernel's), af_packet and af_xdp (the ends of a veth).
"""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), 'interop'))
import netns  # noqa: E402

DEVICES = ('volley0', 'volley1')


def make_taps():
    if os.getuid() != 0 or not os.access('/dev/net/tun', os.R_OK | os.W_OK):
        raise netns.Refused('net_tap takes root and /dev/net/tun')
    netns.ip('link', 'add', 'name', 'bridge0', 'type', 'bridge')
    for device in DEVICES:
        netns.ip('tuntap', 'add', 'dev', device, 'mode', 'tap', 'multi_queue')
        netns.configure(device, None, 1500)
        netns.ip('link', 'set', device, 'master', 'bridge0')
    netns.configure('bridge0', None, 1500)


def make_veth():
    if os.getuid() != 0:
        raise netns.Refused('sockets of packets take root')
    netns.add_veth(DEVICES[0], None, DEVICES[1])


KINDS = {'tap': make_taps, 'af_packet': make_veth, 'af_xdp': make_veth}


def main(kind, runner, contract, groups):
    try:
        netns.enter()
        KINDS[kind]()
    except unittest.SkipTest as refused:
        print(f'1..0 # SKIP {refused}')
        return 0
    vdevs = ' '.join(f'--vdev=net_{kind}{number},iface={device}' for number, device in enumerate(DEVICES))
    os.environ['VOLLEY_TEST_NIC'] = f'inet:dpdk,port=net_{kind}0/net_{kind}1,ip=10.0.0.1/24,eal="{vdevs}"'
    os.environ['VOLLEY_TEST_CORES'] = '2'
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, '-B', runner, contract, '--filter', groups])


if __name__ == '__main__':
    sys.exit(main(*sys.argv[1:]))
