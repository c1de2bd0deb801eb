"""Clones: one identity seen from two places, scored by asset, and quarantined if the policy says so.

Seen when a client that was let in connects; none of it is what one device does by itself:

- ``clients``: an asset is live from more clients than it may have;
- ``token``: a token comes from more client ids than an asset may have;
- ``key``: an asset's device comes with a token that is bound to another key than before;
- ``take_over``: a live session is taken over from another address, and taken back, and again;
- ``device``: a device id is live under two assets. Devices choose their own id, so this is reported
  and never scored: nobody shall get another asset quarantined by calling themselves like its device.

A client that reconnects from where it was adds nothing. The score halves as time passes; when it is
high enough there is a finding. Memory is bounded: what was seen longest ago is forgotten first.
"""

from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from authplugin.clock import Clock
from authplugin.sessions import Session


class Kind(StrEnum):
    """What was seen."""

    CLIENTS = "clients"
    TOKEN = "token"  # noqa: S105 - a word, not a secret
    KEY = "key"
    TAKE_OVER = "take_over"
    DEVICE = "device"


WEIGHTS = {Kind.CLIENTS: 1.0, Kind.TOKEN: 1.0, Kind.KEY: 1.0, Kind.TAKE_OVER: 0.4}
"""What each adds: a device on the move changes its address now and then, so that alone says little."""

_TRACKED = 64
"""Most live clients of an asset that are told apart; whoever has more is reported long before."""


class Rules(msgspec.Struct, frozen=True):
    """What is tolerated, and what follows.

    Attributes:
        clients_per_asset: client ids an asset may be live from at once.
        half_life_s: seconds in which a score halves.
        report_score: score at which there is a finding.
        quarantine_score: score at which the asset is quarantined, None for never.
        quarantine_s: seconds a quarantine lasts.
        capacity: assets remembered, about 1 kB each.
    """

    clients_per_asset: int = 1
    half_life_s: float = 600.0
    report_score: float = 1.0
    quarantine_score: float | None = None
    quarantine_s: float = 3600.0
    capacity: int = 100_000


class Finding(msgspec.Struct, frozen=True):
    """A clone, probably.

    Attributes:
        kind: what was seen.
        session: the session it was seen at.
        other: what stood against it: a client id, an address, an asset id, or nothing.
        score: of the asset, this included.
        quarantined: whether the asset is quarantined because of it.
    """

    kind: Kind
    session: Session
    other: str
    score: float
    quarantined: bool


class _Asset(msgspec.Struct, gc=False):
    """What is remembered of an asset.

    Attributes:
        device: its device.
        confirmation: what that device's token was bound to.
        digest: that token.
        token_clients: client ids the token came from last.
        clients: live client ids.
        address: whose session was taken over last.
        score: when `at` was.
        at: monotonic seconds.
    """

    device: tuple[str, str]
    confirmation: bytes
    digest: bytes
    token_clients: tuple[str, ...] = ()
    clients: tuple[str, ...] = ()
    address: str = ""
    score: float = 0.0
    at: float = 0.0


class Clones:
    """Sees sessions open and close; for one thread at a time.

    Attributes:
        found: findings so far, by kind.
        until: asset id → end of its quarantine, monotonic seconds; may hold some that have ended.
    """

    def __init__(self, rules: Rules | None = None, *, clock: Clock) -> None:
        """Start with nothing seen; ``rules`` are the defaults when None."""
        self._rules = Rules() if rules is None else rules
        self._monotonic = clock.monotonic
        self._assets: OrderedDict[str, _Asset] = OrderedDict()
        self._homes: dict[tuple[str, str], str] = {}
        self._until: dict[str, float] = {}
        self.until: Mapping[str, float] = self._until
        self.found = dict.fromkeys(Kind, 0)

    def __len__(self) -> int:
        return len(self._assets)

    def opened(self, session: Session, taken: Session | None) -> list[Finding]:
        """A client that was let in has connected.

        Args:
            session: its session.
            taken: the live session of the same client id that it took over, None when there was none.
        """
        if taken is None and self._returns(session):
            return []
        asset = self._remembered(session)
        seen = [self._see_client(asset, session), self._see_device(asset, session)]
        if taken is not None:
            seen.append(_see_move(asset, session, taken))
        findings = [self._score(asset, *observation, session) for observation in seen if observation]
        return [finding for finding in findings if finding is not None]

    def closed(self, session: Session) -> None:
        """A connection has ended, and no other has its client id."""
        grant = session.grant
        asset = self._assets.get(grant.asset_id)
        if asset is None:
            return
        asset.clients = tuple(client for client in asset.clients if client != session.client_id)
        if not asset.clients and self._homes.get(asset.device) == grant.asset_id:
            del self._homes[asset.device]

    def quarantine(self, asset_id: str, seconds: float | None = None) -> None:
        """Keep an asset out for ``seconds``, by default for as long as the rules say."""
        now = self._monotonic()
        for ended in [name for name, until in self._until.items() if until <= now]:
            del self._until[ended]
        self._until[asset_id] = now + (self._rules.quarantine_s if seconds is None else seconds)

    def release(self, asset_id: str) -> bool:
        """Let an asset in again and forget its score; whether it was quarantined."""
        asset = self._assets.get(asset_id)
        if asset is not None:
            asset.score = 0.0
        return self._until.pop(asset_id, 0.0) > self._monotonic()

    def live(self, asset_id: str) -> int:
        """How many client ids an asset is connected with, as far as they are told apart."""
        asset = self._assets.get(asset_id)
        return 0 if asset is None else len(asset.clients)

    def holds(self, asset_id: str) -> bool:
        """Whether an asset is quarantined now."""
        return self._until.get(asset_id, 0.0) > self._monotonic()

    def quarantined(self) -> dict[str, float]:
        """Every quarantined asset with the seconds left."""
        now = self._monotonic()
        return {asset_id: until - now for asset_id, until in list(self._until.items()) if until > now}

    def _returns(self, session: Session) -> bool:
        """Whether an asset's one client is back with its token of last time: nothing is new, as mostly.

        The same token is the same device and key. Its record is the youngest one then.
        """
        grant = session.grant
        asset_id = grant.asset_id
        asset = self._assets.get(asset_id)
        if (
            asset is None
            or asset.clients
            or asset.digest != grant.digest
            or asset.token_clients != (session.client_id,)
            or self._homes.setdefault(asset.device, asset_id) != asset_id
        ):
            return False
        asset.clients = asset.token_clients
        self._assets.move_to_end(asset_id)
        return True

    def _remembered(self, session: Session) -> _Asset:
        """The asset's record, now the youngest one."""
        grant = session.grant
        asset = self._assets.get(grant.asset_id)
        if asset is not None:
            self._assets.move_to_end(grant.asset_id)
            return asset
        asset = _Asset((grant.issuer, grant.device_id), grant.confirmation, grant.digest)
        self._assets[grant.asset_id] = asset
        if len(self._assets) > self._rules.capacity:
            forgotten_id, forgotten = self._assets.popitem(last=False)
            if self._homes.get(forgotten.device) == forgotten_id:
                del self._homes[forgotten.device]
        return asset

    def _see_client(self, asset: _Asset, session: Session) -> tuple[Kind, str] | None:
        """Note the client id and the token; what is wrong about them."""
        grant, client_id, allowed = session.grant, session.client_id, self._rules.clients_per_asset
        seen = None
        if asset.digest not in (grant.digest, grant.terms.respelled):  # a thief may use the other spelling
            asset.digest, asset.token_clients = grant.digest, ()
        if client_id not in asset.token_clients:
            if len(asset.token_clients) >= allowed:
                seen = (Kind.TOKEN, asset.token_clients[-1])
            asset.token_clients = (*asset.token_clients, client_id)[-allowed:]
        if client_id not in asset.clients:
            if len(asset.clients) >= allowed:  # says more than the token does, and the same
                seen = (Kind.CLIENTS, asset.clients[-1])
            if len(asset.clients) < _TRACKED:
                asset.clients += (client_id,)
        return seen

    def _see_device(self, asset: _Asset, session: Session) -> tuple[Kind, str] | None:
        """Note the device and what its token is bound to; what is wrong about them."""
        grant = session.grant
        device = (grant.issuer, grant.device_id)
        seen = None
        if asset.device != device:
            if self._homes.get(asset.device) == grant.asset_id:
                del self._homes[asset.device]
        elif asset.confirmation not in (b"", grant.confirmation):
            seen = (Kind.KEY, "")
        asset.device, asset.confirmation = device, grant.confirmation
        home = self._homes.setdefault(device, grant.asset_id)
        return seen if home == grant.asset_id else (Kind.DEVICE, home)

    def _score(self, asset: _Asset, kind: Kind, other: str, session: Session) -> Finding | None:
        """Add to the asset's score; a finding when that is enough."""
        rules, now = self._rules, self._monotonic()
        weight = WEIGHTS.get(kind)
        score = asset.score * 0.5 ** ((now - asset.at) / rules.half_life_s)
        quarantined = False
        if weight is not None:
            score += weight
            asset.score, asset.at = score, now
            if score < rules.report_score:
                return None
            quarantined = rules.quarantine_score is not None and score >= rules.quarantine_score
            if quarantined:
                self.quarantine(session.grant.asset_id)
        self.found[kind] += 1
        return Finding(kind, session, other, score, quarantined)


def _see_move(asset: _Asset, session: Session, taken: Session) -> tuple[Kind, str] | None:
    """Note from where a live session was taken over; what is wrong about it.

    The first change of address is a device on the move; back again is two of them.
    """
    if taken.address == session.address:
        return None
    back = asset.address == session.address
    asset.address = taken.address
    return (Kind.TAKE_OVER, taken.address) if back else None
