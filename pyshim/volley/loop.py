# loop.py - an asyncio event loop whose TCP and Unix streams are the engine's
"""The asyncio event loop of volley; see volley.new_event_loop()."""

import asyncio
import contextvars
import errno
import functools
import itertools
import os
import select
import selectors
import socket
import stat
from asyncio import base_events, events, staggered
from asyncio.log import logger

from . import _volley

__all__ = ("EventLoop", "new_event_loop")

_TRACED = (
    "connection_made",
    "data_received",
    "buffer_updated",
    "eof_received",
    "pause_writing",
    "resume_writing",
    "connection_lost",
)


class _Selector(selectors.EpollSelector):
    """Waits in the engine, which delivers its own completions meanwhile.

    Descriptors that asyncio registers itself (its wake-up pipe, subprocesses, TLS sockets, add_reader) are in one epoll set,
    and that is a single descriptor watched by the engine: a message of the engine costs no further system call.
    """

    def __init__(self, loop, options):
        super().__init__()
        self._loop = loop
        self._options = options
        self._foreign_ready = False
        self.engine = None

    def open(self):
        """The engine, opened on the thread that runs the loop: it belongs to one thread."""
        if self.engine is None:
            engine = _volley.Engine(**self._options)
            engine.watch(self.fileno(), select.POLLIN, self._on_foreign)
            engine.set_exception_handler(self._loop.call_exception_handler)
            self.engine = engine
        return self.engine

    def _on_foreign(self, _fd, _mask):
        self._foreign_ready = True

    def select(self, timeout=None):
        engine = self.engine
        if engine is None:
            engine = self.open()
        engine.poll(timeout)
        if self._foreign_ready:
            self._foreign_ready = False
            return super().select(0)
        return ()

    def close_engine(self):
        engine, self.engine = self.engine, None
        if engine is not None:
            engine.close()

    def close(self):
        self.close_engine()
        self._loop = None
        super().close()


class _ListenerSocket:
    """What asyncio.Server.sockets holds: a listener of the engine, which has no descriptor of its own."""

    def __init__(self, loop, family, address, factory, options):
        self._loop = loop
        self._address = address
        self._factory = factory
        self._options = options
        self._listener = None
        self.family = family
        self.type = socket.SOCK_STREAM
        self.proto = 0 if family == socket.AF_UNIX else socket.IPPROTO_TCP

    def listen(self, backlog):
        self._listener = self._loop.engine.listen(
            _text(self.family, self._address), self._factory, style="asyncio", backlog=backlog,
            context=contextvars.copy_context(), **self._options)

    def getsockname(self):
        return self._address if self._listener is None else self._listener.sockname

    def getpeername(self):
        raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    def fileno(self):
        return -1

    def setblocking(self, flag):
        if flag:
            raise ValueError("a listener of the engine never blocks")

    def close(self):
        if self._listener is not None:
            self._listener.close()

    def __repr__(self):
        return f"<volley listener {self.getsockname()!r}>"


def _text(family, address):
    """An address as the engine reads it."""
    if family == socket.AF_UNIX:
        path = os.fsdecode(address)
        return "unix:@" + path[1:] if path.startswith("\0") else "unix:" + path
    host, port = address[:2]
    if family != socket.AF_INET6:
        return f"{host}:{port}"
    if len(address) == 4 and address[3] and "%" not in host:
        host += "%" + socket.if_indextoname(address[3])
    return f"[{host}]:{port}"


def _plain(family):
    return family in (socket.AF_UNSPEC, socket.AF_INET, socket.AF_INET6)


def _one_error(exceptions):
    """What asyncio raises when no address could be connected to."""
    if len(exceptions) == 1:
        return exceptions[0]
    model = str(exceptions[0])
    if all(str(exception) == model for exception in exceptions):
        return exceptions[0]
    return OSError("Multiple exceptions: " + ", ".join(map(str, exceptions)))


class EventLoop(asyncio.SelectorEventLoop):
    """asyncio's loop on the engine.

    create_server, create_connection, create_unix_server and create_unix_connection without TLS, and what is built on them
    (asyncio.start_server, asyncio.open_connection), run on the engine: completions go straight from its batch to the
    protocol's methods, each in the contextvars context of its connection. Everything else is CPython's own: TLS, sockets
    handed in with sock=, add_reader, the sock_ functions, UDP, signals, subprocesses, name look-up, executors, timers.

    Differences from the loop of CPython: get_extra_info("socket") is None; with start_serving=False the address is bound
    only when serving starts; wait_closed() of a server does not wait for its connections.

    Keyword arguments are those of volley.Engine, mode= excepted. The engine is opened on the thread that runs the loop first.
    """

    def __init__(self, **engine_options):
        self._closed = True  # what __del__ looks at, should the next line raise
        if engine_options.get("mode", "inline") != "inline":
            raise ValueError("mode must be 'inline': an event loop polls the engine itself")
        super().__init__(_Selector(self, engine_options))

    @property
    def engine(self):
        """The volley.Engine: engine.stats() tells what it has done."""
        self._check_closed()
        return self._selector.open()

    def close(self):
        if self.is_running():
            raise RuntimeError("Cannot close a running event loop")
        if not self.is_closed():
            # Protocols learn it while they may still call the loop.
            self._selector.close_engine()
        super().close()

    # ---- servers ----

    def _native_factory(self, factory):
        """The protocol factory; in debug mode its protocols' methods run as handles do."""
        if not self._debug:
            return factory

        def traced():
            protocol = factory()
            for name in _TRACED:
                method = getattr(protocol, name, None)
                if method is not None:
                    try:
                        setattr(protocol, name, functools.partial(self._run_traced, method))
                    except AttributeError:
                        break  # slots: it runs untraced
            return protocol

        return traced

    def _run_traced(self, method, *args):
        handle = events.Handle(method, args, self)
        outer, self._current_handle = self._current_handle, handle
        began = self.time()
        try:
            return method(*args)
        finally:
            self._current_handle = outer
            took = self.time() - began
            if took >= self.slow_callback_duration:
                logger.warning("Executing %s took %.3f seconds", base_events._format_handle(handle), took)

    def _start_serving(self, protocol_factory, sock, *args, **kwargs):
        if not isinstance(sock, _ListenerSocket):
            super()._start_serving(protocol_factory, sock, *args, **kwargs)

    def _stop_serving(self, sock):
        if isinstance(sock, _ListenerSocket):
            sock.close()
        else:
            super()._stop_serving(sock)

    async def _serve(self, sockets, factory, backlog, start_serving):
        server = base_events.Server(self, sockets, factory, None, backlog, None)
        if start_serving:
            self._listen(server)
            await asyncio.sleep(0)
        if self._debug:
            logger.info("%r is serving", server)
        return server

    @staticmethod
    def _listen(server):
        try:
            server._start_serving()
        except OSError:
            server.close()
            raise

    async def create_server(self, protocol_factory, host=None, port=None, *, family=socket.AF_UNSPEC,
                            flags=socket.AI_PASSIVE, sock=None, backlog=100, ssl=None, reuse_address=None,
                            reuse_port=None, start_serving=True, **options):
        if ssl is not None or sock is not None or (host is None and port is None) or not _plain(family) or \
                any(value is not None for value in options.values()):
            return await super().create_server(
                protocol_factory, host, port, family=family, flags=flags, sock=sock, backlog=backlog, ssl=ssl,
                reuse_address=reuse_address, reuse_port=reuse_port, start_serving=start_serving, **options)
        if host == "":
            hosts = [None]
        elif isinstance(host, str) or not hasattr(host, "__iter__"):
            hosts = [host]
        else:
            hosts = host
        found = await asyncio.gather(*(self._create_server_getaddrinfo(name, port, family=family, flags=flags)
                                       for name in hosts))
        factory = self._native_factory(protocol_factory)
        listening = {"reuse_port": bool(reuse_port)}
        sockets = [_NetworkSocket(self, info[0], info[4], factory, listening)
                   for info in dict.fromkeys(itertools.chain.from_iterable(found))]
        return await self._serve(sockets, protocol_factory, backlog, start_serving)

    async def create_unix_server(self, protocol_factory, path=None, *, sock=None, backlog=100, ssl=None,
                                 start_serving=True, **options):
        if ssl is not None or sock is not None or path is None or \
                any(value is not None for value in options.values()):
            return await super().create_unix_server(protocol_factory, path, sock=sock, backlog=backlog, ssl=ssl,
                                                    start_serving=start_serving, **options)
        path = os.fspath(path)
        name = os.fsdecode(path)
        if not name.startswith("\0"):
            # The engine replaces a socket that nobody listens on; asyncio replaces any.
            try:
                if stat.S_ISSOCK(os.stat(name).st_mode):
                    os.unlink(name)
            except FileNotFoundError:
                pass
        factory = self._native_factory(protocol_factory)
        sockets = [_ListenerSocket(self, socket.AF_UNIX, name, factory, {})]
        return await self._serve(sockets, protocol_factory, backlog, start_serving)

    # ---- clients ----

    async def _connect(self, protocol_factory, family, address, local=None):
        """Transport and protocol, or OSError."""
        future = self.create_future()

        def done(transport, exception):
            if future.done():
                if exception is None:
                    transport.abort()
            elif exception is not None:
                future.set_exception(exception)
            else:
                future.set_result(transport)

        transport = self.engine.connect(
            _text(family, address), self._native_factory(protocol_factory), style="asyncio",
            from_addr=local, context=contextvars.copy_context(), done=done)
        try:
            transport = await future
        except asyncio.CancelledError:
            transport.abort()
            raise
        return transport, transport.get_protocol()

    async def _connect_info(self, exceptions, protocol_factory, info, locals_found):
        """One address of the peer; its errors join `exceptions`, as in asyncio."""
        family, _, _, _, address = info
        mine = []
        exceptions.append(mine)
        choices = [None]
        if locals_found is not None:
            choices = [_text(family, found[4]) for found in locals_found if found[0] == family]
            if not choices:
                mine.append(OSError(f"no matching local address with family={family!r} found"))
                raise mine[-1]
        for local in choices:
            try:
                return await self._connect(protocol_factory, family, address, local)
            except OSError as error:
                # As asyncio words it, with the number kept.
                mine.append(OSError(error.errno, f"Connect call failed {address!r}"))
        raise mine[-1]

    async def create_connection(self, protocol_factory, host=None, port=None, *, ssl=None, family=0, proto=0, flags=0,
                                sock=None, local_addr=None, happy_eyeballs_delay=None, interleave=None, **options):
        if ssl or sock is not None or (host is None and port is None) or not _plain(family) or \
                any(value is not None for value in options.values()):
            return await super().create_connection(
                protocol_factory, host, port, ssl=ssl, family=family, proto=proto, flags=flags, sock=sock,
                local_addr=local_addr, happy_eyeballs_delay=happy_eyeballs_delay, interleave=interleave, **options)
        infos = await self._ensure_resolved((host, port), family=family, type=socket.SOCK_STREAM, proto=proto,
                                            flags=flags, loop=self)
        locals_found = None
        if local_addr is not None:
            locals_found = await self._ensure_resolved(local_addr, family=family, type=socket.SOCK_STREAM, proto=proto,
                                                       flags=flags, loop=self)
        if not infos or locals_found == []:
            raise OSError("getaddrinfo() returned empty list")
        if happy_eyeballs_delay is not None and interleave is None:
            interleave = 1
        if interleave:
            infos = base_events._interleave_addrinfos(infos, interleave)
        exceptions = []
        attempts = [functools.partial(self._connect_info, exceptions, protocol_factory, info, locals_found)
                    for info in infos]
        found = None
        if happy_eyeballs_delay is not None:
            found = (await staggered.staggered_race(attempts, happy_eyeballs_delay, loop=self))[0]
        else:
            for attempt in attempts:
                try:
                    found = await attempt()
                    break
                except OSError:
                    continue
        if found is None:
            try:
                raise _one_error([error for errors in exceptions for error in errors])
            finally:
                exceptions = None
        if self._debug:
            logger.debug("connected to %s:%r: %r", host, port, found)
        return found

    async def create_unix_connection(self, protocol_factory, path=None, *, ssl=None, sock=None, **options):
        if ssl or sock is not None or path is None or any(value is not None for value in options.values()):
            return await super().create_unix_connection(protocol_factory, path, ssl=ssl, sock=sock, **options)
        return await self._connect(protocol_factory, socket.AF_UNIX, os.fspath(path))


class _NetworkSocket(_ListenerSocket):
    """A TCP listener: errors name the address, as asyncio's do."""

    def listen(self, backlog):
        try:
            super().listen(backlog)
        except OSError as error:
            raise OSError(error.errno, f"error while attempting to bind on address {self._address!r}: "
                                       f"{os.strerror(error.errno).lower()}") from None


def new_event_loop(**engine_options):
    """A new asyncio event loop on an engine; keyword arguments are those of volley.Engine.

        with asyncio.Runner(loop_factory=volley.new_event_loop) as runner:
            runner.run(main())

    See volley.loop.EventLoop for what runs on the engine and what on CPython's own code.
    """
    return EventLoop(**engine_options)
