from pathlib import Path

import pytest

from processor.errors import ConfigurationError, StreamError
from processor.kafka.admin import Admin
from processor.settings import KafkaSettings
from processor.settings.trust import make_context


def test_a_file_of_authorities_that_is_none_is_named_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    with pytest.raises(ConfigurationError, match=r"ca\.pem: mqtt\.ca_file: found No such file"):
        make_context("mqtt", ca_file=str(file), cert_file=None, key_file=None)
    file.write_bytes(b"\xff\x00 not PEM")
    with pytest.raises(ConfigurationError, match=r"mqtt\.ca_file: found no certificate or key"):
        make_context("mqtt", ca_file=str(file), cert_file=None, key_file=None)


def test_a_certificate_without_its_key_is_named_with_its_key(tmp_path: Path) -> None:
    file = tmp_path / "own.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n")
    with pytest.raises(ConfigurationError, match=r"own\.pem: kafka\.cert_file: found no certificate or key"):
        make_context("kafka", ca_file=None, cert_file=str(file), key_file=None)


def test_settings_that_librdkafka_refuses_are_said_and_not_thrown() -> None:
    with pytest.raises(StreamError, match=r"settings in \[kafka\] do not fit .*ssl\.ca\.location"):
        Admin(KafkaSettings(security_protocol="SSL", ca_file="/nowhere/ca.pem"))
