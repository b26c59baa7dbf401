"""loops.py - a protocol that takes notes, and cases that run on a loop of each nic"""

import asyncio
import unittest

import volley
from peers import PATIENCE_S, nics

NICS = nics()
MEGABYTE = 1 << 20


class Recorder(asyncio.Protocol):
    """Notes what it is told; futures tell when."""

    def __init__(self, echo=False, keep_open=False):
        loop = asyncio.get_running_loop()
        self.echo = echo
        self.keep_open = keep_open
        self.calls = []
        self.data = b''
        self.transport = None
        self.made = loop.create_future()
        self.lost = loop.create_future()
        self.ended = loop.create_future()

    def connection_made(self, transport):
        self.calls.append('made')
        self.transport = transport
        self.made.set_result(transport)

    def data_received(self, data):
        self.calls.append('data')
        self.data += data
        if self.echo:
            self.transport.write(data)

    def eof_received(self):
        self.calls.append('eof')
        self.ended.set_result(None)
        return self.keep_open

    def pause_writing(self):
        self.calls.append('pause')

    def resume_writing(self):
        self.calls.append('resume')

    def connection_lost(self, exc):
        self.calls.append('lost')
        self.lost.set_result(exc)


class LoopTest(unittest.TestCase):
    """Cases are coroutines run by run(): on a loop of each nic."""

    def run_on_each(self, main):
        """Runs main() on a fresh loop of each nic; the loop must not have complained."""
        for nic in NICS:
            with self.subTest(nic=nic), asyncio.Runner(
                    loop_factory=lambda nic=nic: volley.new_event_loop(nic=nic, conns_max=2048)) as runner:
                self.complaints = []
                runner.get_loop().set_exception_handler(lambda _loop, context: self.complaints.append(context))
                runner.run(asyncio.wait_for(self.wrapped(main), PATIENCE_S))
                self.assertEqual(self.complaints, [])

    @staticmethod
    async def wrapped(main):
        await main()

    async def serve(self, factory, host='127.0.0.1'):
        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, host, 0)
        return server, server.sockets[0].getsockname()[1]

    async def pair(self, client=Recorder, server=Recorder):
        """Two connected protocols."""
        loop = asyncio.get_running_loop()
        accepted = loop.create_future()

        def accept():
            protocol = server()
            accepted.set_result(protocol)
            return protocol

        listening, port = await self.serve(accept)
        _, mine = await loop.create_connection(client, '127.0.0.1', port)
        theirs = await accepted
        await theirs.made
        listening.close()
        return mine, theirs
