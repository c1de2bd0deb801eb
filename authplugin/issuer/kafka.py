"""Asset-token events to Kafka: an exchange is answered only after Kafka has its event.

The producer is idempotent and asks every in-sync replica, so that an event is written once or the
exchange fails and the device asks again. Needs `assetgate[watch]`, imported when first used.
"""

import asyncio
import logging
import threading
from typing import Any

import msgspec

from authplugin.errors import ConfigurationError
from authplugin.issuer.events import AssetTokenEvent, PublishError

TOPIC = "asset.tokens.v1"
ACKNOWLEDGE_SECONDS = 10.0
"""How long Kafka may take to acknowledge one event."""

_POLL_SECONDS = 0.1

_log = logging.getLogger("authplugin.issuer")


class KafkaSink:
    """Publishes to ``asset.tokens.v1``, keyed by the 18-character asset id."""

    def __init__(self, bootstrap: str, *, topic: str = TOPIC, timeout: float = ACKNOWLEDGE_SECONDS) -> None:
        """Make the producer and the thread that takes its reports; nothing is sent yet.

        Args:
            bootstrap: ``host:port`` of the cluster, several with commas.
            topic: where events go.
            timeout: seconds until an event that Kafka has not acknowledged has failed.

        Raises:
            ConfigurationError: the client library is not installed, or refuses ``bootstrap``.
        """
        try:
            import confluent_kafka  # noqa: PLC0415 - only the watch installs it
        except ImportError:
            raise ConfigurationError(
                file="command line",
                line=None,
                key="--kafka",
                found="no confluent_kafka in this environment",
                expected="assetgate[watch] installed: pip install 'assetgate[watch]'",
            ) from None
        self._kafka = confluent_kafka
        self._config = {
            "bootstrap.servers": bootstrap,
            "client.id": "assetgate-issuer",
            "enable.idempotence": True,
            "acks": "all",
            "partitioner": "murmur2_random",
            "linger.ms": 2,
            "message.timeout.ms": int(timeout * 1000),
            "error_cb": _log_error,
        }
        self._topic = topic
        self._timeout = timeout
        self._closed = threading.Event()
        try:
            self._producer = confluent_kafka.Producer(self._config)
        except confluent_kafka.KafkaException as error:
            raise ConfigurationError(
                file="command line", line=None, key="--kafka", found=str(error), expected="host:port"
            ) from None
        self._thread = threading.Thread(target=self._poll, name="issuer-kafka", daemon=True)
        self._thread.start()

    async def publish(self, event: AssetTokenEvent) -> None:
        """See `EventSink.publish`; waits for the acknowledgement without holding the event loop."""
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[str | None] = loop.create_future()

        def report(error: Any, _message: object) -> None:  # noqa: ANN401 - confluent_kafka ships no types
            loop.call_soon_threadsafe(_settle, acknowledged, None if error is None else error.str())

        key = None if event.asset_id is None else event.asset_id.encode()
        try:
            self._producer.produce(self._topic, msgspec.json.encode(event), key, on_delivery=report)
        except (BufferError, self._kafka.KafkaException) as error:
            raise PublishError(f"kafka: {error}") from None
        try:
            # The client times out by itself; the second limit is for a client that does not.
            failure = await asyncio.wait_for(acknowledged, self._timeout + 5)
        except TimeoutError:
            raise PublishError(f"kafka: not acknowledged within {self._timeout:.0f} s") from None
        if failure is not None:
            raise PublishError(f"kafka: {failure}")

    def close(self) -> None:
        """See `EventSink.close`; waits for what is in flight, as long as one event may take."""
        self._producer.flush(self._timeout)
        self._closed.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(_POLL_SECONDS)


def _log_error(error: Any) -> None:  # noqa: ANN401 - confluent_kafka ships no types
    if error.fatal():
        _log.error("kafka: %s: no event can be published any more, restart the issuer", error.str())
    else:
        _log.warning("kafka: %s", error.str())


def _settle(acknowledged: "asyncio.Future[str | None]", failure: str | None) -> None:
    if not acknowledged.done():
        acknowledged.set_result(failure)
