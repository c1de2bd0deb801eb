"""Keeps the status page's gate counters fresh, from the gate's own metrics, and says what reasons mean."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Mapping

from deploy.demo.metrics import Metrics, scrape
from deploy.demo.page.board import Board, GateCounts, Limit
from processor.rules.ruleset import RuleSet

_EVERY_SECONDS = 1.0

#: Reason → what it means to the person who looks at the page; a reason that is not here stands for itself.
MEANINGS: Mapping[str, str] = {
    "alg_not_allowed": "Signed in a way the issuer never signs, or not at all.",
    "audience_mismatch": "A good token, meant for another service.",
    "claims_malformed": "Its claims are not those of an asset token.",
    "client_id_mismatch": "A good token under another asset's client id.",
    "expired": "The token has run out.",
    "issuer_unknown": "From an issuer that is not trusted here.",
    "key_unknown": "Signed by a key the issuer never published.",
    "malformed": "No token at all.",
    "not_asset_token": "The issuer's own, but no asset token.",
    "signature_invalid": "The signature does not fit the issuer's key.",
    "topic_denied": "Another asset's topics.",
    "topic_id_form": "The asset's id in a form that topics do not use.",
    "username_mismatch": "A good token under another user name.",
}


def limits(rules: RuleSet) -> tuple[Limit, ...]:
    """The values that threshold rules compare metrics with."""
    return tuple(
        Limit(rule.select, rule.params[bound], f"{rule.id}: {bound} {rule.params[bound]:g}")
        for rule in rules.rules
        if rule.detector.name == "threshold"
        for bound in ("above", "below")
        if abs(rule.params[bound]) != float("inf")
    )


def refusals(metrics: Metrics) -> Counter[str]:
    """Refused connects, publishes and subscriptions, by the gate's reason."""
    found: Counter[str] = Counter()
    for name in ("authplugin_decisions_total", "authplugin_topic_decisions_total"):
        for reason, count in metrics.by(name, "reason", outcome="refused").items():
            found[reason] += int(count)
    return found


def gate_counts(metrics: Metrics) -> GateCounts:
    """The gate's counters as the page shows them."""
    return GateCounts(
        allowed=int(metrics.total("authplugin_decisions_total", outcome="allowed")),
        refusals=+refusals(metrics),
        sessions=int(metrics.total("authplugin_sessions")),
    )


async def keep_fresh(board: Board, url: str) -> None:
    """Read the gate's metrics once a second, for ever; a scrape that fails leaves the last counts."""
    while True:
        with contextlib.suppress(OSError):
            board.gate = gate_counts(await scrape(url))
        await asyncio.sleep(_EVERY_SECONDS)
