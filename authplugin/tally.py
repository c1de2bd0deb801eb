"""Decisions, counted in plain numbers that Prometheus reads when it asks.

A counter of prometheus_client takes a lock each time, which costs more than deciding about a token
that is known. Only the thread that decides writes here; whoever reads sees each number whole.
"""

from collections.abc import Iterator
from itertools import accumulate

from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from authplugin.errors import Reason
from authplugin.model import Action

ALLOWED = "allowed"
REFUSED = "refused"
NO_REASON = "none"
"""The ``reason`` of what was allowed."""

BUCKETS = (5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 1e-1)
_BOUNDS = [*map(repr, BUCKETS), "+Inf"]


class Tally(Collector):
    """The counts.

    Attributes:
        allowed: connects let in.
        refused: connects refused, by reason.
        seconds: all that deciding connects took.
        buckets: how many of them took up to each of `BUCKETS`, and not up to the one before.
        topics: topics decided, by action and reason; a reason of None for what was allowed.
        faults: decisions denied because the gate failed.
        ended: sessions that the gate ended, by reason.
        reloads: configurations read anew, by whether they were put in force.
        newest: whether the configuration in force is the newest one.
    """

    def __init__(self) -> None:
        self.allowed = 0
        self.refused = dict.fromkeys(Reason, 0)
        self.seconds = 0.0
        self.topics: dict[tuple[Action, Reason | None], int] = dict.fromkeys(
            [(action, None) for action in Action], 0
        )
        self.faults = 0
        self.ended = dict.fromkeys(Reason, 0)
        self.reloads = {True: 0, False: 0}
        self.newest = True
        self.buckets = [0] * len(_BOUNDS)

    def collect(self) -> Iterator[Metric]:
        """Every series, now."""
        decisions = CounterMetricFamily(
            "authplugin_decisions", "Connects decided.", labels=["outcome", "reason"]
        )
        decisions.add_metric([ALLOWED, NO_REASON], self.allowed)
        for reason, count in self.refused.items():
            decisions.add_metric([REFUSED, reason.value], count)
        yield decisions
        yield self._topic_decisions()
        yield _by_outcome(self.reloads)
        counted = list(accumulate(self.buckets))
        seconds = HistogramMetricFamily("authplugin_decision_seconds", "Time to decide a connect.")
        seconds.add_metric([], list(zip(_BOUNDS, counted, strict=True)), self.seconds)
        yield seconds
        yield GaugeMetricFamily(
            "authplugin_config_last_reload_successful",
            "Whether the configuration in force is the newest one.",
            value=float(self.newest),
        )
        yield CounterMetricFamily(
            "authplugin_faults", "Decisions denied because the gate failed.", value=self.faults
        )
        ended = CounterMetricFamily(
            "authplugin_sessions_ended", "Sessions the gate ended.", labels=["reason"]
        )
        for reason, count in self.ended.items():
            ended.add_metric([reason.value], count)
        yield ended

    def _topic_decisions(self) -> Metric:
        topics = CounterMetricFamily(
            "authplugin_topic_decisions",
            "Publishes, subscriptions and deliveries decided.",
            labels=["action", "outcome", "reason"],
        )
        for (action, reason), count in list(self.topics.items()):
            said = (ALLOWED, NO_REASON) if reason is None else (REFUSED, reason.value)
            topics.add_metric([action.value, *said], count)
        return topics


def _by_outcome(reloads: dict[bool, int]) -> Metric:
    family = CounterMetricFamily("authplugin_config_reloads", "Configurations read anew.", labels=["outcome"])
    for good, count in reloads.items():
        family.add_metric(["good" if good else "bad"], count)
    return family
