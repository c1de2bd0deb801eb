"""Provisioned assets: the ids that exist before they first connect, a million of them in 30 MB.

A file with one asset id a line, in either form; what follows ``#`` is for people. The ids lie in
buckets by their hash, each one run of bytes: a set of Python strings would take five times as much,
and sorting a million of them would hold up the broker. A lookup is exact and takes about a
microsecond, once a verification.
"""

import io

from authplugin.errors import ConfigurationError, ConfigurationErrors
from authplugin.jose.identity import IdForm, canonical_asset_id

MAX_BYTES = 256 * 1024 * 1024
"""Largest file that is read: some ten million ids."""

_BUCKETS = 4096
_MAX_MISTAKES = 20
_SHOWN = 80


class Provisioned:
    """The ids of one file; never changed after it was read."""

    __slots__ = ("_buckets", "_count")

    def __init__(self, buckets: list[bytes], count: int) -> None:
        self._buckets = buckets
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __contains__(self, asset_id: str) -> bool:
        # Ids have no line ends; the hash is secret to the process, so nobody fills one bucket.
        name = asset_id.encode()
        return b"\n" + name + b"\n" in self._buckets[hash(name) % _BUCKETS]


def parse_provisioned(text: bytes, name: str, form: IdForm) -> Provisioned:
    """Read a file; a line that is no id refuses it whole.

    Args:
        text: the file's bytes.
        name: the file's name, for mistakes.
        form: how the issuer writes asset ids.

    Raises:
        ConfigurationErrors: the first mistakes, each with its line.
    """
    buckets = [bytearray(b"\n") for _ in range(_BUCKETS)]
    mistakes: list[ConfigurationError] = []
    count = 0
    for number, line in enumerate(io.BytesIO(text), start=1):
        written = line.partition(b"#")[0].strip()
        if not written:
            continue
        try:
            asset_id = canonical_asset_id(written.decode(), form).encode()
        except ValueError as error:
            found = f"{written.decode(errors='replace')[:_SHOWN]!a}, which {error}"
            mistakes.append(
                ConfigurationError(
                    file=name,
                    line=number,
                    key="the line",
                    found=found,
                    expected=f"an asset id of form {form}",
                )
            )
            if len(mistakes) == _MAX_MISTAKES:
                break
            continue
        bucket = buckets[hash(asset_id) % _BUCKETS]
        if b"\n" + asset_id + b"\n" not in bucket:
            bucket += asset_id + b"\n"
            count += 1
    if mistakes:
        raise ConfigurationErrors(mistakes)
    return Provisioned([bytes(bucket) for bucket in buckets], count)
