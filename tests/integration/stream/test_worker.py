import json
import signal
from collections import Counter
from collections.abc import Callable, Sequence

import pytest
from confluent_kafka import Producer

from tests.support.kafka import ApacheKafka, Kafka, Read, committed, read_all, until
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

    def telemetry(self, count: int) -> None:
        """Each sample's own hot phase opens one case and its cool phase closes it."""
        for number in range(self.sent, self.sent + count):
            step, asset = divmod(number, len(ASSETS))
            t = START + step * 1000
            value = {"ts": t, "seq": step, "metrics": {"temperature": 95.0 if step % 10 < 3 else 20.0}}
            self.raw(json.dumps(value).encode(), ASSETS[asset].encode())
        self.sent += count
        assert self._producer.flush(20) == 0

    def raw(self, value: bytes, key: bytes | None) -> None:
        while True:
            try:
                self._producer.produce(
                    self._watch.topic("telemetry"), value, key, headers=[("t", b"telemetry")]
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                return

    def flush(self) -> None:
        assert self._producer.flush(20) == 0

    def expected(self) -> set[tuple[str, str, str]]:
        """(asset, event, event time in ms) of every case event that what was sent must give."""
        found = set()
        steps, more = divmod(self.sent, len(ASSETS))
        for index, asset in enumerate(ASSETS):
            for step in range(steps + (1 if index < more else 0)):
                if step % 10 == 0:
                    found.add((asset, "opened", START + step * 1000))
                if step % 10 == 3:
                    found.add((asset, "closed", START + step * 1000))
        return found


def cases(watch: Watch) -> list[Read]:
    return read_all(watch.kafka, watch.topic("cases"))


def told(records: Sequence[Read]) -> Counter[tuple[str, str]]:
    """(asset, kind of event) → how many different ones."""
    events = {json.loads(r.value or b"")["id"]: json.loads(r.value or b"") for r in records}
    return Counter((event["subject"], event["type"].split(".")[2]) for event in events.values())


def expect(feed: Feed) -> Counter[tuple[str, str]]:
    return Counter((asset, kind) for asset, kind, _ in feed.expected())


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
    until(lambda: told(cases(judged)) == expect(feed), 15, "good records among them are judged")
    assert program.metric("processor_worker_dead_letters_total") == len(bad)


def test_a_worker_killed_in_mid_stream_loses_nothing_and_its_repeats_have_the_same_ids(judged: Watch) -> None:
    feed = Feed(judged)
    settings = judged.settings(worker__instance_id="one", worker__run_size=50)
    for _ in range(2):
        program = judged.start("worker", "--config", settings)
        seen = len(cases(judged))
        feed.telemetry(4000)
        until(lambda: len(cases(judged)) > seen + 100, 15, "cases flow")  # noqa: B023 - read at once
        program.end(signal.SIGKILL)
        behind = committed(judged.kafka, judged.group, judged.topic("telemetry"), 4)
        assert all(offset <= feed.sent for offset in behind.values())
    last = judged.start("worker", "--config", settings)
    until(lambda: told(cases(judged)) == expect(feed), 20, "exactly the cases that one quiet run gives")
    until(all_committed(judged, feed.sent), 10, "everything committed")
    assert last.end() == 0


def test_a_worker_stopped_in_mid_stream_repeats_nothing(judged: Watch) -> None:
    feed = Feed(judged)
    # Snapshots come only from the clean stop: what it saves is all that the next start has.
    settings = judged.settings(worker__instance_id="one", worker__state_interval=60)
    for _ in range(2):
        program = judged.start("worker", "--config", settings)
        feed.telemetry(4000)
        until(lambda: program.metric("processor_worker_records_total") > 500, 15, "records flow")  # noqa: B023
        assert program.end() == 0
    judged.start("worker", "--config", settings)
    until(lambda: told(cases(judged)) == expect(feed), 20, "every case")
    assert len(cases(judged)) == sum(expect(feed).values())


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
    until(lambda: told(cases(judged)) == expect(feed), 15, "each closed")
    ids = Counter(json.loads(r.value or b"")["data"]["caseId"] for r in cases(judged))
    assert set(ids.values()) == {2}


def real(kafka: Kafka) -> ApacheKafka:
    assert isinstance(kafka, ApacheKafka)
    return kafka


on_the_real_kafka = [
    pytest.mark.needs("java", "maven"),
    pytest.mark.parametrize("kafka", ["apache_node"], indirect=True, ids=["apache"]),
]


class TestOnTheRealKafka:
    pytestmark = on_the_real_kafka

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
        until(lambda: told(cases(judged)) == expect(feed), 20, "exactly the cases that one quiet run gives")
        until(all_committed(judged, feed.sent), 10, "everything committed")
        assert one.end() == 0

    def test_a_frozen_worker_that_wakes_after_its_partitions_were_taken_spoils_nothing(
        self, judged: Watch
    ) -> None:
        feed = Feed(judged)
        frozen = worker(judged, worker__run_size=50)
        feed.telemetry(3000)
        until(lambda: len(cases(judged)) > 100, 15, "cases flow")
        frozen.process.send_signal(signal.SIGSTOP)
        taker = worker(judged, worker__run_size=50)
        feed.telemetry(3000)
        until(lambda: taker.metric("processor_worker_partitions") == 4, 20, "taken over")
        frozen.process.send_signal(signal.SIGCONT)
        feed.telemetry(3000)
        until(lambda: told(cases(judged)) == expect(feed), 25, "exactly the cases that one quiet run gives")

    def test_kafka_restarted_under_a_worker_loses_nothing(self, judged: Watch) -> None:
        feed = Feed(judged)
        program = worker(judged)
        feed.telemetry(2000)
        until(lambda: len(cases(judged)) > 100, 15, "cases flow")
        node = real(judged.kafka)
        node.stop()
        node.start()
        feed.telemetry(2000)
        until(lambda: told(cases(judged)) == expect(feed), 30, "every case")
        until(all_committed(judged, feed.sent), 15, "everything committed")
        assert program.end() == 0
