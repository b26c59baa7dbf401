# parallel.py - PyParallel's way of writing servers and clients: protocols that return what to send
"""PyParallel's API on the engine: a protocol's methods return the bytes to send.

    from volley import parallel

    class Echo:
        def data_received(self, transport, data):
            return data

    server = parallel.server("127.0.0.1", 8080)
    parallel.register(transport=server, protocol=Echo)
    parallel.run()

A protocol is any class; each connection gets an instance. All of its members are optional:

    initial_bytes_to_send           bytes, or a method that returns them: sent when the connection is open
    connection_made(transport)      may return bytes to send
    data_received(transport, data)  may return bytes to send
    send_complete(transport, id)    all that was returned so far has been sent; may return more
    next_bytes_to_send(transport)   asked after each send_complete: what to send next, or None
    eof_received(transport)         the peer sends no more
    connection_lost(transport, exc) the last call

The argument `transport` may be left out of every one of them. What is returned is bytes, bytearray or memoryview, a tuple
of them (sent as one), or None. An exception in a method resets its connection, and no other.
"""

import threading

from . import _volley

__all__ = ("server", "client", "register", "run", "stop")

_lock = threading.Lock()
_registered = []
_running = []


class _Endpoint:
    """An address and what serves it; `listener` or `transport` while run() runs."""

    def __init__(self, ip, port):
        if not isinstance(ip, str):
            raise TypeError(f"ip must be str, not {type(ip).__name__}")
        if not isinstance(port, int) or isinstance(port, bool):
            raise TypeError(f"port must be int, not {type(port).__name__}")
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be 0..65535, not {port}")
        self.ip = ip
        self.port = port
        self.protocol = None

    @property
    def address(self):
        """(ip, port)"""
        return self.ip, self.port

    def __repr__(self):
        return f"<parallel.{type(self).__name__.lower()} {self.ip}:{self.port}>"


class Server(_Endpoint):
    """Made by server()."""

    listener = None

    def _start(self, engine, shared):
        self.listener = engine.listen(self.address, self.protocol, style="completion", reuse_port=shared)
        self.port = self.listener.sockname[1]


class Client(_Endpoint):
    """Made by client()."""

    transport = None

    def _start(self, engine, _shared):
        self.transport = engine.connect(self.address, self.protocol, style="completion")


def server(ip, port):
    """A server to be registered: listens on a literal address; port 0 lets the system choose (server.port tells while it runs)."""
    return Server(ip, port)


def client(ip, port):
    """A client to be registered: one connection to a literal address."""
    if port == 0:
        raise ValueError("port must be 1..65535, not 0")
    return Client(ip, port)


def register(*, transport, protocol):
    """Has `transport`, made by server() or client(), served by `protocol`: a class, or anything that returns an instance."""
    if not isinstance(transport, _Endpoint):
        raise TypeError(f"transport must be made by parallel.server or parallel.client, not {type(transport).__name__}")
    if not callable(protocol):
        raise TypeError(f"protocol must be a class or another factory, not {type(protocol).__name__}")
    transport.protocol = protocol
    with _lock:
        if transport in _registered:
            raise ValueError(f"transport {transport!r} is registered already")
        _registered.append(transport)


def stop():
    """Ends run(): from any thread, or from a protocol or signal handler."""
    for engine in list(_running):
        engine.stop()


def run(*, processes=1, **engine_options):
    """Serves what is registered until stop(), or until all clients have ended if there are no servers.

    Registrations are used up: the next run() begins with none. processes=N serves in N processes that share the ports.
    Further keyword arguments are those of volley.Engine. KeyboardInterrupt comes out.
    """
    if not isinstance(processes, int) or isinstance(processes, bool):
        raise TypeError(f"processes must be int, not {type(processes).__name__}")
    with _lock:
        endpoints = list(_registered)
        _registered.clear()
    if not endpoints:
        raise RuntimeError("nothing is registered: call parallel.register first")
    servers = [endpoint for endpoint in endpoints if isinstance(endpoint, Server)]
    if processes != 1 and len(servers) != len(endpoints):
        raise ValueError("processes must be 1 where clients are registered")
    with _volley.Engine(**engine_options) as engine:
        idle = engine.stats()["conns"]  # slots that it uses itself
        for endpoint in endpoints:
            endpoint._start(engine, processes != 1)
        _running.append(engine)
        try:
            if servers:
                engine.run(processes=processes)
            else:
                _run_clients(engine, endpoints, idle)
        finally:
            _running.remove(engine)


def _run_clients(engine, clients, idle):
    """Until all have ended: their transports say so first, then the engine has no more open than at first."""
    closing = False
    while not engine.stopping and not (closing and engine.stats()["conns"] <= idle):
        # A slot that has just been left is counted until the next poll.
        engine.poll(0.01 if closing else None)
        closing = all(client.transport.is_closing() for client in clients)
