import pytest

from deploy.demo.console import Mark
from deploy.demo.ledger import Claim, Ledger


class Said(list[tuple[Mark, str, str]]):
    def line(self, mark: Mark, text: str, detail: str = "") -> None:
        self.append((mark, text, detail))


def test_a_claim_that_was_never_reached_did_not_come_true() -> None:
    ledger = Ledger((Claim("a", "A holds"), Claim("b", "B holds")), Said())
    ledger.judge("a", True)
    assert ledger.unmet() == []
    assert [claim.name for claim in ledger.unreached()] == ["b"]


def test_a_false_claim_is_said_and_kept_with_what_was_seen() -> None:
    said = Said()
    ledger = Ledger((Claim("a", "50 devices connect"),), said)
    assert not ledger.judge("a", False, "49 did")
    assert said == [(Mark.FALSE, "50 devices connect", "49 did")]
    assert ledger.unmet() == [(Claim("a", "50 devices connect"), "49 did")]


def test_a_verdict_cannot_be_changed_afterwards() -> None:
    ledger = Ledger((Claim("a", "A holds"),), Said())
    ledger.judge("a", False)
    with pytest.raises(ValueError, match="judged before"):
        ledger.judge("a", True)
    with pytest.raises(KeyError):
        ledger.judge("other", True)


def test_a_claim_that_a_table_shows_is_noted_without_a_line() -> None:
    said = Said()
    ledger = Ledger((Claim("a", "A holds"),), said)
    ledger.note("a", False, "in the table")
    assert said == []
    assert ledger.unmet() == [(Claim("a", "A holds"), "in the table")]
