#!/usr/bin/env python3
# asyncio_proto.py - a row of the bench: asyncio, Protocol.data_received -> transport.write
"""Usage: asyncio_proto.py PORT [HOST]. Prints READY PORT, echoes, ends on SIGTERM."""
import asyncio
import resource
import signal
import socket
import sys


class Echo(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport):
        self.transport = transport
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data):
        self.transport.write(data)

    # A peer that stops reading is not read either: memory stays bounded.
    def pause_writing(self):
        self.transport.pause_reading()

    def resume_writing(self):
        self.transport.resume_reading()


async def main(host, port):
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    server = await loop.create_server(Echo, host, port, backlog=65535)
    print("READY", server.sockets[0].getsockname()[1], flush=True)
    await stop.wait()
    server.close()


def arguments(name):
    """Host and port of the command line; the descriptor limit is raised to what is allowed."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {name} PORT [HOST]")
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    return (sys.argv[2] if len(sys.argv) == 3 else "0.0.0.0"), int(sys.argv[1])


if __name__ == "__main__":
    asyncio.run(main(*arguments("asyncio_proto.py")))
