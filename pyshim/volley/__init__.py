# __init__.py - volley: completions in batches, delivered to Python
"""A per-core network engine that delivers completions to Python in batches.

    import asyncio, volley

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    with volley.Engine() as engine:
        engine.listen("127.0.0.1:7777", Echo)
        engine.run()

An Engine is one core: it owns its connections and its memory, and is polled by the thread that made it. How it tells
Python what has completed is a connection's style:

    asyncio      an asyncio.Protocol, as it is: engine.listen(addr, Protocol)
    completion   a method returns what to send: engine.listen(addr, Protocol, style="completion"), volley.parallel
    coro         a coroutine per connection, without Tasks: engine.listen(addr, coroutine_function, style="coro")
    batch        a Batch of everything at once, also as columns for numpy: engine.on_batch(f), for batch in engine

volley.new_event_loop() makes an asyncio event loop of an engine, for programs that need all of asyncio. docs/python.md of
the source tree is the manual.
"""

from volley._volley import (CLOSED, DATA, DRAINED, EOF, OPEN, Batch, Conn, Engine, Listener, Timer,
                            Transport, Watch, __version__, nics, now_ns)

__all__ = ['CLOSED', 'DATA', 'DRAINED', 'EOF', 'OPEN', 'Batch', 'Conn', 'Engine', 'Listener', 'Timer',
           'Transport', 'Watch', '__version__', 'new_event_loop', 'nics', 'now_ns', 'parallel']


def __getattr__(name):
    # Both are imported when they are first used: asyncio takes longer to load than all of volley.
    if name in ('loop', 'parallel'):
        import importlib
        return importlib.import_module('volley.' + name)
    if name == 'new_event_loop':
        from volley.loop import new_event_loop
        globals()['new_event_loop'] = new_event_loop
        return new_event_loop
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')


def __dir__():
    return sorted({*globals(), 'loop', 'new_event_loop', 'parallel'})
