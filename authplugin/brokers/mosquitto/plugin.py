"""The gate inside Mosquitto: what shim.c calls, on the broker's only thread.

`start` reads the configuration and checks that the broker's own leaves no door open; after that each
callback takes plain values and returns an `Answer`. Nothing here waits: keys come from a cache that
other threads refresh, and what those threads log is written at the next tick.
"""

import functools
import logging
from collections.abc import Callable
from pathlib import Path

from authplugin.brokers.assembly import Assembly
from authplugin.brokers.mosquitto.acl import acl_rules, check_acl
from authplugin.brokers.mosquitto.answers import (
    ACL_SUBSCRIBE,
    ALLOW,
    DEFER,
    DENY,
    KICK,
    LOG_ERROR,
    LOG_NOTICE,
    Answer,
    Effect,
    Road,
    Start,
)
from authplugin.brokers.mosquitto.configuration import (
    check_configuration,
    find_configuration,
    read_configuration,
)
from authplugin.brokers.mosquitto.lines import LineBudget, WaitingLines, line, shown
from authplugin.clock import SystemClock
from authplugin.errors import AuthpluginError, ConfigurationError, Reason
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant
from authplugin.policy import Policy
from authplugin.settings import Loaded, load
from authplugin.topics.containment import matches

MAX_ROADS = 16
_MAX_ROAD_TEXT = 127
_STOP_SECONDS = 0.5
_COMMAND_LINE = Path("/proc/self/cmdline")


def start(config: bytes) -> Start | Answer:
    """Start the gate, or say what keeps it from standing.

    Args:
        config: path of the gate's configuration (``plugin_opt_config_file``).

    Returns:
        `Start` when all is well, else `DENY` with the reason in place of the asset id: the broker
        does not start then.
    """
    waiting = WaitingLines()
    log = logging.getLogger("authplugin")
    log.addHandler(waiting)
    log.setLevel(logging.INFO)
    try:
        loaded = load(Path(config.decode()))
        _check_broker(loaded)
        assembly = Assembly(loaded, clock=SystemClock())
        assembly.start()
    except (AuthpluginError, OSError, UnicodeDecodeError) as error:
        return Answer(DENY, line(LOG_ERROR, str(error))[1])
    if loaded.settings.mosquitto.allow_plaintext:
        log.warning("allow_plaintext = true: on listeners without TLS anyone on the way reads the tokens")
    names = tuple(name.encode() for name in loaded.policy.service_accounts)
    return Start(ALLOW, Plugin(assembly, waiting), names, roads(loaded.policy))


def roads(policy: Policy) -> tuple[Road, ...]:
    """Where every device may publish, as the shim compares it; what it cannot compare it asks about.

    Retained messages are for topics that a template names one by one, such as a device's status: a
    wildcard would let a device leave any number of them behind.
    """
    known = []
    for template in policy.topics.publish:
        below = template.tail.endswith("/#")
        after = template.tail[:-2] if below else template.tail
        fits = len(template.head.encode()) <= _MAX_ROAD_TEXT and len(after.encode()) <= _MAX_ROAD_TEXT
        if "+" not in after and "#" not in after and fits:
            known.append(Road(template.head.encode(), after.encode(), int(below), int(not below)))
    return tuple(known[:MAX_ROADS])


def _check_broker(loaded: Loaded) -> None:
    """Check the configuration that this very broker runs with.

    Raises:
        ConfigurationError: what is wrong in it.
    """
    policy = loaded.policy
    broker = read_configuration(find_configuration(_COMMAND_LINE.read_bytes()))
    check_configuration(
        broker,
        service_accounts=policy.service_accounts,
        allow_plaintext=loaded.settings.mosquitto.allow_plaintext,
    )
    acl_file = broker.path("acl_file")
    try:
        rules = acl_rules(policy.topics, policy.service_accounts)
    except ValueError as error:
        raise ConfigurationError(
            file="the gate's configuration",
            line=None,
            key="topics",
            found=str(error),
            expected="topics that Mosquitto's acl_file can say",
        ) from None
    check_acl(acl_file.read_bytes().decode(errors="replace"), str(acl_file), rules)


def _judge_late(grant: Grant, action: Action, topic: str) -> Decision:
    """Judge for an asset whose connection has ended.

    A will is sent after the end, and whoever left a retained message is judged again when somebody
    reads it: both are held to what any token of that asset could have allowed.
    """
    if action is Action.PUBLISH and any(matches(topic_filter, topic) for topic_filter in grant.publish):
        return Allow(grant)
    return Deny(Reason.TOPIC_DENIED, f"not one of the asset's topics to {action.value}")


def _closed(callback: Callable[..., Answer]) -> Callable[..., Answer]:
    """Turn whatever a callback raises into a no, a line in the log and a count.

    The shim does so as well; this says where, which the shim cannot. Never the exception's text: it
    may quote a token.
    """

    @functools.wraps(callback)
    def answer(self: "Plugin", *args: object) -> Answer:
        try:
            return callback(self, *args)
        except Exception as error:  # noqa: BLE001 - whatever fails, the answer is no and the broker lives
            return self.fail(callback.__name__, error)

    return answer


class Plugin:
    """The callbacks; every argument that is text for MQTT comes as bytes, None when it was not sent.

    Args:
        assembly: the gate and what it stands on, started.
        waiting: what other threads log.
    """

    def __init__(self, assembly: Assembly, waiting: WaitingLines) -> None:
        self._assembly = assembly
        self._gate = assembly.gate
        self._sessions = assembly.sessions
        self._metrics = assembly.metrics
        self._policy = assembly.loaded.policy
        self._budget = LineBudget()
        self._waiting = waiting
        # The shim's name of a connection → client id: at its end the broker no longer tells the latter.
        self._clients: dict[int, str] = {}
        # What is wrong with the broker's configuration since its reload; nobody comes in then.
        self._wrong: str | None = None

    @_closed
    def authenticate(
        self,
        client: int,
        client_id: bytes | None,
        username: bytes | None,
        password: bytes | None,
        address: bytes | None,
    ) -> Answer:
        """A client connects; or the broker asks again about one that is connected, after SIGHUP."""
        name = None if username is None else username.decode()
        if name in self._policy.service_accounts:
            return Answer(DEFER)
        connect = Connect((client_id or b"").decode(), name, password, (address or b"").decode())
        decision: Decision
        if self._wrong is None:
            decision = self._gate.authenticate(connect)
        else:
            decision = Deny(Reason.INTERNAL, self._wrong)
            self._metrics.authenticated(connect, decision, 0.0)
        if isinstance(decision, Deny):
            who = f"client {shown(connect.client_id)} from {shown(connect.address)}"
            return Answer(DENY, effects=self._refusal(decision, f"refused {who}"))
        grant = decision.grant
        self._gate.open_session(connect.client_id, client, grant, address=connect.address)
        self._clients[client] = connect.client_id
        return Answer(ALLOW, grant.asset_id.encode())

    @_closed
    def authorize(self, client: int, username: bytes, access: int, topic: bytes, retain: int) -> Answer:
        """A device subscribes, or publishes where not every device may."""
        action = Action.SUBSCRIBE if access == ACL_SUBSCRIBE else Action.PUBLISH
        name = topic.decode()
        asset_id = username.decode()
        session = self._sessions.find(self._clients.get(client, ""))
        if session is not None and session.connection == client:
            grant = session.grant
            decision = self._gate.authorize(grant, action, name)
        else:
            grant = Grant(asset_id, "", "", "", 0.0, b"", b"", self._policy.topics)
            decision = _judge_late(grant, action, name)
            self._metrics.authorized(grant, action, name, decision)
        if retain and isinstance(decision, Allow) and name not in grant.publish:
            decision = Deny(Reason.TOPIC_DENIED, "retained messages are for single topics such as the status")
            self._metrics.authorized(grant, action, name, decision)
        if isinstance(decision, Deny):
            what = f"refused asset {shown(asset_id)} to {action.value} {shown(name)}"
            return Answer(DENY, effects=self._refusal(decision, what))
        return Answer(ALLOW)

    @_closed
    def tick(self) -> Answer:
        """About once a second: end the sessions that are due, write the lines that wait."""
        effects: list[Effect] = [
            line(LOG_NOTICE, f"{count} more lines of {kind} in the last second")
            for kind, count in self._budget.turn().items()
        ]
        effects += self._waiting.take()
        for kick in self._gate.due():
            client_id = kick.session.client_id
            if self._budget.take(f"disconnecting for {kick.reason.value}"):
                effects.append(
                    line(LOG_NOTICE, f"disconnecting client {shown(client_id)}: {kick.reason.value}")
                )
            effects.append((KICK, client_id.encode()))
        return Answer(DENY, effects=tuple(effects))

    @_closed
    def disconnect(self, client: int) -> Answer:
        """A connection ended, whoever it was."""
        client_id = self._clients.pop(client, None)
        if client_id is not None:
            self._gate.close_session(client_id, client)
        return Answer(DENY)

    @_closed
    def reload(self) -> Answer:
        """The broker read its configuration anew, and asks about every client next."""
        # Shut until the check has passed: a failure of the check itself leaves it like that.
        self._wrong = "the broker's configuration could not be checked"
        try:
            _check_broker(self._assembly.loaded)
            self._wrong = None
        except (AuthpluginError, OSError) as error:
            self._wrong = str(error)
            return Answer(DENY, effects=(line(LOG_ERROR, f"nobody comes in until this is right: {error}"),))
        finally:
            self._metrics.reloaded(good=self._wrong is None)
        return Answer(DENY)

    @_closed
    def stop(self) -> Answer:
        """The broker ends."""
        self._assembly.stop(_STOP_SECONDS)
        return Answer(DENY, effects=tuple(self._waiting.take()))

    def fail(self, where: str, error: Exception) -> Answer:
        """The no that a failure turns into."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
        self._metrics.failed(error)
        if not self._budget.take(Reason.INTERNAL):
            return Answer(DENY)
        return Answer(DENY, effects=(line(LOG_ERROR, f"{where} failed: {type(error).__name__} at {place}"),))

    def _refusal(self, decision: Deny, what: str) -> tuple[Effect, ...]:
        if not self._budget.take(decision.reason):
            return ()
        detail = f" ({decision.detail})" if decision.detail else ""
        return (line(LOG_NOTICE, f"{what}: {decision.reason.value}{detail}"),)
