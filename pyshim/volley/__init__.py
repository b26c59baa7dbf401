# __init__.py - volley: completions in batches, delivered to Python
"""A per-core network engine that delivers completions to Python in batches."""

from volley._volley import (CLOSED, DATA, DRAINED, EOF, OPEN, Batch, Conn, Engine, Listener, Timer,
                            Transport, Watch, __version__, nics, now_ns)

__all__ = ['CLOSED', 'DATA', 'DRAINED', 'EOF', 'OPEN', 'Batch', 'Conn', 'Engine', 'Listener', 'Timer',
           'Transport', 'Watch', '__version__', 'nics', 'now_ns']
