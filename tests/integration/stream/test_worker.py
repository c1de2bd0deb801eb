"""The worker on Kafka: what it judges, saves and tells through crashes, restarts and rebalances.

Long, because one feed and one way to compare serve everything that may happen to a worker.
"""

import json
import re
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Message, Producer

from processor.engine import Engine
from processor.kafka.partitioner import choose_partition
from processor.rules import parse_rules
from tests.support.kafka import ApacheKafka, Kafka, Read, committed, length, read_all, start_embedded, until
from tests.support.watch import PlainBroker, Program, Watch, device

pytestmark = pytest.mark.timeout(90)

RULES = """
rules:
  - id: overheat
    kind: case
    severity: high
    title: Too hot
    select: {metric: temperature}
    detect: {threshold: {above: 80, hysteresis: 5}}
"""
START = 1_760_000_000_000
ASSETS = [f"02iAB00000{n:05d}AAA" for n in range(40)]


@pytest.fixture
def judged(watch: Watch) -> Watch:
    (watch.directory / "rules.yaml").write_text(RULES)
    return watch


class Feed:
    """Writes telemetry as the bridge does: each asset heats up and cools down again and again."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._producer = Producer(
            {"bootstrap.servers": watch.kafka.bootstrap, "partitioner": "murmur2_random", "linger.ms": 5,
             "acks": "all", "log_level": 0}
        )  # fmt: skip
        self.sent = 0
        #: Where Kafka put each sample: (partition, offset) of sample 0, 1, …
        self.places: dict[int, tuple[int, int]] = {}

    def telemetry(self, count: int) -> None:
        """Each sample's own hot phase opens one case and its cool phase closes it."""
        for number in range(self.sent, self.sent + count):
            step, asset = divmod(number, len(ASSETS))
            t = START + step * 1000
            value = {"ts": t, "seq": step, "metrics": {"temperature": 95.0 if step % 10 < 3 else 20.0}}
            self.raw(json.dumps(value).encode(), ASSETS[asset].encode(), number)
        self.sent += count
        assert self._producer.flush(20) == 0

    def raw(self, value: bytes, key: bytes | None, number: int = -1, *, received: int = 0) -> None:
        """One record, received at that second since the epoch; 0 stands for the present."""

        def stored(_error: object, message: Message) -> None:
            partition, offset = message.partition(), message.offset()
            if number >= 0 and partition is not None and offset is not None:
                self.places[number] = (partition, offset)

        while True:
            try:
                self._producer.produce(
                    self._watch.topic("telemetry"), value, key, headers=[("t", b"telemetry")],
                    on_delivery=stored, timestamp=received * 1000,
                )  # fmt: skip
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def ends(self) -> dict[int, int]:
        """The next offset of each partition."""
        return {p: max(o for q, o in self.places.values() if q == p) + 1 for p, _ in self.places.values()}

    def expected(self, below: Mapping[int, int] | None = None) -> set[tuple[str, str, int]]:
        """(asset, event, event time in ms) of every case event that what was sent must give.

        `below`: only of what lies below these offsets of the partitions.
        """
        found = set()
        for number in range(self.sent):
            partition, offset = self.places[number]
            step, asset = divmod(number, len(ASSETS))
            if (below is None or offset < below[partition]) and step % 10 in {0, 3}:
                found.add((ASSETS[asset], "opened" if step % 10 == 0 else "closed", START + step * 1000))
        return found


def cases(watch: Watch) -> list[Read]:
    return read_all(watch.kafka, watch.topic("cases"))


def told(records: Sequence[Read]) -> set[tuple[str, str, int]]:
    """(asset, event, event time in ms) of every case event."""
    found = set()
    for event in (json.loads(record.value or b"") for record in records):
        time = datetime.fromisoformat(event["time"])
        found.add((event["subject"], event["type"].split(".")[2], round(time.timestamp() * 1000)))
    return found


def wait_for_cases(watch: Watch, feed: Feed, seconds: float = 20) -> None:
    """Wait until exactly the case events of what was sent are there, however often each."""
    expected = feed.expected()
    until(lambda: length(watch.kafka, watch.topic("cases")) >= len(expected), seconds, "enough case events")
    until(lambda: told(cases(watch)) == expected, seconds, "exactly the cases of what was sent")


class Quiet(NamedTuple):
    """A record as the engine takes it."""

    key: bytes | None
    value: bytes | None
    offset: int
    timestamp: int
    headers: list[tuple[str, bytes]]


def quiet_run(watch: Watch) -> dict[str, bytes]:
    """Id → bytes of every case event that one engine finds in what Kafka holds, a partition at a time."""
    found: dict[str, bytes] = {}
    records = read_all(watch.kafka, watch.topic("telemetry"))
    for partition in range(watch.partitions):
        engine = Engine(parse_rules(RULES), partition=partition, jit=False)
        mine = [
            Quiet(r.key, r.value, r.offset, r.timestamp, list(r.headers.items()))
            for r in sorted(records, key=lambda r: r.offset)
            if r.partition == partition
        ]
        found |= {event.id: event.value for event in engine.advance(mine).events}
    return found


def same_as_a_quiet_run(watch: Watch, feed: Feed, seconds: float = 20) -> None:
    """Every case event is there, and whatever is there, repeats too, has a quiet run's id and bytes."""
    wait_for_cases(watch, feed, seconds)
    expected = quiet_run(watch)
    written = cases(watch)
    assert {json.loads(record.value or b"")["id"] for record in written} == set(expected)
    assert {record.value for record in written} == set(expected.values())


def nothing_committed_is_unjudged(watch: Watch, feed: Feed) -> None:
    """Whatever lies below the group's offsets has its case events in Kafka already."""
    offsets = committed(watch.kafka, watch.group, watch.topic("telemetry"), watch.partitions)
    assert feed.expected(below=offsets) <= told(cases(watch))


def worker(watch: Watch, **more: object) -> Program:
    return watch.start("worker", "--config", watch.settings(**more))


def all_committed(watch: Watch, feed_total: int) -> Callable[[], bool]:
    return lambda: sum(
        max(0, offset) for offset in committed(watch.kafka, watch.group, watch.topic("telemetry"), 4).values()
    ) == feed_total  # fmt: skip


def test_from_mqtt_to_a_case_event(judged: Watch, plain_broker: PlainBroker) -> None:
    judged.mqtt_port = plain_broker.port
    judged.start("bridge", "--config", judged.settings())
    program = worker(judged)
    with device(plain_broker.port) as sender:
        for step, value in enumerate((20, 95, 96, 20)):
            payload = {"ts": START + step * 1000, "metrics": {"temperature": value}}
            sender.publish(f"assets/{ASSETS[0]}/telemetry", json.dumps(payload).encode())
        sender.settle()
    until(lambda: len(cases(judged)) == 2, 15, "a case opened and closed")
    opened, closed = cases(judged)
    assert opened.key == closed.key == ASSETS[0].encode()
    event = json.loads(opened.value or b"")
    assert event["type"] == "assetgate.case.opened.v1"
    assert event["data"]["rule"]["id"] == "overheat"
    assert json.loads(closed.value or b"")["data"]["caseId"] == event["data"]["caseId"]
    assert program.metric("processor_worker_samples_total", outcome="judged") == 4
    assert program.end() == 0


def test_what_cannot_be_judged_is_a_dead_letter_with_its_reason_its_origin_and_its_bytes(
    judged: Watch,
) -> None:
    program = worker(judged)
    feed = Feed(judged)
    bad = [b"", b"not json", b"\xff\xfe\x00", b"[" * 5000, b'{"ts":1,"metrics":{"temperature":NaN}}',
           b'{"ts":1760000000000,"metrics":{"a":"hot"}}',
           b'{"ts":1760000000000,"asset":"someone else","metrics":{"a":1}}']  # fmt: skip
    for value in bad:
        feed.raw(value, ASSETS[0].encode())
    feed.flush()
    feed.telemetry(40)
    until(lambda: len(read_all(judged.kafka, judged.topic("dead"))) == len(bad), 15, "a dead letter each")
    letters = read_all(judged.kafka, judged.topic("dead"))
    assert sorted(letter.value or b"" for letter in letters) == sorted(bad)
    origins = {letter.headers["origin"].decode().rpartition("/")[0] for letter in letters}
    assert len(origins) == 1
    assert origins.pop().startswith(f"kafka:{judged.topic('telemetry')}/")
    reasons = {letter.headers["reason"].decode() for letter in letters}
    assert {"malformed", "identity_mismatch"} <= reasons
    assert all(letter.headers["t"] == b"telemetry" for letter in letters)
    wait_for_cases(judged, feed)
    assert program.metric("processor_worker_dead_letters_total") == len(bad)


def test_a_memory_under_a_key_of_another_build_is_refused_unless_a_later_one_has_taken_its_place(
    judged: Watch,
) -> None:
    settings, state = judged.settings(), judged.topic("state")
    producer = Producer({"bootstrap.servers": judged.kafka.bootstrap, "log_level": 0})
    producer.produce(state, b"memory", b"1.0", 1)
    assert producer.flush(20) == 0
    refused = judged.run("worker", "--config", settings, expect=1)
    assert f"{state}[1] holds a memory under the key '1.0'" in refused
    assert "write a tombstone for that key" in refused
    assert "under the key '1.0'" in judged.run("topics", "check", "--config", settings, expect=1)
    producer.produce(state, None, b"1.0", 1)
    assert producer.flush(20) == 0
    program = worker(judged)
    feed = Feed(judged)
    feed.telemetry(len(ASSETS))
    until(all_committed(judged, feed.sent), 10, "saved")
    assert program.end() == 0
    producer.produce(state, b"memory", b"1.0", 1)
    assert producer.flush(20) == 0
    again = worker(judged)
    assert f"{state}[1]: what lies under the key '1.0' is passed over" in again.said
    assert again.end() == 0


def test_an_asset_that_invents_metrics_and_floods_is_found_and_the_others_are_judged(judged: Watch) -> None:
    program = worker(judged, engine__series=8, worker__dead_letters=20)
    feed = Feed(judged)
    for number in range(200):
        value = {"ts": START + number, "metrics": {f"invented{number}": number}}
        feed.raw(json.dumps(value).encode(), b"02iBAD0000000000AA")
        feed.raw(b"flood", b"02iBAD0000000001AA")
    feed.telemetry(len(ASSETS) * 4)
    until(lambda: feed.expected() <= told(cases(judged)), 15, "the other assets are judged")
    until(
        lambda: program.metric("processor_worker_samples_total", outcome="dead") == 392, 15, "all is counted"
    )
    found = [json.loads(record.value or b"") for record in cases(judged)]
    findings = {(e["subject"], e["data"]["rule"]["id"]) for e in found if ".security." in e["type"]}
    assert findings == {
        ("02iBAD0000000000AA", "limit:series"),
        ("02iBAD0000000000AA", "limit:dead-letters"),
        ("02iBAD0000000001AA", "limit:dead-letters"),
    }
    assert program.metric("processor_worker_dead_letters_total", reason="series_limit") == 192
    assert program.metric("processor_worker_events_total", rule="limit:series") == 1
    assert program.end() == 0


def test_how_far_a_worker_is_behind_is_told_in_records_and_in_seconds_until_it_has_caught_up(
    judged: Watch,
) -> None:
    count, late = 800, 3600
    # A record a step, and each step waits until Kafka has its case event: the gauges are read in between.
    program = worker(judged, worker__run_size=1)
    feed = Feed(judged)
    for number in range(count):
        value = {"ts": START + number, "metrics": {"temperature": 95 if number % 2 == 0 else 20}}
        feed.raw(json.dumps(value).encode(), ASSETS[0].encode(), received=int(time.time()) - late)
    feed.flush()

    def lag(unit: str, **labels: str) -> float:
        return program.metric(f"processor_worker_lag_{unit}", **labels)

    until(lambda: lag("records") > 0, 20, "a lag is told")
    assert lag("records") <= count
    # Of the one partition that has records.
    behind = choose_partition(ASSETS[0].encode(), judged.partitions)
    others = [str(number) for number in range(judged.partitions) if number != behind]
    assert [lag("records", partition=number) for number in others] == [0, 0, 0]
    until(lambda: lag("seconds", partition=str(behind)) >= late, 20, "its age is told")
    until(lambda: program.metric("processor_worker_records_total") == count, 60, "all is judged")
    until(lambda: lag("records") == lag("seconds") == 0, 20, "there is no lag any more")
    assert program.end() == 0


def test_a_worker_killed_in_mid_stream_loses_nothing_and_its_repeats_have_the_same_ids(judged: Watch) -> None:
    feed = Feed(judged)
    settings = judged.settings(worker__instance_id="one", worker__run_size=20)
    # Once from nothing; on the real Kafka once more, from a snapshot.
    for _ in range(2 if judged.kafka.real else 1):
        program = judged.start("worker", "--config", settings)
        feed.telemetry(2000)
        until(lambda: program.metric("processor_worker_records_total") > 300, 15, "records flow")  # noqa: B023
        program.end(signal.SIGKILL)
        nothing_committed_is_unjudged(judged, feed)
    last = judged.start("worker", "--config", settings)
    same_as_a_quiet_run(judged, feed)
    until(all_committed(judged, feed.sent), 10, "everything committed")
    assert last.end() == 0


def test_a_worker_stopped_in_mid_stream_repeats_nothing(judged: Watch) -> None:
    feed = Feed(judged)
    # Snapshots come only from the clean stop: what it saves is all that the next start has.
    settings = judged.settings(worker__instance_id="one", worker__state_interval=60)
    program = judged.start("worker", "--config", settings)
    feed.telemetry(4000)
    until(lambda: program.metric("processor_worker_records_total") > 500, 15, "records flow")
    assert program.end() == 0
    # Negative: a partition of which nothing was judged before the stop.
    offsets = committed(judged.kafka, judged.group, judged.topic("telemetry"), 4)
    done = sum(max(0, offset) for offset in offsets.values())
    feed.telemetry(400)
    last = judged.start("worker", "--config", settings)
    wait_for_cases(judged, feed)
    rest = sum(feed.ends().values()) - done
    until(lambda: last.metric("processor_worker_records_total") >= rest, 10, "everything is read")
    assert last.metric("processor_worker_records_total") == rest
    assert last.end() == 0
    assert committed(judged.kafka, judged.group, judged.topic("telemetry"), 4) == feed.ends()
    assert len(cases(judged)) == len(feed.expected())


def test_an_open_case_survives_a_restart_and_is_closed_once(judged: Watch) -> None:
    settings = judged.settings(worker__instance_id="one")
    feed = Feed(judged)
    program = judged.start("worker", "--config", settings)
    feed.telemetry(len(ASSETS) * 2)  # all hot
    until(lambda: len(cases(judged)) == len(ASSETS), 15, "all open")
    until(all_committed(judged, feed.sent), 10, "saved")
    program.end(signal.SIGKILL)
    judged.start("worker", "--config", settings)
    feed.telemetry(len(ASSETS) * 6)  # the rest of the heat, then cool
    wait_for_cases(judged, feed)
    ids = Counter(json.loads(r.value or b"")["data"]["caseId"] for r in cases(judged))
    assert set(ids.values()) == {2}


def test_a_worker_whose_kafka_is_gone_ends_on_sigterm_and_says_that_nothing_is_lost(tmp_path: Path) -> None:
    process, kafka = start_embedded(4, ["unused"])
    watch = Watch(kafka, tmp_path)
    (tmp_path / "rules.yaml").write_text(RULES)
    try:
        watch.run("topics", "create", "--config", watch.settings())
        program = worker(watch, worker__session_timeout=1, worker__state_interval=60)
        Feed(watch).telemetry(400)
        until(lambda: program.metric("processor_worker_records_total") == 400, 15, "records flow")
        process.kill()
        process.wait(10)
        # Twice, as somebody does who sees it wait.
        program.process.send_signal(signal.SIGTERM)
        assert program.end(seconds=2 * 1 + 5) == 1
    finally:
        process.kill()
        process.communicate()
        watch.close()
    assert "Kafka is away: ending without a last snapshot; nothing is lost" in program.said
    for noise in ("Traceback", "was destroyed but it is pending", "never retrieved", "never awaited"):
        assert noise not in program.said


def real(kafka: Kafka) -> ApacheKafka:
    assert isinstance(kafka, ApacheKafka)
    return kafka


on_the_real_kafka = [
    pytest.mark.needs("java", "maven"),
    pytest.mark.parametrize("kafka", ["apache_node"], indirect=True, ids=["apache"]),
]


class TestOnTheRealKafka:
    pytestmark = on_the_real_kafka

    def test_what_a_worker_released_in_a_rebalance_it_does_not_load_again_before_the_next_generation(
        self, judged: Watch
    ) -> None:
        feed = Feed(judged)
        first, frozen = (worker(judged, worker__session_timeout=6) for _ in range(2))
        until(lambda: first.metric("processor_worker_partitions") == 2, 20, "the partitions are shared")
        feed.telemetry(400)
        until(lambda: len(cases(judged)) >= len(feed.expected()), 20, "both judge")
        # One that does not answer keeps the group from its next generation for the length of a session, so
        # the fetch that the first one has on its way comes back between the two.
        frozen.process.send_signal(signal.SIGSTOP)
        third = worker(judged, worker__session_timeout=6)
        until(lambda: first.metric("processor_worker_partitions") == 2, 20, "the partitions are shared again")
        frozen.end(signal.SIGKILL)
        assert third.end() == 0
        until(lambda: first.metric("processor_worker_partitions") == judged.partitions, 20, "it has all")
        feed.telemetry(400)
        same_as_a_quiet_run(judged, feed)
        assert first.end() == 0
        # What it says of a partition that it loads stands before what it says of the generation.
        said = re.split(r"generation (\d+) of the group", first.said)
        seen: set[str] = set()
        for before, generation in zip(said[::2], said[1::2], strict=False):
            assert generation not in seen or ": rules " not in before
            seen.add(generation)
        assert "exception performing seek" not in first.said

    def test_two_workers_share_and_a_dead_ones_partitions_are_taken_over(self, judged: Watch) -> None:
        feed = Feed(judged)
        one = worker(judged, worker__run_size=50)
        feed.telemetry(3000)
        two = worker(judged, worker__run_size=50)
        until(lambda: two.metric("processor_worker_partitions") == 2, 15, "the second has its half")
        feed.telemetry(3000)
        until(lambda: two.metric("processor_worker_records_total") > 200, 15, "both judge")
        two.end(signal.SIGKILL)
        feed.telemetry(3000)
        until(lambda: one.metric("processor_worker_partitions") == 4, 20, "the first has all")
        same_as_a_quiet_run(judged, feed)
        until(all_committed(judged, feed.sent), 10, "everything committed")
        assert one.end() == 0

    def test_a_frozen_worker_that_wakes_after_its_partitions_were_taken_spoils_nothing(
        self, judged: Watch
    ) -> None:
        feed = Feed(judged)
        frozen = worker(judged, worker__run_size=50)
        feed.telemetry(3000)
        until(lambda: length(judged.kafka, judged.topic("cases")) > 100, 15, "cases flow")
        frozen.process.send_signal(signal.SIGSTOP)
        taker = worker(judged, worker__run_size=50)
        feed.telemetry(3000)
        until(lambda: taker.metric("processor_worker_partitions") == 4, 20, "taken over")
        frozen.process.send_signal(signal.SIGCONT)
        feed.telemetry(3000)
        same_as_a_quiet_run(judged, feed, 25)

    def test_kafka_restarted_under_a_worker_loses_nothing(self, judged: Watch) -> None:
        feed = Feed(judged)
        program = worker(judged)
        feed.telemetry(2000)
        until(lambda: length(judged.kafka, judged.topic("cases")) > 100, 15, "cases flow")
        node = real(judged.kafka)
        node.stop()
        node.start()
        feed.telemetry(2000)
        same_as_a_quiet_run(judged, feed, 30)
        until(all_committed(judged, feed.sent), 15, "everything committed")
        assert program.end() == 0
