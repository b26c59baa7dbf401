#!/usr/bin/env python3
# echo_loop.py - asyncio streams on the engine's event loop: echo_loop.py [HOST PORT]
import asyncio
import signal
import sys

import volley


async def echo(reader, writer):
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def main(host="127.0.0.1", port=7777):
    server = await asyncio.start_server(echo, host, int(port))
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("listening on %s:%d" % server.sockets[0].getsockname(), flush=True)
    async with server:
        await stop.wait()


with asyncio.Runner(loop_factory=volley.new_event_loop) as runner:
    runner.run(main(*sys.argv[1:]))
