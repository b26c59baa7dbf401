#!/usr/bin/env python3
# echo_asyncio.py - an unmodified asyncio protocol, driven by the engine: echo_asyncio.py [HOST:PORT]
import asyncio
import signal
import sys

import volley


class Echo(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.transport.write(data)

    # A peer that stops reading is not read either: memory stays bounded.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


with volley.Engine() as engine:
    listener = engine.listen(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:7777", Echo)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: engine.stop())
    print("listening on", listener.addr, flush=True)
    engine.run()
