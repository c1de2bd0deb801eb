"""Fixtures of the stream's tests."""

from tests.support.kafka import apache_node, embedded, kafka
from tests.support.watch import plain_broker, watch

__all__ = ["apache_node", "embedded", "kafka", "plain_broker", "watch"]
