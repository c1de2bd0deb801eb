"""A run through the engine, whatever becomes of it: a record that the engine fails on is a dead letter."""

import itertools
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from processor.engine.partition import Engine
from processor.errors import DeadReason
from processor.model import HEARTBEAT, Counts, Dead, Outcome, Record

_LOG = logging.getLogger(__name__)


def advance(engine: Engine, run: Sequence[Record], on_failure: Callable[[], None]) -> Outcome:
    """Judge a run; after a fault of the engine, one by one, and what it fails on is set aside.

    What was judged and told before the fault stays so.
    """
    try:
        return engine.advance(run)
    except Exception:  # noqa: BLE001 - a fault of the engine must lose no record
        on_failure()
        _LOG.exception("the engine failed on a run of %d records; judging them one by one", len(run))
    done, whole = engine.salvage()
    for record in itertools.islice(run, done, None):
        try:
            one = engine.advance([record])
        except Exception as error:  # noqa: BLE001 - the record is kept with the fault's name; the first is logged
            _, one = engine.salvage()
            if not any(name == HEARTBEAT for name, _ in record.headers):
                dead = Dead(record, DeadReason.INTERNAL, type(error).__name__)
                one = replace(one, dead=[dead], counts=Counts(received=1, dead=1))
        whole = Outcome(
            whole.events + one.events,
            whole.dead + one.dead,
            whole.counts.plus(one.counts),
            whole.notes.plus(one.notes),
        )
    return whole
