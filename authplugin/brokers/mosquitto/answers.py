"""What Python answers the shim: the same names and numbers as in shim.c, which trusts nothing else."""

from typing import NamedTuple

ALLOW = 0x600D
"""Yes: let the client in as the asset named in the answer; or let the ``acl_file`` judge the topic."""

DEFER = 0x600E
"""A service account's user name: the broker's password file judges it."""

DENY = 0
"""No. Any other answer and any exception are a no as well."""

LOG_NOTICE, LOG_WARNING, LOG_ERROR = 2, 4, 8
"""Effects: write the bytes to the broker's log at this level."""

KICK = 0x4B
"""Effect: disconnect the client whose id the bytes are, without its will."""

ACL_WRITE, ACL_SUBSCRIBE = 2, 4
"""What the broker asks about a topic."""

Effect = tuple[int, bytes]


class Answer(NamedTuple):
    """The answer to every call of the shim.

    Attributes:
        verdict: `ALLOW`, `DEFER` or `DENY`.
        asset: the asset id when a client is let in.
        effects: what the shim does next, in order; bytes without NUL.
    """

    verdict: int
    asset: bytes = b""
    effects: tuple[Effect, ...] = ()


class Road(NamedTuple):
    """Where every device may publish: the shim compares and asks Python about anything else.

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


class Start(NamedTuple):
    """The answer to the first call when the gate stands.

    Attributes:
        verdict: `ALLOW`.
        plugin: the object with the callbacks.
        services: user names of the service accounts.
        roads: see `Road`.
    """

    verdict: int
    plugin: object
    services: tuple[bytes, ...]
    roads: tuple[Road, ...]
