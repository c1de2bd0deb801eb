import json
import time

import pytest
from confluent_kafka import Producer

from processor.cli import main
from tests.support.kafka import Read, read_all, until
from tests.support.watch import Watch

pytestmark = pytest.mark.timeout(90)

ASSET = "02iAB00000CdEfGYAV"
OTHER = "02iAB00000CdEfHYAV"
#: An hour ago: a real Kafka deletes what is older than its retention.
RECEIVED = int(time.time() * 1000) - 3_600_000
RULES = """
rules:
  - id: overheat
    kind: case
    severity: high
    title: Too hot
    select: {metric: temperature}
    detect: {threshold: {above: 80}}
"""


class Desk:
    """Writes letters, and speaks to ``processor dlq``."""

    def __init__(self, watch: Watch, output: pytest.CaptureFixture[str]) -> None:
        self.watch = watch
        self._output = output
        self.config = watch.settings(engine__unknown_metrics="dead")
        self._producer = Producer(
            {
                "bootstrap.servers": watch.kafka.bootstrap,
                "partitioner": "murmur2_random",
                "log_level": 0,
            }
        )

    def write(
        self,
        topic: str,
        value: bytes | None,
        key: str | None = ASSET,
        timestamp: int = 0,
        **headers: str,
    ) -> None:
        self._producer.produce(
            self.watch.topic(topic),
            value,
            None if key is None else key.encode(),
            timestamp=timestamp,
            headers=[(name, text.encode()) for name, text in headers.items()],
        )
        assert self._producer.flush(20) == 0

    def letter(self, value: bytes | None, key: str | None = ASSET, **headers: str) -> None:
        self.write("dead", value, key, 0, **{"reason": "malformed", "detail": "d", **headers})

    def origin(self, offset: int = 0) -> str:
        return f"kafka:{self.watch.topic('telemetry')}/0/{offset}"

    def dlq(self, *words: str, expect: int = 0) -> str:
        self._output.readouterr()
        try:
            code = main(["dlq", *words, "--config", str(self.config)])
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self._output.readouterr()
        assert code == expect, said
        return said.out + said.err

    def telemetry(self) -> list[Read]:
        return read_all(self.watch.kafka, self.watch.topic("telemetry"))


@pytest.fixture
def desk(watch: Watch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(watch, capsys)


def test_what_the_worker_set_aside_goes_back_as_it_came_and_is_judged_again(desk: Desk) -> None:
    watch = desk.watch
    (watch.directory / "rules.yaml").write_text(RULES)
    value = b' {"metrics":{"pressure":7}} '
    desk.write("telemetry", value, timestamp=RECEIVED, t="telemetry", ct="application/json")
    worker = watch.start("worker", "--config", desk.config)
    until(lambda: read_all(watch.kafka, watch.topic("dead")), 20, "a letter")
    (found,) = (json.loads(line) for line in desk.dlq("list", "--json").splitlines())
    assert (found["reason"], found["asset"], found["topic"], found["bytes"]) == (
        "unknown_metric", ASSET, "telemetry", len(value),
    )  # fmt: skip
    assert found["origin"].startswith(f"kafka:{watch.topic('telemetry')}/")
    shown = desk.dlq("show", found["letter"])
    assert '{"metrics":{"pressure":7}}' in shown
    assert "header   ct: application/json" in shown

    assert "1 would be written" in desk.dlq("replay", found["letter"], "--dry-run")
    assert len(desk.telemetry()) == 1
    assert "1 written, 0 skipped, 0 failed" in desk.dlq("replay", found["letter"])
    first, second = desk.telemetry()
    assert (second.value, second.key, second.timestamp, second.partition) == (
        value, ASSET.encode(), RECEIVED, first.partition,
    )  # fmt: skip
    assert second.headers == {
        "t": b"telemetry", "ct": b"application/json",
        "replay": f"{watch.topic('dead')}/{found['letter']}".encode(),
    }  # fmt: skip

    until(lambda: len(read_all(watch.kafka, watch.topic("dead"))) == 2, 20, "it is set aside again")
    again = max(read_all(watch.kafka, watch.topic("dead")), key=lambda one: one.offset)
    assert (again.value, again.headers["replay"]) == (value, second.headers["replay"])

    good = b'{"ts":%d,"metrics":{"temperature":7}}' % RECEIVED
    desk.letter(good, OTHER, origin=desk.origin(9), t="telemetry")
    assert "1 written" in desk.dlq("replay", "--asset", OTHER)
    for seq in (1, 2, 6):
        number = b'{"ts":%d,"seq":%d,"metrics":{"temperature":1}}' % (RECEIVED + seq, seq)
        desk.write("telemetry", number, t="telemetry")
    until(
        lambda: worker.metric("processor_worker_samples_total", outcome="judged") == 4, 20, "all are judged"
    )
    assert worker.metric("processor_worker_evaluations_total") == 4
    assert worker.metric("processor_worker_sequence_gaps_total") == 3
    until(lambda: worker.metric("processor_worker_state_bytes") > 0, 20, "memory is measured")
    assert worker.end() == 0


def test_letters_are_listed_by_reason_asset_time_and_number_and_nothing_in_them_reaches_the_terminal(
    desk: Desk,
) -> None:
    desk.letter(b"\x1b[2J", origin=desk.origin(1), t="telemetry/\x1b[2J")
    desk.letter(b"x", OTHER, origin=desk.origin(2), t="telemetry", reason="oversize")
    place = json.loads(desk.dlq("list", "--json", "--asset", ASSET))["letter"]
    assert "\x1b" not in desk.dlq("list") + desk.dlq("show", place)
    for nowhere in ("99999999999/0", "0/99999999999999999999"):
        assert "expected partition/offset" in desk.dlq("show", nowhere, expect=2)
    desk.letter(b"x", "odd", origin=desk.origin(3), t="telemetry", reason="\x1b[2J")
    assert "\\u001b[2J" in desk.dlq("list", "--asset", "odd")
    assert len(desk.dlq("list").splitlines()) == 3
    assert OTHER in desk.dlq("list", "--reason", "oversize")
    assert OTHER in desk.dlq("list", "--asset", OTHER[:15])
    assert len(desk.dlq("list", "--limit", "1").splitlines()) == 1
    assert len(desk.dlq("list", "--since", "1h").splitlines()) == 3
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    assert desk.dlq("list", "--since", later) == "no letter fits\n"
    assert "\\u001b[2J" in desk.dlq("show", place)
    assert "holds no letter 3/9" in desk.dlq("show", "3/9", expect=1)
    assert "holds no letter 99/0" in desk.dlq("show", "99/0", expect=1)


def test_a_misspelt_reason_is_no_reason_without_letters(desk: Desk) -> None:
    desk.letter(b"x", origin=desk.origin(1), t="telemetry", reason="unknown_metric")
    for words in (("list",), ("replay", "--dry-run")):
        said = desk.dlq(*words, "--reason", "unknown-metric", expect=2)
        assert "found 'unknown-metric', expected 'unknown_metric'" in said
    assert "found 'x', expected one of malformed, oversize" in desk.dlq("list", "--reason", "x", expect=2)


def test_only_telemetry_goes_back_and_the_same_record_once_a_run(desk: Desk) -> None:
    desk.letter(b"1", origin=desk.origin(5), t="telemetry/a", reason="unknown_metric")
    desk.letter(b"1", origin=desk.origin(5), t="telemetry/a", reason="unknown_metric")
    desk.letter(b"2", origin=f"mqtt:assets/{ASSET}/telemetry/b")
    desk.letter(b"2", origin=f"mqtt:assets/{ASSET}/telemetry/b")
    desk.letter(b"3", None, origin="mqtt:elsewhere")
    desk.letter(None, origin=desk.origin(6), reason="retention")
    desk.letter(b"{}", origin=f"kafka:{desk.watch.topic('cases')}")
    desk.letter(b"4", origin=desk.origin(7))
    desk.letter(b"5", origin=f"mqtt:assets/{ASSET}/telemetry", cut="17000000")
    # What Kafka did not take from the bridge has no offset.
    desk.letter(b"6", origin=f"kafka:{desk.watch.topic('telemetry')}", t="telemetry/c", reason="clock_ahead")
    desk.letter(b"6", origin=f"kafka:{desk.watch.topic('telemetry')}", t="telemetry/c", reason="clock_ahead")
    said = desk.dlq("replay", "--all")
    assert "5 written, 6 skipped, 0 failed" in said
    for why in (
        "it has only the beginning of its payload",
        "the same record as a letter before it", "it has no asset id", "it has no payload",
        "it was no telemetry", "its topic is not known",
    ):  # fmt: skip
        assert why in said
    assert sorted((each.value, each.headers["t"]) for each in desk.telemetry()) == [
        (b"1", b"telemetry/a"), (b"2", b"telemetry/b"), (b"2", b"telemetry/b"),
        (b"6", b"telemetry/c"), (b"6", b"telemetry/c"),
    ]  # fmt: skip


def test_a_replay_of_everything_must_be_asked_for(desk: Desk) -> None:
    desk.letter(b"1", origin=desk.origin(5), t="telemetry/a")
    assert "say --all" in desk.dlq("replay", expect=2)
    assert "not both" in desk.dlq("replay", "0/0", "--all", expect=2)
    assert "expected partition/offset" in desk.dlq("replay", "7", expect=2)
    assert desk.telemetry() == []
    desk.letter(b"2", origin=desk.origin(6), t="telemetry/a")
    assert "1 written, 0 skipped" in desk.dlq("replay", "--reason", "malformed", "--limit", "1")
    assert [each.value for each in desk.telemetry()] == [b"1"]
