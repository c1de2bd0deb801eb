"""Which partition Kafka's default partitioner chooses for a key: librdkafka's `murmur2_random`.

MurmurHash2 of Austin Appleby with the seed of Kafka's Java client, the sign bit dropped, modulo the number of
partitions (KIP-480 changed only what happens to records without a key).
"""

import struct

_SEED = 0x9747B28C
_MIX = 0x5BD1E995
_SHIFT = 24
_WORD = 0xFFFFFFFF


def choose_partition(key: bytes, partitions: int) -> int:
    """The partition of a record with this key in a topic of so many partitions."""
    size = len(key)
    whole = size & ~3
    mixed = _SEED ^ size
    for (word,) in struct.iter_unpack("<I", key[:whole]):
        scattered = word * _MIX & _WORD
        mixed = (mixed * _MIX & _WORD) ^ ((scattered ^ scattered >> _SHIFT) * _MIX & _WORD)
    if size > whole:
        mixed = (mixed ^ int.from_bytes(key[whole:], "little")) * _MIX & _WORD
    mixed = (mixed ^ mixed >> 13) * _MIX & _WORD
    return ((mixed ^ mixed >> 15) & 0x7FFFFFFF) % partitions
