"""The heartbeat: each second, through the broker to ourselves, it proves that the whole road is open.

It also tells two bridges on one MQTT session apart: brokers should end the older with DISCONNECT 0x8E, and
some (Mosquitto 2.0.11) only close its connection, so that both would take the session from each other for
ever. So heartbeats are retained, and who connects reads the last one: the one that started first gives way.
Only a heartbeat of about now tells of a bridge that runs: what a dead one left behind may say that it started
tomorrow, if its host's clock was ahead.
"""

import msgspec

from processor.errors import StreamError

#: Milliseconds: a bridge that runs beats each second; hosts' clocks differ by less.
_RECENT = 30_000


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

    def record(self) -> bytes:
        """The value of its control record."""
        return msgspec.json.encode({"ts": self.ts, "bridge": self.bridge})


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
        # Who ran before now started before now: the clock was ahead then, and has been set.
        self._started = min(self._started, now)
        return msgspec.json.encode(Heartbeat(now, self._bridge, self._started, self._process))

    def receive(self, payload: bytes, now: int) -> Heartbeat | None:
        """The heartbeat that came back; None when it is none.

        Raises:
            StreamError: a bridge that started after this one runs on the same session.
        """
        try:
            beat = _DECODER.decode(payload)
        except msgspec.MsgspecError:
            return None
        later = (beat.started, beat.process) > (self._started, self._process)
        if self.carries(beat) and later and abs(now - beat.ts) <= _RECENT:
            raise StreamError(taken_over(self._bridge))
        return beat

    def carries(self, beat: Heartbeat) -> bool:
        """Whether it goes to Kafka from here: another bridge's road is for that one to prove."""
        return beat.bridge == self._bridge


def taken_over(client_id: str) -> str:
    """What to tell the person who started two."""
    return (
        f"another client connected as {client_id!r} and took the session over: run one bridge for each "
        "mqtt.client_id, and give a second one its own client_id and filters"
    )
