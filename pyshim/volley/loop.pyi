# loop.pyi - types of the asyncio event loop
import asyncio
from typing import Any

from ._volley import Engine

class EventLoop(asyncio.SelectorEventLoop):
    def __init__(self, **engine_options: Any) -> None: ...
    @property
    def engine(self) -> Engine: ...

def new_event_loop(**engine_options: Any) -> EventLoop: ...
