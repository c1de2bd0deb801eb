"""The watch's settings: one frozen model, read from a TOML file and the environment."""

from processor.settings.load import SettingsRefused, load
from processor.settings.model import (
    BridgeSettings,
    KafkaSettings,
    MetricsSettings,
    MqttSettings,
    ProcessorSettings,
    Secret,
    TopicSettings,
    WorkerSettings,
)

__all__ = [
    "BridgeSettings",
    "KafkaSettings",
    "MetricsSettings",
    "MqttSettings",
    "ProcessorSettings",
    "Secret",
    "SettingsRefused",
    "TopicSettings",
    "WorkerSettings",
    "load",
]
