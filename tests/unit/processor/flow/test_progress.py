import logging

import pytest

from processor.flow.progress import Progress, draw
from processor.metrics import WorkerMetrics


def test_a_bar_is_as_long_as_what_is_done() -> None:
    assert draw(0, 8) == "[--------------------] 0 %"
    assert draw(2, 8) == "[#####---------------] 25 %"
    assert draw(8, 8) == draw(0, 0) == "[####################] 100 %"


def test_a_long_recovery_draws_a_bar_a_second_and_the_gauge_is_always_right(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    metrics = WorkerMetrics()
    progress = Progress(metrics, monotonic=lambda: now)
    with caplog.at_level(logging.INFO):
        for step in range(41):
            now = step / 10
            progress(step, 40)
    assert metrics.registry.get_sample_value("processor_worker_recovery_ratio") == 1.0
    assert [record.getMessage() for record in caplog.records] == [
        f"reading the state: {draw(step, 40)} of 40 records" for step in (10, 20, 30, 40)
    ]


def test_nothing_to_read_is_done_at_once() -> None:
    metrics = WorkerMetrics()
    Progress(metrics)(0, 0)
    assert metrics.registry.get_sample_value("processor_worker_recovery_ratio") == 1.0
