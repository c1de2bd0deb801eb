"""The partition's own clock: it runs only while heartbeats prove that the whole road was open."""

from typing import Any

import msgspec

#: Heartbeats further apart than this prove nothing about the time between them.
LONGEST = 3_000
#: A bridge that has not been heard for this long, while others were, is taken out of service.
FORGOTTEN = 24 * 3_600_000
#: A clock that is ahead of receipt by more than this is wrong; the beat counts at the time of receipt.
_AHEAD = 60_000


class Beat(msgspec.Struct, frozen=True):
    """Value of a heartbeat record: when the bridge sent it (milliseconds), and which bridge.

    `gone` says that it is gone for good, and was written for it.
    """

    ts: int
    bridge: str = ""
    gone: bool = False


class PartitionClock:
    """Proven time in milliseconds. With several bridges it runs while every one of them beats.

    An outage of one bridge holds the clock, because nobody can say which assets are behind it. A bridge whose
    own clock was ahead and is set right sends beats from before the newest: the clock goes on from there.
    """

    def __init__(self) -> None:
        self.now = 0
        self.gap = 0
        self._at = 0
        self._beats: dict[str, int] = {}
        self._repeated = False

    def repeat(self) -> None:
        """Beats that were heard come again, with the time at which they came.

        Until one is new they say nothing: they would look like those of a clock that was set back.
        """
        self._repeated = True

    def beat(self, ts: int, bridge: str, received: int) -> bool:
        """Take in a heartbeat; whether the clock moved.

        Args:
            ts: when it was sent.
            bridge: by whom.
            received: when it came back, by the same clock. One that comes again, because its first way was
                not acknowledged, was sent long before: it proves nothing anew, a clock set back does.
        """
        known = self._beats.get(bridge)
        fresh = 0 <= received - ts <= LONGEST and not self._repeated
        if known is not None and ts <= known and not (fresh and known - ts > LONGEST):
            return False
        self._beats[bridge] = ts
        self._repeated = self._repeated and ts <= self._at
        newest = max(self._beats.values())
        for name in [name for name, at in self._beats.items() if newest - at > FORGOTTEN]:
            del self._beats[name]
        proven = min(self._beats.values())
        if fresh and ts == proven and self._at - ts > LONGEST:
            # What the clock said before was not the time: held, as after an outage.
            self._at, self.gap = ts, self.now
            return False
        step, self._at = proven - self._at, max(proven, self._at)
        if 0 < step <= LONGEST:
            self.now += step
            return True
        if step > LONGEST:
            # The time between is held: whoever was silent has its whole time again.
            self.gap = self.now
        return False

    def forget(self, bridge: str) -> None:
        """A bridge is gone for good: from the next beat of another on, that one runs the clock."""
        self._beats.pop(bridge, None)

    @property
    def at(self) -> int:
        """Time of the newest proof, milliseconds since the epoch; 0 before the first."""
        return self._at

    def dump(self) -> dict[str, Any]:
        """What `load` needs."""
        state = {"now": self.now, "gap": self.gap, "at": self._at, "beats": self._beats}
        return state | {"repeated": True} if self._repeated else state

    def load(self, state: dict[str, Any]) -> None:
        """Continue where `dump` left off."""
        self.now, self.gap, self._at = state["now"], state["gap"], state["at"]
        self._beats = dict(state["beats"])
        self._repeated = state.get("repeated", False)


_DECODER = msgspec.json.Decoder(Beat)


def read_beat(value: bytes | None, received: int) -> Beat:
    """The heartbeat of a control record.

    Raises:
        msgspec.MsgspecError: the value is not a heartbeat.
    """
    beat = _DECODER.decode(value or b"")
    return beat if 0 < beat.ts <= received + _AHEAD else Beat(received, beat.bridge, beat.gone)
