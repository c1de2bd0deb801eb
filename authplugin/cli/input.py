"""Where commands read tokens from: a file or standard input, never an argument, which everyone can list."""

import errno
import sys
from pathlib import Path

from authplugin.errors import ConfigurationError
from authplugin.jose.compact import MAX_TOKEN_BYTES


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
