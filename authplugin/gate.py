"""The gate: may this client come in, and may it touch that topic?

`authenticate` is one straight line, cheapest checks first, no I/O and no lock on it. Below the
seam a refusal is an exception, above it there are two answers: `Allow` and `Deny`.
"""

import hashlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from authplugin.clock import Clock
from authplugin.errors import Reason, Refused
from authplugin.jose.claims import check_asset, check_claims, parse_claims, peek_issuer
from authplugin.jose.compact import MAX_TOKEN_BYTES, parse_header, split
from authplugin.jose.key import VerifyingKey
from authplugin.jose.verify import verify_signature
from authplugin.model import Action, Allow, Connect, Decision, Deny, Grant
from authplugin.policy import IssuerPolicy, Policy
from authplugin.sessions import Sessions
from authplugin.topics.containment import contains, matches
from authplugin.topics.grammar import check_filter, check_topic, is_reserved, unshare
from authplugin.verdicts import VerdictCache

MAX_CLIENT_ID = 256

_SUFFIX = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.:")


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


class Check(NamedTuple):
    """One line of `Gate.explain`.

    Attributes:
        name: what was checked.
        passed: None when the check was not reached.
        detail: for a person; never token bytes.
    """

    name: str
    passed: bool | None
    detail: str


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
    ) -> None:
        self.policy = policy
        self.sessions = sessions
        self.verdicts = verdicts
        self._keys = keys
        self._clock = clock
        self._observers = (metrics,) if audit is None else (metrics, audit)

    def authenticate(self, connect: Connect) -> Decision:
        """Decide whether a client comes in, and as which asset.

        Its password is the token. Its client id is the asset id, or the asset id, ``:`` and a
        suffix of letters, digits and ``-_.:`` (256 characters in all); its user name is absent,
        empty, the asset id or the device id. A Salesforce asset id may be in either form, of 15
        or of 18 characters, in both. Names of service accounts are never judged as tokens.
        """
        raise NotImplementedError

    def authorize(self, grant: Grant, action: Action, topic: str) -> Decision:
        """Decide whether a client that came in with ``grant`` may do ``action`` with ``topic``.

        A filter to SUBSCRIBE to must lie within a granted one as a whole; ``$share`` groups are
        unwrapped first; topics that begin with ``$`` are denied.
        """
        raise NotImplementedError

    def explain(self, token: bytes, topic: str | None = None) -> list[Check]:
        """Judge a token, and a topic to publish to when given, check by check.

        Runs the very line that `authenticate` runs, past every cache.
        """
        raise NotImplementedError
