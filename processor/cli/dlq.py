"""``processor dlq``: what could not be judged, why, and back to be judged again."""

import argparse
import json
import sys
from datetime import UTC, datetime, timedelta
from heapq import nlargest
from itertools import islice
from pathlib import Path
from typing import Any

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SHOWN = 4096
#: Kafka counts partitions with 32 bits, offsets with 64.
_LAST_PARTITION, _LAST_OFFSET = 2**31 - 1, 2**63 - 1


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("dlq", help="list, show and replay dead letters")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listing = actions.add_parser("list", help="the newest letters, one a line")
    show = actions.add_parser("show", help="one letter: its headers and its bytes")
    replay = actions.add_parser("replay", help="write letters back to the telemetry topic, as they came")
    for each in (listing, show, replay):
        each.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    for each in (listing, replay):
        each.add_argument("--reason", type=_reason, help="only of this reason")
        each.add_argument("--asset", help="only of this asset")
        each.add_argument(
            "--since",
            type=_moment,
            metavar="WHEN",
            help="only since 90s, 15m, 6h, 7d ago, or an RFC 3339 time",
        )
    listing.add_argument("--limit", type=_count, default=50, help="most letters, the newest (default 50)")
    listing.add_argument("--json", action="store_true", help="one JSON object a line")
    show.add_argument("letter", type=_place, metavar="PARTITION/OFFSET")
    show.add_argument("--raw", action="store_true", help="only the payload's bytes, as they are")
    replay.add_argument("letters", type=_place, nargs="*", metavar="PARTITION/OFFSET")
    replay.add_argument("--limit", type=_count, help="most letters")
    replay.add_argument("--all", action="store_true", help="every letter, when no filter is given")
    replay.add_argument("--dry-run", action="store_true", help="say what would be written, and write nothing")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run the action; 0 when it did what was asked."""
    from processor.kafka.deadletters import DeadLetters  # noqa: PLC0415 - --help must not wait for Kafka's client
    from processor.settings import load  # noqa: PLC0415 - as above

    settings = load(args.config)
    letters = DeadLetters(settings.kafka, settings.topics)
    if args.action == "list":
        return _list(letters, args)
    if args.action == "show":
        return _show(letters, args)
    return _replay(letters, args)


def _list(letters: Any, args: argparse.Namespace) -> int:  # noqa: ANN401 - DeadLetters; imported late
    newest = nlargest(args.limit, letters.read(_selection(args)), key=lambda one: (one.timestamp, one.place))
    newest.reverse()
    if args.json:
        for letter in newest:
            print(json.dumps(_described(letter)))
        return 0
    for letter in newest:
        found = _described(letter)
        print(
            f"{found['letter']:>10}  {found['time']}  {_safe(found['reason']):<17}  "
            f"{_safe(found['asset'] or '-')}  {_safe(found['topic'] or '-')}  {found['bytes']} B  "
            f"{_safe(found['detail'])}"
        )
    if not newest:
        print("no letter fits")
    return 0


def _show(letters: Any, args: argparse.Namespace) -> int:  # noqa: ANN401 - as above
    letter = letters.find(*args.letter)
    if args.raw:
        sys.stdout.buffer.write(letter.value or b"")
        return 0
    print(f"letter   {letter.place}")
    print(f"written  {_time(letter.timestamp)}")
    print(f"key      {'none' if letter.key is None else _safe(letter.key.decode('utf-8', 'replace'))}")
    for name, value in letter.headers:
        print(f"header   {_safe(name)}: {_safe((value or b'').decode('utf-8', 'replace'))}")
    if letter.value is None:
        print("payload  none")
        return 0
    print(f"payload  {len(letter.value)} bytes")
    print(_dump(letter.value[:_SHOWN]))
    if len(letter.value) > _SHOWN:
        print(f"… {len(letter.value) - _SHOWN} bytes more; --raw writes them all")
    return 0


def _replay(letters: Any, args: argparse.Namespace) -> int:  # noqa: ANN401 - as above
    selection = _selection(args)
    filtered = any(each is not None for each in (selection.reason, selection.asset, selection.since))
    if args.letters and (filtered or args.all or args.limit):
        print("processor: name letters, or filter them, not both", file=sys.stderr)
        return 2
    if not (args.letters or filtered or args.all):
        print("processor: which letters? name some, filter them, or say --all", file=sys.stderr)
        return 2
    if args.letters:
        chosen: Any = [letters.find(*place) for place in dict.fromkeys(args.letters)]
    else:
        # As they lie: letters of one asset share a partition, so its samples stay in their order.
        chosen = islice(letters.read(selection), args.limit)
    done = letters.replay(chosen, dry_run=args.dry_run)
    what = "would go back" if args.dry_run else "went back"
    for place, description in done.written:
        print(f"{place} {what}: {_safe(description)}")
    for place, why in done.skipped:
        print(f"{place} skipped: {_safe(why)}")
    for place, why in done.failed:
        print(f"{place} failed: {_safe(why)}", file=sys.stderr)
    verb = "would be written" if args.dry_run else "written"
    print(f"{len(done.written)} {verb}, {len(done.skipped)} skipped, {len(done.failed)} failed")
    return 1 if done.failed else 0


def _selection(args: argparse.Namespace) -> Any:  # noqa: ANN401 - a Selection; imported late
    from processor.kafka.deadletters import Selection  # noqa: PLC0415 - --help stays fast

    return Selection(args.reason, args.asset, args.since)


def _described(letter: Any) -> dict[str, Any]:  # noqa: ANN401 - a Letter; imported late
    return {
        "letter": str(letter.place),
        "time": _time(letter.timestamp),
        "reason": letter.text("reason"),
        "asset": None if letter.key is None else letter.key.decode("utf-8", "replace"),
        "topic": letter.text("t") or None,
        "origin": letter.text("origin"),
        "detail": letter.text("detail"),
        "replayed": letter.text("replay") or None,
        "bytes": len(letter.value or b""),
    }


def _time(milliseconds: int) -> str:
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds")
    except (OverflowError, ValueError, OSError):
        return str(milliseconds)


def _safe(text: str) -> str:
    """What a device wrote, without anything that a terminal would obey."""
    return "".join(letter if letter.isprintable() else f"\\u{ord(letter):04x}" for letter in text)


def _dump(value: bytes) -> str:
    """Text when it is one, else hexadecimal with what is printable beside it."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        rows = (value[start : start + 16] for start in range(0, len(value), 16))
        return "\n".join(
            f"{number * 16:06x}  {row.hex(' '):<47}  "
            + "".join(chr(each) if 0x20 <= each < 0x7F else "." for each in row)  # noqa: PLR2004 - ASCII's printable
            for number, row in enumerate(rows)
        )
    return _safe(text)


def _place(text: str) -> tuple[int, int]:
    partition, _, offset = text.partition("/")
    named = partition.isdecimal() and offset.isdecimal()
    if not (named and int(partition) <= _LAST_PARTITION and int(offset) <= _LAST_OFFSET):
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected partition/offset, as `processor dlq list` prints it"
        )
    return int(partition), int(offset)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"found {text!r}, expected a number from 1")
    return int(text)


def _reason(text: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - --help stays fast

    from processor.errors import DeadReason  # noqa: PLC0415 - as above

    if text not in list(DeadReason):
        near = get_close_matches(text.lower(), list(DeadReason), n=1)
        expected = repr(str(near[0])) if near else f"one of {', '.join(DeadReason)}"
        raise argparse.ArgumentTypeError(f"found {text!r}, expected {expected}")
    return text


def _moment(text: str) -> int:
    """A moment in milliseconds since the epoch."""
    try:
        if text[-1:] in _UNITS:
            moment = datetime.now(UTC) - timedelta(**{_UNITS[text[-1]]: float(text[:-1])})
        else:
            moment = datetime.fromisoformat(text)
        zoned = moment.tzinfo is not None
    except (ValueError, OverflowError):
        zoned = False
    if not zoned:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, expected for example 90s, 15m, 6h, 7d or 2026-03-01T10:00:00Z"
        )
    return int(moment.timestamp() * 1000)
