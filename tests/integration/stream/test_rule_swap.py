"""A worker that is given new rules while it runs: from a stated event time, whole or not at all."""

import json
import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from processor.cases.event import write_time
from processor.rules.schedule import GRACE
from tests.integration.stream.test_worker import cases, told
from tests.support.kafka import until
from tests.support.telemetry import beat
from tests.support.watch import Program, Watch

pytestmark = pytest.mark.timeout(90)

START = 1_760_000_000_000
SWAP = START + 60_000
ASSETS = [f"02iAB00000{n:05d}AAA" for n in range(12)]
RULE = """
  - id: {name}
    kind: case
    severity: high
    title: Too hot
    select: {{metric: temperature}}
    detect: {{threshold: {{above: {above}}}}}
"""


def write(watch: Watch, above: int, *, effective: int | None = None, name: str = "overheat") -> Path:
    file = watch.directory / "rules.yaml"
    stated = "" if effective is None else f"effective: {write_time(effective)}\n"
    file.write_text(stated + "rules:" + RULE.format(name=name, above=above))
    return file


def feed(watch: Watch, seconds: range, temperature: float) -> None:
    """One sample of each asset a second."""
    producer = Producer(
        {"bootstrap.servers": watch.kafka.bootstrap, "partitioner": "murmur2_random", "log_level": 0}
    )
    for second in seconds:
        for asset in ASSETS:
            value = json.dumps({"ts": START + second * 1000, "metrics": {"temperature": temperature}})
            producer.produce(watch.topic("telemetry"), value, asset, headers=[("t", b"telemetry")])
    assert producer.flush(20) == 0


def heartbeats(watch: Watch, t: int) -> None:
    """Two a second apart in each partition, as a bridge writes them."""
    producer = Producer({"bootstrap.servers": watch.kafka.bootstrap, "log_level": 0})
    for at in (t, t + 1000):
        for partition in range(watch.partitions):
            one = beat(at)
            producer.produce(watch.topic("telemetry"), one.value, None, partition, headers=[*one.headers])
    assert producer.flush(20) == 0


def turns(kind: str, second: int) -> set[tuple[str, str, int]]:
    return {(asset, kind, START + second * 1000) for asset in ASSETS}


def wait_for(watch: Watch, expected: set[tuple[str, str, int]]) -> None:
    until(lambda: told(cases(watch)) >= expected, 20, "the case events")
    assert told(cases(watch)) == expected


def judged(worker: Program) -> float:
    return worker.metric("processor_worker_samples_total", outcome="judged")


def test_a_running_worker_swaps_its_rules_at_the_stated_time_and_a_killed_one_goes_on_so(
    watch: Watch,
) -> None:
    write(watch, 80)
    settings = watch.settings()
    watch.run("topics", "create", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    feed(watch, range(1), 70)
    until(lambda: judged(worker) == len(ASSETS), 20, "the first samples")
    write(watch, 60, effective=SWAP)
    until(lambda: worker.metric("processor_worker_rule_sets") == 2 * watch.partitions, 20, "two rule sets")
    assert worker.metric("processor_worker_rules_read_total") == 1
    assert worker.metric("processor_worker_rules_outdated") == 0, "rules that wait are not outdated"
    feed(watch, range(58, 59), 70)
    until(lambda: judged(worker) == 2 * len(ASSETS), 20, "the samples before the swap")
    assert told(cases(watch)) == set()
    worker.end(signal.SIGKILL)
    # Read again, or for the first time: samples on either side of the swap.
    feed(watch, range(59, 60), 70)
    feed(watch, range(60, 62), 70)
    worker = watch.start("worker", "--config", settings)
    wait_for(watch, turns("opened", 60))
    events = [json.loads(record.value or b"") for record in cases(watch)]
    assert {event["data"]["expected"] for event in events} == {60.0}
    assert worker.end() == 0


@pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
def test_a_wrong_file_is_refused_whole_and_the_old_rules_judge_on(watch: Watch) -> None:
    file = write(watch, 80)
    settings = watch.settings()
    watch.run("topics", "create", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    file.write_text("rules:" + RULE.format(name="fine", above=10) + RULE.format(name="wrong", above="hot"))
    until(lambda: worker.metric("processor_worker_rules_refused_total") == 1, 20, "the refusal")
    assert worker.metric("processor_worker_rules_last_read_good") == 0
    assert f"{file}:14: rules[1].detect.threshold.above: found 'hot', expected float" in worker.said
    feed(watch, range(1), 70)
    feed(watch, range(1, 2), 90)
    wait_for(watch, turns("opened", 1))
    write(watch, 80)
    worker.process.send_signal(signal.SIGHUP)
    until(lambda: worker.metric("processor_worker_rules_last_read_good") == 1, 20, "the mended file")
    assert worker.metric("processor_worker_rule_sets") == watch.partitions
    assert worker.end() == 0


@pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
def test_a_worker_with_an_older_file_judges_by_the_rules_that_have_begun_and_says_so(watch: Watch) -> None:
    write(watch, 60, effective=SWAP)
    settings = watch.settings()
    watch.run("topics", "create", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    feed(watch, range(60, 61), 50)
    until(lambda: judged(worker) == len(ASSETS), 20, "samples after the swap")
    assert worker.end() == 0
    write(watch, 80)
    worker = watch.start("worker", "--config", settings)
    feed(watch, range(61, 62), 70)
    wait_for(watch, turns("opened", 61))
    until(lambda: worker.metric("processor_worker_rules_outdated") >= 1, 20, "the warning")
    assert "states no effective time" in worker.said
    assert worker.end() == 0


@pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
def test_a_plan_that_is_taken_back_too_late_for_a_killed_worker_stays_and_the_log_says_why(
    watch: Watch,
) -> None:
    write(watch, 80)
    settings = watch.settings()
    watch.run("topics", "create", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    write(watch, 60, effective=SWAP)
    until(lambda: worker.metric("processor_worker_rule_sets") == 2 * watch.partitions, 20, "two rule sets")
    worker.end(signal.SIGKILL)
    write(watch, 80)
    worker = watch.start("worker", "--config", settings)
    until(lambda: worker.metric("processor_worker_rules_outdated") == watch.partitions, 20, "the warning")
    # Asked to look again, it does not take back either what the killed one may have told by.
    worker.process.send_signal(signal.SIGHUP)
    until(lambda: worker.metric("processor_worker_rules_read_total") == 1, 20, "the file once more")
    until(lambda: worker.said.count("states no effective time") == 2 * watch.partitions, 20, "why, again")
    assert worker.end() == 0


@pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
def test_a_ninth_rule_set_waits_for_room_and_is_taken_by_itself(watch: Watch) -> None:
    write(watch, 80)
    settings = watch.settings()
    watch.run("topics", "create", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    for number in range(1, 9):
        # Each set begins at once, and has begun when a sample is newer.
        feed(watch, range(number, number + 1), 10)
        until(lambda: judged(worker) == number * len(ASSETS), 20, "the samples")  # noqa: B023 - polled at once
        write(watch, 80 - number)
        worker.process.send_signal(signal.SIGHUP)
        until(lambda: worker.metric("processor_worker_rules_read_total") == number, 20, "read")  # noqa: B023 - as above
    until(lambda: worker.metric("processor_worker_rules_outdated") == watch.partitions, 20, "no room")
    assert worker.metric("processor_worker_rule_sets") == 8 * watch.partitions
    assert "is one more than 8 sets within an hour: it is taken by itself once" in worker.said
    heartbeats(watch, START + GRACE + 1)
    until(lambda: worker.metric("processor_worker_rules_outdated") == 0, 20, "room")
    feed(watch, range(8000, 8001), 73)
    wait_for(watch, turns("opened", 8000))
    assert worker.end() == 0


@pytest.mark.parametrize("kafka", ["embedded"], indirect=True)
def test_the_case_of_a_rule_that_is_gone_is_closed_where_the_new_rules_begin_and_after_a_crash_too(
    watch: Watch,
) -> None:
    write(watch, 80)
    settings = watch.settings(worker__state_interval=60.0)
    watch.run("topics", "create", "--config", settings)
    worker = watch.start("worker", "--config", settings)
    feed(watch, range(1), 90)
    wait_for(watch, turns("opened", 0))
    write(watch, 80, name="heat")
    worker.process.send_signal(signal.SIGHUP)
    until(lambda: worker.metric("processor_worker_rules_read_total") == 1, 20, "the new file")
    until(lambda: worker.metric("processor_worker_rule_sets") > watch.partitions, 20, "two rule sets")
    feed(watch, range(5, 6), 70)
    expected = turns("opened", 0) | {(asset, "closed", START + 1) for asset in ASSETS}
    wait_for(watch, expected)
    # Nothing but the swap itself was saved: what came after it is judged again.
    worker.end(signal.SIGKILL)
    worker = watch.start("worker", "--config", settings)
    until(lambda: judged(worker) == len(ASSETS), 20, "the samples after the swap once more")
    assert told(cases(watch)) == expected
    assert worker.end() == 0
