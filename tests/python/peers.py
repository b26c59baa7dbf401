"""peers.py - what the tests of the Python module share: blocking peers, waiting, child processes"""

import contextlib
import os
import socket
import struct
import subprocess
import sys
import threading
import time

import volley

PATIENCE_S = 60  # a watchdog, no measurement
TOP = os.environ['VOLLEY_TOP']
BUILD = os.environ['VOLLEY_BUILD']
SANITIZED = os.environ.get('VOLLEY_SANITIZE', 'none') != 'none'


def nics():
    """The nics over kernel sockets that run here."""
    found = []
    for name in ('epoll', 'uring'):
        with contextlib.suppress(OSError):
            volley.Engine(nic=name, conns_max=16).close()
            found.append(name)
    return found


def connect(port, host='127.0.0.1'):
    """A blocking peer."""
    peer = socket.create_connection((host, port), timeout=PATIENCE_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return peer


def receive(peer, size):
    """So many bytes, fewer at the end of the stream."""
    parts = bytearray()
    while len(parts) < size:
        part = peer.recv(min(size - len(parts), 1 << 20))
        if not part:
            break
        parts += part
    return bytes(parts)


def receive_all(peer):
    """Until the end of the stream."""
    return receive(peer, 1 << 62)


def reset(peer):
    """Ends it by a reset."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    peer.close()


def poll_until(engine, condition, what='a condition'):
    """Polls an engine until `condition` is true, and returns what it returned."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f'waited in vain for {what}')
        engine.poll(0.05)


class Thread(threading.Thread):
    """Runs a function beside the test; join() returns its result or raises what it raised."""

    def __init__(self, function, *args):
        super().__init__(daemon=True)
        self.function = function
        self.args = args
        self.result = self.error = None
        self.start()

    def run(self):
        try:
            self.result = self.function(*self.args)
        except BaseException as error:
            self.error = error

    def join(self, timeout=PATIENCE_S):
        super().join(timeout)
        if self.is_alive():
            raise AssertionError('the thread did not end')
        if self.error is not None:
            raise self.error
        return self.result


def environment(**more):
    """Of a child that imports volley from the build folder."""
    return dict(os.environ, PYTHONPATH=os.path.join(BUILD, 'pyshim'), **more)


def python(code, *args, **options):
    """Runs a program text in an interpreter of its own; the finished process."""
    return subprocess.run([sys.executable, '-B', '-c', code, *args], env=environment(), text=True,
                          stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False, **options)


def resident():
    """Bytes of this process that are in memory."""
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * 4096


def descriptors():
    """How many this process has open."""
    return len(os.listdir('/proc/self/fd'))
