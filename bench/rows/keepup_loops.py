# keepup_loops.py - consumers of volley keepup on an event loop: asyncio's, uvloop's, the module's
"""Part of keepup.py."""
import asyncio
import signal
import socket

import keepup_styles


def protocol(work):
    class Consumer(asyncio.Protocol):
        rest = b""

        def connection_made(self, transport):
            self.transport = transport
            sock = transport.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def data_received(self, data):
            self.rest, answer = work.take_any(self.rest, data)
            if answer is not None:
                self.transport.write(answer)

        def pause_writing(self):
            self.transport.pause_reading()

        def resume_writing(self):
            self.transport.resume_reading()

    return Consumer


def streams(work):
    async def serve(reader, writer):
        rest = b""
        try:
            while data := await reader.read(65536):
                rest, answer = work.take_any(rest, data)
                if answer is not None:
                    writer.write(answer)
                    await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    return serve


def run(given, factory, report, delay, ready):
    """Until SIGTERM. Returns a function that tells (messages, sum), or None."""
    work = keepup_styles.WORKS[given.work](given.size, delay)
    own = None
    if given.consumer:
        import keepup
        own = keepup.load_consumer(given.consumer)

    shared = {"reuse_port": True} if given.mode == "process" else {}

    async def main():
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        if given.style.endswith("_proto"):
            server = await loop.create_server(protocol(work), given.host, given.port, backlog=65535, **shared)
        else:
            server = await asyncio.start_server(own or streams(work), given.host, given.port, backlog=65535, **shared)
        report.begin()
        ready(server.sockets[0].getsockname()[1])
        await stop.wait()
        server.close()

    import keepup_watch
    keepup_watch.set_collector(given.gc)
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(main())
    return None if own else work.tell
