"""What Python answers the shim: the same names and numbers as in shim.c, which trusts nothing else."""

from typing import NamedTuple

ALLOW = 0x600D
"""Yes: let the client in as the asset named in the answer; or let the ``acl_file`` judge the topic."""

DEFER = 0x600E
"""A service account's user name: the broker's password file judges it."""

CHALLENGE = 0x600F
"""Send what `AUTH_DATA` says in an AUTH packet; until it answers the client is called by the name given."""

STORED = 0x6010
"""A session that the broker stores and nobody is connected to: leave it alone until somebody is."""

DENY = 0
"""No. Any other answer and any exception are a no as well."""

PENDING = "pending:"
"""How the user name of a client begins whose exchange has not ended."""

LOG_NOTICE, LOG_WARNING, LOG_ERROR = 2, 4, 8
"""Effects: write the bytes to the broker's log at this level."""

KICK, KICK_ALL = 0x4B, 0x4C
"""Effects: disconnect the client whose id the bytes are; everybody of that user name. Without their wills."""

PUBLISH = 0x50
"""Effect with two texts: publish the second under the topic that the first is, as the broker, at QoS 1."""

AUTH_DATA = 0x44
"""Effect: the authentication data of the AUTH packet or CONNACK that follows."""

HURRY = 0x48
"""Effect: tick at the next turn of the broker's loop; 2.1 ticks when it would have anyway."""

ACL_READ, ACL_WRITE, ACL_SUBSCRIBE = 1, 2, 4
"""What the broker asks about a topic."""

Effect = tuple[int, bytes] | tuple[int, bytes, bytes]


class Answer(NamedTuple):
    """The answer to every call of the shim but the first and `Reload`.

    Attributes:
        verdict: `ALLOW`, `DEFER`, `CHALLENGE`, `STORED` or `DENY`.
        name: the asset id when a client is let in, the user name for the time of a challenge.
        effects: what the shim does next, in order; texts are bytes without NUL.
    """

    verdict: int
    name: bytes = b""
    effects: tuple[Effect, ...] = ()


class Road(NamedTuple):
    """Where every device may be: the shim compares and asks Python about anything else.

    Attributes:
        before: the topic up to the asset id.
        after: what follows the id, without a closing ``/#``.
        below: 1 when everything below is meant too.
        retain: 1 when messages there may be retained.
    """

    before: bytes
    after: bytes
    below: int
    retain: int


class Tables(NamedTuple):
    """What the shim keeps of the configuration.

    Attributes:
        services: user names of the service accounts.
        publish: where every device may publish.
        receive: what every device may be sent.
    """

    services: tuple[bytes, ...]
    publish: tuple[Road, ...]
    receive: tuple[Road, ...]


class Start(NamedTuple):
    """The answer to the first call when the gate stands.

    Attributes:
        verdict: `ALLOW`.
        plugin: the object with the callbacks.
        tables: what the shim keeps.
    """

    verdict: int
    plugin: object
    tables: Tables


class Reload(NamedTuple):
    """The answer when the configuration was read anew.

    Attributes:
        verdict: `ALLOW` when there are new tables, `DENY` when the old ones stay.
        tables: what the shim keeps from now on.
        effects: as in `Answer`.
    """

    verdict: int
    tables: Tables | None = None
    effects: tuple[Effect, ...] = ()
