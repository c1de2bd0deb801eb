"""What a machine must allow before an installation is worth trying: a port, rights to write and to read."""

import os
import pwd
import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificates

from authplugin.brokers.guards import find_mistakes
from authplugin.brokers.mosquitto.build import Interpreter, unreadable
from authplugin.brokers.mosquitto.plan import Places, Plan
from authplugin.brokers.mosquitto.rights import find_forbidden, find_open_files
from authplugin.errors import ConfigurationErrors, InstallError


def check_port(plan: Plan) -> None:
    """Check that the metrics' port is free: with it taken the broker would not start.

    Raises:
        InstallError: it is not.
    """
    metrics = plan.loaded.settings.metrics
    if metrics.port is None:
        return
    try:
        socket.create_server((metrics.address, metrics.port)).close()
    except OSError as error:
        raise InstallError(
            f"metrics.port: found {metrics.port} of {metrics.address} ({os.strerror(error.errno or 0)}), "
            "expected a free port: name one in [metrics] of the gate's configuration, or by "
            "AUTHPLUGIN_METRICS__PORT, here and for the broker"
        ) from None


def find_doubts(plan: Plan) -> Iterator[str]:
    """What a first installation may well get wrong, and only a person can tell."""
    listener = plan.listener
    if listener is None:
        return
    family = socket.AF_INET6 if ":" in (listener.address or "") else socket.AF_INET
    try:
        socket.create_server((listener.address or "", listener.port), family=family).close()
    except OSError as error:
        yield (
            f"port {listener.port} of {listener.address or 'this machine'} cannot be had now "
            f"({os.strerror(error.errno or 0)}): unless this broker has it, it will not start"
        )
    if listener.certificate is not None:
        until = load_pem_x509_certificates(listener.certificate.read_bytes())[0].not_valid_after_utc
        if until < datetime.now(UTC):
            yield f"{listener.certificate}: the certificate ended on {until:%Y-%m-%d}: devices will refuse it"


def check_writable(places: Places) -> None:
    """Check first what would only fail last.

    Raises:
        InstallError: a folder that is written to is not ours to write.
    """
    for path in (places.stanza, places.config, places.record):
        folder = next(folder for folder in path.parents if folder.exists())
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InstallError(f"{folder}: found no right to write, expected one: run it with sudo")


def check_files(places: Places, plan: Plan) -> None:
    """Check what the gate reads, writes and takes: with most of that missing the broker would not start.

    Raises:
        ConfigurationErrors: every mistake in it.
    """
    settings = plan.loaded.settings
    user = plan.user if plan.user is not None else _caller()
    mistakes = [
        *find_open_files(places.config),
        *find_mistakes(settings),
        *find_forbidden(settings, user),
    ]
    if mistakes:
        raise ConfigurationErrors(mistakes)


def _caller() -> str:
    """Who installs, by name, or by number where there is none."""
    user = os.geteuid()
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def _named(plan: Plan) -> list[Path]:
    """Files that the gate's configuration names, as far as they are there."""
    settings = plan.loaded.settings
    files = [settings.revocation.file, settings.admin.secret_file, settings.mosquitto.password_file]
    for issuer in settings.issuers:
        files += [issuer.jwks_file, issuer.provisioned_file]
    return [Path(file) for file in files if file is not None and Path(file).exists()]


def _check_pair(certificate: Path, key: Path) -> None:
    """Check that TLS can use a certificate chain and a key: with any other the broker would not start.

    Raises:
        InstallError: it cannot.
    """
    try:
        # The empty password keeps OpenSSL from asking the terminal for one.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password="")
    except OSError as error:
        why = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise InstallError(
            f"{certificate} and {key}: found what TLS cannot use ({why or 'no PEM of that kind'}), expected "
            "a certificate chain and its own key, both PEM, the key without a password"
        ) from None


def check_readable(places: Places, interpreter: Interpreter, plan: Plan) -> None:
    """Check what the broker's user must read, and the self-test does not.

    Raises:
        InstallError: it cannot; names the first file or folder.
    """
    listener = plan.listener
    pair = (listener.certificate, listener.key) if listener is not None else ()
    tls = [path for path in pair if path is not None]
    for path in tls:
        if not path.is_file():
            raise InstallError(
                f"{path}: found no file, expected the listener's certificate chain and key (PEM)"
            )
    if len(tls) == len(pair) and pair:
        _check_pair(*tls)
    if plan.user is None:
        return
    for path in unreadable([*tls, *_named(plan)], plan.user):
        raise InstallError(
            f"{path}: the broker reads it as user {plan.user}, who may not enter or read it: change its "
            "owner or mode, or those of the folders above it"
        )
    needed = [interpreter.libpython, interpreter.home / "lib", interpreter.site, places.stanza.parent]
    needed += [
        path for path in (places.library, places.config, plan.acl_file.resolve().parent) if path.exists()
    ]
    for path in unreadable(needed, plan.user):
        raise InstallError(
            f"{path}: the broker runs as user {plan.user}, who may not enter or read it. Its Python and this "
            "package must be where that user can go, for instance: /usr/bin/python3 -m venv /opt/assetgate"
        )
