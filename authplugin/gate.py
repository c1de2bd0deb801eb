"""The gate: may this client come in, and may it touch that topic?

`authenticate` is one straight line, cheapest checks first, no I/O and no lock on it. Below the
seam a refusal is an exception, above it there are two answers: `Allow` and `Deny`.
"""

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec

from authplugin.ace import NONCE_BYTES, parse_token
from authplugin.clock import Clock
from authplugin.errors import Reason, Refused
from authplugin.explanation import Check, explain
from authplugin.jose.claims import check_asset, check_claims, parse_claims, peek_issuer
from authplugin.jose.compact import MAX_TOKEN_BYTES, parse_header, split
from authplugin.jose.key import VerifyingKey
from authplugin.jose.possession import confirmation
from authplugin.jose.verify import verify_signature
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant, Possession
from authplugin.policy import IssuerPolicy, Policy
from authplugin.proof import Challenge, ask, check_answer, read_certificate
from authplugin.sessions import Kick, Session, Sessions
from authplugin.topics.containment import contains
from authplugin.topics.grammar import check_filter, check_topic, unshare
from authplugin.verdicts import VerdictCache

MAX_CLIENT_ID = 256

_CLIENT_ID = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:")


class Keys(Protocol):
    """The key sets of the configured issuers; reading them never waits."""

    @property
    def generation(self) -> int:
        """Grows whenever any issuer's usable keys change."""

    def find(self, issuer: str, kid: str) -> VerifyingKey:
        """The issuer's key of that name.

        Raises:
            Refused: ``key_unknown``, ``keys_stale``.
        """


class Observer(Protocol):
    """Sees every decision: metrics, audit. Must not raise and must not wait."""

    def authenticated(self, connect: Connect, decision: Decision, seconds: float) -> None:
        """A connect was decided in ``seconds``."""

    def authorized(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        """A topic was decided."""

    def failed(self, error: Exception) -> None:
        """The gate itself failed and denied; the error's text may hold secrets, its type does not."""


class Gate:
    """Decides; holds what deciding needs. For one thread at a time; never raises.

    Args:
        policy: the compiled policy.
        keys: the issuers' keys.
        clock: the wall's time judges tokens, the other measures decisions.
        sessions: live sessions, which answer when a broker asks again about a connected client.
        verdicts: tokens verified before.
        metrics: sees every decision.
        audit: sees every decision as well, None for no audit.
        random: that many fresh random bytes, for nonces.
    """

    def __init__(
        self,
        policy: Policy,
        keys: Keys,
        *,
        clock: Clock,
        sessions: Sessions,
        verdicts: VerdictCache,
        metrics: Observer,
        audit: Observer | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._policy = policy
        self._keys = keys
        self._clock = clock
        self._sessions = sessions
        self._verdicts = verdicts
        self._random = random
        self._observers = (metrics,) if audit is None else (metrics, audit)
        # One number for keys and policy together, and one object for all verdicts that share it.
        self._generation = 1
        self._keys_seen = keys.generation

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def adopt(self, policy: Policy) -> None:
        """Decide by another policy from now on; verdicts reached under the old one are judged again."""
        self._policy = policy
        self._generation += 1

    def authenticate(self, connect: Connect) -> Decision:
        """Decide whether a client comes in, and as which asset.

        Its password is the token. Its client id is the asset id, or the asset id, ``:`` and a
        suffix of letters, digits and ``-_.:`` (256 characters in all); its user name is absent,
        empty, the asset id or the device id. A Salesforce asset id may be in either form, of 15
        or of 18 characters, in both. Names of service accounts are never judged as tokens.
        """
        started = self._clock.monotonic()
        try:
            grant = self._judge(connect)
            decision: Decision = Allow(grant, self._possession(connect, grant))
        except Refused as refused:
            decision = Deny(refused.reason, refused.detail)
        except Exception as error:  # noqa: BLE001 - whatever fails, the client stays out and the broker lives
            decision = self._fail(error)
        self._tell(connect, decision, self._clock.monotonic() - started)
        return decision

    def challenge(self, connect: Connect, renews: Grant | None = None) -> Challenge | Deny:
        """Judge a client that offers to prove possession, and ask it to (MQTT 5, RFC 9431 §2.2.4.2).

        Everything that `authenticate` checks is checked first. The door keeps the challenge with
        the connection, sends its nonce, hands the answer to `prove` once, and drops both.

        Args:
            connect: as for `authenticate`, with the client's Authentication Data in place of the
                password; see `authplugin.ace`.
            renews: what the live session was let in with, when it re-authenticates.

        Returns:
            The challenge, or why there is none; observers see the latter.
        """
        started = self._clock.monotonic()
        try:
            return self._challenge(connect, renews, started)
        except Refused as refused:
            decision = Deny(refused.reason, refused.detail)
        except Exception as error:  # noqa: BLE001 - as above
            decision = self._fail(error)
        self._tell(connect, decision, self._clock.monotonic() - started)
        return decision

    def prove(self, challenge: Challenge, answer: bytes) -> Decision:
        """Decide whether a client that was challenged comes in, or keeps its session.

        Its token is judged again, from memory: what was revoked, or ended, since the challenge
        does not come in.

        Args:
            challenge: from `challenge`; good for some seconds, and for one answer.
            answer: the Authentication Data of the client's AUTH packet.
        """
        started = self._clock.monotonic()
        try:
            grant = self._judge(challenge.connect)
            check_answer(challenge, grant, answer, now=started)
            decision: Decision = Allow(grant, Possession.NONCE)
        except Refused as refused:
            decision = Deny(refused.reason, refused.detail)
        except Exception as error:  # noqa: BLE001 - as above
            decision = self._fail(error)
        seconds = challenge.seconds + self._clock.monotonic() - started
        self._tell(challenge.connect, decision, seconds)
        return decision

    def authorize(self, grant: Grant, action: Action, topic: str) -> Decision:
        """Decide whether a client that came in with ``grant`` may do ``action`` with ``topic``.

        A filter to SUBSCRIBE to must lie within a granted one as a whole; ``$share`` groups are
        unwrapped first; topics that begin with ``$`` are denied. A publish under the 15-character
        form of the client's own asset id is ``topic_id_form``, and the detail has the right topic.
        Judges the topic alone: when a grant ends is its session's business.
        """
        try:
            refusal = self._refusal(grant, Action(action), topic)
            decision: Decision = Allow(grant) if refusal is None else refusal
        except Exception as error:  # noqa: BLE001 - as above: whatever fails, the answer is no
            decision = self._fail(error)
        for observer in self._observers:
            try:  # noqa: SIM105 - as above
                observer.authorized(grant, action, topic, decision)
            except Exception:  # noqa: BLE001, S110 - as above
                pass
        return decision

    def explain(self, token: bytes, topic: str | None = None) -> list[Check]:
        """Judge a token, and a topic to publish to when given, check by check.

        Runs the very line that `authenticate` runs, past every cache.
        """
        passed: dict[str, str] = {}
        refused: Deny | None = None
        try:
            grant = self._verify(token, b"", self._clock.now(), passed.__setitem__)
            if topic is not None:
                refused = self._refusal(grant, Action.PUBLISH, topic)
                passed |= {"topic": topic} if refused is None else {}
        except Refused as error:
            refused = Deny(error.reason, error.detail)
        except Exception as error:  # noqa: BLE001 - as above
            refused = self._fail(error)
        return explain(passed, refused, topic=topic is not None)

    def open_session(self, client_id: str, connection: int, grant: Grant) -> Session | None:
        """Record that a client was let in; see `Sessions.open` for the rest.

        Args:
            client_id: as the client sent it.
            connection: the door's own name of the connection.
            grant: what `authenticate` answered with.
        """
        issuer = self._policy.issuers.get(grant.issuer)
        leeway = 0.0 if issuer is None else issuer.leeway
        generation = self._verdicts.generation(grant.digest)
        return self._sessions.open(client_id, connection, grant, generation=generation, leeway=leeway)

    def close_session(self, client_id: str, connection: int) -> Session | None:
        """Record that a connection ended; see `Sessions.close`."""
        return self._sessions.close(client_id, connection)

    def due(self) -> list[Kick]:
        """Take the sessions that must be disconnected now; ask about once a second."""
        return self._sessions.due()

    def _judge(self, connect: Connect) -> Grant:
        """The straight line; what it returns is let in.

        Raises:
            Refused: with the first reason found.
        """
        token = connect.password
        policy = self._policy
        if connect.username in policy.service_accounts:
            raise Refused(
                Reason.USERNAME_MISMATCH, "the user name is a service account's, which has no token"
            )
        if not token:
            raise Refused(Reason.MALFORMED, "no password: the asset token is the MQTT password")
        if len(token) > MAX_TOKEN_BYTES:
            raise Refused(Reason.TOO_LONG, f"{len(token)} bytes, at most {MAX_TOKEN_BYTES} are read")
        now = self._clock.now()
        digest = hashlib.sha256(token).digest()
        # Read before any key: a verdict of older keys must never carry the newer number.
        generation = self._current()
        grant = self._verdicts.find(digest, generation, now)
        if grant is None:
            grant = self._remembered(connect.client_id, digest, generation, now)
        if grant is None:
            grant = self._verify_and_remember(token, digest, generation, now)
        issuer = policy.issuers[grant.issuer]
        if not _fits_client_id(connect.client_id, grant, issuer, policy):
            raise Refused(
                Reason.CLIENT_ID_MISMATCH, "the client id is not the asset id, nor it, a colon and a suffix"
            )
        username = connect.username
        if username and username != grant.device_id and not issuer.names_asset(username, grant.asset_id):
            raise Refused(Reason.USERNAME_MISMATCH, "the user name is neither the asset id nor the device id")
        return grant

    def _possession(self, connect: Connect, grant: Grant) -> Possession:
        """What the client has shown beside its token.

        Raises:
            Refused: ``possession_required possession_failed``.
        """
        policy = self._policy.issuers[grant.issuer].possession
        if policy is None:
            return Possession.NONE
        return read_certificate(policy.mode(grant.asset_id), connect, grant)

    def _challenge(self, connect: Connect, renews: Grant | None, started: float) -> Challenge:
        asks = msgspec.structs.replace(connect, password=parse_token(connect.password or b""))
        grant = self._judge(asks)
        if renews is not None and renews.asset_id != grant.asset_id:
            raise Refused(Reason.CLIENT_ID_MISMATCH, "a session is renewed by a token of its own asset only")
        # `_judge` has verified these bytes.
        cnf = parse_claims(split(asks.password or b"").payload).cnf
        now = self._clock.monotonic()
        return ask(asks, cnf, nonce=self._random(NONCE_BYTES), now=now, seconds=now - started)

    def _remembered(self, client_id: str, digest: bytes, generation: int, now: float) -> Grant | None:
        """The grant of a live session of the same client and token, None when there is none.

        Brokers ask about connected clients again (Mosquitto does on SIGHUP, about all of them at
        once): neither a full cache nor an issuer that does not answer may cost them their session.
        """
        session = self._sessions.find(client_id)
        if session is None or session.generation != generation or session.grant.digest != digest:
            return None
        grant = session.grant
        return grant if now < grant.expires + self._policy.issuers[grant.issuer].leeway else None

    def _verify_and_remember(self, token: bytes, digest: bytes, generation: int, now: float) -> Grant:
        known = self._verdicts.find_refused(digest, generation, now)
        if known is not None:
            raise Refused(known.reason, known.detail)
        try:
            grant = self._verify(token, digest, now, _ignore)
        except Refused as refused:
            self._verdicts.remember_refused(digest, generation, now, refused.reason, refused.detail)
            raise
        leeway = self._policy.issuers[grant.issuer].leeway
        self._verdicts.remember(grant, generation, now, leeway=leeway)
        return grant

    def _verify(self, token: bytes, digest: bytes, now: float, passed: Callable[[str, str], None]) -> Grant:
        """From bytes to a grant, cheapest check first; ``passed`` hears of each check that held."""
        policy = self._policy
        compact = split(token)
        passed("form", "three canonical base64url parts")
        header = parse_header(compact.header, policy.algorithms)
        passed("header", header.alg)
        issuer = policy.issuers.get(peek_issuer(compact.payload))
        if issuer is None:
            raise Refused(Reason.ISSUER_UNKNOWN, "the token's issuer is not a configured one")
        if header.alg not in issuer.algorithms:
            raise Refused(Reason.ALG_NOT_ALLOWED, "the issuer does not sign with this algorithm")
        passed("issuer", issuer.issuer)
        key = self._keys.find(issuer.issuer, header.kid)
        passed("key", header.kid)
        verify_signature(compact, header, key)
        passed("signature", key.algorithm)
        claims = parse_claims(compact.payload, issuer.names)
        passed("claims", "well-formed")
        check_claims(
            claims,
            audiences=issuer.audiences,
            now=now,
            leeway=issuer.leeway,
            max_age=issuer.max_age,
            names=issuer.names,
        )
        asset_id = check_asset(claims, issuer.id_form)
        if not issuer.assets.holds(asset_id):
            raise Refused(Reason.FOREIGN_ASSET, "the issuer does not speak for this asset")
        if asset_id in policy.service_accounts:
            raise Refused(Reason.ASSET_UNSAFE, "the asset id is the name of a service account")
        passed("asset", asset_id)
        # check_claims has seen to it that both are there.
        return Grant(
            asset_id=asset_id,
            device_id=str(claims.did),
            issuer=issuer.issuer,
            kid=header.kid,
            expires=float(claims.exp or 0.0),
            digest=digest,
            confirmation=confirmation(claims.cnf),
            rights=policy.topics,
        )

    def _refusal(self, grant: Grant, action: Action, topic: str) -> Deny | None:
        """Why ``topic`` is not for ``grant``, None when it is."""
        try:
            if action is Action.SUBSCRIBE:
                topic = unshare(topic)
                check_filter(topic)
            else:
                check_topic(topic)
        except ValueError as error:
            return Deny(Reason.TOPIC_DENIED, f"the text {error}")
        granted = grant.publish if action is Action.PUBLISH else grant.subscribe
        # No template begins with $, so no topic of the broker's own is ever within one.
        if any(contains(topic_filter, topic) for topic_filter in granted):
            return None
        issuer = self._policy.issuers.get(grant.issuer)
        right = topic if issuer is None else _in_full(topic, grant.asset_id, issuer)
        if right != topic and any(contains(topic_filter, right) for topic_filter in granted):
            return Deny(Reason.TOPIC_ID_FORM, f"write the asset id in 18 characters: {right}")
        return Deny(Reason.TOPIC_DENIED, f"not one of the asset's topics to {action}")

    def _tell(self, connect: Connect, decision: Decision, seconds: float) -> None:
        for observer in self._observers:
            try:  # noqa: SIM105 - suppress() costs more than the counting
                observer.authenticated(connect, decision, seconds)
            except Exception:  # noqa: BLE001, S110 - a decision stands, whoever fails to write it down
                pass

    def _current(self) -> int:
        """The number of the keys and policy in force."""
        keys = self._keys.generation
        if keys != self._keys_seen:
            self._keys_seen = keys
            self._generation += 1
        return self._generation

    def _fail(self, error: Exception) -> Deny:
        """The gate itself failed: deny, and name the fault's type only, for its text may quote anything."""
        for observer in self._observers:
            with suppress(Exception):  # as above
                observer.failed(error)
        return Deny(Reason.INTERNAL, type(error).__name__)


def _ignore(_check: str, _detail: str) -> None:
    """Nobody asked which checks held."""


def _in_full(topic: str, asset_id: str, issuer: IssuerPolicy) -> str:
    """The topic with the client's own asset id written in full where it stands in another form."""
    return "/".join(
        [asset_id if issuer.names_asset(level, asset_id) else level for level in topic.split("/")]
    )


def _fits_client_id(client_id: str, grant: Grant, issuer: IssuerPolicy, policy: Policy) -> bool:
    """Whether a client id is the asset's own, so that no session of another asset can be taken over."""
    if len(client_id) > MAX_CLIENT_ID or not _CLIENT_ID.issuperset(client_id):
        return False
    name, colon, suffix = client_id.partition(":")
    if issuer.names_asset(name, grant.asset_id):
        return bool(suffix) or not colon
    # A device chooses its own id: even where it may be a client id, it must not be another asset's.
    return issuer.did_as_client_id and client_id == grant.device_id and not policy.could_be_asset(name)
