"""The lines of ``mosquitto.conf`` that put the gate in place, each with its reason."""

from dataclasses import dataclass
from pathlib import Path

from authplugin.brokers.mosquitto.build import Interpreter

#: Key, value, reason. Measured on 2.0.11: what its defaults drop in silence.
DURABILITY = (
    # Not 0: with it 2.0.11 ends a client's connection after its first refused QoS 1 publish.
    (
        "max_queued_messages",
        "1000000",
        "some 450 MB beside their payloads; the default, 1000, drops all beyond it while the bridge is away",
    ),
    (
        "max_queued_bytes",
        "200000000",
        "payloads of those; the default is no bound: one device with large messages fills the memory",
    ),
    (
        "max_inflight_messages",
        "2000",
        "the default, 20, is the bridge's whole window; 0 would be no bound at all",
    ),
    (
        "upgrade_outgoing_qos",
        "true",
        "what devices publish at QoS 0 would be dropped while the bridge is away",
    ),
    ("persistence", "true", "queues and sessions survive a restart"),
    ("autosave_interval", "1", "seconds lost at a kill or power cut; the default is 1800"),
    ("persistent_client_expiration", "14d", "queues of clients that never come back end some time"),
)
#: The same for what a client may ask of the broker.
LIMITS = (
    ("message_size_limit", "262144", "bytes of one message's payload; the default is 256 MiB"),
    ("max_packet_size", "300000", "bytes of one packet; the default is 256 MiB, for anybody who connects"),
    (
        "max_inflight_bytes",
        "10000000",
        "bytes unfinished, for each client and way; the default is no bound: QoS 2 begun fills the memory",
    ),
    (
        "max_keepalive",
        "600",
        "seconds; a dead connection is noticed in one and a half times this. In 2.0.11 for MQTT 5 only",
    ),
)


def write_stanza(
    plugin: Path, interpreter: Interpreter, config: Path, acl: Path, passwords: Path | None
) -> str:
    """The stanza: goes before the first ``listener``, in one file, once.

    Args:
        plugin: the compiled shim.
        interpreter: what the broker runs.
        config: the gate's configuration.
        acl: the ``acl_file`` written for it.
        passwords: password file of the service accounts, None when there are none.
    """
    groups: list[tuple[str, list[tuple[str, str]]]] = [
        (
            "The gate. Written by `authplugin mosquitto`; goes before the first listener, once.",
            [
                ("per_listener_settings", "false"),
                ("plugin", str(plugin.absolute())),
                ("plugin_opt_libpython", str(interpreter.libpython)),
                ("plugin_opt_python_home", str(interpreter.home)),
                ("plugin_opt_python_site", str(interpreter.site)),
                ("plugin_opt_config_file", str(config.absolute())),
            ],
        ),
        ("Judges every message, from the gate's topic templates.", [("acl_file", str(acl.absolute()))]),
    ]
    if passwords is not None:
        groups.append(
            (
                "Service accounts only; mosquitto_passwd writes it. Devices are never judged by it.",
                [("password_file", str(passwords.absolute()))],
            )
        )
    groups.append(("No token, no entry.", [("allow_anonymous", "false")]))
    groups += [(reason, [(key, value)]) for key, value, reason in (*DURABILITY, *LIMITS)]
    return "\n".join(
        f"# {reason}\n" + "".join(f"{key} {value}\n" for key, value in lines) for reason, lines in groups
    )


MAX_CONNECTIONS = 10_000
"""Clients of the listener that is written; beyond it a CONNECT is refused before it costs anything."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A listener to write.

    Attributes:
        port: TCP port.
        address: what it is bound to, None for every address.
        certificate: PEM file with the certificate chain; with ``key`` it speaks TLS.
        key: PEM file with the private key.
    """

    port: int
    address: str | None = None
    certificate: Path | None = None
    key: Path | None = None


def write_listener(listener: Listener) -> str:
    """The lines of a listener; they go after the stanza, and end whatever listener is before them."""
    opening = f"listener {listener.port}" + (f" {listener.address}" if listener.address else "")
    encrypted = listener.certificate is not None and listener.key is not None
    reason = (
        "Devices come in here, by TLS: their tokens are bearer passwords."
        if encrypted
        else "Without TLS, so for this machine alone: tokens are bearer passwords. `install` again with"
        "\n# --certfile and --keyfile opens one for devices."
    )
    lines = [f"# {reason}", opening]
    if encrypted:
        lines += [f"certfile {listener.certificate}", f"keyfile {listener.key}"]
    lines += [
        "# A bound on sockets, hence on memory; raise LimitNOFILE of the service beyond it.",
        f"max_connections {MAX_CONNECTIONS}",
    ]
    return "\n".join(lines) + "\n"
