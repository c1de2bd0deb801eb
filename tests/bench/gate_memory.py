"""What remembering costs: bytes a verdict, and a full garbage collection. Run as a process of its own.

``python -m tests.bench.gate_memory bytes|collect|collect-all COUNT`` prints one number. The process
holds a gate put together from settings and nothing else; verdicts enter by the very call that remembers
a verified token, with texts and digests that no two of them share. Signatures are not checked here:
they leave nothing behind.
"""

import gc
import hashlib
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from authplugin.jose.identity import suffix
from authplugin.model import Grant, Terms
from authplugin.verdicts import VerdictCache
from tests.bench.gate_rig import ISSUER, Rig

_PAGE = os.sysconf("SC_PAGE_SIZE")
_MEASURED = 9


def ask(what: str, count: int) -> float:
    """Run this module as a process and read its number."""
    command = [sys.executable, "-m", "tests.bench.gate_memory", what, str(count)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Measure what is asked for, and print it."""
    what, count = sys.argv[1], int(sys.argv[2])
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), capacity=count) as rig:
        verdicts = VerdictCache(capacity=count)
        grants = _grants(rig, count)
        if what == "collect-all":
            gc.unfreeze()
        print(_bytes(verdicts, grants) if what == "bytes" else _collect(verdicts, grants))
        if len(verdicts) != count:
            raise AssertionError(f"{len(verdicts)} verdicts are held, not {count}")


def _bytes(verdicts: VerdictCache, grants: Iterator[Grant]) -> float:
    """Resident bytes a verdict: pages of the process after less pages before."""
    before = _resident()
    count = _remember(verdicts, grants)
    return (_resident() - before) / count


def _collect(verdicts: VerdictCache, grants: Iterator[Grant]) -> float:
    """CPU milliseconds of a full collection, the median of some."""
    _remember(verdicts, grants)
    taken = []
    for _ in range(_MEASURED):
        began = time.process_time()
        gc.collect()
        taken.append((time.process_time() - began) * 1000.0)
    return sorted(taken)[_MEASURED // 2]


def _remember(verdicts: VerdictCache, grants: Iterator[Grant]) -> int:
    now = time.time()
    count = 0
    for grant in grants:
        verdicts.remember(grant, 1, now, leeway=30.0)
        count += 1
    return count


def _grants(rig: Rig, count: int) -> Iterator[Grant]:
    """Grants as verification makes them: every text, number and digest an object of its own."""
    draw = random.Random(7519)
    terms = Terms(ISSUER, rig.mint.kid, rig.assembly.loaded.policy.topics, 518_400.0)
    now = time.time()
    for number in range(count):
        short = f"02iAB{number:010d}"
        yield Grant(
            short + suffix(short),
            f"{draw.getrandbits(32):08x}-0000-4000-8000-{number:012d}",
            now + 518_400.0 + number % 86_400,
            hashlib.sha256(number.to_bytes(8, "big")).digest(),
            b"j" + draw.randbytes(32),
            terms,
        )


def _resident() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE


if __name__ == "__main__":
    main()
