"""What this machine lets tests do: become root, and run Debian's own Python in a broker."""

import os
import subprocess
from functools import cache

DEBIAN_PYTHON = "/usr/bin/python3"

_LIBRARY = """
import ctypes, sys
ctypes.CDLL(f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0")
sys.exit(sys.version_info < (3, 11))
"""


@cache
def as_root() -> tuple[str, ...] | None:
    """What to put before a command so that root runs it; None where that is not to be had."""
    if os.geteuid() == 0:
        return ()
    return ("sudo", "-n") if _succeeds("sudo", "-n", "true") else None


@cache
def debian_python() -> str | None:
    """Debian's Python, of a version that the gate runs on and with its shared library; None without."""
    return DEBIAN_PYTHON if _succeeds(DEBIAN_PYTHON, "-I", "-c", _LIBRARY) else None


def _succeeds(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 0
    except OSError:
        return False
