"""What must hold around the gate before it opens: the broker's configuration and its ``acl_file``.

The broker's command line says which file it runs with, so no second setting can disagree with it.
Checked at start and again at each reload; files are read, nothing is changed. Each rule refuses what
was seen to open a hole or to switch a check off silently.
"""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from authplugin.brokers.mosquitto.acl import acl_rules, check_acl
from authplugin.brokers.mosquitto.configuration import (
    BrokerConfiguration,
    find_configuration,
    read_configuration,
)
from authplugin.brokers.mosquitto.listeners import find_lost, find_plaintext
from authplugin.errors import ConfigurationError
from authplugin.keys.source import read_regular
from authplugin.settings import Loaded
from authplugin.settings.file import MAX_BYTES

_COMMAND_LINE = Path("/proc/self/cmdline")
_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}
_REFUSED: Mapping[str, str] = {
    "per_listener_settings": "false: with true Mosquitto 2.0 never ticks, so expired sessions would stay",
    "allow_anonymous": "false: the gate refuses clients without a token, so this says what is not so",
    "use_identity_as_username": "no such line: with it the broker throws the token away unseen",
    "use_subject_as_username": "no such line: with it the broker throws the token away unseen",
}


def check_broker(loaded: Loaded) -> None:
    """Check the configuration that this very broker runs with.

    Raises:
        ConfigurationError: what is wrong in it.
        KeySetError: its ``acl_file`` is no regular file, or too long.
        OSError: a file cannot be read.
    """
    broker = read_configuration(find_configuration(_COMMAND_LINE.read_bytes()))
    for mistake in find_mistakes(broker, loaded):
        raise mistake


def find_mistakes(broker: BrokerConfiguration, loaded: Loaded) -> Iterator[ConfigurationError]:
    """What keeps a gate from standing in a broker, the gravest first.

    Raises:
        OSError: a file cannot be read.
    """
    policy = loaded.policy
    yield from find_open_doors(
        broker,
        service_accounts=policy.service_accounts,
        allow_plaintext=loaded.settings.mosquitto.allow_plaintext,
    )
    try:
        rules = acl_rules(policy.topics, policy.service_accounts)
    except ValueError as error:
        yield ConfigurationError(
            file="the gate's configuration",
            line=None,
            key="topics",
            found=str(error),
            expected="topics that Mosquitto's acl_file can say",
        )
        return
    try:
        acl_file = broker.path("acl_file")
    except ConfigurationError:
        return  # said above
    # Who may write it is asked elsewhere: what it says is right or wrong all the same.
    text, _ = read_regular(acl_file, limit=MAX_BYTES)
    try:
        check_acl(text.decode(errors="replace"), str(acl_file), rules)
    except ConfigurationError as error:
        yield error


def check_configuration(
    broker: BrokerConfiguration, *, service_accounts: Collection[str], allow_plaintext: bool
) -> None:
    """Check what must hold; `acl.check_acl` does the rest.

    Args:
        broker: what the broker runs with.
        service_accounts: user names that the password file is to know.
        allow_plaintext: whether a listener off loopback may do without TLS.

    Raises:
        ConfigurationError: the first line that is wrong.
    """
    for mistake in find_open_doors(
        broker, service_accounts=service_accounts, allow_plaintext=allow_plaintext
    ):
        raise mistake


def find_open_doors(
    broker: BrokerConfiguration, *, service_accounts: Collection[str], allow_plaintext: bool
) -> Iterator[ConfigurationError]:
    """Every line that `check_configuration` would name; takes what it takes."""
    for key, expected in _REFUSED.items():
        for setting in broker.lines:
            if setting.key == key and _BOOLEANS.get("".join(setting.words[:1]).lower(), True):
                yield setting.wrong(expected)
    try:
        broker.path("acl_file")
    except ConfigurationError as error:
        yield error
    if service_accounts:
        yield from _find_missing_passwords(broker, service_accounts)
    for setting in find_lost(broker.lines):
        yield setting.wrong(
            "no setting of a listener here: the include_dir above opens a listener, and then the broker "
            "forgets the one before it. All of a listener's lines go before that include_dir, or below a "
            "`listener` line of their own"
        )
    if not allow_plaintext:
        yield from find_plaintext(broker.lines)


def _find_missing_passwords(
    broker: BrokerConfiguration, service_accounts: Collection[str]
) -> Iterator[ConfigurationError]:
    """Accounts without a password; or that there is no file of them."""
    try:
        passwords = broker.path("password_file")
    except ConfigurationError as error:
        yield error
        return
    line = broker.last("password_file")
    for name in sorted(set(service_accounts) - _names(passwords)):
        if line is not None:
            yield line.wrong(f"a line for service account {name}, hashed (mosquitto_passwd FILE {name})")


def _names(password_file: Path) -> set[str]:
    """User names in a password file: the text before the first colon of each line.

    A password that is no hash (``$7$…``) is one that the broker passes over.
    """
    lines = password_file.read_text(encoding="utf-8", errors="replace").splitlines()
    return {line.partition(":")[0] for line in lines if ":$" in line and not line.startswith("#")}
