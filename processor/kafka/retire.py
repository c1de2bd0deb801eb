"""A bridge that is gone for good: said in the stream, so that a replay forgets it at the same place."""

import json

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from processor.clock import Clock
from processor.errors import StreamError
from processor.kafka.admin import Admin
from processor.kafka.client import client_config
from processor.model import HEARTBEAT
from processor.settings import KafkaSettings, TopicSettings

_TIMEOUT = 15.0


def retire(kafka: KafkaSettings, topics: TopicSettings, bridge: str, clock: Clock) -> int:
    """Write to every partition that the clock is not to wait for a bridge any more; how many there are.

    Raises:
        StreamError: a partition does not take it. Run again, it is as if it had been run once.
    """
    count = Admin(kafka).require(topics)
    value = json.dumps({"ts": int(clock.now() * 1000), "bridge": bridge, "gone": True}).encode()
    failed: list[str] = []

    def report(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            failed.append(error.str())

    settings = {"enable.idempotence": True, "acks": "all", "message.timeout.ms": round(_TIMEOUT * 1000)}
    producer = Producer(client_config(kafka) | settings)
    try:
        for number in range(count):
            producer.produce(
                topics.telemetry, value, None, number, headers=[(HEARTBEAT, b"1")], on_delivery=report
            )
        left = producer.flush(_TIMEOUT + 1)
    except KafkaException as error:
        raise StreamError(f"{topics.telemetry} does not take records: {error.args[0].str()}") from None
    if failed or left:
        why = failed[0] if failed else "no answer"
        raise StreamError(f"{topics.telemetry} does not take records ({why}): let the account write it")
    return count
