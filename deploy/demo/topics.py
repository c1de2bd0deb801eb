"""Follow Kafka topics from their first record, outside any consumer group: the story's own eyes."""

import argparse
import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer

#: Longest wait of one poll: how soon a follower notices that it is ended.
_POLL_MS = 200


@dataclass(frozen=True, slots=True)
class Record:
    """One record as it lies on Kafka; ``timestamp`` is in ms since the epoch."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]] = ()


@contextlib.asynccontextmanager
async def following(
    bootstrap: str, topics: Collection[str], handle: Callable[[Record], None]
) -> AsyncIterator[asyncio.Task[None]]:
    """Hand every record of the topics to ``handle`` while the context lasts, each partition in order.

    Gives the task that reads: it ends only by the error of a handler or of Kafka.
    """
    # Without a group every partition is ours.
    consumer = AIOKafkaConsumer(
        *topics, bootstrap_servers=bootstrap, group_id=None, auto_offset_reset="earliest"
    )
    await consumer.start()
    try:
        task = asyncio.create_task(_follow(consumer, handle), name="follow Kafka")
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                await task
    finally:
        await consumer.stop()


async def _follow(consumer: AIOKafkaConsumer, handle: Callable[[Record], None]) -> None:
    while True:
        for records in (await consumer.getmany(timeout_ms=_POLL_MS)).values():
            for found in records:
                handle(
                    Record(
                        found.topic,
                        found.partition,
                        found.offset,
                        found.timestamp,
                        found.key,
                        found.value,
                        found.headers,
                    )
                )


def main(argv: Sequence[str] | None = None) -> int:
    """Print every record of topics, and those to come, as lines of JSON; Ctrl-C ends it."""
    parser = argparse.ArgumentParser(prog="deploy.demo.topics", description="Read topics from their start.")
    parser.add_argument("bootstrap", help="host:port of Kafka")
    parser.add_argument("topic", nargs="+")
    args = parser.parse_args(argv)

    async def read() -> None:
        async with following(args.bootstrap, args.topic, _print) as task:
            await task

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(read())
    return 0


def _print(record: Record) -> None:
    value = (record.value or b"").decode("utf-8", "replace")
    try:
        shown: object = json.loads(value)
    except ValueError:
        shown = value
    key = record.key.decode("utf-8", "replace") if record.key is not None else None
    print(json.dumps({"topic": record.topic, "key": key, "value": shown}, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    sys.exit(main())
