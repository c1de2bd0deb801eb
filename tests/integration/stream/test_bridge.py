import hashlib
import json
import signal
import time
from collections.abc import Callable

import pytest

from tests.support.kafka import ApacheKafka, Read, read_all, until
from tests.support.watch import Device, PlainBroker, Program, Watch, device

pytestmark = [pytest.mark.needs("mosquitto"), pytest.mark.timeout(60)]

ASSETS = [f"02iAB000000000{n}AAA" for n in range(9)]


_APACHE = pytest.mark.needs("java", "maven")
every_source = pytest.mark.parametrize(
    ("kafka", "source"),
    [
        pytest.param("embedded", "mqtt5", id="mqtt5-embedded"),
        pytest.param("apache_node", "mqtt5", id="mqtt5-apache", marks=_APACHE),
        pytest.param("embedded", "aiomqtt", id="aiomqtt-embedded"),
        pytest.param("embedded", "aiomqtt-3.1.1", id="aiomqtt-3.1.1-embedded"),
    ],
    indirect=True,
)
"""One suite judges every source; the default one on a real Apache Kafka too."""

every_bounded_source = pytest.mark.parametrize(
    ("kafka", "source"),
    [
        pytest.param("apache_node", "mqtt5", id="mqtt5-apache", marks=_APACHE),
        pytest.param("apache_node", "aiomqtt", id="aiomqtt-apache", marks=_APACHE),
    ],
    indirect=True,
)
"""MQTT 3.1.1 knows no receive maximum."""


@pytest.fixture
def source(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def road(watch: Watch, plain_broker: PlainBroker, source: str) -> Watch:
    watch.mqtt_port = plain_broker.port
    client, _, version = source.partition("-")
    watch.defaults = {"mqtt__source": client, "mqtt__version": version or "5"}
    return watch


def telemetry(watch: Watch) -> list[Read]:
    return [
        record for record in read_all(watch.kafka, watch.topic("telemetry")) if "hb" not in record.headers
    ]


def numbers(records: list[Read]) -> list[int]:
    return [json.loads(record.value or b"")["seq"] for record in records]


def publish(sender: Device, start: int, count: int) -> None:
    for seq in range(start, start + count):
        sender.publish(f"assets/{ASSETS[seq % len(ASSETS)]}/telemetry", json.dumps({"seq": seq}).encode())


def flows(program: Program) -> Callable[[], bool]:
    return lambda: program.metric("processor_bridge_produced_total") > 200


def bridge(watch: Watch, **more: object) -> Program:
    return watch.start("bridge", "--config", watch.settings(**more))


@every_source
def test_a_message_becomes_a_record_with_its_bytes_untouched_its_key_from_the_topic_and_one_header(
    road: Watch,
) -> None:
    bridge(road)
    with device(road.mqtt_port) as sender:
        for tail in ("telemetry", "telemetry/temperature", "events/supply_low", "status"):
            sender.publish(f"assets/{ASSETS[0]}/{tail}", b"\x00\xff not json " + tail.encode())
        sender.settle()
    until(lambda: len(telemetry(road)) == 4, 10, "four records")
    records = telemetry(road)
    assert {record.key for record in records} == {ASSETS[0].encode()}
    assert len({record.partition for record in records}) == 1
    assert [record.headers for record in records] == [
        {"t": b"telemetry"}, {"t": b"telemetry/temperature"}, {"t": b"events/supply_low"}, {"t": b"status"},
    ]  # fmt: skip
    assert all(record.value == b"\x00\xff not json " + record.headers["t"] for record in records)


@every_source
def test_a_heartbeat_through_the_broker_reaches_every_partition(road: Watch) -> None:
    program = bridge(road)

    def beaten() -> set[int]:
        return {
            r.partition for r in read_all(road.kafka, road.topic("telemetry")) if r.headers.get("hb") == b"1"
        }

    until(lambda: beaten() == {0, 1, 2, 3}, 10, "a heartbeat in each partition")
    beat = read_all(road.kafka, road.topic("telemetry"))[0]
    assert beat.key is None
    assert json.loads(beat.value or b"")["bridge"] == f"{road.prefix}-bridge"
    assert program.metric("processor_bridge_heartbeat_age_seconds") < 5


@every_source
def test_what_is_not_ours_to_route_is_a_dead_letter_with_its_reason_and_origin(road: Watch) -> None:
    program = bridge(road, mqtt__filters=["#"], bridge__max_payload=2048)
    with device(road.mqtt_port) as sender:
        sender.publish("factory/line/7", b"elsewhere")
        sender.publish(f"assets/{ASSETS[0]}/telemetry", b"x" * 3000)
        sender.settle()
    until(lambda: len(read_all(road.kafka, road.topic("dead"))) == 2, 10, "two dead letters")
    letters = {r.headers["reason"]: r for r in read_all(road.kafka, road.topic("dead"))}
    assert letters[b"topic_invalid"].value == b"elsewhere"
    assert letters[b"topic_invalid"].headers["origin"] == b"mqtt:factory/line/7"
    assert letters[b"oversize"].value == b"x" * 3000
    assert letters[b"oversize"].key == ASSETS[0].encode()
    assert program.metric("processor_bridge_dead_letters_total") == 2


@every_source
def test_a_message_that_no_letter_can_hold_leaves_its_beginning_size_and_digest_and_stops_nothing(
    road: Watch,
) -> None:
    program = bridge(road)
    large = b"begins" + b"x" * 17_000_000
    with device(road.mqtt_port) as sender:
        sender.publish(f"assets/{ASSETS[0]}/telemetry", large)
        publish(sender, 0, 100)
        sender.settle(30)
    until(lambda: len(telemetry(road)) == 100, 20, "what came after it")
    (letter,) = read_all(road.kafka, road.topic("dead"))
    assert letter.value == large[:65_536]
    assert letter.key == ASSETS[0].encode()
    assert letter.headers["reason"] == b"oversize"
    assert letter.headers["cut"] == b"17000006"
    assert hashlib.sha256(large).hexdigest().encode() in letter.headers["detail"]
    assert letter.headers["origin"] == f"mqtt:assets/{ASSETS[0]}/telemetry".encode()
    until(lambda: program.metric("processor_bridge_in_flight") == 0, 10, "it is acknowledged")
    assert program.end() == 0


@every_source
def test_of_two_bridges_each_writes_its_own_heartbeats_alone(road: Watch) -> None:
    bridge(road, mqtt__client_id="one", mqtt__filters=["assets/one/telemetry"])

    def beats() -> list[dict[str, object]]:
        return [json.loads(record.value or b"") for record in read_all(road.kafka, road.topic("telemetry"))]

    two = bridge(road, mqtt__client_id="two", mqtt__filters=["assets/two/telemetry"])
    until(lambda: [b["bridge"] for b in beats()].count("two") >= 12, 15, "the second one beats")
    found = [(beat["bridge"], beat["ts"]) for beat in beats()]
    assert {name for name, _ in found} == {"one", "two"}
    # Once a partition: what both had written would be there twice.
    assert max(found.count(each) for each in found) == 4
    assert two.end() == 0
    seen = len([b for b in beats() if b["bridge"] == "two"])
    until(lambda: [b["bridge"] for b in beats()][-1] == "one", 10, "the first one goes on")
    assert len([b for b in beats() if b["bridge"] == "two"]) == seen


@every_source
def test_a_bridge_killed_in_mid_stream_loses_nothing(road: Watch) -> None:
    settings = road.settings()
    with device(road.mqtt_port) as sender:
        for round_ in range(3):
            program = road.start("bridge", "--config", settings)
            publish(sender, round_ * 1500, 1500)
            until(flows(program), 10, "the stream flows")
            program.end(signal.SIGKILL)
        sender.settle()
    last = road.start("bridge", "--config", settings)
    until(lambda: set(numbers(telemetry(road))) == set(range(4500)), 20, "every message in Kafka")
    assert last.end() == 0


@every_source
def test_a_bridge_stopped_in_mid_stream_repeats_nothing(road: Watch) -> None:
    settings = road.settings()
    with device(road.mqtt_port) as sender:
        for round_ in range(2):
            program = road.start("bridge", "--config", settings)
            publish(sender, round_ * 1500, 1500)
            until(flows(program), 10, "the stream flows")
            assert program.end() == 0
        sender.settle()
    road.start("bridge", "--config", settings)
    until(lambda: len(telemetry(road)) >= 3000, 20, "every message in Kafka")
    assert sorted(numbers(telemetry(road))) == list(range(3000))


@every_source
def test_a_broker_restarted_loses_nothing_and_keeps_the_session(
    road: Watch, plain_broker: PlainBroker
) -> None:
    program = bridge(road)
    with device(road.mqtt_port) as sender:
        publish(sender, 0, 1500)
        sender.settle()
        plain_broker.stop()
        plain_broker.start()
        publish(sender, 1500, 1500)
        sender.settle()
    until(lambda: set(numbers(telemetry(road))) == set(range(3000)), 20, "every message in Kafka")
    assert program.metric("processor_bridge_connects_total") == 2
    assert program.metric("processor_bridge_sessions_new_total") == 1
    assert program.end() == 0


@every_source
def test_an_assets_records_keep_their_order(road: Watch) -> None:
    bridge(road)
    with device(road.mqtt_port) as sender:
        publish(sender, 0, 3000)
        sender.settle()
    until(lambda: len(telemetry(road)) == 3000, 15, "every message in Kafka")
    for asset in ASSETS:
        mine = numbers([record for record in telemetry(road) if record.key == asset.encode()])
        assert mine == sorted(mine)


@every_source
def test_a_second_bridge_on_the_same_client_id_ends_the_first_with_what_to_do(road: Watch) -> None:
    first = bridge(road)
    second = bridge(road)
    assert first.process.wait(10) == 1
    assert "run one bridge for each mqtt.client_id" in first.said
    assert second.process.poll() is None


@every_source
def test_what_a_bridge_left_behind_whose_clock_was_ahead_keeps_nobody_from_starting(road: Watch) -> None:
    later = int(time.time() * 1000) + 7_200_000
    beat = {"ts": later, "bridge": f"{road.prefix}-bridge", "started": later - 1000, "process": 1}
    with device(road.mqtt_port) as dead:
        dead.publish("assetgate/heartbeat", json.dumps(beat).encode(), retain=True)
        dead.settle()
    program = bridge(road)
    until(lambda: program.metric("processor_bridge_heartbeats_total") >= 2, 10, "it beats")
    assert program.end() == 0


@every_source
def test_a_wrong_password_is_said_and_not_shown(road: Watch) -> None:
    program = road.launch("bridge", "--config", road.settings(mqtt__password="hunter2-not-this"))
    assert program.process.wait(15) == 1
    assert "check mqtt.username" in program.said
    assert "hunter2" not in program.said


@every_bounded_source
def test_messages_of_qos_0_that_kafka_does_not_take_in_time_are_dropped_counted_and_never_reordered(
    road: Watch, apache_node: ApacheKafka, plain_broker: PlainBroker
) -> None:
    plain_broker.stop()
    plain_broker.start({"upgrade_outgoing_qos": "false", "queue_qos0_messages": "true"})
    program = bridge(road, bridge__qos0_buffer=1_048_576)
    with device(road.mqtt_port) as sender:
        until(lambda: program.metric("processor_bridge_heartbeats_total") > 0, 10, "the road is open")
        apache_node.freeze()
        try:
            for seq in range(3000):
                sender.publish(f"assets/{ASSETS[0]}/telemetry", json.dumps({"seq": seq}).encode(), qos=0)
            sender.settle()
            until(lambda: program.metric("processor_bridge_dropped_total") > 1500, 20, "it drops")
            assert program.metric("processor_bridge_in_flight") <= 1100
        finally:
            apache_node.thaw()
        until(lambda: program.metric("processor_bridge_in_flight") <= 4, 20, "what waited is in Kafka")
        sender.publish(f"assets/{ASSETS[0]}/telemetry", b'{"seq": 3000}', qos=0)
        until(lambda: numbers(telemetry(road))[-1:] == [3000], 20, "the stream flows again")
    found = numbers(telemetry(road))
    assert found == sorted(found)
    dropped = program.metric("processor_bridge_dropped_total")
    assert len(found) == 3001 - dropped
    assert "bridge.qos0_buffer is full" in program.said
    # A line for each would fill the disk.
    assert program.said.count("bridge.qos0_buffer is full") < 10


# The embedded cluster makes topics when they are asked for: there, none is ever missing.
@every_bounded_source
def test_missing_topics_are_named(road: Watch) -> None:
    said = road.run("bridge", "--config", road.settings(topics__cases="nowhere"), expect=1)
    assert (
        "nowhere is missing: run `processor topics create`; if it is there, let the account describe it"
        in said
    )


@every_bounded_source
def test_while_kafka_is_away_the_broker_keeps_what_exceeds_the_receive_maximum(
    road: Watch, apache_node: ApacheKafka
) -> None:
    program = bridge(road, mqtt__receive_maximum=100)
    with device(road.mqtt_port) as sender:
        publish(sender, 0, 200)
        sender.settle()
        until(lambda: len(telemetry(road)) == 200, 10, "the stream flows")
        apache_node.stop()
        publish(sender, 200, 3000)
        sender.settle()
        assert program.metric("processor_bridge_in_flight") <= 400  # some brokers overrun the window, bounded
        apache_node.start()
    until(lambda: set(numbers(telemetry(road))) == set(range(3200)), 20, "every message in Kafka")
    assert program.metric("processor_bridge_in_flight") <= 100
    assert program.end() == 0
