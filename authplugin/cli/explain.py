"""``authplugin explain``: judges one token and shows each check with its result, never the token."""

import argparse
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command."""
    parser = subparsers.add_parser(
        "explain",
        help="show each check of a token with its result",
        description="Judges a token exactly as the gate would, reading each issuer's key set once. Exits 0 "
        "when the token (and the topic) is allowed, 1 when it is refused.",
    )
    parser.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the gate's configuration (TOML)"
    )
    parser.add_argument(
        "--token", required=True, metavar="FILE", help="file with the token; - reads standard input"
    )
    parser.add_argument("--topic", metavar="TOPIC", help="also judge a publish to this topic")
    return parser


def run(args: argparse.Namespace) -> int:
    """Print the table; 0 when everything holds.

    Raises:
        AuthpluginError: the configuration or the token's file is wrong.
    """
    from authplugin.advice import ADVICE  # noqa: PLC0415 - --help need not load what decides
    from authplugin.cli.input import read_token  # noqa: PLC0415 - as above
    from authplugin.clock import SystemClock  # noqa: PLC0415 - as above
    from authplugin.errors import Reason  # noqa: PLC0415 - as above
    from authplugin.gate import Gate  # noqa: PLC0415 - as above
    from authplugin.keys.cache import KeyCache  # noqa: PLC0415 - as above
    from authplugin.keys.supply import KeySupply  # noqa: PLC0415 - as above
    from authplugin.metrics import Metrics  # noqa: PLC0415 - as above
    from authplugin.sessions import Sessions  # noqa: PLC0415 - as above
    from authplugin.settings import load  # noqa: PLC0415 - as above
    from authplugin.verdicts import VerdictCache  # noqa: PLC0415 - as above

    loaded = load(args.config)
    token = read_token(args.token)
    clock = SystemClock()
    keys = KeyCache(loaded.policy.issuers, clock=clock)
    KeySupply(loaded.settings, keys, clock=clock, jitter=_none).step()
    gate = Gate(
        loaded.policy,
        keys,
        clock=clock,
        sessions=Sessions(clock=clock, jitter=_none),
        verdicts=VerdictCache(capacity=0, refused_capacity=0),
        metrics=Metrics(),
    )
    checks = gate.explain(token, args.topic)
    for state in keys.states():
        if state.error is not None:
            print(f"key set of {state.issuer}: {state.error}")
    width = max(len(check.name) for check in checks)
    words = {True: "ok", False: "refused", None: "not reached"}
    for check in checks:
        print(f"{check.name:<{width}}  {words[check.passed]:<11}  {_printable(check.detail)}".rstrip())
    refused = next((check for check in checks if check.passed is False), None)
    if refused is None:
        return 0
    print(f"what to do: {ADVICE[Reason(refused.detail.partition(':')[0])].remedy}")
    return 1


def _none() -> float:
    """No jitter: one reading, no sessions."""
    return 0.0


def _printable(text: str) -> str:
    """What tokens say, without power over the terminal."""
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text)
