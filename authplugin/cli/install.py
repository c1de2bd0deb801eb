"""``authplugin mosquitto install`` and ``uninstall``: the whole way into a broker, and out of it."""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from authplugin.errors import BuildError, InstallError

if TYPE_CHECKING:
    from authplugin.brokers.mosquitto.installation import PlannedFile, Record
    from authplugin.brokers.mosquitto.plan import Places, Plan
    from authplugin.brokers.mosquitto.selftest import Tokens
    from authplugin.brokers.mosquitto.stanza import Listener

_BROKER = Path("/etc/mosquitto/mosquitto.conf")
_LIBRARY = Path("/usr/local/lib/assetgate")
_TLS_PORT = 8883
_PLAIN_PORT = 1883
_PORT_MOST = 65535
_SERVICE = "mosquitto"


def add_parsers(parts: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Declare both parts."""
    install = parts.add_parser(
        "install",
        help="put the gate into this machine's broker: build, check, try, then write",
        description="Builds the plugin, checks the broker's configuration as it would be, tries it on a port "
        "of 127.0.0.1 with an issuer made up for that, and only then writes: the plugin, a first gate.toml, "
        "the acl_file, and the lines for Mosquitto with the reason of each. Run it again after an upgrade, "
        "or after a change of [topics] or [[service_accounts]].",
    )
    _add_places(install)
    install.add_argument("--issuer", metavar="URL", help="the tokens' iss, for a first gate.toml")
    install.add_argument("--audience", metavar="NAME", help="in the tokens' aud, for a first gate.toml")
    install.add_argument(
        "--certfile", type=Path, metavar="FILE", help="certificate chain of a TLS listener for devices (PEM)"
    )
    install.add_argument("--keyfile", type=Path, metavar="FILE", help="its private key (PEM)")
    install.add_argument(
        "--port",
        type=_port,
        help=f"of the listener (default: {_TLS_PORT} with TLS, {_PLAIN_PORT} on loopback without)",
    )
    install.add_argument(
        "--address", help="it is bound to (default: every address with TLS, 127.0.0.1 without)"
    )
    install.add_argument("--dry-run", action="store_true", help="show everything, write nothing")
    install.add_argument(
        "--overwrite",
        action="store_true",
        help="write files anew that were changed by hand; the changed one is kept as FILE.changed",
    )
    _add_restart(install)
    uninstall = parts.add_parser(
        "uninstall",
        help="undo what install wrote; what was changed by hand since is kept and named",
        description="Removes what install wrote and restores what it replaced. Files that were changed by "
        "hand since are kept, and named.",
    )
    _add_places(uninstall)
    uninstall.add_argument("--dry-run", action="store_true", help="say what would go, remove nothing")
    _add_restart(uninstall)


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--broker-config",
        type=Path,
        default=_BROKER,
        metavar="FILE",
        help="of Mosquitto (default: %(default)s)",
    )
    parser.add_argument(
        "--stanza",
        type=Path,
        metavar="FILE",
        help="our lines for it (default: conf.d/assetgate.conf beside it)",
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE", help="of the gate (default: gate.toml beside Mosquitto's)"
    )
    parser.add_argument(
        "--library",
        type=Path,
        default=_LIBRARY,
        metavar="DIR",
        help="of the plugin and the record of the installation (default: %(default)s)",
    )


def _add_restart(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--restart",
        action="store_true",
        help="restart the service afterwards, by systemctl; else do it yourself",
    )


def run_install(args: argparse.Namespace) -> int:
    """Install; 0 when the files are in place.

    Raises:
        AuthpluginError: something is missing or in the way; nothing was written.
        OSError: a file cannot be written; a first installation is undone.
    """
    from authplugin.brokers.mosquitto.build import build_plugin, find_interpreter  # noqa: PLC0415 - fast --help
    from authplugin.brokers.mosquitto.installation import (  # noqa: PLC0415 - as above
        PlannedFile,
        is_there,
        place,
        read_record,
    )
    from authplugin.brokers.mosquitto.plan import make_plan  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.prerequisites import (  # noqa: PLC0415 - as above
        check_files,
        check_port,
        check_readable,
        check_writable,
        find_doubts,
    )
    from authplugin.brokers.mosquitto.selftest import find_mosquitto, run_selftest  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.syntax import check_syntax  # noqa: PLC0415 - as above

    places = _places(args)
    mosquitto = find_mosquitto()
    if mosquitto is None:
        raise BuildError("there is no mosquitto: apt-get install mosquitto")
    interpreter = find_interpreter()
    record = read_record(places.record)
    options = _options(args, record)
    plan = make_plan(
        places, interpreter, issuer=args.issuer, audience=args.audience, listener=_listener(options)
    )
    if record is None:
        check_port(plan)
    if not args.dry_run:
        check_writable(places)
    check_files(places, plan)
    check_readable(places, interpreter, plan)
    files = _files(places, plan)
    changed = _find_changed(files, record, overwrite=args.overwrite)
    check_syntax(mosquitto, plan.broker)
    plugin, seen = run_selftest(mosquitto, plan, interpreter, build_plugin, _tokens())
    for line in seen:
        _say(f"tried: {line}")
    files = [PlannedFile(places.plugin, plugin), *files]
    for note in (*plan.notes, *(find_doubts(plan) if record is None else ())):
        _say(f"note: {note}")
    if args.dry_run:
        _show(files)
        return 0
    _keep(changed)
    same = frozenset(file.path for file in files if is_there(file))
    place(files, places.record, record, options)
    for file in files:
        _say(f"{'unchanged' if file.path in same else 'wrote'} {file.path}")
    return _finish(restart=args.restart)


def run_uninstall(args: argparse.Namespace) -> int:
    """Undo; 0 when nothing of ours is left.

    Raises:
        InstallError: nothing is on record there, or there is no right to undo it.
    """
    from authplugin.brokers.mosquitto.installation import find_ours, read_record, undo  # noqa: PLC0415 - fast --help
    from authplugin.brokers.mosquitto.prerequisites import check_writable  # noqa: PLC0415 - as above

    places = _places(args)
    record = read_record(places.record)
    if record is None:
        raise InstallError(f"{places.record}: no record, so nothing that install wrote")
    if args.dry_run:
        for path in find_ours(record):
            _say(f"would remove or restore {path}")
        return 0
    check_writable(places)
    undone = undo(record, places.record)
    for what, paths in (("removed", undone.removed), ("restored", undone.restored)):
        for path in paths:
            _say(f"{what} {path}")
    for path in undone.kept:
        _say(f"kept {path}: it was changed since it was installed")
    for path in undone.left:
        _say(f"left {path}: it was there before, the same")
    if places.stanza in undone.kept:
        _say(f"note: {places.stanza} names files that are gone: without them the broker does not start")
    return _finish(restart=args.restart)


def _places(args: argparse.Namespace) -> "Places":
    from authplugin.brokers.mosquitto.plan import Places  # noqa: PLC0415 - as above

    broker = args.broker_config.absolute()
    return Places(
        broker=broker,
        stanza=(args.stanza or broker.parent / "conf.d" / "assetgate.conf").absolute(),
        config=(args.config or broker.parent / "gate.toml").absolute(),
        library=args.library.absolute(),
    )


def _options(args: argparse.Namespace, record: "Record | None") -> dict[str, str]:
    """The listener's options: those of the command line, and for the rest those of the last time."""
    asked = {
        name: str(value.absolute() if isinstance(value, Path) else value)
        for name in ("port", "address", "certfile", "keyfile")
        if (value := getattr(args, name)) is not None
    }
    if ("certfile" in asked) is not ("keyfile" in asked):
        raise InstallError("--certfile and --keyfile go together")
    return {**(record.options if record is not None else {}), **asked}


def _port(text: str) -> int:
    """A port that a listener can have."""
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= port <= _PORT_MOST:
        raise argparse.ArgumentTypeError(f"found {text}, expected an integer of 1 to {_PORT_MOST}")
    return port


def _listener(options: dict[str, str]) -> "Listener | None":
    from authplugin.brokers.mosquitto.stanza import Listener  # noqa: PLC0415 - as above

    if not options:
        return None
    encrypted = "certfile" in options
    return Listener(
        port=int(options.get("port", _TLS_PORT if encrypted else _PLAIN_PORT)),
        address=options.get("address", None if encrypted else "127.0.0.1"),
        certificate=Path(options["certfile"]) if encrypted else None,
        key=Path(options["keyfile"]) if encrypted else None,
    )


def _tokens() -> "Tokens":
    """An issuer that lives for this self-test alone."""
    import json  # noqa: PLC0415 - as above

    from authplugin.brokers.mosquitto.selftest import Tokens  # noqa: PLC0415 - as above
    from authplugin.client.key import make_key  # noqa: PLC0415 - as above
    from authplugin.testing.mint import TokenMint  # noqa: PLC0415 - as above

    key = make_key()  # P-256: made in no time
    mint = TokenMint("https://selftest.invalid", "selftest", algorithm="ES256", key=key, device_key=key)
    return Tokens(
        issuer=mint.issuer,
        audience=mint.audience,
        jwks=json.dumps(mint.jwks()).encode(),
        asset_id="02iAB00000CdEfGYAV",
        good=mint.mint(cnf=None),
        bad=mint.forged(),
    )


def _files(places: "Places", plan: "Plan") -> "list[PlannedFile]":
    """What goes where, the plugin aside; our lines for the broker last, for they make the rest count."""
    from authplugin.brokers.mosquitto.installation import PlannedFile  # noqa: PLC0415 - as above
    from authplugin.brokers.mosquitto.plan import owner_of  # noqa: PLC0415 - as above

    first = [PlannedFile(places.config, plan.config.encode())] if plan.config is not None else []
    return [
        *first,
        # Newer brokers want it to be theirs, and nobody else's to read.
        PlannedFile(plan.acl_file, plan.acl.encode(), 0o600, owner_of(plan.user)),
        PlannedFile(places.stanza, plan.stanza.encode()),
    ]


def _find_changed(
    files: "list[PlannedFile]", record: "Record | None", *, overwrite: bool
) -> "tuple[Path, ...]":
    """Files that a person has changed since, when they may be written over.

    Raises:
        InstallError: they may not.
    """
    from authplugin.brokers.mosquitto.installation import find_changed  # noqa: PLC0415 - as above

    changed = find_changed(files, record)
    if changed and not overwrite:
        raise InstallError(
            f"{changed[0]}: changed since it was installed. Move that to a file of your own, or run with "
            f"--overwrite, which keeps it as {changed[0].name}.changed"
        )
    return tuple(changed)


def _keep(changed: "tuple[Path, ...]") -> None:
    """Keep what a person wrote beside what takes its place."""
    for path in changed:
        kept = path.with_name(path.name + ".changed")
        shutil.copy2(path, kept)
        _say(f"kept the changed {path} as {kept}")


def _show(files: "list[PlannedFile]") -> None:
    """What would be written, on standard output."""
    for file in files:
        try:
            text = file.content.decode()
        except UnicodeDecodeError:
            print(f"==> {file.path} ({len(file.content)} bytes, mode {file.mode:o})\n")
        else:
            print(f"==> {file.path} (mode {file.mode:o})\n{text}")
    _say("nothing was written")


def _finish(*, restart: bool) -> int:
    """Say how the broker learns of it, or have it restarted.

    Raises:
        InstallError: it cannot be restarted.
    """
    command = ["systemctl", "restart", _SERVICE]
    if not restart:
        _say(f"the broker reads it at its next start: sudo {' '.join(command)}")
        return 0
    if shutil.which("systemctl") is None or not Path("/run/systemd/system").is_dir():
        raise InstallError(
            "the files are as they should be, but there is no systemd here to restart the broker"
        )
    done = subprocess.run(command, check=False)  # noqa: S603 - systemctl from PATH, as a person would
    if done.returncode != 0:
        raise InstallError(
            f"the files are as they should be, but {' '.join(command)} failed: journalctl -u {_SERVICE} -n 20"
        )
    _say("the broker was restarted")
    return 0


def _say(line: str) -> None:
    """One line for a person; standard output is for files."""
    print(line, file=sys.stderr)
