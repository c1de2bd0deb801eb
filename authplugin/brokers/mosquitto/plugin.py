"""The gate inside Mosquitto: what shim.c calls, on the broker's only thread.

`start` reads the configuration and checks that the broker's own leaves no door open; after that each
callback takes plain values and returns an `Answer`. Nothing here waits: keys come from a cache that
other threads refresh, and what those threads log is written at the next tick.

Long, because what the shim may call is one class, and each callback is read beside the others.
"""

import functools
import logging
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from authplugin.brokers.assembly import Assembly
from authplugin.brokers.mosquitto.absent import Absent
from authplugin.brokers.mosquitto.answers import (
    ACL_READ,
    ACL_SUBSCRIBE,
    ALLOW,
    AUTH_DATA,
    CHALLENGE,
    DEFER,
    DENY,
    HURRY,
    KICK,
    KICK_ALL,
    LOG_ERROR,
    LOG_NOTICE,
    LOG_WARNING,
    PUBLISH,
    STORED,
    Answer,
    Effect,
    Reload,
    Start,
)
from authplugin.brokers.mosquitto.budget import Budget
from authplugin.brokers.mosquitto.departures import Departures
from authplugin.brokers.mosquitto.exchange import Exchanges
from authplugin.brokers.mosquitto.lines import LineBudget, WaitingLines, line, shown
from authplugin.brokers.mosquitto.live import LiveConfiguration, read, set_log_level
from authplugin.brokers.mosquitto.subscriptions import Subscriptions
from authplugin.brokers.mosquitto.unfinished import Unfinished
from authplugin.clock import SystemClock
from authplugin.errors import AuthpluginError, Reason
from authplugin.events import Events
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant, Possession, Terms
from authplugin.topics.containment import matches

_STOP_SECONDS = 0.5
_ACTIONS = {ACL_READ: Action.RECEIVE, ACL_SUBSCRIBE: Action.SUBSCRIBE}
_RARE = frozenset({"reload", "stop"})
"""Callbacks that a person asked for: their time is counted, and no news."""

_NOBODY = Deny(Reason.TOPIC_DENIED, "nobody is connected in whose name it would be")

_LOG = logging.getLogger("authplugin")

R = TypeVar("R", Answer, Reload)


def start(config: bytes) -> Start | Answer:
    """Start the gate, or say what keeps it from standing.

    Args:
        config: path of the gate's configuration (``plugin_opt_config_file``).

    Returns:
        `Start` when all is well, else `DENY` with the reason in place of the asset id: the broker
        does not start then.
    """
    waiting = WaitingLines()
    _LOG.addHandler(waiting)
    _LOG.setLevel(logging.INFO)
    try:
        path = Path(config.decode())
        ready = read(path)
        clock = SystemClock()
        assembly = Assembly(ready.loaded, clock=clock)
        live = LiveConfiguration(path, assembly, clock=clock)
        assembly.start()
        live.start()
    except (AuthpluginError, OSError, UnicodeDecodeError) as error:
        return Answer(DENY, line(LOG_ERROR, str(error))[1])
    if ready.loaded.settings.mosquitto.allow_plaintext:
        _LOG.warning("allow_plaintext = true: on listeners without TLS anyone on the way reads the tokens")
    set_log_level(ready.loaded)
    return Start(ALLOW, Plugin(assembly, live, waiting), ready.tables)


def _judge_retained(grant: Grant, action: Action, topic: str) -> Decision:
    """Judge for an asset that left a retained message, whenever somebody reads it.

    It is held to what any token of that asset could have allowed.
    """
    if action is Action.PUBLISH and any(matches(topic_filter, topic) for topic_filter in grant.publish):
        return Allow(grant)
    return Deny(Reason.TOPIC_DENIED, f"not one of the asset's topics to {action.value}")


def _publish(events: Events) -> tuple[Effect, ...]:
    return tuple([(PUBLISH, event.topic.encode(), event.payload) for event in events.take()])


def _closed(callback: Callable[..., R]) -> Callable[..., R | Answer]:
    """Turn whatever a callback raises into a no, a line in the log and a count; see to its time.

    The shim does so as well; this says where, which the shim cannot. Never the exception's text: it
    may quote a token.
    """
    name = callback.__name__

    @functools.wraps(callback)
    def answer(self: "Plugin", *args: object) -> R | Answer:
        began = time.monotonic()
        try:
            given: R | Answer = callback(self, *args)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is no and the broker lives
            given = self.fail(name, error)
        seconds = time.monotonic() - began
        if self.budget.spend(name, seconds) and name not in _RARE:
            self.lag(name, seconds)
        return given

    return answer


class Plugin:
    """The callbacks; every argument that is text for MQTT comes as bytes, None when it was not sent.

    Args:
        assembly: the gate and what it stands on, started.
        live: the configuration in force.
        waiting: what other threads log.

    Attributes:
        budget: what callbacks may take, and took.
    """

    def __init__(self, assembly: Assembly, live: LiveConfiguration, waiting: WaitingLines) -> None:
        self._assembly = assembly
        self._gate = assembly.gate
        self._sessions = assembly.sessions
        self._metrics = assembly.metrics
        self._events = assembly.guards.events
        self._live = live
        self._lines = LineBudget()
        self._waiting = waiting
        self.budget = Budget(assembly.loaded.settings.mosquitto.budget_ms / 1000)
        self._metrics.registry.register(self.budget)
        # The shim's name of a connection → client id: at its end the broker no longer tells the latter.
        # "" for service accounts, which no session is kept of.
        self._clients: dict[int, str] = {}
        clients = assembly.loaded.settings.clones.clients_per_asset
        self._exchanges = Exchanges(assembly.guards.throttle, Unfinished(clients))
        self._subscriptions = Subscriptions()
        # Who came in by an exchange, as they asked: the broker asks again at SIGHUP and has no password.
        self._proved: dict[int, Connect] = {}
        self._departures = Departures()
        self._absent = Absent(assembly.gate.policy, assembly.loaded.settings.cache.capacity)
        self._turned = 0.0
        self._steps = (
            self._cut_exchanges,
            self._end_sessions,
            self._write_lines,
            self._publish_events,
            self._adopt_change,
        )

    @_closed
    def authenticate(
        self,
        client: int,
        client_id: bytes | None,
        username: bytes | None,
        password: bytes | None,
        address: bytes | None,
        certificate: bytes | None,
        stored: int,
    ) -> Answer:
        """A client connects; or the broker asks again about one it knows, after SIGHUP.

        ``stored`` is 1 when it may be about a session that nobody is connected to.
        """
        self._departures.asked(client)
        if stored and client not in self._clients:
            return Answer(STORED)
        name = None if username is None else username.decode()
        if name and name in self._gate.policy.service_accounts:
            return self._defer(client, client_id, name, address)
        proved = self._proved.get(client)
        if proved is not None:
            return self._judge_again(client, proved)
        connect = Connect((client_id or b"").decode(), name, password, (address or b"").decode(), certificate)
        if self._live.wrong is not None:
            return self._shut(connect)
        decision = self._gate.authenticate(connect)
        if isinstance(decision, Deny):
            return self._refuse(connect, decision)
        return self._let_in(client, connect, decision)

    @_closed
    def challenge(
        self,
        client: int,
        client_id: bytes | None,
        username: bytes | None,
        data: bytes | None,
        address: bytes | None,
        certificate: bytes | None,
    ) -> Answer:
        """A client offers to prove that it holds its token's key; or one that came in so renews."""
        connect = Connect(
            (client_id or b"").decode(),
            None if username is None else username.decode(),
            data or b"",
            (address or b"").decode(),
            certificate,
        )
        session = self._sessions.find(connect.client_id)
        renews = session.grant if session is not None and session.connection == client else None
        if self._live.wrong is not None:
            return self._shut(connect)
        if client in self._departures:
            return Answer(CHALLENGE, b"", self._turn_away(connect).effects)
        challenge = self._gate.challenge(connect, renews)
        if isinstance(challenge, Deny):
            refusal = self._refuse(connect, challenge)
            return refusal if renews is None else self._end(connect.client_id, challenge.reason, refusal)
        now = time.monotonic()
        if renews is None and not self._exchanges.admits(challenge, now):
            return self._turn_away(
                connect, Reason.THROTTLED, "too many exchanges of the asset or from there never ended"
            )
        seconds = self._assembly.loaded.settings.mosquitto.exchange_s
        exchange = self._exchanges.begin(
            client, challenge, connect.client_id, renews=renews is not None, now=now, until=now + seconds
        )
        self._clients[client] = connect.client_id
        return Answer(CHALLENGE, exchange.name.encode(), ((AUTH_DATA, challenge.nonce),))

    @_closed
    def prove(self, client: int, data: bytes | None) -> Answer:
        """A client answers what it was asked."""
        exchange = self._exchanges.end(client, time.monotonic())
        if client in self._departures:
            # Let in again, it would be the session of a client id that the broker knows another under.
            return Answer(DENY) if exchange is None else self._turn_away(exchange.challenge.connect)
        if exchange is None:
            # Nothing was asked: the shim ends a client that came in before by the next tick.
            client_id = self._clients.get(client, "")
            return self._end(client_id, Reason.POSSESSION_FAILED, Answer(DENY))
        connect = exchange.challenge.connect
        if self._live.wrong is not None:
            return self._shut(connect)
        decision = self._gate.prove(exchange.challenge, data or b"")
        if isinstance(decision, Deny):
            refusal = self._refuse(connect, decision)
            return refusal if exchange.name else self._end(exchange.client_id, decision.reason, refusal)
        self._proved[client] = connect
        self._exchanges.prove(exchange.challenge)
        return self._let_in(client, connect, decision)

    @_closed
    def authorize(
        self, client: int, username: bytes, access: int, topic: bytes, retain: int, retained: int
    ) -> Answer:
        """A device subscribes; publishes, or is sent, what not every device may; has gone and left a will.

        ``retained`` is 1 when somebody reads what it has left retained.
        """
        action = _ACTIONS.get(access, Action.PUBLISH)
        name = topic.decode()
        asset_id = username.decode()
        session = self._sessions.find(self._clients.get(client, ""))
        if session is not None and session.connection != client:
            session = None
        subscribes, publishes = action is Action.SUBSCRIBE, action is Action.PUBLISH
        decision: Decision
        absent = self._absent.find(client) if session is None and not retained else None
        if absent is not None and absent.grant.asset_id == asset_id:
            grant = absent.grant
            decision = self._gate.authorize_late(absent, action, name)
        elif session is None:
            grant = Grant(asset_id, "", 0.0, b"", b"", Terms("", "", self._gate.policy.topics))
            decision = _NOBODY if not retained else _judge_retained(grant, action, name)
            self._observe(grant, action, name, decision)
        elif subscribes and not self._subscriptions.admits(asset_id, session.address, time.monotonic()):
            grant = session.grant
            decision = Deny(Reason.THROTTLED, "too many subscriptions, one a second is left")
            self._observe(grant, action, name, decision)
        else:
            grant = session.grant
            decision = self._gate.authorize(grant, action, name)
        if retain and publishes and isinstance(decision, Allow) and name not in grant.publish:
            decision = Deny(Reason.TOPIC_DENIED, "retained messages are for single topics such as the status")
            self._observe(grant, action, name, decision)
        if isinstance(decision, Deny):
            what = f"refused asset {shown(asset_id)} to {action.value} {shown(name)}"
            return Answer(DENY, effects=self._refusal(decision, what))
        return Answer(ALLOW)

    @_closed
    def tick(self, subscriptions: int) -> Answer:
        """Four times a second: end what is due, write the lines that wait, adopt a changed file.

        ``subscriptions`` is how many the shim refused without a question since: too many of one client.
        """
        effects: list[Effect] = []
        if subscriptions:
            self._metrics.flooded(subscriptions)
            if self._lines.take("filters of one client at once"):
                why = "throttled (too many filters of one client at once)"
                effects += self._note(f"refused {subscriptions} subscriptions: {why}")
        for step in self._steps:
            try:
                step(effects)
            except Exception as error:  # noqa: BLE001 - whatever cannot be told, sessions end with their tokens
                effects += self.fail("tick", error).effects
        return Answer(DENY, effects=tuple(effects))

    @_closed
    def disconnect(self, client: int) -> Answer:
        """A connection ended, whoever it was."""
        client_id = self._clients.pop(client, None)
        self._exchanges.abandon(client)
        self._proved.pop(client, None)
        self._departures.forget(client)
        if client_id:
            session = self._gate.close_session(client_id, client)
            if session is not None:
                self._absent.leave(session)
        return Answer(DENY, effects=self._overflow())

    @_closed
    def reload(self) -> Reload:
        """The broker reads its configuration anew, and asks about every client next."""
        before = self._assembly.loaded
        answer = self._live.reload()
        self._absent.judge_by(self._gate.policy)
        if self._assembly.loaded is not before or self._live.wrong is not None:
            self._departures.expect_questions(self._sessions.snapshot())
        self.budget.seconds = self._assembly.loaded.settings.mosquitto.budget_ms / 1000
        return answer

    @_closed
    def stop(self) -> Answer:
        """The broker ends."""
        self._live.stop(_STOP_SECONDS)
        self._assembly.stop(_STOP_SECONDS)
        return Answer(DENY, effects=tuple(self._waiting.take()))

    def fail(self, where: str, error: Exception) -> Answer:
        """The no that a failure turns into."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
        self._metrics.failed(error)
        if not self._lines.take(Reason.INTERNAL):
            return Answer(DENY)
        return Answer(DENY, effects=(line(LOG_ERROR, f"{where} failed: {type(error).__name__} at {place}"),))

    def lag(self, where: str, seconds: float) -> None:
        """Say that a callback took longer than its budget."""
        if self._lines.take("over budget"):
            _LOG.warning("%s took %.1f ms, and everybody waited", where, seconds * 1000)

    def _defer(self, client: int, client_id: bytes | None, name: str, address: bytes | None) -> Answer:
        """A service account: the broker asks its password file, where the account may log in from at all."""
        place = (address or b"").decode()
        if not self._gate.policy.service_accounts[name].may_come_from(place):
            detail = f"service account {shown(name)} may not log in from there"
            connect = Connect((client_id or b"").decode(), name, None, place)
            return self._turn_away(connect, Reason.USERNAME_MISMATCH, detail)
        # A device whose name became an account's keeps its session until it has gone.
        self._clients.setdefault(client, "")
        return Answer(DEFER)

    def _let_in(self, client: int, connect: Connect, decision: Allow) -> Answer:
        grant = decision.grant
        before = self._gate.open_session(
            connect.client_id, client, grant, address=connect.address, possession=decision.possession
        )
        self._clients[client] = connect.client_id
        self._absent.enter(client)
        if before is not None:
            self._absent.leave(before)
            # The broker ends it right after this answer, unless it has lost sight of it.
            self._departures.expect(before, time.monotonic())
        return Answer(ALLOW, grant.asset_id.encode(), self._overflow())

    def _judge_again(self, client: int, connect: Connect) -> Answer:
        """The broker asks about a client that has proved its key on this connection: does its token hold?"""
        if self._live.wrong is not None:
            return self._shut(connect)
        decision = self._gate.judge_again(connect, Possession.NONCE)
        if isinstance(decision, Deny):
            return self._refuse(connect, decision)
        return self._let_in(client, connect, decision)

    def _shut(self, connect: Connect) -> Answer:
        """Nobody comes in: the broker's own configuration leaves a door open."""
        decision = Deny(Reason.INTERNAL, self._live.wrong or "")
        self._metrics.authenticated(connect, decision, 0.0)
        return self._refuse(connect, decision)

    def _turn_away(
        self,
        connect: Connect,
        reason: Reason = Reason.CLIENT_ID_MISMATCH,
        detail: str = "the connection was taken over or is being ended",
    ) -> Answer:
        """Refuse what the gate would not: by default, a connection that should have ended to renew."""
        decision = Deny(reason, detail)
        self._metrics.authenticated(connect, decision, 0.0)
        return self._refuse(connect, decision)

    def _refuse(self, connect: Connect, decision: Deny) -> Answer:
        who = f"client {shown(connect.client_id)} from {shown(connect.address)}"
        return Answer(DENY, effects=self._refusal(decision, f"refused {who}"))

    def _end(self, client_id: str, reason: Reason, refusal: Answer) -> Answer:
        """End a client that came in before and may not stay: by the tick, with what the refusal says.

        The broker's own way to refuse it is a CONNACK in the middle of a session (2.0).
        """
        self._sessions.kick(client_id, reason)
        return Answer(CHALLENGE, b"", (*refusal.effects, (HURRY, b"")))

    def _write_lines(self, effects: list[Effect]) -> None:
        """Write what other threads log, and once a second how much was left out."""
        effects += self._waiting.take()
        now = time.monotonic()
        if now - self._turned >= 1.0:
            self._turned = now
            effects += [
                line(LOG_NOTICE, f"{count} more lines of {kind} in the last second")
                for kind, count in self._lines.turn().items()
            ]

    def _publish_events(self, effects: list[Effect]) -> None:
        """Publish what was told so far, before the kicks: each calls back, and what it tells is newer."""
        if self._events is not None:
            effects[:0] = _publish(self._events)
            if self._events.pressing:
                effects.append((HURRY, b""))

    def _overflow(self) -> tuple[Effect, ...]:
        """Publish events when so many wait that the tick could come too late.

        In a storm more of them come between two ticks than may wait, and 2.1 ticks no sooner when asked.
        """
        events = self._events
        return () if events is None or not events.pressing else _publish(events)

    def _adopt_change(self, _effects: list[Effect]) -> None:
        """Have a changed file adopted when this turn of the broker's loop ends, as by a person's signal."""
        if self._live.take_change():
            os.kill(os.getpid(), signal.SIGHUP)

    def _cut_exchanges(self, effects: list[Effect]) -> None:
        """End the clients that were asked and have not answered in time."""
        names: set[str] = set()
        for client, exchange in self._exchanges.overdue(time.monotonic()):
            if exchange.name:
                names.add(exchange.name)
            else:
                self._sessions.kick(exchange.client_id, Reason.POSSESSION_FAILED)
            if self._lines.take("unanswered challenges"):
                effects += self._note(f"client {shown(exchange.client_id)} did not answer its challenge")
            self._clients.setdefault(client, exchange.client_id)
        effects += [(KICK_ALL, name.encode()) for name in names]

    def _end_sessions(self, effects: list[Effect]) -> None:
        """Disconnect who must go; by its asset id who is there still when it should be gone."""
        now = time.monotonic()
        for asset_id in self._departures.overdue(now):
            effects.append(line(LOG_WARNING, f"disconnecting all of asset {shown(asset_id)}: one stayed"))
            effects.append((KICK_ALL, asset_id.encode()))
        for session in self._departures.unasked():
            # The policy is another one, and the broker has not had it judged by that.
            if self._sessions.find(session.client_id) is session:
                self._sessions.kick(session.client_id, Reason.INTERNAL)
        for kick in self._gate.due():
            session, reason = kick.session, kick.reason
            if self._lines.take(f"disconnecting for {reason.value}"):
                effects += self._note(f"disconnecting client {shown(session.client_id)}: {reason.value}")
            effects.append((KICK, session.client_id.encode()))
            self._departures.expect(session, now)

    def _observe(self, grant: Grant, action: Action, topic: str, decision: Decision) -> None:
        """Count and write down what was decided about a topic here and not by the gate."""
        for observer in (self._metrics, self._assembly.audit):
            if observer is not None:
                observer.authorized(grant, action, topic, decision)

    def _note(self, text: str) -> tuple[Effect, ...]:
        return (line(LOG_NOTICE, text),) if _LOG.isEnabledFor(logging.INFO) else ()

    def _refusal(self, decision: Deny, what: str) -> tuple[Effect, ...]:
        if not self._lines.take(decision.reason):
            return ()
        detail = f" ({decision.detail})" if decision.detail else ""
        return self._note(f"{what}: {decision.reason.value}{detail}")
