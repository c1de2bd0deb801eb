"""What stands beside the gate: throttle, clones, events, watched files and the administrator's road."""

import functools
import itertools
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from authplugin.admin import AdminListener, check_socket, read_secret
from authplugin.administration import Administration
from authplugin.auditfile import check_place
from authplugin.clock import Clock
from authplugin.clones import Clones, Rules
from authplugin.errors import ConfigurationError, ConfigurationErrors
from authplugin.events import Events
from authplugin.gate import Gate
from authplugin.jose.identity import IdForm
from authplugin.keys.cache import KeyCache
from authplugin.provisioned import MAX_BYTES as MAX_PROVISIONED
from authplugin.provisioned import Provisioned, parse_provisioned
from authplugin.revocation import MAX_BYTES as MAX_REVOCATIONS
from authplugin.revocation import NONE, Revocations, parse_revocations
from authplugin.sessions import Sessions
from authplugin.settings import GateSettings
from authplugin.settings.issuers import IssuerTable
from authplugin.throttle import Limits, Throttle
from authplugin.watch import Watch, WatchedFile, WatchState

REVOCATIONS = "revocations"
"""What the file of revocations is called in metrics."""


class Guards:
    """Made before the gate, for it takes some of them; `attach` gives them the gate.

    Attributes:
        throttle: debts of addresses.
        clones: sees sessions come and go.
        events: what a door publishes, None when there are none.
        watch: watches the files of revocations and provisioned assets.
    """

    def __init__(self, settings: GateSettings, keys: KeyCache, *, clock: Clock) -> None:
        self._clock = clock
        self._keys = keys
        self.throttle = Throttle(_limits(settings), clock=clock)
        self.clones = Clones(_rules(settings), clock=clock)
        self.events: Events | None = None
        if settings.events.enabled:
            self.events = Events(
                clock=clock,
                new_id=_ids(),
                unusable=lambda: [state.issuer for state in keys.states() if not state.usable],
                denied_per_second=settings.events.denied_per_second,
                capacity=settings.events.capacity,
            )
        self.watch: Watch
        self._revocations: Path | None = None
        self._listener: AdminListener | None = None

    def attach(self, settings: GateSettings, gate: Gate, sessions: Sessions) -> None:
        """Read the watched files and put them in force; nothing runs before `start`.

        Raises:
            ConfigurationError: one is missing or wrong.
        """
        self._gate = gate
        self._sessions = sessions
        self.watch = make_watch(settings, gate, clock=self._clock)
        self._watched = _sources(settings)
        self._revocations = _revocations(settings)
        self.watch.load()

    def prepare(self, settings: GateSettings) -> Callable[[], None]:
        """Read the files that other settings name; what is returned puts them in force and watches them.

        Raises:
            ConfigurationError: one is missing or wrong; the old ones are watched on.
        """
        sources = _sources(settings)
        if sources == self._watched:  # a million ids are not read for nothing while everybody waits
            return _stay
        watch = make_watch(settings, self._gate, clock=self._clock)
        works = watch.read()

        def adopt() -> None:
            self.watch.stop(0.0)
            self.watch, self._watched = watch, sources
            if self._revocations is not None and settings.revocation.file is None:
                self._gate.revoke(NONE)
            self._revocations = _revocations(settings)
            for put_in_force in works:
                put_in_force()
            watch.start()

        return adopt

    def states(self) -> list[WatchState]:
        """What is known of each watched file."""
        return self.watch.states()

    def start(self, settings: GateSettings) -> None:
        """Start watching, and listen for the administrator.

        Raises:
            ConfigurationError: the socket or port cannot be listened at, or the secret is unfit.
        """
        admin = settings.admin
        secret = None if admin.secret_file is None else read_secret(Path(admin.secret_file))
        if admin.socket is not None or admin.port is not None:
            administration = Administration(
                self._gate,
                sessions=self._sessions,
                keys=self._keys,
                clones=self.clones,
                step=self._look,
                in_force=self._is_revoking,
                revocations=lambda: self._revocations,
                clock=self._clock,
            )
            self._listener = AdminListener(administration.answer, clock=self._clock, secret=secret)
            try:
                if admin.socket is not None:
                    self._listener.listen_at_socket(Path(admin.socket))
                elif admin.port is not None:
                    self._listener.listen_at_port(admin.port)
            except OSError as error:
                raise ConfigurationError(
                    file="the gate's configuration",
                    line=None,
                    key="admin.socket" if admin.socket is not None else "admin.port",
                    found=f"{admin.socket or admin.port} ({error.strerror or error})",
                    expected="a place that the broker's user may listen at",
                ) from None
        self.watch.start()

    def _look(self) -> None:
        """Look at the watched files now; which those are may change."""
        self.watch.step()

    def _is_revoking(self) -> bool:
        """Whether what is revoked is what the file says now."""
        return all(state.good for state in self.watch.states() if state.name == REVOCATIONS)

    def stop(self, timeout: float) -> None:
        """Stop the threads, within ``timeout`` seconds each."""
        if self._listener is not None:
            self._listener.close()
        self.watch.stop(timeout)


def _sources(settings: GateSettings) -> tuple[object, ...]:
    """What decides which files are watched and how they are read."""
    issuers = settings.issuers
    return (
        settings.revocation.file,
        *((one.issuer, one.require_provisioned, one.provisioned_file, one.id_form) for one in issuers),
    )


def _revocations(settings: GateSettings) -> Path | None:
    file = settings.revocation.file
    return None if file is None else Path(file)


def _ids() -> Callable[[], str]:
    """Ids no other event has: one random name a start, and a number."""
    start = f"{uuid.uuid4()}-"
    return map((start + "{}").format, itertools.count(1)).__next__


def _stay() -> None:
    """The same files are watched on."""


def make_watch(settings: GateSettings, gate: Gate, *, clock: Clock) -> Watch:
    """The files that the settings name, none read yet."""
    return Watch(_files(settings, gate.revoke, gate.provision), post=gate.post, clock=clock)


def find_mistakes(settings: GateSettings) -> list[ConfigurationError]:
    """What is wrong with the files that the settings name and a gate needs to start; nothing is kept."""
    reads: list[Callable[[], object]] = [
        functools.partial(file.load, 0.0) for file in _files(settings, _forget, _forget)
    ]
    if settings.admin.secret_file is not None:
        reads.append(functools.partial(read_secret, Path(settings.admin.secret_file)))
    if settings.admin.socket is not None:
        reads.append(functools.partial(check_socket, Path(settings.admin.socket)))
    if settings.audit.file is not None:
        reads.append(functools.partial(check_place, Path(settings.audit.file)))
    if settings.mosquitto.password_file is not None:
        reads.append(functools.partial(_check_passwords, Path(settings.mosquitto.password_file)))
    mistakes: list[ConfigurationError] = []
    for read in reads:
        try:
            read()
        except ConfigurationErrors as errors:
            mistakes += errors.errors
        except ConfigurationError as error:
            mistakes.append(error)
    return mistakes


def _check_passwords(path: Path) -> None:
    """Check that there is a password file: the broker reads it, and does not start without.

    Raises:
        ConfigurationError: it cannot be opened.
    """
    try:
        path.open("rb").close()
    except OSError as error:
        raise ConfigurationError(
            file=str(path),
            line=None,
            key="mosquitto.password_file",
            found=error.strerror or type(error).__name__,
            expected=f"the broker's password file (sudo mosquitto_passwd -c {path} NAME)",
        ) from None


def _forget(*_: object) -> None:
    """What was read to see whether it can be is not put in force."""


def _files(
    settings: GateSettings,
    revoke: Callable[[Revocations], object],
    provision: Callable[[str, Provisioned], object],
) -> list[WatchedFile[Any]]:
    """The files that change what is let in, and whom to give what they say."""
    files: list[WatchedFile[Any]] = []
    if settings.revocation.file is not None:
        files.append(
            WatchedFile(
                Path(settings.revocation.file),
                "revocation.file",
                name=REVOCATIONS,
                parse=parse_revocations,
                adopt=revoke,
                count=lambda revocations: revocations.count,
                limit=MAX_REVOCATIONS,
            )
        )
    for position, issuer in enumerate(settings.issuers):
        if issuer.require_provisioned and issuer.provisioned_file is not None:
            files.append(_provisioned(position, issuer, Path(issuer.provisioned_file), provision))
    return files


def _provisioned(
    position: int, issuer: IssuerTable, path: Path, provision: Callable[[str, Provisioned], object]
) -> WatchedFile[Provisioned]:
    def parse(text: bytes, name: str) -> Provisioned:
        return parse_provisioned(text, name, IdForm(issuer.id_form))

    def adopt(assets: Provisioned) -> None:
        provision(issuer.issuer, assets)

    return WatchedFile(
        path,
        f"issuers[{position}].provisioned_file",
        name=f"provisioned-{position}",
        parse=parse,
        adopt=adopt,
        count=len,
        limit=MAX_PROVISIONED,
    )


def _limits(settings: GateSettings) -> Limits:
    table = settings.throttle
    return Limits(
        per_second=table.per_second,
        burst=table.burst,
        known_per_second=table.known_per_second,
        known_burst=table.known_burst,
        credit=table.credit,
        known_s=table.known_s,
        capacity=table.capacity,
    )


def _rules(settings: GateSettings) -> Rules:
    table = settings.clones
    return Rules(
        clients_per_asset=table.clients_per_asset,
        half_life_s=table.half_life_s,
        report_score=table.report_score,
        quarantine_score=table.quarantine_score,
        quarantine_s=table.quarantine_s,
        capacity=table.capacity,
    )
