"""The issuer's process: uvicorn on a socket of ours, with signals of ours."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from authplugin.errors import ConfigurationError
from authplugin.issuer.http import Application

_BACKLOG = 512
_GRACE_SECONDS = 15


def open_socket(host: str, port: int) -> socket.socket:
    """Bind, so that the port is known before the issuer names itself by it; 0 takes a free one.

    Raises:
        ConfigurationError: the address cannot be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        opened = socket.socket(family, kind, protocol)
        try:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            opened.bind(address)
        except OSError:
            opened.close()
            raise
    except OSError as error:
        raise ConfigurationError(
            file="command line",
            line=None,
            key="--host and --port",
            found=f"{host}:{port} ({error.strerror})",
            expected="an address of this machine that nobody listens on",
        ) from None
    return opened


class _Server(uvicorn.Server):
    """Says when it listens, and leaves signals to its caller: uvicorn would raise them again at the end."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def serve(app: Application, listener: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was begun.

    Args:
        app: the ASGI application.
        listener: a bound socket.
        ready: called once connections are accepted.
    """
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        # Whether a peer is on this machine is asked of its socket, never of a header.
        proxy_headers=False,
        backlog=_BACKLOG,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Server(config, ready)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, setattr, server, "should_exit", True)
    await server.serve([listener])
