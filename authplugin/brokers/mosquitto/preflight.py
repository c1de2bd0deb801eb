"""What must hold around the gate before it opens: the broker's configuration and its ``acl_file``.

The broker's command line says which file it runs with, so no second setting can disagree with it.
Checked at start and again at each reload; files are read, nothing is changed.
"""

from pathlib import Path

from authplugin.brokers.mosquitto.acl import acl_rules, check_acl
from authplugin.brokers.mosquitto.configuration import (
    check_configuration,
    find_configuration,
    read_configuration,
)
from authplugin.errors import ConfigurationError
from authplugin.settings import Loaded

_COMMAND_LINE = Path("/proc/self/cmdline")


def check_broker(loaded: Loaded) -> None:
    """Check the configuration that this very broker runs with.

    Raises:
        ConfigurationError: what is wrong in it.
        OSError: a file cannot be read.
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
