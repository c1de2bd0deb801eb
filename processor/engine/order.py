"""Put samples into event time, per asset: who is judged now, who waits, who comes too late or twice.

One compiled pass in order of arrival, so that cutting a run of records into other batches changes nothing.
An asset's mark is its newest event time less the allowed lateness; a sample waits in the asset's list,
ordered by time, until the mark passes it. Samples leave in time order, which is what every detector needs.

What a device has not stamped has no identity: it counts at its receipt, which many share, and so it is given
the first free millisecond from there. It is judged, however many come at once.
"""

from typing import Any

import numpy as np
from numba.extending import register_jitable

#: "Never": older than any event time.
NEVER = np.iinfo(np.int64).min

ASSET = np.dtype(
    [
        ("newest", np.int64),
        ("mark", np.int64),
        ("heard", np.int64),  # newest time of receipt of what it has not stamped
        ("top", np.int64),  # newest sequence number, -1 for none
        ("seen", np.uint64),  # which of the 64 sequence numbers up to `top` were met
        ("first", np.int64),  # the number at which the device began to count
        ("head", np.int32),  # first waiting sample in the pool, -1 for none
        ("held", np.int32),
        ("whole", np.int32),  # series of "any sample of the asset", -1 when no rule looks at it
        ("begin", np.int32),  # first series of the asset's shape, -1 while it has none
        ("width", np.int32),  # how many series its shape has
        ("owned", np.int32),  # how many series it has, but for `whole`
    ],
    align=True,
)
SERIES = np.dtype([("t", np.int64), ("v", np.float64)], align=True)
#: Gaps of evidence in milliseconds are at most this, 49 days, which also stands for all that are longer.
LONGEST = 0xFFFF_FFFF
#: One sample remembered as evidence: how long before the next one of its series it was, and its value. A time
#: in full would be four bytes more, in every sample of every series.
RECENT = np.dtype([("gap", np.uint32), ("v", np.float64)])
POOL = np.dtype(
    [
        ("t", np.int64),
        ("v", np.float64),
        ("series", np.int32),
        ("asset", np.int32),
        ("clock", np.int64),  # where the clock moved next after it came, NEVER until it has
        ("next", np.int64),
        ("used", np.int64),
    ],
    align=True,
)
#: A record is of the asset's shape when it has no `runs` of series of its own; `kind` is of the bits below.
RECORD = np.dtype(
    [("asset", np.int64), ("t", np.int64), ("seq", np.int64), ("runs", np.int64), ("kind", np.int64)],
    align=True,
)
#: Its time is that of receipt, not the device's; it was written back from the dead letters; its number is
#: one of Sparkplug's, which go on with 0 after 255.
UNSTAMPED, REPLAYED, CYCLIC = 1, 2, 4
RUN = np.dtype([("series", np.int64), ("samples", np.int64)], align=True)
JUDGED = np.dtype(
    [
        ("series", np.int64),
        ("t", np.int64),
        ("v", np.float64),
        ("previous", np.int64),  # the series' sample before it: time, NEVER for none, and value
        ("before", np.float64),
    ],
    align=True,
)

#: Places in the array of counts.
RECEIVED, TAKEN, LATE, DUPLICATE, CONFLICT, HELD, SKIPPED, FILLED, RESTARTED = range(9)
COUNTS = 9
#: Sequence numbers remembered per asset: the bits of `seen`.
_REMEMBERED = 64
#: A larger jump of sequence numbers is no loss: the device counts from somewhere else now.
_LONGEST_GAP = 65_536
#: How many numbers there are where they go round.
_CYCLE = 256
#: What was written back counts at most so many milliseconds after its receipt: beyond, it is late.
_REPLAY = 1000


@register_jitable
def _moment(record: Any, r: int, runs: Any, ahead: int, asset: Any, series: Any, pool: Any) -> int:  # noqa: ANN401 - rows and arrays
    """A record's event time: what the device has not stamped comes after all that its series have.

    At most `ahead` milliseconds after the newest receipt, so that no flood of such samples carries an asset
    beyond every clock; what is beyond keeps the time of its receipt.
    """
    t = record.t
    if not record.kind & UNSTAMPED:
        return t  # type: ignore[no-any-return] # a number
    asset.heard = max(asset.heard, t)
    latest = t + _REPLAY if record.kind & REPLAYED else asset.heard + ahead
    for n in range(max(record.runs, 1)):
        if record.runs == 0:
            begin = np.int64(asset.begin)
            end = begin + asset.width
        else:
            begin = runs[r + n].series
            end = begin + runs[r + n].samples
        for s in range(begin, end):
            t = max(t, series[s].t + 1)
    at = asset.head
    while at >= 0 and pool[at].t <= t:
        if pool[at].t == t:
            t += 1
        at = pool[at].next
    return t if t <= latest else record.t  # type: ignore[no-any-return] # a number


@register_jitable
def _repeated(asset: Any, record: Any, t: int, counts: Any) -> bool:  # noqa: ANN401 - rows, an array; one number, case by case
    """Whether this sequence number was met before; remembers it, and counts numbers that were left out.

    A number left out that comes while it is still remembered is counted as filled: the order of arrival is
    not always that of sending. Numbers that go round are counted on: `top` is the nearest that may be meant.
    """
    seq = record.seq
    if seq < 0:
        return False
    ahead = seq - asset.top
    known = asset.top >= 0
    born = False
    if known and record.kind & CYCLIC:
        ahead = (ahead + _CYCLE // 2) % _CYCLE - _CYCLE // 2
        # With 0 a device is born; after 255 it is the next.
        born = seq == 0 and ahead != 1
    bit = np.uint64(0)
    if known and -_REMEMBERED < ahead <= 0:
        bit = np.uint64(1) << np.uint64(-ahead)
    met = (asset.seen & bit) != np.uint64(0)
    if record.kind & UNSTAMPED:
        # Its time is newer, repeated or not: a number that may be a repeat begins nothing.
        anew = ahead <= -_REMEMBERED or (born and ahead > 0)
        stray = (record.kind & REPLAYED) != 0 and abs(ahead) >= _REMEMBERED
    else:
        # A smaller number at a newer time is a device that began to count anew.
        anew = (ahead <= 0 or born) and t > asset.newest
        # Before it did that, a straggler was sent.
        stray = ahead >= _REMEMBERED and t < asset.newest
    if known and stray:
        return False
    if not known or anew or ahead > _LONGEST_GAP:
        counts[RESTARTED] += 1 if known else 0
        asset.top = asset.first = seq
        asset.seen = np.uint64(1)
        return False
    if ahead > 0:
        kept = asset.seen << np.uint64(ahead) if ahead < _REMEMBERED else np.uint64(0)
        asset.seen = kept | np.uint64(1)
        asset.top += ahead
        counts[SKIPPED] += ahead - 1
        return False
    if bit != np.uint64(0) and not met and asset.top + ahead > asset.first:
        counts[FILLED] += 1
    asset.seen |= bit
    return bool(met)


@register_jitable
def _release(asset: Any, series: Any, pool: Any, free: Any, out: Any, k: int, counts: Any) -> int:  # noqa: ANN401 - rows and arrays
    """Judge the asset's waiting samples up to its mark, in time order; the new length of `out`."""
    at = asset.head
    while at >= 0 and pool[at].t <= asset.mark:
        sample = pool[at]
        row = series[sample.series]
        out[k].series = sample.series
        out[k].t = sample.t
        out[k].v = sample.v
        out[k].previous = row.t
        out[k].before = row.v
        row.t = sample.t
        row.v = sample.v
        k += 1
        counts[TAKEN] += 1
        counts[HELD] -= 1
        asset.held -= 1
        following = sample.next
        sample.used = 0
        sample.next = free[0]
        free[0] = at
        at = following
    asset.head = at
    return k


def admit(records, runs, values, lateness, most, ahead, assets, series, pool, free, out, counts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201, PLR0913, PLR0912, PLR0915, PLR0917, C901 - compiled: one straight pass, one argument a column
    """Take in records in order of arrival; the judged samples come first in `out`. Returns how many.

    `pool` must have room for every value, and `out` for every value, every waiting sample and every record.
    """
    k = 0
    r = 0
    i = 0
    for n in range(records.shape[0]):
        record = records[n]
        asset = assets[record.asset]
        t = _moment(record, r, runs, ahead, asset, series, pool)
        repeated = _repeated(asset, record, t, counts)
        asset.newest = max(asset.newest, t)
        mark = max(asset.mark, asset.newest - lateness)
        for _ in range(max(record.runs, 1)):
            if record.runs == 0:
                begin = np.int64(asset.begin)
                end = begin + asset.width
            else:
                begin = runs[r].series
                end = begin + runs[r].samples
                r += 1
            for s in range(begin, end):
                v = values[i]
                i += 1
                counts[RECEIVED] += 1
                row = series[s]
                if t <= row.t:
                    if t == row.t:
                        counts[DUPLICATE if v == row.v else CONFLICT] += 1
                    else:
                        counts[DUPLICATE if repeated else LATE] += 1
                    continue
                if asset.head < 0 and t <= mark:
                    out[k].series = s
                    out[k].t = t
                    out[k].v = v
                    out[k].previous = row.t
                    out[k].before = row.v
                    row.t = t
                    row.v = v
                    k += 1
                    counts[TAKEN] += 1
                    continue
                before = -1
                at = asset.head
                same = False
                while at >= 0 and pool[at].t <= t:
                    if pool[at].t == t and pool[at].series == s:
                        counts[DUPLICATE if pool[at].v == v else CONFLICT] += 1
                        same = True
                        break
                    before = at
                    at = pool[at].next
                if same:
                    continue
                new = free[0]
                free[0] = pool[new].next
                pool[new].t = t
                pool[new].v = v
                pool[new].series = s
                pool[new].asset = record.asset
                pool[new].clock = NEVER
                pool[new].next = at
                pool[new].used = 1
                if before < 0:
                    asset.head = new
                else:
                    pool[before].next = new
                asset.held += 1
                counts[HELD] += 1
        asset.mark = mark
        k = _release(asset, series, pool, free, out, k, counts)
        # Beyond the bound the oldest are judged early: memory is worth more than perfect order.
        while asset.held > most:
            asset.mark = pool[asset.head].t
            k = _release(asset, series, pool, free, out, k, counts)
        if asset.whole >= 0:
            row = series[asset.whole]
            out[k].series = asset.whole
            out[k].t = max(row.t, t)
            out[k].v = 0.0
            out[k].previous = row.t
            out[k].before = row.v
            row.t = max(row.t, t)
            k += 1
    return k


def expire(lateness, clock, assets, series, pool, free, out, counts):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - compiled: one argument a column
    """Judge what has waited for the whole lateness by the partition's clock: its asset fell silent.

    Called when the clock has moved: a sample's wait counts from the first move after it came.
    """
    k = 0
    for at in range(pool.shape[0]):
        sample = pool[at]
        if sample.used and sample.clock == NEVER:
            sample.clock = clock
        elif sample.used and clock - sample.clock >= lateness:
            asset = assets[sample.asset]
            asset.mark = max(asset.mark, sample.t)
            k = _release(asset, series, pool, free, out, k, counts)
    return k


def remember(judged, count, recent, places):  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - compiled: one argument a column
    """Keep the samples before each series' last one, in a ring a series, as evidence for a later finding.

    The last one itself is in the series' own row. `places` counts the series' samples.
    """
    depth = recent.shape[1]
    for i in range(count):
        s = judged[i].series
        if depth > 0 and places[s] > 0:
            at = (places[s] - 1) % depth
            recent[s, at].gap = min(judged[i].t - judged[i].previous, LONGEST)
            recent[s, at].v = judged[i].before
        places[s] += 1
