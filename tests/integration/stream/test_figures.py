"""What a running bridge and worker tell of themselves, each figure against what was sent."""

import json
import time
import urllib.request

import pytest
from confluent_kafka import Producer

from tests.support.kafka import until
from tests.support.telemetry import rules_text
from tests.support.watch import PlainBroker, Program, Watch, device

pytestmark = [
    pytest.mark.needs("mosquitto"),
    pytest.mark.timeout(90),
    pytest.mark.parametrize("kafka", ["embedded"], indirect=True),
]

ASSET = "02iAB0000000001AAA"
START = 1_760_000_000_000
#: Every figure that an operator is promised, by the program that tells it.
BRIDGE = {
    "processor_bridge_in_flight",
    "processor_bridge_oldest_unacked_seconds",
    "processor_bridge_heartbeat_age_seconds",
}
WORKER = {
    "processor_worker_lag_records",
    "processor_worker_lag_seconds",
    "processor_worker_commit_age_seconds",
    "processor_worker_batch_seconds_count",
    "processor_worker_samples_total",
    "processor_worker_evaluations_total",
    "processor_worker_transitions_total",
    "processor_worker_dead_letters_total",
    "processor_worker_state_rows",
    "processor_worker_state_bytes",
    "processor_worker_recovery_ratio",
    "processor_worker_rebalances_total",
    "processor_worker_heartbeat_age_seconds",
    "processor_worker_rule_sets",
}


def names(program: Program) -> set[str]:
    with urllib.request.urlopen(program.ready["metrics"], timeout=5) as response:  # noqa: S310 - loopback, ours
        text = response.read().decode()
    return {
        line.partition(" ")[0].partition("{")[0] for line in text.splitlines() if not line.startswith("#")
    }


def test_a_bridge_that_is_said_to_be_gone_holds_no_partitions_clock(watch: Watch) -> None:
    (watch.directory / "rules.yaml").write_text(rules_text("{threshold: {above: 80}}"))
    settings = watch.settings()
    worker = watch.start("worker", "--config", settings)
    producer = Producer({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})

    def beat(bridge: str) -> None:
        for number in range(watch.partitions):
            value = json.dumps({"ts": int(time.time() * 1000), "bridge": bridge}).encode()
            producer.produce(watch.topic("telemetry"), value, None, number, headers=[("hb", b"1")])
        assert producer.flush(20) == 0

    beat("old")
    time.sleep(4)
    beat("new")
    until(lambda: worker.metric("processor_worker_heartbeat_age_seconds") > 4 * 4, 10, "the clock stands")
    said = watch.run("bridge", "--gone", "old", "--config", settings)
    assert f"the clocks of {watch.partitions} partitions wait for old no more" in said
    beat("new")
    until(lambda: worker.metric("processor_worker_heartbeat_age_seconds") < 4 * 3, 10, "the clock goes on")
    assert worker.metric("processor_worker_dead_letters_total") == 0
    assert worker.end() == 0


def test_every_figure_is_told_and_is_what_was_sent(watch: Watch, plain_broker: PlainBroker) -> None:
    watch.mqtt_port = plain_broker.port
    (watch.directory / "rules.yaml").write_text(rules_text("{threshold: {above: 80}}"))
    settings = watch.settings()
    bridge = watch.start("bridge", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    with device(watch.mqtt_port) as sender:
        for t, value in ((1, 70), (2, 90), (2, 90), (2, 91), (1, 70), (3, 60)):
            message = {"ts": START + t * 1000, "metrics": {"temperature": value, "pressure": 1}}
            sender.publish(f"assets/{ASSET}/telemetry", json.dumps(message).encode())
        sender.publish(f"assets/{ASSET}/telemetry", b"garbage")
        sender.publish(f"assets/{ASSET}/telemetry", b'{"metrics": {"temperature": NaN}}')
        sender.settle()
    until(
        lambda: worker.metric("processor_worker_samples_total", outcome="received") == 14, 20, "all samples"
    )
    outcomes = {
        name: worker.metric("processor_worker_samples_total", outcome=name)
        for name in ("judged", "dead", "late", "duplicate", "conflict")
    }
    assert outcomes == {"judged": 6, "dead": 2, "late": 2, "duplicate": 3, "conflict": 1}
    for reason in ("malformed", "non_finite"):
        assert worker.metric("processor_worker_dead_letters_total", reason=reason) == 1
    assert worker.metric("processor_worker_evaluations_total") == 3
    assert worker.metric("processor_worker_transitions_total") == 2
    until(lambda: worker.metric("processor_worker_state_rows", kind="series") == 2, 10, "the next measuring")
    assert worker.metric("processor_worker_state_rows", kind="threshold") == 1
    assert worker.metric("processor_worker_state_bytes") > 0
    assert worker.metric("processor_worker_recovery_ratio") == 1
    assert worker.metric("processor_worker_rebalances_total") == 1
    assert worker.metric("processor_worker_rule_sets") == watch.partitions
    until(lambda: worker.metric("processor_worker_commit_age_seconds") < 2, 10, "a commit")
    assert names(bridge) >= BRIDGE
    assert names(worker) >= WORKER
    assert bridge.metric("processor_bridge_received_total") >= 8
    until(lambda: bridge.metric("processor_bridge_in_flight") == 0, 10, "all is safe in Kafka")
    assert worker.end() == 0
    assert bridge.end() == 0
