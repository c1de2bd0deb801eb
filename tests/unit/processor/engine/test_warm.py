from typing import Any

from processor.detect.kernel import build
from processor.engine import Engine, warm
from processor.engine.passes import ordering
from processor.flow import batch
from processor.rules import parse_rules
from tests.support.batches import Sent, make_batch
from tests.support.telemetry import START, beat, rules_text, sent

RULES = parse_rules(
    rules_text("{silence: {after: 10s}}")
    + rules_text("{threshold: {above: 1}}").replace("id: r", "id: s")[7:]
)


def test_after_warming_no_record_waits_for_a_compiler() -> None:
    warm(RULES)
    batch.warm()
    kernels = [build(rule.detector, jit=True) for rule in RULES.rules]
    passes: list[Any] = [kernel.sweep for kernel in kernels]
    passes += [kernel.tick for kernel in kernels if kernel.tick is not None]
    compiled: list[Any] = [*passes, *ordering(jit=True), batch.reader()]
    before = [len(each.signatures) for each in compiled]
    engine = Engine(RULES, partition=0)
    engine.advance([sent("a", START + n * 1000, temperature=n) for n in range(5)])
    engine = Engine.load(engine.dump(), RULES, partition=0)
    engine.advance([beat(START + n * 1000) for n in range(30)])
    batch.parse([batch.Batch(make_batch([Sent(0, 0, b"a", b"1")]), 0, START, appended=False, compression=0)])
    assert [len(each.signatures) for each in compiled] == before
