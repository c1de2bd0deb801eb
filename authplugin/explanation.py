"""A judgement told check by check: which held, which refused, which were never reached.

The gate reports each check that held as it goes; the first refusal ends the line. The rows below
are the line's order, and say which refusals belong to which check.
"""

from collections.abc import Collection, Mapping
from typing import NamedTuple

from authplugin.errors import Reason
from authplugin.model import Deny


class Check(NamedTuple):
    """One line of an explanation.

    Attributes:
        name: what was checked.
        passed: None when the check was not reached.
        detail: for a person; never token bytes.
    """

    name: str
    passed: bool | None
    detail: str


ROWS: tuple[tuple[str, frozenset[Reason]], ...] = (
    ("form", frozenset({Reason.TOO_LONG, Reason.MALFORMED})),
    (
        "header",
        frozenset(
            {
                Reason.MALFORMED,
                Reason.ALG_NOT_ALLOWED,
                Reason.HEADER_NOT_ALLOWED,
                Reason.NOT_ASSET_TOKEN,
                Reason.KID_INVALID,
            }
        ),
    ),
    ("issuer", frozenset({Reason.CLAIMS_MALFORMED, Reason.ISSUER_UNKNOWN, Reason.ALG_NOT_ALLOWED})),
    ("key", frozenset({Reason.KEY_UNKNOWN, Reason.KEYS_STALE})),
    ("signature", frozenset({Reason.SIGNATURE_INVALID, Reason.ALG_NOT_ALLOWED})),
    ("claims", frozenset({Reason.CLAIMS_MALFORMED, Reason.ISSUER_UNKNOWN})),
    ("token type", frozenset({Reason.NOT_ASSET_TOKEN})),
    ("time", frozenset({Reason.EXP_MISSING, Reason.EXPIRED, Reason.NOT_YET_VALID})),
    ("audience", frozenset({Reason.AUDIENCE_MISMATCH})),
    ("identity", frozenset({Reason.ASSET_MISSING, Reason.DEVICE_MISSING, Reason.CLAIMS_MALFORMED})),
    ("asset", frozenset({Reason.ASSET_UNSAFE, Reason.FOREIGN_ASSET})),
    ("binding", frozenset({Reason.CLAIMS_MALFORMED})),
    ("attributes", frozenset({Reason.CLAIMS_MALFORMED})),
    ("revocation", frozenset({Reason.REVOKED})),
    ("provisioned", frozenset({Reason.ASSET_UNKNOWN})),
    ("quarantine", frozenset({Reason.QUARANTINED})),
    ("client id", frozenset({Reason.CLIENT_ID_MISMATCH})),
    ("user name", frozenset({Reason.USERNAME_MISMATCH})),
    ("possession", frozenset({Reason.POSSESSION_REQUIRED, Reason.POSSESSION_FAILED})),
    ("topic", frozenset({Reason.TOPIC_DENIED, Reason.TOPIC_ID_FORM})),
)
ON_DEMAND = frozenset({"client id", "user name", "topic"})
"""Rows of what a token does not say; told only when a person asked for them."""


def explain(passed: Mapping[str, str], refused: Deny | None, *, asked: Collection[str]) -> list[Check]:
    """Tell a judgement.

    Args:
        passed: what the line reported of each check that held.
        refused: how it ended, None when everything held.
        asked: those of `ON_DEMAND` that were judged as well.
    """
    checks = []
    rows = [row for row in ROWS if row[0] not in ON_DEMAND or row[0] in asked]
    failed = None
    if refused is not None:
        said = f"{refused.reason}: {refused.detail}"
        failed = next(
            (name for name, reasons in rows if name not in passed and refused.reason in reasons), None
        )
        if failed is None:
            failed = next(name for name, _ in rows if name not in passed)
    reached = True
    for name, _ in rows:
        if name == failed:
            checks.append(Check(name, passed=False, detail=said))
            reached = False
        else:
            checks.append(
                Check(name, passed=True if reached else None, detail=passed.get(name, "") if reached else "")
            )
    return checks
