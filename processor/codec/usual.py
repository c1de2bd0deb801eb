"""The usual message of an asset: plain JSON with the very metrics of its first message.

Its metrics are decoded into fields, a fifth of the cost of a dictionary and a look-up per name. The reader of
a shape accepts nothing but that message; whatever it refuses is read by the general road, which says why.
"""

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

#: Shapes with a reader of their own; making one costs as much as reading a thousand messages.
READERS = 1024

_Sequence = Annotated[int, Meta(ge=0, le=2**53 - 1)]
#: What the reader raises at a payload that is not its message.
REFUSED = (msgspec.MsgspecError, RecursionError, ValueError)


class Message(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """What a reader gives; `metrics` has a field a name. Absent: `ts` and `seq` -1, `asset` ""."""

    metrics: Any
    ts: int = -1
    seq: _Sequence = -1
    asset: str = ""


class Shape:
    """The names of one message's metrics, and how to read a message that has exactly these.

    Attributes:
        names: the metrics, in the order of the first such message.
        width: how many.
        decode: payload → `Message`, whose metrics come in the order of `names`; None: no reader.
        members: how many members the message has, the optional ones left out.
    """

    __slots__ = ("decode", "members", "names", "width")

    def __init__(self, names: tuple[str, ...], *, reader: bool) -> None:
        self.names = names
        self.width = len(names)
        self.members = len(names) + 1
        self.decode = _make_reader(names) if reader else None


def _make_reader(names: tuple[str, ...]) -> Callable[[bytes], Message]:
    fields = [f"m{place}" for place in range(len(names))]
    metrics = msgspec.defstruct(
        "Metrics",
        [(field, float) for field in fields],
        rename=dict(zip(fields, names, strict=True)),
        gc=False,
        forbid_unknown_fields=True,
    )
    message: type[Message] = msgspec.defstruct(  # type: ignore[assignment] # its base says so
        "Usual", [("metrics", metrics)], bases=(Message,), gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(message).decode
