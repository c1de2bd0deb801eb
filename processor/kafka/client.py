"""The settings' cluster in librdkafka's words."""

import logging
from typing import Any

from confluent_kafka import Consumer

from processor.settings import KafkaSettings

#: librdkafka's own log goes here, not to stderr behind everyone's back.
LOGGER = logging.getLogger("processor.kafka")
#: Room for a whole snapshot of a partition, and for a dead letter of any size the bridge lets in.
LARGE_RECORD = 16_777_216


def client_config(kafka: KafkaSettings) -> dict[str, Any]:
    """What every librdkafka client of this program starts from (CONFIGURATION.md of librdkafka)."""
    config: dict[str, Any] = {
        "bootstrap.servers": kafka.bootstrap,
        "security.protocol": kafka.security_protocol.lower(),
        "reconnect.backoff.ms": 50,
        "reconnect.backoff.max.ms": 1000,
        "logger": LOGGER,
    }
    if kafka.security_protocol.startswith("SASL"):
        config["sasl.mechanism"] = kafka.sasl_mechanism
        config["sasl.username"] = kafka.sasl_username or ""
        config["sasl.password"] = kafka.sasl_password.reveal() if kafka.sasl_password is not None else ""
    if kafka.security_protocol.endswith("SSL"):
        files = {
            "ssl.ca.location": kafka.ca_file,
            "ssl.certificate.location": kafka.cert_file,
            "ssl.key.location": kafka.key_file,
        }
        config |= {key: file for key, file in files.items() if file is not None}
    return config


def make_reader(kafka: KafkaSettings) -> Consumer:
    """A consumer outside any group, for large records.

    Of its own, not Faust's: requests of Faust's consumer queue behind its own long fetch.
    """
    return Consumer(
        client_config(kafka)
        | {
            "group.id": "unused: nothing is committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.message.max.bytes": LARGE_RECORD,
            # An empty end of a partition need not be waited for.
            "fetch.wait.max.ms": 10,
        }
    )
