"""free_port.py - a port for a server that is still to start"""

import random
import socket

FIRST, END = 10000, 65536
KERNELS = '/proc/sys/net/ipv4/ip_local_port_range'


def outside():
    """Ports that the kernel gives to nobody who leaves the choice to it."""
    with open(KERNELS, encoding='ascii') as file:
        low, high = (int(word) for word in file.read().split())
    return [port for port in range(FIRST, END) if not low <= port <= high]


def is_free(port):
    try:
        with socket.create_server(('', port)):
            return True
    except OSError:
        return False


def free_port(count=1):
    """The first of `count` ports in a row on which nobody listens.

    One that the kernel chose and that was let go of may be chosen again before the server has it, for any program's
    connection. Of these it chooses none.
    """
    ports = set(outside())
    starts = [port for port in ports if ports.issuperset(range(port, port + count))]
    starts = starts or list(range(FIRST, END - count + 1))
    random.shuffle(starts)
    return next(port for port in starts if all(is_free(port + i) for i in range(count)))
