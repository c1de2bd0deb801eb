"""The Faust app of the worker: the settings that the design needs, each with its reason."""

from pathlib import Path

import faust
from yarl import URL

from processor.flow.transport import BatchApp, Flow, RunSchema, judge_runs
from processor.settings import KafkaSettings, ProcessorSettings
from processor.settings.trust import make_context


def make_app(settings: ProcessorSettings, flow: Flow, scratch: Path) -> BatchApp:
    """An app that reads the telemetry topic into a flow; `scratch` is an empty directory for Faust."""
    worker, kafka = settings.worker, settings.kafka
    app = BatchApp(
        flow,
        settings.topics.telemetry,
        worker.group,
        broker=[URL(f"kafka://{address.strip()}") for address in kafka.bootstrap.split(",")],
        broker_credentials=_credentials(kafka),
        broker_session_timeout=worker.session_timeout,
        broker_heartbeat_interval=min(1.0, worker.session_timeout / 3),
        broker_commit_interval=worker.commit_interval,
        consumer_group_instance_id=worker.instance_id,
        consumer_auto_offset_reset="earliest",
        # A poll gives one run of a partition; what else was fetched waits as it came, compressed.
        broker_max_poll_records=worker.run_size,
        # Counts runs, not records: what waits in memory.
        stream_buffer_maxsize=worker.buffered_runs,
        # Nothing is acked, so waiting for acks would never end.
        stream_wait_empty=False,
        # In seconds. Faust's producer writes nothing here, yet each commit flushes it.
        producer_linger=0.0,
        producer_acks=-1,
        # Topics are made by `processor topics create`, with the settings that each needs.
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        datadir=str(scratch),
        autodiscover=False,
    )
    # Without acks Faust tracks no message: what is safe is the flow's word alone.
    topic = app.topic(settings.topics.telemetry, schema=RunSchema(), acks=False)

    @app.agent(topic, name="judge")
    async def judge(stream: faust.StreamT[object]) -> None:
        await judge_runs(app, stream)

    return app


def _credentials(kafka: KafkaSettings) -> object:
    """The cluster's security in Faust's words; None for PLAINTEXT."""
    context = None
    if kafka.security_protocol.endswith("SSL"):
        context = make_context(
            "kafka", ca_file=kafka.ca_file, cert_file=kafka.cert_file, key_file=kafka.key_file
        )
    if kafka.security_protocol.startswith("SASL"):
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.reveal() if kafka.sasl_password is not None else "",
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
