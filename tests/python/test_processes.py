#!/usr/bin/python3
"""test_processes.py - one engine per process, sharing a port"""

import contextlib
import signal
import subprocess
import sys
import time
import unittest

from peers import PATIENCE_S, connect, environment, nics, python

NICS = nics()


PROCESSES = '''
import os, sys, volley

class Teller:
    def connection_made(self, transport):
        return b"%d\\n" % os.getpid()
    def data_received(self, transport, data):
        transport.engine.stop()

with volley.Engine(nic=sys.argv[1]) as engine:
    listener = engine.listen("127.0.0.1:0", Teller, style="completion")
    print(listener.sockname[1], flush=True)
    engine.run(processes=2)
print("over", engine.closed)
'''


class Processes(unittest.TestCase):
    def test_share_a_port_and_end_with_the_parent(self):
        for nic in NICS:
            with self.subTest(nic=nic):
                child = subprocess.Popen([sys.executable, '-B', '-c', PROCESSES, nic], env=environment(),
                                         stdout=subprocess.PIPE, text=True)
                port = int(child.stdout.readline())
                pids = set()
                deadline = time.monotonic() + PATIENCE_S
                while len(pids) < 2 and time.monotonic() < deadline:
                    with (contextlib.suppress(ConnectionError, ValueError), connect(port) as peer,
                          peer.makefile('rb') as lines):
                        pids.add(int(lines.readline()))
                self.assertEqual(len(pids), 2)
                self.assertNotIn(child.pid, pids)
                child.send_signal(signal.SIGTERM)
                self.assertEqual(child.communicate(timeout=PATIENCE_S)[0], 'over True\n')
                self.assertEqual(child.returncode, 0)

    def test_a_signal_while_they_are_forked_ends_all(self):
        code = PROCESSES.replace('with volley', '''
import signal
fork = os.fork
def fork_and_tell():
    pid = fork()
    if pid:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid
os.fork = fork_and_tell
with volley''', 1)
        for nic in NICS:
            with self.subTest(nic=nic):
                # all have ended: nobody holds the pipe any more
                done = python(code, nic)
                self.assertEqual((done.returncode, done.stdout.splitlines()[-1]), (0, 'over True'), done.stderr)

    def test_a_child_that_fails_ends_the_others(self):
        code = PROCESSES.replace('b"%d\\n" % os.getpid()', 'os._exit(3)')
        for nic in NICS:
            with self.subTest(nic=nic):
                done = python(code.replace('engine.run', 'import threading, socket; threading.Timer(0.5, lambda: '
                                           'socket.create_connection(listener.sockname)).start(); engine.run'), nic)
                self.assertIn('1 of 2 processes failed, statuses [3]', done.stderr)


if __name__ == '__main__':
    unittest.main()
