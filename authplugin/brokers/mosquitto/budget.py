"""How long the broker waited for the gate: the longest wait of each callback, and those over budget.

The broker serves everybody from the thread that asks, so a slow answer is everybody's delay. Counted
beside the histogram of decisions, which sees the gate alone: this sees the whole callback, at the
price of two readings of a clock.
"""

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

CALLBACKS = ("authenticate", "challenge", "prove", "authorize", "tick", "disconnect", "reload", "stop")


class Budget(Collector):
    """Counts the time of callbacks.

    Attributes:
        seconds: what a callback may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._most = dict.fromkeys(CALLBACKS, 0.0)
        self._over = dict.fromkeys(CALLBACKS, 0)

    def spend(self, callback: str, seconds: float) -> bool:
        """Note what a callback took; whether that was over budget."""
        if seconds > self._most[callback]:  # noqa: PLR1730 - max() costs twice that, at every callback
            self._most[callback] = seconds
        if seconds <= self.seconds:
            return False
        self._over[callback] += 1
        return True

    def collect(self) -> Iterator[Metric]:
        """The series, now."""
        most = GaugeMetricFamily(
            "authplugin_callback_max_seconds",
            "Longest that the broker waited for a callback since its start.",
            labels=["callback"],
        )
        over = CounterMetricFamily(
            "authplugin_callbacks_over_budget",
            "Callbacks that took longer than budget_ms.",
            labels=["callback"],
        )
        for callback in CALLBACKS:
            most.add_metric([callback], self._most[callback])
            over.add_metric([callback], self._over[callback])
        yield from (most, over)
