"""What every format decodes to."""

import msgspec


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One message of one asset.

    Attributes:
        t: event time, milliseconds since the epoch.
        seq: the device's sequence number, -1 when it sends none.
        names: metric names, interned: equal shapes are the same object.
        values: one number a name; booleans are 0 and 1.
        units: a unit ("" for none) a name; None when no value came with one.
        event: type of the device's event; "" for telemetry.
        cyclic: whether `seq` goes on with 0 after 255.
        stamped: whether `t` is the device's own; else it is the receipt, or counted from there.
    """

    t: int
    seq: int
    names: tuple[str, ...]
    values: tuple[float, ...]
    units: tuple[str, ...] | None = None
    event: str = ""
    stamped: bool = True
    cyclic: bool = False
