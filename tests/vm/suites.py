"""suites.py - what can be run in the guest: for each suite its programs, and what they need of the machine"""

import dataclasses

NIC_IDS = {  # vendor and device, as in sysfs
    'virtio': ('0x1af4', '0x1041'),
    'vmxnet3': ('0x15ad', '0x07b0'),
    'e1000e': ('0x8086', '0x10d3'),
}
PLUGIN = 'volley-dpdk.so'
# What differs over a port.
PORT_GROUPS = ('stream', 'half', 'send', 'close', 'pause', 'owned', 'batch', 'mail')
HUGE_PAGES = 96  # of 2 MiB, on each node


@dataclasses.dataclass
class Program:
    """One program with its environment; {port0}, {port1} are replaced by PCI addresses, {node0}, {node1} by their nodes."""
    name: str
    command: tuple
    env: dict = dataclasses.field(default_factory=dict)
    groups: str = ''  # --filter of a Criterion program
    kind: str = 'criterion'  # 'tap': it writes TAP itself; 'plain': the exit code is all it tells


@dataclasses.dataclass
class Suite:
    """`nic` and `driver`: the pair of ports it wants, and what they are bound to."""
    about: str
    programs: tuple
    nic: str = ''
    driver: str = ''
    plugin: bool = False  # needs what knows DPDK


def contract(name, nic, off='', cores='', groups=''):
    return Program(name, ('build/tests/contract/contract',),
                   {'VOLLEY_TEST_NIC': nic, 'VOLLEY_URING_OFF': off, 'VOLLEY_TEST_CORES': cores},
                   groups)


def unit(*names):
    return tuple(Program(name, (f'build/tests/unit/test_{name}',)) for name in names)


SUITES = {
    'epoll': Suite('the contract over epoll', (contract('contract_epoll', 'epoll'),)),
    'uring': Suite('the contract over io_uring', (contract('contract_uring', 'uring'),)),
    'uring_units': Suite('unit tests that meet the io_uring of this kernel',
                         unit('uring_bell', 'uring_direct', 'uring_faults', 'uring_group',
                              'uring_probe', 'uring_race', 'uring_refused', 'uring_ring')),
    'inet': Suite('the contract over our own TCP/IP, in memory',
                  (contract('contract_inet', 'inet:hub,ip=10.0.0.1/24,mtu=4000'),)),
    'nodes': Suite('memory, CPUs and two NUMA nodes',
                   unit('nodes', 'numa', 'region', 'topology', 'cpus')),
    'doctor': Suite('volley doctor', (Program('doctor', ('build/volley', 'doctor'), kind='plain'),)),
}

for nic in NIC_IDS:
    for driver, short in (('vfio-pci', 'vfio'), ('uio_pci_generic', 'uio')):
        SUITES[f'testpmd_{nic}_{short}'] = Suite(
            f'the driver path with DPDK\'s own program: {nic} cards on {driver}',
            (Program('testpmd', ('/usr/bin/python3', '-B', 'tests/vm/testpmd.py', '{port0}', '{port1}',
                                 nic, driver), kind='tap'),),
            nic, driver)
        # Both ports in one process, a core each: each test starts DPDK anew, takes them and gives them back.
        SUITES[f'port_{nic}_{short}'] = Suite(
            f'the contract over {nic} cards on {driver}',
            tuple(contract(f'{group}_{nic}_{short}', 'inet:dpdk,port={port0}/{port1},tso={tso},ip=10.0.0.1/24',
                           cores='2', groups=f'{group}/*') for group in PORT_GROUPS),
            nic, driver, plugin=True)

# One port with a queue for each core, two engines behind the two cards. {place} is who sorts (enum vly_place_mode): virtio has
# RSS, the driver of vmxnet3 tells no table before it is configured, e1000e has one queue. {tso}: whether what lies between cuts.
for nic in NIC_IDS:
    for driver, short in (('vfio-pci', 'vfio'), ('uio_pci_generic', 'uio')):
        SUITES[f'queues_{nic}_{short}'] = Suite(
            f'several cores on one port, bulk and long segments, in huge pages: {nic} cards on {driver}',
            (Program(f'ports_{nic}_{short}', ('build/tests/unit/test_dpdk_ports',),
                     {'VOLLEY_TEST_PORTS': '{port0} {port1}', 'VOLLEY_TEST_PLACE': '{place}',
                      'VOLLEY_TEST_HUGE': '1', 'VOLLEY_TEST_TSO': '{tso}'}),),
            nic, driver, plugin=True)

SUITES['port_nodes'] = Suite(
    "mbufs on the node of their port's core, cards on nodes 0 and 1",
    (Program('nodes', ('build/tests/unit/test_nodes',),
             {'VOLLEY_TEST_NIC': 'inet:dpdk,port={port0}/{port1},ip=10.0.0.1/24'},
             'nodes/*_environment'),),
    'vmxnet3', 'vfio-pci', plugin=True)
