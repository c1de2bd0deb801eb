"""The heartbeat: each second, through the broker to ourselves, it proves that the whole road is open.

It also tells two bridges on one MQTT session apart: brokers should end the older with DISCONNECT 0x8E, and
some (Mosquitto 2.0.11) only close its connection, so that both would take the session from each other for
ever. So heartbeats are retained, and who connects reads the last one: the one that started first gives way.
"""

import msgspec

from processor.errors import StreamError


class Heartbeat(msgspec.Struct, frozen=True):
    """What is published; times in milliseconds since the epoch.

    Attributes:
        ts: when it was published: everything the broker accepted before has been handed over before it.
        bridge: the MQTT client id.
        started: when the bridge that sent it started.
        process: tells two that started in one millisecond apart.
    """

    ts: int
    bridge: str
    started: int
    process: int


_DECODER = msgspec.json.Decoder(Heartbeat)


class Pulse:
    """This bridge's heartbeats.

    Args:
        bridge: the MQTT client id.
        started: now, in milliseconds since the epoch.
        process: a random number.
    """

    def __init__(self, bridge: str, started: int, process: int) -> None:
        self._bridge = bridge
        self._started = started
        self._process = process

    def beat(self, now: int) -> bytes:
        """A heartbeat to publish."""
        return msgspec.json.encode(Heartbeat(now, self._bridge, self._started, self._process))

    def receive(self, payload: bytes) -> bytes | None:
        """The control record's value of a heartbeat that came back; None when it is none.

        Raises:
            StreamError: a bridge that started after this one runs on the same session.
        """
        try:
            beat = _DECODER.decode(payload)
        except msgspec.MsgspecError:
            return None
        other = beat.bridge == self._bridge and (beat.started, beat.process) > (self._started, self._process)
        if other:
            raise StreamError(taken_over(self._bridge))
        return msgspec.json.encode({"ts": beat.ts, "bridge": beat.bridge})


def taken_over(client_id: str) -> str:
    """What to tell the person who started two."""
    return (
        f"another client connected as {client_id!r} and took the session over: run one bridge for each "
        "mqtt.client_id, and give a second one its own client_id and filters"
    )
