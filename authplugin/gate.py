"""The gate: may this client come in, and may it touch that topic?

`authenticate` is one straight line, cheapest checks first, no I/O and no lock on it. Below the
seam a refusal is an exception, above it there are two answers: `Allow` and `Deny`.

Long, because all that a door may ask is one class with the order of checks in it; how each check is
done stands elsewhere (verification, standing, client id, entitlement, proof, presence).
"""

import secrets
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256

import msgspec

from authplugin.ace import NONCE_BYTES, parse_token
from authplugin.clientid import check_client
from authplugin.clock import Clock
from authplugin.clones import Clones
from authplugin.entitlement import refuse_topic
from authplugin.errors import Reason, Refused
from authplugin.explanation import Check, Question, explain, list_checks
from authplugin.jose.claims import parse_claims
from authplugin.jose.compact import BEGINNINGS, ENDINGS, MAX_TOKEN_BYTES, split
from authplugin.model import (
    Action,
    Allow,
    Connect,
    Decision,
    Deny,
    Grant,
    GrantRefused,
    Possession,
)
from authplugin.observer import Observer, hearing
from authplugin.policy import Policy
from authplugin.presence import Presence
from authplugin.proof import Challenge, ask, check_answer, read_certificate
from authplugin.provisioned import Provisioned
from authplugin.revocation import Revocations
from authplugin.sessions import Kick, Session, Sessions
from authplugin.standing import Standing
from authplugin.throttle import Throttle
from authplugin.verdicts import VerdictCache
from authplugin.verification import Keys, verify


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
        events: the same.
        throttle: debts of addresses, of its own when None.
        clones: sees sessions come and go, of its own when None.
        random: that many fresh random bytes, for nonces.
    """

    def __init__(  # noqa: PLR0913 - all it stands on, by name
        self,
        policy: Policy,
        keys: Keys,
        *,
        clock: Clock,
        sessions: Sessions,
        verdicts: VerdictCache,
        metrics: Observer,
        audit: Observer | None = None,
        events: Observer | None = None,
        throttle: Throttle | None = None,
        clones: Clones | None = None,
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> None:
        self._policy = policy
        self._asks_possession = _asks_possession(policy)
        self._keys = keys
        self._now = clock.now
        self._monotonic = clock.monotonic
        self._sessions = sessions
        self._verdicts = verdicts
        self._random = random
        self._observers = tuple(observer for observer in (metrics, audit, events) if observer is not None)
        # Events tell of sessions, not of connects that were let in.
        self._hear_allowed = tuple([o.authenticated for o in (metrics, audit) if o is not None])
        self._hear_refused = hearing(self._observers, "authenticated")
        self._throttle = Throttle(clock=clock) if throttle is None else throttle
        self._standing = Standing(Clones(clock=clock) if clones is None else clones)
        self._quarantined = self._standing.clones.until
        clones = self._standing.clones
        self._presence = Presence(sessions, clones, self._throttle, self._observers, clock=clock)
        # One number for keys, policy and standing together, and one object for all verdicts that
        # share it; and the one of the last change of keys or policy: verdicts younger than that are
        # of the keys and policy in force, and only standing is to be asked again.
        self._verified = 1
        self._generation = 2
        self._keys_seen = keys.generation

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._policy

    def adopt(self, policy: Policy) -> None:
        """Decide by another policy from now on; verdicts reached under the old one are judged again."""
        self._policy = policy
        self._asks_possession = _asks_possession(policy)
        self._verify_anew()

    def revoke(self, revocations: Revocations) -> int:
        """Refuse what a compiled set names from now on; its live sessions go at the next `due`.

        Returns:
            How many live sessions those are.
        """
        self._standing.revocations = revocations
        self._generation += 1
        return self._presence.kick_revoked(revocations)

    def provision(self, issuer: str, assets: Provisioned) -> None:
        """Let in these assets of an issuer only, where its policy requires it; for connects to come."""
        self._standing.provisioned = {**self._standing.provisioned, issuer: assets}
        self._generation += 1

    def quarantine(self, asset_id: str, seconds: float | None = None) -> int:
        """Keep an asset out for some seconds, by default as configured; its live sessions go.

        Returns:
            How many live sessions those are.
        """
        self._standing.clones.quarantine(asset_id, seconds)
        return self._presence.kick_asset(asset_id, Reason.QUARANTINED)

    def release(self, asset_id: str) -> bool:
        """Let a quarantined asset in again; whether it was quarantined."""
        return self._standing.clones.release(asset_id)

    def post(self, work: Callable[[], None]) -> None:
        """Have work done on the door's thread, at the next `due`; the one method for any thread."""
        self._presence.post(work)

    def authenticate(self, connect: Connect) -> Decision:
        """Decide whether a client comes in, and as which asset.

        Its password is the token. Its client id is the asset id, or the asset id, ``:`` and a
        suffix of letters, digits and ``-_.:`` (256 characters in all); its user name is absent,
        empty, the asset id or the device id. A Salesforce asset id may be in either form, of 15
        or of 18 characters, in both. Names of service accounts are never judged as tokens.
        """
        started = self._monotonic()
        try:
            grant = self._judge(connect)
            decision: Decision = self._admit(connect, grant) if self._asks_possession else Allow(grant)
        except Refused as refused:
            decision = _deny(refused)
        except Exception as error:  # noqa: BLE001 - whatever fails, the client stays out and the broker lives
            decision = self._fail(error)
        self._tell(connect, decision, self._monotonic() - started)
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
        started = self._monotonic()
        try:
            return self._challenge(connect, renews, started)
        except Refused as refused:
            decision = _deny(refused)
        except Exception as error:  # noqa: BLE001 - as above
            decision = self._fail(error)
        self._tell(connect, decision, self._monotonic() - started)
        return decision

    def prove(self, challenge: Challenge, answer: bytes) -> Decision:
        """Decide whether a client that was challenged comes in, or keeps its session.

        Its token is judged again, from memory: what was revoked, or ended, since the challenge
        does not come in.

        Args:
            challenge: from `challenge`; good for some seconds, and for one answer.
            answer: the Authentication Data of the client's AUTH packet.
        """
        started = self._monotonic()
        try:
            grant = self._judge(challenge.connect)
            self._check_answer(challenge, grant, answer, started)
            decision: Decision = Allow(grant, Possession.NONCE)
        except Refused as refused:
            decision = _deny(refused)
        except Exception as error:  # noqa: BLE001 - as above
            decision = self._fail(error)
        seconds = challenge.seconds + self._monotonic() - started
        self._tell(challenge.connect, decision, seconds)
        return decision

    def judge_again(self, connect: Connect, possession: Possession) -> Decision:
        """Judge the token of a live session anew, for a door that saw its client prove possession.

        Args:
            connect: as in the challenge that it answered: its password is the token.
            possession: what it has shown on this very connection.
        """
        started = self._monotonic()
        try:
            decision: Decision = Allow(self._judge(connect), possession)
        except Refused as refused:
            decision = _deny(refused)
        except Exception as error:  # noqa: BLE001 - as above
            decision = self._fail(error)
        self._tell(connect, decision, self._monotonic() - started)
        return decision

    def authorize(self, grant: Grant, action: Action, topic: str) -> Decision:
        """Decide whether a client that came in with ``grant`` may do ``action`` with ``topic``.

        A filter to SUBSCRIBE to must lie within a granted one as a whole; ``$share`` groups are
        unwrapped first; topics that begin with ``$`` are denied. A publish under the 15-character
        form of the client's own asset id is ``topic_id_form``, and the detail has the right topic.
        Judges the topic alone: when a grant ends is its session's business.
        """
        try:
            refusal = refuse_topic(grant, Action(action), topic, self._policy.issuers.get(grant.issuer))
            decision: Decision = Allow(grant) if refusal is None else refusal
        except Exception as error:  # noqa: BLE001 - as above: whatever fails, the answer is no
            decision = self._fail(error)
        self._tell_topic(grant, action, topic, decision)
        return decision

    def authorize_late(self, session: Session, action: Action, topic: str) -> Decision:
        """Decide as `authorize` does, for a client that has gone: its grant must hold to this moment.

        That is how wills are judged, which a broker may send long after: not when the session would have
        ended by now, or its token is revoked, or its asset quarantined or not provisioned any more.
        """
        grant = session.grant
        try:
            self._check_late(session)
        except Refused as refused:
            decision: Deny = _deny(refused)
        except Exception as error:  # noqa: BLE001 - as above
            decision = self._fail(error)
        else:
            return self.authorize(grant, action, topic)
        self._tell_topic(grant, action, topic, decision)
        return decision

    def explain(
        self,
        token: bytes,
        topic: str | None = None,
        *,
        client_id: str | None = None,
        username: str | None = None,
        certificate: bytes | None = None,
    ) -> list[Check]:
        """Judge a token and what a client sends with it, check by check; see `authplugin.explanation`."""
        try:
            question = Question(token, topic, client_id, username, certificate)
            now = self._now()
            return explain(question, now, policy=self._policy, keys=self._keys, standing=self._standing)
        except Exception as error:  # noqa: BLE001 - as above
            return list_checks({}, self._fail(error), asked=())

    def open_session(
        self,
        client_id: str,
        connection: int,
        grant: Grant,
        *,
        address: str = "",
        possession: Possession = Possession.NONE,
    ) -> Session | None:
        """Record that a client was let in; see `Sessions.open` for the rest.

        Args:
            client_id: as the client sent it.
            connection: the door's own name of the connection.
            grant: what `authenticate` answered with.
            address: the peer's, as in `Connect`; without it clones on the move are not seen.
            possession: what `authenticate` answered with.
        """
        issuer = self._policy.issuers.get(grant.issuer)
        leeway = 0.0 if issuer is None else issuer.leeway
        generation = self._verdicts.generation(grant.digest)
        return self._presence.open(
            client_id,
            connection,
            grant,
            generation=generation,
            leeway=leeway,
            address=address,
            possession=possession,
        )

    def close_session(self, client_id: str, connection: int) -> Session | None:
        """Record that a connection ended; see `Sessions.close`."""
        return self._presence.close(client_id, connection)

    def due(self) -> list[Kick]:
        """Take the sessions that must be disconnected now; ask a few times a second."""
        return self._presence.due()

    def _judge(self, connect: Connect) -> Grant:
        """The straight line; what it returns is let in.

        Raises:
            Refused: with the first reason found.
        """
        token = connect.password
        username = connect.username
        if username is not None and username in self._policy.service_accounts:
            raise Refused(
                Reason.USERNAME_MISMATCH, "the user name is a service account's, which has no token"
            )
        if not token:
            raise Refused(Reason.MALFORMED, "no password: the asset token is the MQTT password")
        if len(token) > MAX_TOKEN_BYTES:
            raise Refused(Reason.TOO_LONG, f"{len(token)} bytes, at most {MAX_TOKEN_BYTES} are read")
        # Passwords that are no token at all, as guessers try them, are not worth a hash.
        dot = token.find(b".")
        if dot < 1 or token[0] not in BEGINNINGS or token[dot - 1] not in ENDINGS[dot & 3]:
            raise Refused(Reason.MALFORMED, "the password is no token: no JSON object stands before a dot")
        now = self._now()
        digest = sha256(token).digest()
        # Read before any key: a verdict of older keys must never carry the newer number.
        keys = self._keys.generation
        if keys != self._keys_seen:
            self._keys_seen = keys
            self._verify_anew()
        generation = self._generation
        grant = self._verdicts.find(digest, generation, now)
        if grant is None:
            grant = self._recall(connect.client_id, digest, generation, now)
        if grant is None:
            grant = self._verify_and_remember(connect.address, token, digest, generation, now)
        if self._quarantined and grant.asset_id in self._quarantined:
            self._standing.check_quarantine(grant)
        # What nearly every client says of itself needs no further look.
        if connect.client_id != grant.asset_id or username:
            self._check_client(connect, grant)
        return grant

    def _check_late(self, session: Session) -> None:
        """Check what may have become wrong about a session's grant since.

        Raises:
            GrantRefused: ``expired revoked asset_unknown quarantined issuer_unknown``.
        """
        grant = session.grant
        issuer = self._policy.issuers.get(grant.issuer)
        if issuer is None:
            raise GrantRefused(Reason.ISSUER_UNKNOWN, "the issuer is not a configured one any more", grant)
        if self._monotonic() >= session.ends:
            raise GrantRefused(Reason.EXPIRED, "the token has ended since its client left", grant)
        self._standing.check(grant, issuer)
        self._standing.check_quarantine(grant)

    def _check_client(self, connect: Connect, grant: Grant) -> None:
        """Check what a client says beside its token, and that its asset may have one more by that name.

        Raises:
            GrantRefused: ``client_id_mismatch username_mismatch throttled``.
        """
        check_client(connect, grant, self._policy.issuers[grant.terms.issuer], self._policy)
        if ":" in connect.client_id:
            self._presence.check_suffix(connect, grant, self._policy.most_per_asset)

    def _admit(self, connect: Connect, grant: Grant) -> Allow:
        """Let in, once what the client has shown beside its token is enough.

        Raises:
            Refused: ``possession_required possession_failed``.
        """
        possession = self._policy.issuers[grant.issuer].possession
        if possession is None:
            return Allow(grant)
        return Allow(grant, read_certificate(possession.mode(grant.asset_id), connect, grant))

    def _check_answer(self, challenge: Challenge, grant: Grant, answer: bytes, now: float) -> None:
        """Check a proof, which costs a signature check: an address that fails often is asked no more.

        Raises:
            GrantRefused: ``throttled possession_failed``.
        """
        address = challenge.connect.address
        if not self._throttle.admits(address):
            raise GrantRefused(Reason.THROTTLED, "too much that was bad came from this address", grant)
        try:
            check_answer(challenge, grant, answer, now=now)
        except Refused as refused:
            self._throttle.failed(address, refused.reason)
            raise

    def _challenge(self, connect: Connect, renews: Grant | None, started: float) -> Challenge:
        asks = msgspec.structs.replace(connect, password=parse_token(connect.password or b""))
        grant = self._judge(asks)
        if renews is not None and renews.asset_id != grant.asset_id:
            detail = "a session is renewed by a token of its own asset only"
            raise GrantRefused(Reason.CLIENT_ID_MISMATCH, detail, grant)
        # `_judge` has verified these bytes.
        cnf = parse_claims(split(asks.password or b"").payload).cnf
        now = self._monotonic()
        return ask(asks, cnf, nonce=self._random(NONCE_BYTES), now=now, seconds=now - started)

    def _recall(self, client_id: str, digest: bytes, generation: int, now: float) -> Grant | None:
        """The grant of a token verified under the keys and policy in force, None when there is none.

        Either its verdict is from before a change of revocations or provisioned assets, or it has a
        live session of the same client: brokers ask about connected clients again (Mosquitto does
        on SIGHUP, about all of them at once), and neither a full cache nor an issuer that does not
        answer may cost them their session.

        Raises:
            GrantRefused: ``revoked asset_unknown`` since.
        """
        grant = self._verdicts.find_since(digest, self._verified, now)
        if grant is None:
            session = self._sessions.find(client_id)
            if session is None or session.generation < self._verified or session.grant.digest != digest:
                return None
            grant = session.grant
            if now >= grant.expires + self._policy.issuers[grant.issuer].leeway:
                return None
        self._standing.check(grant, self._policy.issuers[grant.issuer])
        self._verdicts.renew(digest, generation)
        return grant

    def _verify_and_remember(
        self, address: str, token: bytes, digest: bytes, generation: int, now: float
    ) -> Grant:
        known = self._verdicts.find_refused(digest, generation, now)
        if known is not None:
            raise Refused(known.reason, known.detail)
        if not self._throttle.admits(address):
            raise Refused(Reason.THROTTLED, "too many bad tokens came from this address")
        try:
            grant = verify(token, digest, now, policy=self._policy, keys=self._keys)
        except Refused as refused:
            self._throttle.failed(address, refused.reason)
            self._verdicts.remember_refused(digest, generation, now, refused.reason, refused.detail)
            raise
        issuer = self._policy.issuers[grant.issuer]
        try:
            self._standing.check(grant, issuer)
        except GrantRefused:
            # Verified all the same: next time it costs no signature to refuse it.
            self._verdicts.remember(grant, self._verified, now, leeway=issuer.leeway)
            raise
        self._throttle.succeeded(address)
        return self._verdicts.remember(grant, generation, now, leeway=issuer.leeway)

    def _tell(self, connect: Connect, decision: Decision, seconds: float) -> None:
        for tell in self._hear_allowed if isinstance(decision, Allow) else self._hear_refused:
            try:  # noqa: SIM105 - suppress() costs more than the counting
                tell(connect, decision, seconds)
            except Exception:  # noqa: BLE001, S110 - a decision stands, whoever fails to write it down
                pass

    def _tell_topic(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        for observer in self._observers:
            try:  # noqa: SIM105 - as above
                observer.authorized(grant, action, topic, decision)
            except Exception:  # noqa: BLE001, S110 - as above
                pass

    def _verify_anew(self) -> None:
        """Believe no verdict reached so far."""
        self._verified = self._generation + 1
        self._generation += 2

    def _fail(self, error: Exception) -> Deny:
        """The gate itself failed: deny, and name the fault's type only, for its text may quote anything."""
        for observer in self._observers:
            with suppress(Exception):  # as above
                observer.failed(error)
        return Deny(Reason.INTERNAL, type(error).__name__)


def _asks_possession(policy: Policy) -> bool:
    """Whether anything beside a client's token can matter to any issuer."""
    return any(issuer.possession is not None for issuer in policy.issuers.values())


def _deny(refused: Refused) -> Deny:
    return Deny(refused.reason, refused.detail, refused.grant if isinstance(refused, GrantRefused) else None)
