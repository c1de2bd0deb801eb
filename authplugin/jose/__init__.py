"""Tokens and keys, as pure functions: bytes in, values or a `Refused` out; no I/O, no clock, no state."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authplugin.jose.verify import verify_jws

__all__ = ["verify_jws"]


def __getattr__(name: str) -> object:
    """Load the verifier when it is asked for: a device needs the identity rules, not `cryptography`."""
    if name == "verify_jws":
        from authplugin.jose.verify import verify_jws  # noqa: PLC0415 - as above

        return verify_jws
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
