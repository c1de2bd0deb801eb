"""The watch: telemetry from MQTT to Kafka, judged by rules into case and opportunity events."""

from importlib.metadata import version

__version__ = version("assetgate")
