"""Asks the running gate: one request to the socket or port that its configuration names."""

import http.client
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from authplugin.errors import AuthpluginError

if TYPE_CHECKING:
    import argparse

    from authplugin.settings.tables import AdminTable

_SECONDS = 10.0


class LiveError(AuthpluginError):
    """Raised when the running gate cannot be asked, or does not do it; the text says why."""


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the path instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def add_config(parser: "argparse.ArgumentParser") -> None:
    """Declare the argument that every live command has."""
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the gate's configuration (TOML)"
    )


def ask(config: Path, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
    """One request to the running gate, and its answer.

    Args:
        config: the gate's configuration.
        method: ``GET`` or ``POST``.
        path: with its query.
        body: for JSON; None for none.

    Raises:
        LiveError: no gate listens, or it refuses.
        AuthpluginError: the configuration is wrong.
    """
    from authplugin.settings import load  # noqa: PLC0415 - --help need not load the settings

    admin = load(config).settings.admin
    place = admin.socket or (f"127.0.0.1 port {admin.port}" if admin.port is not None else None)
    if place is None:
        raise LiveError(f"{config}: [admin] names no socket and no port: the running gate cannot be asked")
    connection = _connection(admin)
    try:
        connection.request(method, path, None if body is None else msgspec.json.encode(body), _headers(admin))
        answer = connection.getresponse()
        said = msgspec.json.decode(answer.read())
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
        why = (error.strerror or str(error)) if isinstance(error, OSError) else type(error).__name__
        raise LiveError(f"no gate answers at {place}: {why or type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status == http.client.UNAUTHORIZED:
        raise LiveError(f"the gate at {place} asks for another secret than {_secret_of(admin)}")
    if answer.status != http.client.OK:
        told = said.get("error") if isinstance(said, dict) else None
        raise LiveError(
            str(told) if told else f"no gate answers at {place}, but something else: {answer.status}"
        )
    return said


def _secret_of(admin: "AdminTable") -> str:
    """Where the secret that was shown is from."""
    if admin.secret_file is None:
        return "none: [admin] names no secret_file"
    return f"the one in {admin.secret_file} (admin.secret_file); it reads that at the broker's start"


def _connection(admin: "AdminTable") -> http.client.HTTPConnection:
    if admin.socket is not None:
        return _UnixConnection(admin.socket)
    return http.client.HTTPConnection("127.0.0.1", admin.port, timeout=_SECONDS)


def _headers(admin: "AdminTable") -> dict[str, str]:
    if admin.secret_file is None:
        return {}
    from authplugin.admin import read_secret  # noqa: PLC0415 - only where a secret is asked for

    return {"Authorization": read_secret(Path(admin.secret_file)).authorization}
