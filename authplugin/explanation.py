"""A judgement told check by check: which held, which refused, which were never reached.

`explain` runs the very line that the gate runs, past every cache. Each check that held is reported
as it goes; the first refusal ends the line. The rows below are the line's order, and say which
refusals belong to which check.
"""

import hashlib
from collections.abc import Collection, Mapping
from typing import NamedTuple

from authplugin.clientid import check_client
from authplugin.entitlement import refuse_topic
from authplugin.errors import Reason, Refused
from authplugin.model import Action, Connect, Deny
from authplugin.policy import Policy, PossessionPolicy
from authplugin.proof import tell_possession
from authplugin.standing import Standing
from authplugin.verification import Keys, verify


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


class Question(NamedTuple):
    """What is judged: a token, and what else a client would send, each None to judge none.

    Attributes:
        token: as the client sends it.
        topic: one to publish to.
        client_id: MQTT client identifier.
        username: MQTT user name.
        certificate: TLS client certificate, DER; without one it is told what the policy asks for,
            and refused only what no client could prove.
    """

    token: bytes
    topic: str | None = None
    client_id: str | None = None
    username: str | None = None
    certificate: bytes | None = None

    def __repr__(self) -> str:
        """Never what may hold a token."""
        return "Question()"


def explain(question: Question, now: float, *, policy: Policy, keys: Keys, standing: Standing) -> list[Check]:
    """Judge a token check by check.

    Args:
        question: the token and what comes with it.
        now: seconds since the epoch.
        policy: the policy in force.
        keys: the issuers' keys.
        standing: what is revoked, provisioned and quarantined.
    """
    asked = {"client id": question.client_id, "user name": question.username, "topic": question.topic}
    passed: dict[str, str] = {}
    try:
        refused = _judge(question, now, passed, policy, keys, standing)
    except Refused as error:
        refused = Deny(error.reason, error.detail)
    return list_checks(passed, refused, asked=[name for name, value in asked.items() if value is not None])


def _judge(
    question: Question, now: float, passed: dict[str, str], policy: Policy, keys: Keys, standing: Standing
) -> Deny | None:
    digest = hashlib.sha256(question.token).digest()
    grant = verify(question.token, digest, now, policy=policy, keys=keys, passed=passed.__setitem__)
    issuer = policy.issuers[grant.issuer]
    standing.check(grant, issuer)
    standing.check_quarantine(grant)
    passed |= {"revocation": "not revoked", "quarantine": "not quarantined"}
    passed["provisioned"] = "listed" if issuer.require_provisioned else "not asked for"
    client_id = grant.asset_id if question.client_id is None else question.client_id
    connect = Connect(client_id, question.username, None, "", question.certificate)
    check_client(connect, grant, issuer, policy)
    passed |= {"client id": client_id, "user name": question.username or "none"}
    mode = (issuer.possession or PossessionPolicy()).mode(grant.asset_id)
    passed["possession"] = tell_possession(mode, connect, grant)
    if question.topic is None:
        return None
    refused = refuse_topic(grant, Action.PUBLISH, question.topic, issuer)
    if refused is None:
        passed["topic"] = question.topic
    return refused


def list_checks(passed: Mapping[str, str], refused: Deny | None, *, asked: Collection[str]) -> list[Check]:
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
