"""The usual records of a run in one compiled pass: known assets, plain JSON with the metrics of their shape.

The pass takes a message only when it is sure of each byte; whatever it leaves (other formats, units, batches,
escapes, numbers that want more care, and everything wrong) takes the general road through
`processor.codec.formats`, which reads the same from what this pass takes, to the bit, and says what is wrong.
JSON: RFC 8259.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

from processor.engine.directory import find
from processor.engine.order import UNSTAMPED

#: Powers of ten that a double holds exactly.
_POWERS = np.array([10.0**n for n in range(23)])
_EXACT = len(_POWERS) - 1
#: Digits that an int64 takes, what has room for one more of them, and whole numbers that a double holds.
_DIGITS = 18
_ROOM = 10 ** (_DIGITS - 1)
_WHOLE = 2**53
_SPLIT = 2.0**27 + 1
#: A quotient as near as this (of its last place) to the middle between two doubles is not ours to round.
_NEAR = 2.0**-20
#: No exponent is looked at further.
_LARGE = 1000
_TS, _SEQ, _ASSET, _METRICS = (
    np.frombuffer(word, np.uint8) for word in (b"ts", b"seq", b"asset", b"metrics")
)
_TAB, _LINE, _RETURN, _SPACE, _DELETE = 9, 10, 13, 32, 127
_QUOTE, _COLON, _COMMA, _OPEN, _CLOSE, _ESCAPE = 34, 58, 44, 123, 125, 92
_MINUS, _PLUS, _POINT, _ZERO, _NINE, _SMALL_E, _LARGE_E = 45, 43, 46, 48, 57, 101, 69
_wide: Any = np.int64


@register_jitable
def _skip(buffer: Any, at: int, end: int) -> int:  # noqa: ANN401 - an array
    """The next byte that is no space."""
    while at < end:
        byte = buffer[at]
        if byte != _SPACE and byte != _LINE and byte != _RETURN and byte != _TAB:  # noqa: PLR1714 - compiled: no set
            break
        at += 1
    return at


@register_jitable
def _mark(buffer: Any, at: int, end: int, byte: int) -> int:  # noqa: ANN401 - an array
    """What follows a byte and the spaces around it; -1 when something else is there."""
    at = _skip(buffer, at, end)
    return _skip(buffer, at + 1, end) if at < end and buffer[at] == byte else -1


@register_jitable
def _text(buffer: Any, at: int, end: int) -> int:  # noqa: ANN401 - an array
    """Where the text that begins behind a quote ends: at its other quote; -1 when it is not plain ASCII."""
    while at < end and buffer[at] != _QUOTE:
        if buffer[at] < _SPACE or buffer[at] == _ESCAPE or buffer[at] >= _DELETE:
            return -1
        at += 1
    return at if at < end else -1


@register_jitable
def _same(buffer: Any, begin: int, end: int, other: Any, first: int, last: int) -> bool:  # noqa: ANN401 - arrays and places
    if end - begin != last - first:
        return False
    for i in range(end - begin):  # noqa: SIM110 - compiled: no generator
        if buffer[begin + i] != other[first + i]:
            return False
    return True


@register_jitable
def _integer(buffer: Any, at: int, end: int) -> Any:  # noqa: ANN401 - an array; a number and a place
    """A whole number of at most 18 digits, and where it ends: -1 when there is none."""
    begin = at
    number = _wide(0)
    while at < end and _ZERO <= buffer[at] <= _NINE and at - begin < _DIGITS:
        number = number * 10 + (_wide(buffer[at]) - _ZERO)
        at += 1
    leading = at - begin > 1 and buffer[begin] == _ZERO
    return (number, -1) if at == begin or leading else (number, at)


@register_jitable
def _quotient(number: int, power: int) -> Any:  # noqa: ANN401 - a double and a truth
    """The double next to ``number / 10**power``, and whether that is certain.

    A first quotient, and what it leaves over (exact, by Dekker's product) divided once more; their sum is
    rounded rightly unless it lies in the middle between two doubles, as far as the second can tell.
    """
    divisor = _POWERS[power]
    high = np.float64(number)
    low = np.float64(number - _wide(high))
    first = high / divisor
    product = first * divisor
    a = first * _SPLIT
    a -= a - first
    b = divisor * _SPLIT
    b -= b - divisor
    c, d = first - a, divisor - b
    error = ((a * b - product) + a * d + c * b) + c * d
    second = (((high - product) - error) + low) / divisor
    whole = first + second
    beyond = second - (whole - first)
    return whole, whole + beyond * (1 + _NEAR) == whole


@register_jitable
def _number(buffer: Any, at: int, end: int) -> Any:  # noqa: ANN401, C901, PLR0911, PLR0912 - an array; one number, digit by digit
    """A number as the double next to it, and where it ends: -1 when it is none, or takes more care."""
    negative = at < end and buffer[at] == _MINUS
    begin = at + 1 if negative else at
    number, at = _integer(buffer, begin, end)
    if at < 0:
        return 0.0, -1
    power = 0
    if at < end and buffer[at] == _POINT:
        begin = at + 1
        at = begin
        while at < end and _ZERO <= buffer[at] <= _NINE:
            if number >= _ROOM:
                return 0.0, -1
            number = number * 10 + (_wide(buffer[at]) - _ZERO)
            at += 1
        if at == begin:
            return 0.0, -1
        power = begin - at
    if at < end and (buffer[at] == _SMALL_E or buffer[at] == _LARGE_E):
        at += 1
        down = at < end and buffer[at] == _MINUS
        if at < end and (down or buffer[at] == _PLUS):
            at += 1
        begin = at
        exponent = _wide(0)
        while at < end and _ZERO <= buffer[at] <= _NINE and exponent < _LARGE:
            exponent = exponent * 10 + (_wide(buffer[at]) - _ZERO)
            at += 1
        if at == begin:
            return 0.0, -1
        power += -exponent if down else exponent
    # The general decoder drops the sign of a zero without a point.
    if not -_EXACT <= power <= _EXACT or (negative and number == 0):
        return 0.0, -1
    if power == 0:
        value = np.float64(number)
    elif number <= _WHOLE:
        # Both are exact, so that there is one rounding.
        value = number * _POWERS[power] if power > 0 else number / _POWERS[-power]
    elif power > 0:
        return 0.0, -1
    else:
        value, certain = _quotient(number, -power)
        if not certain:
            return 0.0, -1
    return -value if negative else value, at


@register_jitable
def _metrics(buffer: Any, at: int, end: int, shape: int, known: Any, values: Any) -> int:  # noqa: ANN401, PLR0911 - arrays; each byte may be the wrong one
    """Read the object of the metrics from behind its bracket into `values`; what follows it, or -1."""
    _, _, _, _, names, ends, letters = known
    first = _wide(names[shape])
    width = _wide(names[shape + 1]) - first
    if width > values.shape[0]:
        return -1
    values[:width] = np.nan
    for met in range(width):
        if at >= end or buffer[at] != _QUOTE:
            return -1
        begin = at + 1
        close = _text(buffer, begin, end)
        if close < 0:
            return -1
        # As a rule in the order of the first message.
        place, tried = met, 0
        while not _same(
            buffer, begin, close, letters, _wide(ends[first + place]), _wide(ends[first + place + 1])
        ):
            place = place + 1 if place + 1 < width else 0
            tried += 1
            if tried == width:
                return -1
        at = _mark(buffer, close + 1, end, _COLON)
        if at < 0 or not np.isnan(values[place]):
            return -1
        values[place], at = _number(buffer, at, end)
        if at < 0:
            return -1
        at = _mark(buffer, at, end, _COMMA if met + 1 < width else _CLOSE)
        if at < 0:
            return -1
    return at


@register_jitable
def _message(buffer: Any, row: Any, shape: int, known: Any, record: Any, values: Any) -> bool:  # noqa: ANN401, C901, PLR0911, PLR0912 - arrays and rows; one message, member by member
    """Read a payload: times into `record`, metrics into `values`; whether it is the usual message."""
    end = _wide(row.value_end)
    at = _mark(buffer, _wide(row.value), end, _OPEN)
    t = seq = _wide(-1)
    named = measured = False
    while True:
        if at < 0 or at >= end or buffer[at] != _QUOTE:
            return False
        begin = at + 1
        close = _text(buffer, begin, end)
        if close < 0:
            return False
        at = _mark(buffer, close + 1, end, _COLON)
        if at < 0 or at >= end:
            return False
        if not measured and _same(buffer, begin, close, _METRICS, 0, 7):
            at = _mark(buffer, at, end, _OPEN)
            if at >= 0:
                at = _metrics(buffer, at, end, shape, known, values)
            measured = True
        elif t < 0 and _same(buffer, begin, close, _TS, 0, 2):
            t, at = _integer(buffer, at, end)
        elif seq < 0 and _same(buffer, begin, close, _SEQ, 0, 3):
            seq, at = _integer(buffer, at, end)
        elif not named and buffer[at] == _QUOTE and _same(buffer, begin, close, _ASSET, 0, 5):
            begin = at + 1
            close = _text(buffer, begin, end)
            if close < 0 or not _same(buffer, begin, close, buffer, row.key, row.key_end):
                return False
            at = close + 1
            named = True
        else:
            return False
        if at < 0:
            return False
        at = _skip(buffer, at, end)
        if at >= end or buffer[at] != _COMMA:
            break
        at = _skip(buffer, at + 1, end)
    record.t = t
    record.seq = seq
    return bool(measured and seq < _WHOLE and _mark(buffer, at, end, _CLOSE) == end)


def take(buffer, columns, header, longest, most, latest, ahead, known, records, values, taken):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, PLR0913, PLR0917 - compiled: one argument a column
    """Read the usual records of a run.

    Args:
        buffer: of the run, as its `columns`.
        columns: where the records lie.
        header: the usual record's headers as they are written; empty when no record is usual.
        longest: most bytes of a payload.
        most: most metrics of a message.
        latest: latest time of receipt.
        ahead: how far a message's time may be ahead of it.
        known: the columns of `Directory`.
        records: `order.RECORD`, a row a record: of each its asset, -1 when it is not known; the rest of those
            that are taken.
        values: of all their metrics, one after the other.
        taken: of each record, how many values there are up to it; -1 when it is left.
    """
    slots, key_ends, key_letters, shapes, names, _, _ = known
    k = 0
    for n in range(columns.shape[0]):
        row = columns[n]
        taken[n] = -1
        record = records[n]
        record.asset = -1
        if row.key_end > row.key:
            record.asset = find(buffer, row.key, row.key_end, slots, key_ends, key_letters)
        at = record.asset
        if (
            at < 0
            or shapes[at] < 0
            # One of so many that its names are in no column.
            or shapes[at] >= names.shape[0] - 1
            or names[shapes[at] + 1] - names[shapes[at]] > most
            or row.value_end < row.value
            or row.value_end - row.value > longest
            or header.shape[0] == 0
            or not 0 <= row.timestamp <= latest
            or not _same(buffer, row.headers, row.headers_end, header, 0, header.shape[0])
        ):
            continue
        shape = _wide(shapes[at])
        if not _message(buffer, row, shape, known, record, values[k:]):
            continue
        record.kind = 0
        if record.t < 0:
            record.t = row.timestamp
            record.kind = UNSTAMPED
        if record.t > row.timestamp + ahead:
            continue
        record.runs = 0
        k += _wide(names[shape + 1]) - _wide(names[shape])
        taken[n] = k
