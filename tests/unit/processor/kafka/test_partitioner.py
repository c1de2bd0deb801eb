"""The partition that a record's key leads to, as the producers of the watch choose it."""

import asyncio

import pytest
from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from processor.kafka.partitioner import choose_partition
from processor.kafka.producer import Outgoing, SafeProducer
from processor.settings.model import KafkaSettings
from tests.support.kafka import read_all, start_embedded


@given(key=st.binary(max_size=64), partitions=st.integers(1, 1000))
def test_it_is_that_of_kafkas_own_client(key: bytes, partitions: int) -> None:
    assert choose_partition(key, partitions) == (murmur2(key) & 0x7FFFFFFF) % partitions


@pytest.mark.timeout(30)
def test_it_is_where_the_bridges_producer_writes() -> None:
    process, kafka = start_embedded(7, ["telemetry"])
    keys = [f"02iAB00000{number:05d}AAA".encode() for number in range(50)] + [b"x", b"any-id_of.1 to 64"]

    async def write() -> None:
        producer = SafeProducer(
            KafkaSettings(bootstrap=kafka.bootstrap), linger=0, bury=lambda _record, _why: None
        )
        await producer.send([Outgoing("telemetry", b"", key) for key in keys])
        producer.close()

    try:
        asyncio.run(write())
        found = {record.key: record.partition for record in read_all(kafka, "telemetry")}
    finally:
        process.terminate()
        process.communicate(timeout=10)
    assert found == {key: choose_partition(key, 7) for key in keys}
