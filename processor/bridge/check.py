"""``processor bridge --check``: what would lose messages, in the broker's file and in what it grants.

The live part connects under a client id of its own, leaves no session behind, and takes no message away from
the bridge that may be running. Its heartbeat is that bridge's own: it proves the road, moves no clock back.
"""

import re
import threading
from pathlib import Path
from typing import Any

from paho.mqtt.client import Client, ConnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from processor.bridge.heartbeat import Pulse
from processor.bridge.mosquitto import check_configuration, find_file
from processor.clock import Clock
from processor.errors import StreamError
from processor.finding import Finding
from processor.settings import MqttSettings
from processor.settings.trust import make_context

#: 2.0.13 mends the receive maximum: before it a window of 2,000 lets 6,000 through.
_MENDED = (2, 0, 13)
_VERSION = re.compile(r"mosquitto version (\d+)\.(\d+)\.(\d+)")
_DROPPED = "$SYS/broker/publish/messages/dropped"
_WAITING = "$SYS/broker/clients/disconnected"
_NAMED = "$SYS/broker/version"


def check(mqtt: MqttSettings, broker_config: Path | None, clock: Clock) -> tuple[list[Finding], list[str]]:
    """Findings, and a line for each thing that was looked at.

    Args:
        mqtt: the broker and the bridge's session.
        broker_config: its ``mosquitto.conf``; None looks for the one of the broker that runs here.
        clock: for the heartbeat.

    Raises:
        ConfigurationError: a file cannot be read.
        StreamError: the broker does not answer, or refuses the bridge.
    """
    findings, seen = [], []
    file = find_file() if broker_config is None else broker_config
    if file is None:
        seen.append("no broker's configuration on this host: name it with --broker-config, or check it there")
    else:
        findings += check_configuration(file, mqtt)
        seen.append(f"read {file}")
    probe = _Probe(mqtt, clock)
    try:
        findings += probe.run()
    except StreamError as error:
        # What the file says may be why.
        raise StreamError("\n".join(map(str, [error, *findings]))) from None
    seen += probe.seen
    return findings, seen


class _Probe:
    """One connection that asks the broker what it grants."""

    def __init__(self, mqtt: MqttSettings, clock: Clock) -> None:
        self._mqtt = mqtt
        self._clock = clock
        self._where = f"{mqtt.host}:{mqtt.port}"
        self._speaks_5 = mqtt.version == "5"
        self._answer: tuple[bool, str, Properties | None] = (False, "", None)
        self._granted: list[ReasonCode] = []
        self._messages: dict[str, bytes] = {}
        self._refused = ""
        self._news = threading.Condition()
        self.seen: list[str] = []
        self._client = self._make()

    def run(self) -> list[Finding]:
        """Connect, ask, disconnect without a trace."""
        client, timeout = self._client, self._mqtt.connect_timeout
        asked: dict[str, Any] = {}
        if self._speaks_5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call] # paho left it so
            properties.SessionExpiryInterval = self._mqtt.session_expiry
            properties.ReceiveMaximum = self._mqtt.receive_maximum
            asked = {"clean_start": True, "properties": properties}
        try:
            client.connect(self._mqtt.host, self._mqtt.port, self._mqtt.keepalive, **asked)
        except OSError as error:
            raise StreamError(
                f"the broker at {self._where} does not answer ({error}): start it, or correct [mqtt]"
            ) from None
        client.loop_start()
        try:
            if not self._wait(lambda: bool(self._answer[1]), timeout):
                raise StreamError(
                    f"{self._where} says nothing for {timeout:g} s: does it speak MQTT {self._mqtt.version}?"
                )
            failed, reason, granted = self._answer
            if failed:
                raise StreamError(
                    f"the broker refuses the bridge ({reason}): check mqtt.username, its password and its ACL"
                )
            self.seen.append(f"asked {self._where} as {self._mqtt.username!r}")
            return [*self._connack(granted), *self._beat(), *self._statistics(), *self._subscriptions()]
        finally:
            # The session expires with the connection: nothing waits for a client that does not come back.
            ending = Properties(PacketTypes.DISCONNECT)  # type: ignore[no-untyped-call] # as above
            ending.SessionExpiryInterval = 0
            client.disconnect(properties=ending if self._speaks_5 else None)
            client.loop_stop()

    def _make(self) -> Client:
        mqtt = self._mqtt
        protocol = MQTTv5 if self._speaks_5 else MQTTv311
        client = Client(CallbackAPIVersion.VERSION2, f"{mqtt.client_id}-check", protocol=protocol)
        client.connect_timeout = mqtt.connect_timeout
        client.username_pw_set(mqtt.username, mqtt.read_password())
        if mqtt.tls:
            client.tls_set_context(
                make_context("mqtt", ca_file=mqtt.ca_file, cert_file=mqtt.cert_file, key_file=mqtt.key_file)
            )

        def on_connect(
            _client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, found: Properties | None
        ) -> None:
            self._tell(lambda: setattr(self, "_answer", (code.is_failure, str(code), found)))

        def on_subscribe(_client: Client, _data: object, _mid: int, codes: Any, _found: object) -> None:  # noqa: ANN401 - paho's list
            self._tell(lambda: self._granted.extend(codes))

        def on_message(_client: Client, _data: object, message: MQTTMessage) -> None:
            self._tell(lambda: self._messages.update({message.topic: bytes(message.payload)}))

        def on_publish(_client: Client, _data: object, _mid: int, code: ReasonCode, _found: object) -> None:
            if code.is_failure:
                self._tell(lambda: setattr(self, "_refused", str(code)))

        client.on_connect, client.on_subscribe = on_connect, on_subscribe
        client.on_message, client.on_publish = on_message, on_publish
        return client

    def _tell(self, note: Any) -> None:  # noqa: ANN401 - a callable without arguments
        with self._news:
            note()
            self._news.notify_all()

    def _wait(self, condition: Any, seconds: float) -> bool:  # noqa: ANN401 - as above
        with self._news:
            return bool(self._news.wait_for(condition, seconds))

    def _finding(self, key: str, found: object, expected: object, why: str) -> Finding:
        return Finding(self._where, None, key, str(found), str(expected), why)

    def _connack(self, granted: Properties | None) -> list[Finding]:
        """What the CONNACK takes back (MQTT 5, 3.2.2.3); absent means as asked."""
        mqtt, findings = self._mqtt, []
        expiry = getattr(granted, "SessionExpiryInterval", mqtt.session_expiry)
        if expiry < mqtt.session_expiry:
            findings.append(
                self._finding(
                    "Session Expiry Interval", f"{expiry} s", f"{mqtt.session_expiry} s, as asked",
                    "after an outage that is longer the broker has forgotten what waited for the bridge",
                )
            )  # fmt: skip
        if getattr(granted, "MaximumQoS", 2) < 1:
            findings.append(
                self._finding("Maximum QoS", 0, "1 or 2", "at QoS 0 nobody learns that a message was lost")
            )
        for name, key, why in (
            ("RetainAvailable", "Retain Available", "the bridge's heartbeat is retained"),
            (
                "WildcardSubscriptionAvailable",
                "Wildcard Subscription Available",
                "mqtt.filters needs it",
            ),
        ):
            if not getattr(granted, name, 1):
                findings.append(self._finding(key, 0, 1, why))
        return findings

    def _subscribe(self, topic: str) -> ReasonCode | None:
        self._granted.clear()
        options = SubscribeOptions(qos=1, retainHandling=SubscribeOptions.RETAIN_SEND_ON_SUBSCRIBE)
        if self._speaks_5:
            self._client.subscribe(topic, options=options)
        else:
            self._client.subscribe(topic, qos=1)
        self._wait(lambda: bool(self._granted), self._mqtt.connect_timeout)
        return self._granted[0] if self._granted else None

    def _beat(self) -> list[Finding]:
        """Publish a heartbeat and wait for it: an ACL that forbids either says nothing of itself."""
        mqtt = self._mqtt
        self._subscribe(mqtt.heartbeat_topic)
        # One that started at the beginning of time takes no session over.
        beat = Pulse(mqtt.client_id, 0, 0).beat(int(self._clock.now() * 1000))
        self._client.publish(mqtt.heartbeat_topic, beat, qos=1)
        self._wait(lambda: beat in self._messages.values() or bool(self._refused), mqtt.connect_timeout)
        if beat in self._messages.values():
            self.seen.append("a heartbeat came back")
            return []
        found = f"refused ({self._refused})" if self._refused else "nothing came back"
        return [
            self._finding(
                f"heartbeat on {mqtt.heartbeat_topic}", found, "what was published",
                f"the account {mqtt.username!r} must be able to publish and to read there, or the worker's "
                "clock stands",
            )
        ]  # fmt: skip

    def _statistics(self) -> list[Finding]:
        """What Mosquitto tells of itself, if the account may read it."""
        for topic in (_NAMED, _DROPPED, _WAITING):
            self._subscribe(topic)
        self._wait(lambda: {_NAMED, _DROPPED, _WAITING} <= set(self._messages), 1.0)
        if _NAMED not in self._messages:
            self.seen.append(
                "$SYS is not for this account to read: dropped messages and idle sessions were not seen"
            )
            return []
        version, findings = self._messages[_NAMED].decode("utf-8", "replace"), []
        self.seen.append(version)
        match = _VERSION.match(version)
        if match and tuple(int(each) for each in match.groups()) < _MENDED:
            findings.append(
                self._finding(
                    "version", version, "2.0.13 or newer",
                    "its receive maximum lets some three times as many messages through as asked for",
                )
            )  # fmt: skip
        dropped = self._messages.get(_DROPPED, b"0").decode("utf-8", "replace")
        if dropped not in {"", "0"}:
            findings.append(
                self._finding(_DROPPED, dropped, "0", "that many messages were lost since the broker started")
            )
        waiting = self._messages.get(_WAITING, b"0").decode("utf-8", "replace")
        if waiting not in {"", "0"}:
            self.seen.append(f"{waiting} sessions without a client: what waits in them takes room")
        return findings

    def _subscriptions(self) -> list[Finding]:
        """The filters, last: messages begin to come."""
        findings = []
        for name in self._mqtt.filters:
            code = self._subscribe(name)
            if code is None or code.is_failure or code.value < 1:
                findings.append(
                    self._finding(
                        f"subscription to {name}",
                        "no answer" if code is None else str(code),
                        "Granted QoS 1",
                        f"let the account {self._mqtt.username!r} read it",
                    )
                )  # fmt: skip
        return findings
