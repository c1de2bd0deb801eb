"""What commands read. Tokens come from a file or standard input: everyone can list arguments."""

import errno
import sys
from pathlib import Path
from typing import NoReturn

from authplugin.errors import ConfigurationError
from authplugin.jose.compact import MAX_TOKEN_BYTES

_MAX_FILE_BYTES = 262_144


def read_token(name: str) -> bytes:
    """The token in a file, or on standard input for ``-``; white space around it is dropped.

    Raises:
        ConfigurationError: the file cannot be read, or standard input is closed.
    """
    limit = 2 * MAX_TOKEN_BYTES  # enough to see that it is too long
    try:
        if name == "-":
            if sys.stdin is None:
                raise OSError(errno.EBADF, "no standard input")  # noqa: TRY301 - said like any file's fault
            return sys.stdin.buffer.read(limit).strip()
        with Path(name).open("rb") as file:
            return file.read(limit).strip()
    except OSError as error:
        # The name is not repeated: whoever gave a token in its place finds it on the screen already.
        raise ConfigurationError(
            file="the command line",
            line=None,
            key="the token's file",
            found=error.strerror or "no file",
            expected="a readable file with the token in it, or - for standard input",
        ) from None


def read_certificates(path: Path) -> list[bytes]:
    """The X.509 certificates in a file as DER; PEM may hold many, DER is one.

    Raises:
        ConfigurationError: the file cannot be read, holds a private key, or no certificate.
    """
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - --help needs none
    from cryptography.x509 import (  # noqa: PLC0415 - as above
        load_der_x509_certificate,
        load_pem_x509_certificates,
    )

    octets = read_file(path, "a certificate")
    if b"PRIVATE KEY-----" in octets:
        refuse(path, "a private key", "certificates only: nobody but its owner needs the other")
    armoured = b"-----BEGIN " in octets
    try:
        if not armoured:
            load_der_x509_certificate(octets)
            return [octets]
        return [one.public_bytes(Encoding.DER) for one in load_pem_x509_certificates(octets)]
    except ValueError:
        refuse(path, "PEM that is no certificate" if armoured else "no certificate", "X.509, PEM or DER")


def read_file(path: Path, expected: str) -> bytes:
    """A small file's bytes.

    Raises:
        ConfigurationError: it cannot be read, is empty, or has more than 256 kB.
    """
    try:
        with path.open("rb") as file:
            octets = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        refuse(path, error.strerror or "no file", expected)
    if not 0 < len(octets) <= _MAX_FILE_BYTES:
        refuse(path, "nothing, or more than 256 kB", expected)
    return octets


def refuse(key: object, found: str, expected: str) -> NoReturn:
    """Say what is wrong about an argument.

    Raises:
        ConfigurationError: always.
    """
    raise ConfigurationError(file="the command line", line=None, key=str(key), found=found, expected=expected)
