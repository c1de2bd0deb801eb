"""What a partition holds: its first offset and the next one."""

import time

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

_TIMEOUT = 60.0
_PAUSE = 0.2
#: A leader is being found, or has just changed: librdkafka calls these retriable only in transactions.
_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._TRANSPORT,  # noqa: SLF001 - librdkafka's local error codes are published under these names
        KafkaError._TIMED_OUT,  # noqa: SLF001 - as above
    }
)


def read_span(consumer: Consumer, partition: TopicPartition) -> tuple[int, int]:
    """First offset kept and next offset; just after a restart a broker may say that it does not lead yet.

    Raises:
        KafkaException: it cannot be read.
    """
    deadline = time.monotonic() + _TIMEOUT
    while True:
        try:
            first, end = consumer.get_watermark_offsets(partition, timeout=_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE)
        else:
            return first, end
