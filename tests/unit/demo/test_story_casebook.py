import msgspec
import pytest

from deploy.demo.casebook import CaseBook
from deploy.demo.topics import Record


def record(key: bytes | None, value: bytes | None) -> Record:
    return Record("asset.cases.v1", 0, 0, 0, key, value)


def event(
    step: str = "opened",
    *,
    case: str = "c1",
    asset: str = "A1",
    rule: str = "overheat",
    key: str | None = None,
    **more: object,
) -> Record:
    body: dict[str, object] = {
        "specversion": "1.0",
        "id": f"{case}-{step}",
        "source": "/assetgate/processor",
        "type": f"assetgate.case.{step}.v1",
        "subject": asset,
        "time": "2026-11-21T12:00:00.500Z",
        "datacontenttype": "application/json",
        "data": {
            "caseId": case,
            "assetId": asset,
            "rule": {"id": rule, "version": 1, "hash": "ab12"},
            "severity": "high",
            "seen": 95.0,
            "expected": 82.0,
            "margin": 13.0,
            "unit": "°C",
            "window": {"from": "2026-11-21T12:00:00Z", "to": "2026-11-21T12:00:00.500Z"},
            "evidence": [{"metric": "temperature", "ts": 1, "v": 95.0}],
        },
    } | more
    return record((key or asset).encode(), msgspec.json.encode(body))


def test_one_case_for_each_expected_asset_is_what_is_due() -> None:
    book = CaseBook()
    book.add(event(), 1.0)
    book.add(event("closed"), 2.0)
    assert book.faults == []
    assert book.against({"A1": "overheat"}) == []
    closed = book.cases["c1"].closed()
    assert closed is not None
    assert closed.id == "c1-closed"


def test_a_second_case_a_missing_one_a_wrong_rule_and_a_healthy_device_are_told_apart() -> None:
    book = CaseBook()
    for each in (
        event(),
        event(case="c2"),
        event(case="c3", asset="A3", rule="silence"),
        event(case="c4", asset="A4"),
    ):
        book.add(each, 1.0)
    assert book.against({"A1": "overheat", "A2": "silence", "A3": "overheat"}) == [
        "A1 has 2 cases where one is due",
        "A2 has 0 cases where one is due",
        "A3: silence spoke where overheat is due",
        "A4 is healthy, yet overheat opened a case",
    ]


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        (record(b"A1", b"{"), "is no case event"),
        (event(key="A2"), "its key is not its asset"),
        (event(subject="A2"), "its subject is not its asset"),
        (event(type="assetgate.case.opened.v2"), "its type is assetgate.case.opened.v2"),
        (event(specversion="0.3"), "its specversion is 0.3"),
        (event(source="elsewhere"), "its source is elsewhere"),
        (event(time="yesterday"), "its time cannot be read"),
        (event("closed"), "was closed before it opened"),
    ],
)
def test_an_event_that_breaks_the_contract_is_named(told: Record, fault: str) -> None:
    book = CaseBook()
    book.add(told, 1.0)
    assert any(fault in found for found in book.faults), book.faults


def test_an_event_or_a_closing_that_repeats_is_a_fault() -> None:
    book = CaseBook()
    for each in (event(), event(), event("closed"), event("closed", id="another")):
        book.add(each, 1.0)
    assert book.faults == ["the event c1-opened came twice", "the case c1 closed twice"]
