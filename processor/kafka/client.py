"""The settings' cluster in librdkafka's words."""

import logging
from typing import Any

from processor.settings import KafkaSettings

#: librdkafka's own log goes here, not to stderr behind everyone's back.
LOGGER = logging.getLogger("processor.kafka")


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
