import logging

import aiomqtt
import pytest
from aiokafka.consumer.fetcher import PartitionRecords
from faust.transport.consumer import Consumer

from processor.bridge import aiomqtt_source
from processor.errors import StreamError
from processor.flow import transport
from processor.flow.logs import PlainRefusals
from processor.ratelimit import RateLimit


def test_the_faust_that_is_installed_has_every_name_that_the_transport_leans_on() -> None:
    transport.check_names()


def test_a_faust_that_moved_a_name_is_refused_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(Consumer, "_filter_committable_offsets")
    with pytest.raises(StreamError, match=r"Consumer\._filter_committable_offsets moved"):
        transport.check_names()


def test_an_aiokafka_that_moved_a_name_is_refused_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(PartitionRecords, "_consumer_record")
    with pytest.raises(StreamError, match=r"PartitionRecords\._consumer_record moved"):
        transport.check_names()


def test_the_mqtt_clients_that_are_installed_have_every_name_that_the_source_leans_on() -> None:
    aiomqtt_source.check_names()


def test_an_aiomqtt_that_moved_a_name_is_refused_with_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(aiomqtt.Client, "_on_disconnect")
    with pytest.raises(StreamError, match=r"Client\._on_disconnect moved"):
        aiomqtt_source.check_names()


def test_a_message_repeated_a_thousand_times_is_written_a_few_times_and_counted() -> None:
    now = 0.0
    limit = RateLimit(3, 30.0, monotonic=lambda: now)

    def passes() -> tuple[bool, str]:
        record = logging.LogRecord("aiokafka", logging.ERROR, "", 0, "cannot reach %s", ("it",), None)
        return limit.filter(record), record.getMessage()

    assert [passes()[0] for _ in range(1000)].count(True) == 3
    now = 31.0
    assert passes() == (True, "cannot reach it (and 997 more like it)")


def test_a_refusal_is_logged_as_its_own_text_without_a_stack() -> None:
    error = StreamError("the snapshot has version 2: run the newer program")
    record = logging.LogRecord(
        "mode", logging.ERROR, "", 0, "Crashed: %r", (error,), (StreamError, error, None)
    )
    assert PlainRefusals().filter(record)
    assert logging.Formatter("%(message)s").format(record) == str(error)
