"""``authplugin explain``: judges one token and shows each check with its result, never the token."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authplugin.clock import Clock
    from authplugin.gate import Gate
    from authplugin.keys.cache import KeyCache
    from authplugin.settings import Loaded

_UNASKED = "only the running gate knows"


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "explain",
        help="show each check of a token with its result",
        description="Judges a token exactly as the gate would, reading each issuer's key set once, and "
        "revocations and provisioned assets from their files. Exits 0 when the token, and what else is "
        "given, is allowed, 1 when it is refused.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the gate's configuration (TOML)"
    )
    parser.add_argument(
        "--token", required=True, metavar="FILE", help="file with the token; - reads standard input"
    )
    parser.add_argument("--topic", metavar="TOPIC", help="also judge a publish to this topic")
    parser.add_argument("--client-id", metavar="ID", help="also judge this MQTT client id")
    parser.add_argument("--username", metavar="NAME", help="also judge this MQTT user name")
    parser.add_argument(
        "--certificate",
        type=Path,
        metavar="FILE",
        help="also judge this TLS client certificate, PEM or DER, as proof of possession",
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the table; 0 when everything holds.

    Raises:
        AuthpluginError: the configuration or a file is wrong.
    """
    from authplugin.advice import ADVICE  # noqa: PLC0415 - --help need not load what decides
    from authplugin.cli.input import read_certificates, read_token  # noqa: PLC0415 - as above
    from authplugin.clock import SystemClock  # noqa: PLC0415 - as above
    from authplugin.errors import Reason  # noqa: PLC0415 - as above
    from authplugin.keys.supply import fetch_once  # noqa: PLC0415 - as above
    from authplugin.settings import load  # noqa: PLC0415 - as above

    loaded = load(args.config)
    token = read_token(args.token)
    certificate = None if args.certificate is None else read_certificates(args.certificate)[0]
    clock = SystemClock()
    keys = fetch_once(loaded.settings, clock=clock)
    gate, asked = _make_gate(loaded, keys, clock, args.config)
    checks = [
        check if asked or check.name != "quarantine" or not check.passed else check._replace(detail=_UNASKED)
        for check in gate.explain(
            token, args.topic, client_id=args.client_id, username=args.username, certificate=certificate
        )
    ]
    refused = next((check for check in checks if check.passed is False), None)
    reason = None if refused is None else Reason(refused.detail.partition(":")[0])
    remedy = None if reason is None else ADVICE[reason].remedy
    troubles = {state.issuer: state.error for state in keys.states() if state.error is not None}
    if args.json:
        rows = [check._asdict() for check in checks]
        told = {"allowed": refused is None, "reason": reason, "remedy": remedy, "checks": rows}
        print(json.dumps(told | {"keySetErrors": troubles}))
        return 0 if refused is None else 1
    for issuer, why in troubles.items():
        print(f"key set of {issuer}: {why}")
    width = max(len(check.name) for check in checks)
    words = {True: "ok", False: "refused", None: "not reached"}
    for check in checks:
        print(f"{check.name:<{width}}  {words[check.passed]:<11}  {_printable(check.detail)}".rstrip())
    if remedy is None:
        return 0
    print(f"what to do: {remedy}")
    return 1


def _make_gate(loaded: "Loaded", keys: "KeyCache", clock: "Clock", config: Path) -> "tuple[Gate, bool]":
    """A gate with everything that the files say, and whether a running one was asked for the rest.

    Raises:
        AuthpluginError: a file that the settings name is wrong.
    """
    from authplugin.brokers.guards import make_watch  # noqa: PLC0415 - as above
    from authplugin.cli.live import LiveError, ask  # noqa: PLC0415 - as above
    from authplugin.gate import Gate  # noqa: PLC0415 - as above
    from authplugin.metrics import Metrics  # noqa: PLC0415 - as above
    from authplugin.sessions import Sessions  # noqa: PLC0415 - as above
    from authplugin.verdicts import VerdictCache  # noqa: PLC0415 - as above

    gate = Gate(
        loaded.policy,
        keys,
        clock=clock,
        sessions=Sessions(clock=clock, jitter=_none),
        verdicts=VerdictCache(capacity=0, refused_capacity=0),
        metrics=Metrics(),
    )
    make_watch(loaded.settings, gate, clock=clock).load()
    admin = loaded.settings.admin
    if admin.socket is None and admin.port is None:
        return gate, False
    try:
        quarantined = ask(config, "GET", "/quarantined")
    except LiveError:
        return gate, False
    for asset_id, seconds in quarantined.items():
        gate.quarantine(asset_id, seconds)
    return gate, True


def _none() -> float:
    """No jitter: one reading, no sessions."""
    return 0.0


def _printable(text: str) -> str:
    """What tokens say, without power over the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
