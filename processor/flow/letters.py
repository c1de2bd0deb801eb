"""Records that the worker writes: case events and dead letters."""

import logging
from collections.abc import Callable

from processor.errors import DeadReason
from processor.kafka.producer import Outgoing
from processor.model import CONTENT_TYPE, RECEIVED, REPLAY, TAIL, CaseEvent, Record
from processor.settings import TopicSettings

_LOG = logging.getLogger(__name__)
_CLOUD_EVENT = [("content-type", b"application/cloudevents+json; charset=UTF-8")]
_DETAIL_LIMIT = 1000
#: What of a record's own headers its letter keeps.
_KEPT = frozenset({TAIL, CONTENT_TYPE, REPLAY})


def case_record(topics: TopicSettings, event: CaseEvent) -> Outgoing:
    """A case event as a record: structured mode of the CloudEvents Kafka binding, 3.3."""
    return Outgoing(topics.cases, event.value, event.key, _CLOUD_EVENT)


def dead_record(
    topics: TopicSettings, partition: int, record: Record, reason: DeadReason, detail: str
) -> Outgoing:
    """The dead letter of a record: key and value untouched, where it came from, and when it was received."""
    headers = _headers(topics, partition, record.offset, reason, detail)
    headers.append((RECEIVED, str(record.timestamp).encode()))
    headers += [(name, value) for name, value in record.headers if name in _KEPT]
    return Outgoing(topics.dead, record.value, record.key, headers)


def lost_record(topics: TopicSettings, partition: int, first: int, end: int) -> Outgoing:
    """The notice that a span of input was deleted before it was judged."""
    detail = f"records {first} to {end - 1} were deleted by retention before they were judged"
    return Outgoing(topics.dead, None, None, _headers(topics, partition, first, DeadReason.RETENTION, detail))


def bury(topics: TopicSettings, count: Callable[[], None]) -> Callable[[Outgoing, str], Outgoing | None]:
    """Makes the dead letter of an event that Kafka refuses; a snapshot or a dead letter has none."""

    def make(record: Outgoing, why: str) -> Outgoing | None:
        if record.topic in {topics.dead, topics.state}:
            return None
        _LOG.error("%s refuses an event: %s", record.topic, why)
        count()
        headers = [
            ("reason", b"oversize"),
            ("detail", why.encode()),
            ("origin", f"kafka:{record.topic}".encode()),
        ]
        return Outgoing(topics.dead, record.value, record.key, headers)

    return make


def _headers(
    topics: TopicSettings, partition: int, offset: int, reason: DeadReason, detail: str
) -> list[tuple[str, bytes]]:
    return [
        ("reason", reason.value.encode()),
        ("detail", detail[:_DETAIL_LIMIT].encode(errors="replace")),
        ("origin", f"kafka:{topics.telemetry}/{partition}/{offset}".encode()),
    ]
