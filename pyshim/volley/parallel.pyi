# parallel.pyi - types of PyParallel's API
from typing import Any, Callable, Optional, Union

from ._volley import Listener, Transport

class Server:
    ip: str
    port: int
    protocol: Any
    listener: Optional[Listener]
    @property
    def address(self) -> tuple[str, int]: ...

class Client:
    ip: str
    port: int
    protocol: Any
    transport: Optional[Transport]
    @property
    def address(self) -> tuple[str, int]: ...

def server(ip: str, port: int) -> Server: ...
def client(ip: str, port: int) -> Client: ...
def register(*, transport: Union[Server, Client], protocol: Callable[[], Any]) -> None: ...
def stop() -> None: ...
def run(*, processes: int = 1, **engine_options: Any) -> None: ...
