"""ports.py - in the guest: the emulated network cards, and which driver has them"""

import os
import subprocess

from suites import NIC_IDS

DEVICES = '/sys/bus/pci/devices'


class PortError(Exception):
    """One line: what stands in the way."""


def read(path):
    with open(path, encoding='ascii') as file:
        return file.read().strip()


def write(path, text):
    with open(path, 'w', encoding='ascii') as file:
        file.write(text)


def find(nic):
    """PCI addresses of the cards of that kind, in the order of their buses."""
    ids = NIC_IDS[nic]
    return [address for address in sorted(os.listdir(DEVICES))
            if (read(f'{DEVICES}/{address}/vendor'), read(f'{DEVICES}/{address}/device')) == ids]


def driver_of(address):
    link = f'{DEVICES}/{address}/driver'
    return os.path.basename(os.readlink(link)) if os.path.exists(link) else ''


def load(module):
    done = subprocess.run(['modprobe', module], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise PortError(f'modprobe {module}: {done.stderr.strip()}')


def give(address, driver):
    """Takes the card away from whoever has it."""
    if driver_of(address) == driver:
        return
    if driver_of(address):
        write(f'{DEVICES}/{address}/driver/unbind', address)
    write(f'{DEVICES}/{address}/driver_override', driver)
    write('/sys/bus/pci/drivers_probe', address)
    if driver_of(address) != driver:
        raise PortError(f'{address} did not go to {driver}')


def bind(nic, driver):
    """Gives the two cards to a driver; {'port0': address, 'node0': NUMA node, ...}"""
    cards = find(nic)
    if len(cards) != 2:
        raise PortError(f'{len(cards)} cards of kind {nic} where two were expected')
    load(driver.replace('_', '-') if driver == 'vfio-pci' else driver)
    places = {}
    for number, address in enumerate(cards):
        give(address, driver)
        places[f'port{number}'] = address
        places[f'node{number}'] = read(f'{DEVICES}/{address}/numa_node')
    return places
