"""``processor rules check``: is this rule file good, what would it do, and what would it find in a sample."""

import argparse
import sys
from pathlib import Path
from typing import Any


def add_parser(subparsers: Any) -> argparse.ArgumentParser:  # noqa: ANN401 - argparse names its subparsers privately
    """Describe the command."""
    parser: argparse.ArgumentParser = subparsers.add_parser("rules", help="check a rule file")
    commands = parser.add_subparsers(dest="rules_command", required=True, metavar="COMMAND")
    check = commands.add_parser(
        "check", help="say what is wrong in a rule file, all of it with its line, or what it does"
    )
    check.add_argument("file", type=Path, metavar="FILE", help="rules, in YAML")
    check.add_argument("--warm", action="store_true", help="also compile its detectors into the cache")
    check.add_argument(
        "--sample",
        type=Path,
        metavar="JSONL",
        help="also judge telemetry from a file: one message a line, each with asset and ts",
    )
    commands.add_parser("reference", help="print the reference of the rule language, in Markdown")
    return parser


def run(args: argparse.Namespace) -> int:
    """Check a file, 0 when it is good; or print the reference."""
    if args.rules_command == "reference":
        from processor.rules.reference import write_reference  # noqa: PLC0415 - only when asked for

        print(write_reference(), end="")
        return 0
    return _check(args)


def _check(args: argparse.Namespace) -> int:
    from processor.cases.event import write_time  # noqa: PLC0415 - --help stays fast
    from processor.rules import RulesRefused, load_rules  # noqa: PLC0415 - as above

    try:
        rules = load_rules(args.file)
    except RulesRefused as refused:
        for error in refused.errors:
            print(error, file=sys.stderr)
        return 1
    for rule in rules.rules:
        print(f"{rule.id} (version {rule.version}, {rule.kind}, {rule.severity}): {_sentence(rule)}")
    count = len(rules.rules)
    said = f"{args.file}: {count} {'rule' if count == 1 else 'rules'}, hash {rules.hash}"
    if rules.effective is not None:
        said += f", in force from {write_time(rules.effective)}"
    print(said)
    if args.warm:
        from processor.engine import warm  # noqa: PLC0415 - compiling is asked for
        from processor.flow import batch  # noqa: PLC0415 - the same

        warm(rules)
        batch.warm()
        print("detectors compiled")
    if args.sample is not None:
        return _try(rules, args.sample)
    return 0


def _try(rules: Any, file: Path) -> int:  # noqa: ANN401 - a RuleSet; imported late
    from processor.engine.trial import try_rules  # noqa: PLC0415 - only when asked for

    try:
        with file.open("rb") as lines:
            trial = try_rules(rules, lines)
    except OSError as error:
        print(f"{file}: found {error.strerror}, expected a readable file of JSON lines", file=sys.stderr)
        return 1
    for event in trial.events:
        print(event.value.decode())
    for line, reason, detail in trial.dead:
        print(f"{file}:{line}: {reason}: {detail}", file=sys.stderr)
    print(", ".join(f"{name} {count}" for name, count in trial.counts._asdict().items()))
    return 1 if trial.dead else 0


def _sentence(rule: Any) -> str:  # noqa: ANN401 - a Rule; imported late
    from processor.detect.duration import write  # noqa: PLC0415 - --help stays fast

    what = {"metric": f"metric {rule.select}", "event": f"event {rule.select}", "asset": "any sample"}
    text = f"{rule.detector.name} on {what[rule.target]}"
    if rule.assets != ("*",):
        text += f" of {', '.join(rule.assets)}"
    if rule.hold:
        text += f", for {write(rule.hold)}"
    if rule.clear:
        text += f", clear {write(rule.clear)}"
    return text
