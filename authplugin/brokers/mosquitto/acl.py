"""The broker's ``acl_file``, written from the topic templates and the service accounts.

Once a token holds, the plugin makes the asset id the client's user name, and Mosquitto's own
patterns (``%u``) say what the shim's tables say: while both were found to agree, the shim answers for
the topics of devices, in C, and the file for service accounts and whenever they might not.

What Mosquitto 2.0's file cannot say, the plugin says: it has no word for retained messages (the
plugin refuses them on all but single topics, such as ``status``), and it never refuses a SUBSCRIBE
(the plugin does; the file filters what is delivered).
"""

import hashlib
from collections.abc import Iterable, Mapping

from authplugin.errors import ConfigurationError
from authplugin.policy import ServiceAccount
from authplugin.topics.template import Template, Templates

_HEADER = """\
# Written by `authplugin mosquitto` from the topic templates and service accounts of the gate.
# Change them there and write this file anew: the broker does not start when the two disagree.
# %u is the asset id: the plugin sets it as user name once the client's token holds.
"""

_SEAL = "# As it was written, while this is the SHA-256 of all above: "

_TRAILING = " \t\v\f\r"
"""What Mosquitto takes off the end of a line (``isspace`` in C)."""


def acl_rules(topics: Templates, accounts: Mapping[str, ServiceAccount]) -> list[str]:
    """The rules, one a line, the hottest first: Mosquitto takes the first that matches.

    Raises:
        ValueError: a template or filter means something else in an ``acl_file``.
    """
    patterns = [f"pattern write {_pattern(template)}" for template in topics.publish]
    patterns += [f"pattern read {_pattern(template)}" for template in topics.subscribe]
    rules = list(patterns)
    for name in sorted(accounts):
        account = accounts[name]
        rules.append(f"user {_plain(name)}")
        # The patterns hold for every user: without this the account could pose as an asset of its own name.
        rules += [f"topic deny {template.fill(name)}" for template in (*topics.publish, *topics.subscribe)]
        rules += [f"topic write {_plain(topic)}" for topic in account.publish]
        rules += [f"topic read {_plain(topic)}" for topic in account.subscribe]
    return rules


def write_acl(topics: Templates, accounts: Mapping[str, ServiceAccount]) -> str:
    """The text of the ``acl_file``; its last line says whether it is as it was written.

    Raises:
        ValueError: as `acl_rules`.
    """
    lines = []
    for rule in acl_rules(topics, accounts):
        if rule.startswith("user "):
            lines.append("")
        lines.append(rule)
    text = _HEADER + "\n" + "\n".join(lines) + "\n\n"
    return f"{text}{_SEAL}{_digest(text.encode())}\n"


def is_written(content: bytes) -> bool:
    """Whether this is an ``acl_file`` as `write_acl` wrote it, for whatever topics: no hand was at it."""
    above, seal, digest = content.rpartition(_SEAL.encode())
    return bool(seal) and digest == f"{_digest(above)}\n".encode()


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def check_acl(text: str, file: str, expected: Iterable[str]) -> None:
    """Check that an ``acl_file`` says exactly ``expected``: a rule more could open every asset.

    Raises:
        ConfigurationError: the first line that differs.
    """
    wanted = list(expected)
    # As Mosquitto reads it: only a newline ends a line, only blanks part words, # is the first letter.
    found = [
        (number, " ".join(word for word in line.rstrip(_TRAILING).split(" ") if word))
        for number, line in enumerate(text.split("\n"), start=1)
        if line.rstrip(_TRAILING) and not line.startswith("#")
    ]
    for position, (number, rule) in enumerate(found):
        if position >= len(wanted) or rule != wanted[position]:
            raise ConfigurationError(
                file=file,
                line=number,
                key="acl_file",
                found=rule,
                expected=wanted[position]
                if position < len(wanted)
                else "the end (write it anew: authplugin mosquitto install)",
            )
    if len(found) < len(wanted):
        raise ConfigurationError(
            file=file,
            line=None,
            key="acl_file",
            found="the end of the file",
            expected=f"{wanted[len(found)]} (write it anew: authplugin mosquitto install)",
        )


def _pattern(template: Template) -> str:
    if template.attributes:
        raise ValueError(f"{str(template)!r} has more than {{aid}} to fill in, which an acl_file cannot")
    return _plain(template.head) + "%u" + _plain(template.tail)


def _plain(text: str) -> str:
    """The text itself, if Mosquitto reads it as it stands.

    Raises:
        ValueError: it has a per cent sign or spaces that Mosquitto would read in its own way.
    """
    if "%" in text:
        raise ValueError(f"{text!r} has a per cent sign, which an acl_file takes for a placeholder")
    if " ".join(text.split()) != text:
        raise ValueError(f"{text!r} has blanks that an acl_file does not keep")
    return text
