#!/usr/bin/python3
"""peer.py - a server that misbehaves in one way: peer.py PORT MODE; prints READY, echoes otherwise, ends on SIGTERM

MODE freeze:S:T stands still for S seconds of every T (0.4 of every 1).
"""

import asyncio
import os
import signal
import socket
import struct
import subprocess
import sys
import time

MODES = ('echo', 'bytewise', 'reset', 'close', 'halfclose', 'stuck', 'wrong', 'stale', 'excess', 'die',
         'crash', 'freeze', 'delay', 'polls', 'children', 'noready', 'badready', 'exit', 'loud', 'total', 'total_less', 'total_other')
MESSAGE = 64  # bytes of one, where they are counted
TOTAL = [0, 0]  # messages, sum of their first 8 bytes
FREEZE = [0.4, 1.0]
TROUBLE_AFTER = 50  # messages of a connection, so that the window has begun


class Peer(asyncio.Protocol):
    """One connection."""

    def __init__(self, mode):
        self.mode = mode
        self.count = 0
        self.last = b''

    def connection_made(self, transport):
        self.rest = b''
        self.transport = transport
        self.socket = transport.get_extra_info('socket')
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.count += 1
        trouble = getattr(self, 'do_' + self.mode, None)
        if trouble and (self.mode in ('bytewise', 'delay') or self.count >= TROUBLE_AFTER):
            trouble(data)
        else:
            self.transport.write(data)
        self.last = data
        if self.mode.startswith('total'):
            self.rest += data
            while len(self.rest) >= MESSAGE:
                TOTAL[0] += 1
                TOTAL[1] += int.from_bytes(self.rest[:8], 'little')
                self.rest = self.rest[MESSAGE:]

    def do_bytewise(self, data):
        # Past the transport, which would coalesce: each byte is a send of its own.
        for byte in data:
            self.socket._sock.send(bytes([byte]))

    def do_reset(self, _data):
        linger = struct.pack('ii', 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.transport.abort()

    def do_close(self, _data):
        self.transport.close()

    def do_halfclose(self, _data):
        self.transport.write_eof()

    def do_stuck(self, _data):
        self.transport.pause_reading()

    def do_wrong(self, data):
        self.transport.write(data[:-1] + bytes([data[-1] ^ 1]))

    def do_stale(self, _data):
        self.transport.write(self.last)

    def do_excess(self, data):
        self.transport.write(data + data)

    def do_freeze(self, data):
        # The whole server stands still.
        frozen_s, period_s = FREEZE
        time.sleep(max(frozen_s - time.monotonic() % period_s, 0))
        self.transport.write(data)

    def do_delay(self, data):
        # 1 of 10 messages waits for 40 ms, the others for 8.
        delay_s = 0.04 if self.count % 10 == 0 else 0.008
        asyncio.get_running_loop().call_later(delay_s, self.transport.write, data)

    def do_die(self, _data):
        print('peer: giving up', file=sys.stderr, flush=True)
        os._exit(7)

    def do_crash(self, _data):
        os.kill(os.getpid(), signal.SIGSEGV)


async def serve(port, mode):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    await loop.create_server(lambda: Peer(mode), '127.0.0.1', port, backlog=1024)
    if mode == 'children':
        # One child, and one that left its parent and the process group.
        with subprocess.Popen(['sleep', '600']) as child:
            subprocess.run(['setsid', '--fork', 'sleep', '600'], check=True)
            print('READY', flush=True)
            await asyncio.sleep(600)
            child.wait()
    if mode == 'polls':
        def spin():
            loop.call_soon(spin)
        spin()
    if mode == 'loud':
        # More than a pipe holds: whoever started us has to read it.
        print('x' * 1000000, file=sys.stderr)
        print('y' * 1000000)
    if mode == 'badready':
        print('READY or not', flush=True)
    elif mode != 'noready':
        print('READY', flush=True)
    await stop.wait()
    if mode in ('total', 'total_less', 'total_other'):
        print('TOTAL', TOTAL[0] - (mode == 'total_less'), (TOTAL[1] + (mode == 'total_other')) % 2**64,
              flush=True)


def main(args):
    port = int(args[0])
    mode, *numbers = args[1].split(':')
    FREEZE[:len(numbers)] = map(float, numbers)
    if mode not in MODES:
        sys.exit(f'peer: no such mode: {mode}')
    if mode == 'exit':
        sys.exit('peer: cannot work today')
    asyncio.run(serve(port, mode))


if __name__ == '__main__':
    main(sys.argv[1:])
