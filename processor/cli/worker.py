"""``processor worker``: judge telemetry until SIGTERM."""

import argparse
import signal
import threading
from pathlib import Path


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Add the command's words."""
    parser = subparsers.add_parser("worker", help="judge telemetry by the rules")
    parser.add_argument("--config", type=Path, help="TOML settings; none: the defaults and the environment")
    return parser


def run(args: argparse.Namespace) -> int:
    """Run until SIGTERM or SIGINT; 0 after a clean stop."""
    from processor.flow.logs import set_up  # noqa: PLC0415 - --help must not wait for libraries
    from processor.kafka.admin import Admin  # noqa: PLC0415 - as above
    from processor.settings import load  # noqa: PLC0415 - as above

    settings = load(args.config)
    set_up()
    # Until the rules can be read again; the default would end the program.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    # That Kafka is away is said while Faust and the compiler are loaded, which takes seconds.
    waiting = threading.Thread(target=Admin(settings.kafka).wait, daemon=True)
    waiting.start()
    from processor.flow.program import main  # noqa: PLC0415 - as the line above says
    from processor.flow.rulefile import RuleFile  # noqa: PLC0415 - as above

    file = RuleFile(Path(settings.worker.rules))
    rules = file.read()
    waiting.join()
    return main(settings, file, rules)
