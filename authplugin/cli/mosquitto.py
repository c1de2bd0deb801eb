"""``authplugin mosquitto``: installs the gate; or builds it and prints the stanza, for other ways in."""

import argparse
import sys
from pathlib import Path
from typing import NamedTuple

from authplugin.cli import install


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> argparse.ArgumentParser:
    """Declare the command and its parts."""
    parser = subparsers.add_parser("mosquitto", help="put the gate into a Mosquitto broker")
    parts = parser.add_subparsers(dest="part", required=True, metavar="PART")
    install.add_parsers(parts)
    build = parts.add_parser(
        "build",
        help="compile the plugin with cc; with --config also write the acl_file and print the stanza",
        description="Compiles the plugin. With --config it writes the acl_file named there and prints the "
        "lines for mosquitto.conf to standard output; they go before the first listener.",
    )
    build.add_argument(
        "-o", "--output", type=Path, required=True, metavar="FILE", help="the plugin, e.g. authplugin.so"
    )
    build.add_argument("--config", type=Path, metavar="FILE", help="the gate's configuration (TOML)")
    acl = parts.add_parser(
        "acl",
        help="write the broker's acl_file from the topic templates and service accounts",
        description="Writes the acl_file. The broker does not start when it differs from the configuration.",
    )
    acl.add_argument(
        "--config", type=Path, required=True, metavar="FILE", help="the gate's configuration (TOML)"
    )
    acl.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="where to; - prints it; else mosquitto.acl_file as configured",
    )
    return parser


def run(args: argparse.Namespace) -> int:
    """Do one part; 0 when done.

    Raises:
        AuthpluginError: the configuration is wrong, or something to build with is missing.
    """
    runs = {
        "install": install.run_install,
        "uninstall": install.run_uninstall,
        "build": _build,
        "acl": _write_acl,
    }
    return runs[args.part](args)


def _build(args: argparse.Namespace) -> int:
    from authplugin.brokers.mosquitto.build import (  # noqa: PLC0415 - fast --help
        build_plugin,
        find_interpreter,
        unreadable,
    )
    from authplugin.brokers.mosquitto.stanza import write_stanza  # noqa: PLC0415 - as above

    # Whatever is missing is said before anything is written.
    interpreter = find_interpreter()
    files = _acl_files(args.config) if args.config is not None else None
    build_plugin(args.output)
    print(f"built {args.output}", file=sys.stderr)
    needed = [args.output, interpreter.libpython, interpreter.home / "lib", interpreter.site]
    if files is not None:
        _put(files.acl, files.text)
        print(f"wrote {files.acl}", file=sys.stderr)
        print(write_stanza(args.output, interpreter, args.config, files.acl, files.passwords), end="")
        needed += [args.config, files.acl]
        needed += [files.passwords] if files.passwords is not None and files.passwords.exists() else []
    for path in unreadable(needed):
        print(
            f"note: others may not read {path}: a broker that runs as user mosquitto will not start with it",
            file=sys.stderr,
        )
    return 0


def _write_acl(args: argparse.Namespace) -> int:
    files = _acl_files(args.config)
    if args.output is not None and str(args.output) == "-":
        print(files.text, end="")
        return 0
    output = args.output or files.acl
    _put(output, files.text)
    print(f"wrote {output}", file=sys.stderr)
    return 0


def _put(path: Path, text: str) -> None:
    """Write a file, or replace it whole, for a broker may read it meanwhile; its owner and mode stay."""
    from authplugin.watch import replace_file  # noqa: PLC0415 - fast --help

    if path.is_file():
        replace_file(path, text.encode())
    else:
        path.write_text(text, encoding="utf-8")


class _AclFiles(NamedTuple):
    """The files that go with a configuration.

    Attributes:
        acl: where the ``acl_file`` is.
        text: what it says.
        passwords: where the password file is, None for none.
    """

    acl: Path
    text: str
    passwords: Path | None


def _acl_files(config: Path) -> _AclFiles:
    from authplugin.brokers.mosquitto.acl import write_acl  # noqa: PLC0415 - fast --help
    from authplugin.errors import ConfigurationError  # noqa: PLC0415 - as above
    from authplugin.settings import load  # noqa: PLC0415 - as above

    loaded = load(config)
    mosquitto = loaded.settings.mosquitto
    try:
        text = write_acl(loaded.policy.topics, loaded.policy.service_accounts)
    except ValueError as error:
        raise ConfigurationError(
            file=str(config),
            line=None,
            key="topics",
            found=str(error),
            expected="topics that Mosquitto's acl_file can say",
        ) from None
    passwords = Path(mosquitto.password_file) if mosquitto.password_file is not None else None
    return _AclFiles(Path(mosquitto.acl_file), text, passwords)
