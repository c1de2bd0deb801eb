"""An embedded Kafka for demos and quick tests: ``python -m processor.testing.embedded --partitions 4``.

The Kafka-protocol cluster inside the confluent-kafka wheel (librdkafka's mock cluster, ``rdkafka_mock.h``),
as a process of its own on a real socket. One JSON line on stdout when ready:
``{"ready": "kafka", "bootstrap": "127.0.0.1:PORT", "partitions": 4}``; SIGTERM ends it. It keeps records in
memory, the newest 5 MiB of a partition, without compaction and on one broker: what must be durable needs a
real Kafka.

The wheel's Python side can only start the cluster with 4 partitions a topic and a first rebalance that waits
3 s; its C functions, called here, have no such limits.
"""

import argparse
import ctypes
import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

_PRODUCER = 0


def library() -> Path:
    """The wheel's librdkafka.

    Raises:
        FileNotFoundError: the wheel carries none (built from source against the system's).
    """
    import confluent_kafka  # noqa: PLC0415 - it maps the library's own dependencies first

    found = sorted(
        (Path(confluent_kafka.__file__).parent.parent / "confluent_kafka.libs").glob("librdkafka*")
    )
    if not found:
        raise FileNotFoundError("confluent-kafka carries no librdkafka: install its wheel")
    return found[0]


class EmbeddedKafka:
    """A cluster of one broker in this process; topics are made with a number of partitions."""

    def __init__(self) -> None:
        rd = self._rd = ctypes.CDLL(str(library()))
        for name, result, arguments in (
            ("rd_kafka_conf_new", ctypes.c_void_p, []),
            (
                "rd_kafka_conf_set",
                ctypes.c_int,
                [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t],
            ),
            (
                "rd_kafka_new",
                ctypes.c_void_p,
                [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t],
            ),
            ("rd_kafka_mock_cluster_new", ctypes.c_void_p, [ctypes.c_void_p, ctypes.c_int]),
            ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, [ctypes.c_void_p]),
            ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, [ctypes.c_void_p, ctypes.c_int32]),
            (
                "rd_kafka_mock_topic_create",
                ctypes.c_int,
                [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int],
            ),
        ):
            function = getattr(rd, name)
            function.restype, function.argtypes = result, arguments
        text = ctypes.create_string_buffer(512)
        config = rd.rd_kafka_conf_new()
        # The handle only carries the cluster: it need not warn that it has no brokers to speak to.
        rd.rd_kafka_conf_set(config, b"log_level", b"3", text, len(text))
        client = rd.rd_kafka_new(_PRODUCER, config, text, len(text))
        if not client:
            raise RuntimeError(f"librdkafka: {text.value.decode()}")
        self._cluster = rd.rd_kafka_mock_cluster_new(client, 1)
        if not self._cluster:
            raise RuntimeError("librdkafka: the embedded cluster did not start")
        rd.rd_kafka_mock_group_initial_rebalance_delay_ms(self._cluster, 100)

    @property
    def bootstrap(self) -> str:
        """The broker's host:port."""
        return str(self._rd.rd_kafka_mock_cluster_bootstraps(self._cluster).decode())

    def create(self, topic: str, partitions: int) -> None:
        """Make a topic.

        Raises:
            ValueError: the name or the number is refused, or the topic is there.
        """
        code = self._rd.rd_kafka_mock_topic_create(self._cluster, topic.encode(), partitions, 1)
        if code:
            raise ValueError(f"topic {topic}: librdkafka error {code}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the cluster until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="processor.testing.embedded", description="An embedded Kafka.")
    parser.add_argument("--partitions", type=int, default=4, help="of every topic (default 4)")
    parser.add_argument("--topic", action="append", help="a topic to make instead of the watch's; repeatable")
    parser.add_argument("--config", type=Path, help="the watch's settings, for other topic names")
    args = parser.parse_args(argv)
    if args.topic is None:
        from processor.kafka.admin import plan  # noqa: PLC0415 - only when its names are wanted
        from processor.settings import load  # noqa: PLC0415 - as above

        args.topic = [topic.name for topic in plan(load(args.config).topics)]
    signals = {signal.SIGTERM, signal.SIGINT}
    # Blocked before librdkafka starts its threads, so that none of them takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    cluster = EmbeddedKafka()
    for topic in args.topic:
        cluster.create(topic, args.partitions)
    print(  # noqa: T201 - the ready line
        json.dumps({"ready": "kafka", "bootstrap": cluster.bootstrap, "partitions": args.partitions}),
        flush=True,
    )
    signal.sigwait(signals)
    return 0


if __name__ == "__main__":
    sys.exit(main())
