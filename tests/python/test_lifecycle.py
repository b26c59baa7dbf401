"""test_lifecycle.py - engines that end in every way: exit, fork, Ctrl-C, 500 lives without a trace"""

import asyncio
import contextlib
import gc
import signal
import socket
import subprocess
import sys
import time
import unittest

import volley
from peers import (PATIENCE_S, SANITIZED, Thread, connect, descriptors, environment, nics, poll_until, python,
                   receive)

NICS = nics()
MODES = ('inline', 'thread')
# As many take minutes where every block and every access is checked.
LIVES = 50 if SANITIZED or hasattr(sys, 'gettotalrefcount') else 500
ROUNDS = 5


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)


class Answer:
    """The same in the completion style."""

    def data_received(self, data):
        return data


async def answer(conn):
    """The same as a coroutine."""
    while data := await conn.recv():
        conn.send(data)


def echo_batch(batch):
    """The same by batches."""
    for transport, data in batch:
        transport.write(data)


def listen(engine, style):
    """An echo server of each style; its port."""
    factory = {'asyncio': Echo, 'completion': Answer, 'coro': answer, 'batch': None}[style]
    if style == 'batch':
        engine.on_batch(echo_batch)
    return engine.listen('127.0.0.1:0', factory, style=style).sockname[1]


STYLES = ('asyncio', 'completion', 'coro', 'batch')


def rally(port, turns=3):
    """What a blocking peer does with an echo server."""
    with connect(port) as peer:
        for turn in range(turns):
            message = b'%d' % turn * 50
            peer.sendall(message)
            if receive(peer, len(message)) != message:
                raise AssertionError('a wrong echo')


def live(nic, mode, style):
    """One life: open, serve a client, close."""
    with volley.Engine(nic=nic, mode=mode, conns_max=16, huge_pages=False) as engine:
        port = listen(engine, style)
        thread = Thread(rally, port)
        poll_until(engine, lambda: not thread.is_alive(), 'the client')
        thread.join()


class Lives(unittest.TestCase):
    def leaves_nothing(self, cycle, lives, count=sys.getallocatedblocks):
        """Runs so many cycles, in rounds. A leak grows in every round; the interpreter's own caches fill in the first."""
        growths = []
        # The interpreter breathes by a block or two; a leak is at least one for each life.
        bound = max(1, lives // ROUNDS // 4)
        # Caches may need some rounds more to fill; a leak grows in all of them.
        while len(growths) < ROUNDS or (min(growths) >= bound and len(growths) < 3 * ROUNDS):
            gc.collect()
            blocks, fds = count(), descriptors()
            for _ in range(lives // ROUNDS):
                cycle()
            gc.collect()
            growths.append(count() - blocks)
            self.assertEqual(descriptors() - fds, 0)
        print(f'more after each {lives // ROUNDS} lives: {growths}', file=sys.stderr)
        self.assertLess(min(growths), bound)

    def test_500_lives_of_an_engine_leave_nothing(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                self.leaves_nothing(lambda m=mode: live(NICS[-1], m, 'asyncio'), LIVES)

    def test_lives_in_every_style_leave_nothing(self):
        def cycle():
            for style in STYLES:
                live(nic, mode, style)

        for nic in NICS:
            for mode in MODES:
                with self.subTest(nic=nic, mode=mode):
                    self.leaves_nothing(cycle, LIVES // 10)

    def test_loops_leave_nothing(self):
        async def main():
            async def handle(reader, writer):
                writer.write(await reader.readexactly(4))
                writer.close()

            async with await asyncio.start_server(handle, '127.0.0.1', 0) as server:
                reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
                writer.write(b'ping')
                self.assertEqual(await reader.read(), b'ping')
                writer.close()

        def cycle():
            with asyncio.Runner(loop_factory=lambda: volley.new_event_loop(conns_max=32, huge_pages=False)) as runner:
                runner.run(main())

        # Objects, not blocks: those of asyncio grow with its own loop, too.
        self.leaves_nothing(cycle, LIVES // 5, lambda: len(gc.get_objects()))

    def test_collecting_at_every_allocation_breaks_nothing(self):
        threshold = gc.get_threshold()
        self.addCleanup(gc.set_threshold, *threshold)
        for nic in NICS:
            for mode in MODES:
                for style in STYLES:
                    with self.subTest(nic=nic, mode=mode, style=style):
                        gc.set_threshold(1)
                        try:
                            live(nic, mode, style)
                        finally:
                            gc.set_threshold(*threshold)


class Exits(unittest.TestCase):
    """Interpreters that end while an engine runs."""

    SERVE = '''
import asyncio, os, signal, sys, threading, time, volley
mode, style = sys.argv[1:3]
class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
    def data_received(self, data):
        self.transport.write(data)
engine = volley.Engine(mode=mode, conns_max=64)
listener = engine.listen("127.0.0.1:0", Echo)
def client():
    import socket
    peer = socket.create_connection(listener.sockname)
    peer.sendall(b"hello")
    return peer.detach()  # open to the end, and no object that a debug interpreter would warn of
'''

    def ends(self, code, expect=0):
        for mode in MODES:
            with self.subTest(mode=mode):
                done = python(self.SERVE + code, mode, 'asyncio')
                self.assertEqual((done.returncode, done.stderr), (expect, ''))

    def test_with_an_idle_engine(self):
        self.ends('')

    def test_with_connections_open(self):
        self.ends('''
peer = client()
while engine.stats()["accepted"] == 0:
    engine.poll(0.01)
''')

    def test_inside_a_callback(self):
        self.ends('''
def leave(self, data):
    sys.exit(5)
Echo.data_received = leave
peer = client()
engine.run()
''', 5)

    def test_while_another_thread_polls(self):
        self.ends('''
ready = threading.Event()
def run():
    other = volley.Engine(mode=mode, conns_max=64)
    other.listen("127.0.0.1:0", Echo)
    ready.set()
    other.run()
threading.Thread(target=run, daemon=True).start()
ready.wait()
''')

    def test_with_the_engine_in_a_cycle_and_in_a_global_of_main(self):
        self.ends('''
class Box: pass
box = Box(); box.me = box; box.engine = engine; engine.set_exception_handler(lambda c, b=box: b)
peer = client()
engine.poll(0.1)
''')

    def test_os_exit_and_kill(self):
        self.ends('engine.poll(0); os._exit(3)', 3)
        self.ends('engine.poll(0); os.kill(os.getpid(), signal.SIGKILL)', -signal.SIGKILL)


class Forks(unittest.TestCase):
    def test_a_child_is_told_and_the_parent_goes_on(self):
        for nic in NICS:
            for mode in MODES:
                with self.subTest(nic=nic, mode=mode):
                    done = python('''
import errno, os, socket, sys, volley
class Answer:
    def data_received(self, data):
        return data
engine = volley.Engine(nic=sys.argv[1], mode=sys.argv[2], conns_max=64)
listener = engine.listen("127.0.0.1:0", Answer, style="completion")
child = os.fork()
if child == 0:
    told = 0
    for call in (lambda: engine.poll(0), lambda: engine.listen("127.0.0.1:0", Answer, style="completion")):
        try:
            call()
        except OSError as error:
            told += error.errno == errno.ECHILD
    engine.close()
    sys.exit(0 if told == 2 else 1)
_, status = os.waitpid(child, 0)
assert status == 0, status
peer = socket.create_connection(listener.sockname)
peer.sendall(b"still here")
peer.setblocking(False)
got = b""
while len(got) < 10:
    engine.poll(0.05)
    try:
        got += peer.recv(100)
    except BlockingIOError:
        pass
assert got == b"still here"
peer.close()
engine.close()
''', nic, mode)
                    self.assertEqual((done.returncode, done.stderr), (0, ''))


class Interrupts(unittest.TestCase):
    """Ctrl-C without traffic."""

    def interrupted(self, code, *args):
        """Sends SIGINT to a sleeping child; seconds until KeyboardInterrupt was raised there."""
        with subprocess.Popen([sys.executable, '-B', '-c', code, *args], env=environment(), text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
            try:
                self.assertEqual(child.stdout.readline(), 'ready\n')
                # Asleep by then, most likely; awake is right, too.
                time.sleep(0.2)
                sent = time.monotonic()
                child.send_signal(signal.SIGINT)
                out, err = child.communicate(timeout=PATIENCE_S)
            finally:
                child.kill()
        self.assertEqual(child.returncode, 0, err)
        return float(out) - sent

    IDLE = '''
import sys, time, volley
engine = volley.Engine(mode=sys.argv[1], conns_max=64, idle=sys.argv[3])
engine.listen("127.0.0.1:0", style="batch")
print("ready", flush=True)
try:
    if sys.argv[2] == "run":
        engine.run()
    elif sys.argv[2] == "poll":
        while True:
            engine.poll(None)
    else:
        for batch in engine:
            pass
except KeyboardInterrupt:
    print(time.monotonic())
engine.close()
'''

    def test_reaches_run_poll_and_iteration_in_both_modes(self):
        for mode in MODES:
            for what in ('run', 'poll', 'iterate'):
                with self.subTest(mode=mode, what=what):
                    took = self.interrupted(self.IDLE, mode, what, 'sleep')
                    print(f'KeyboardInterrupt in {what}, {mode}: {took * 1e6:.0f} us after the signal was sent',
                          file=sys.stderr)

    def test_reaches_an_engine_that_never_sleeps(self):
        """It watches no descriptor, which would cost a system call for each batch."""
        for mode in MODES:
            with self.subTest(mode=mode):
                took = self.interrupted(self.IDLE, mode, 'run', 'busy')
                print(f'KeyboardInterrupt in run, {mode}, busy: {took * 1e6:.0f} us after the signal was sent',
                      file=sys.stderr)

    def test_reaches_asyncio(self):
        took = self.interrupted('''
import asyncio, time, volley
async def main():
    print("ready", flush=True)
    await asyncio.sleep(1000)
try:
    with asyncio.Runner(loop_factory=volley.new_event_loop) as runner:
        runner.run(main())
except KeyboardInterrupt:
    print(time.monotonic())
''')
        print(f'KeyboardInterrupt in asyncio: {took * 1e6:.0f} us after the signal was sent', file=sys.stderr)

    def test_a_python_handler_may_stop_the_engine(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                self.interrupted('''
import signal, sys, time, volley
engine = volley.Engine(mode=sys.argv[1], conns_max=64)
signal.signal(signal.SIGINT, lambda *_: engine.stop())
print("ready", flush=True)
engine.run()
print(time.monotonic())
engine.close()
''', mode)


class Ends(unittest.TestCase):
    def test_closing_tells_every_protocol_once(self):
        for nic in NICS:
            for mode in MODES:
                with self.subTest(nic=nic, mode=mode), contextlib.ExitStack() as stack:
                    lost, made = [], []

                    class Notes(Echo):
                        def connection_made(self, transport):
                            made.append(transport)

                        def connection_lost(self, exc):
                            lost.append(exc)

                    engine = stack.enter_context(volley.Engine(nic=nic, mode=mode, conns_max=64))
                    port = engine.listen('127.0.0.1:0', Notes).sockname[1]
                    peers = [stack.enter_context(connect(port)) for _ in range(3)]
                    poll_until(engine, lambda: len(made) == 3, 'three connections')
                    engine.close()
                    self.assertEqual([type(exc) for exc in lost], [ConnectionAbortedError] * 3)
                    for peer in peers:
                        with contextlib.suppress(ConnectionResetError):
                            self.assertEqual(receive(peer, 1), b'')
                    with self.assertRaises(ConnectionRefusedError):
                        socket.create_connection(('127.0.0.1', port))

    def test_stop_from_another_thread_wakes_a_sleeping_engine(self):
        for mode in MODES:
            with self.subTest(mode=mode), volley.Engine(mode=mode, conns_max=64) as engine:
                stopper = Thread(engine.stop)
                engine.run()
                stopper.join()


if __name__ == '__main__':
    sys.exit('run by tap_unittest.py')
