"""The rules file while the worker runs."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from processor.flow.rulefile import RuleFile
from processor.metrics import WorkerMetrics
from processor.ratelimit import RateLimit
from processor.rules import parse_rules
from processor.rules.ruleset import RuleSet
from tests.support.telemetry import rules_text


def text(above: int) -> str:
    return rules_text(f"{{threshold: {{above: {above}}}}}")


def test_a_file_that_is_being_written_is_read_once_it_stands_still(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text(0))
    taken: list[RuleSet] = []

    async def write_for_a_while() -> None:
        rules = RuleFile(file, look=0.02)
        rules.read()
        done = asyncio.Event()

        async def take(found: RuleSet) -> None:
            taken.append(found)
            done.set()

        following = asyncio.create_task(rules.follow(asyncio.Event(), lambda _: None, take, WorkerMetrics()))
        # Each look finds another file than the one before; its size says so too, however coarse its time is.
        for number in range(1, 300):
            file.write_text(text(number) + "#" * number)
            await asyncio.sleep(0.001)
        async with asyncio.timeout(20):
            await done.wait()
        following.cancel()

    asyncio.run(write_for_a_while())
    assert [rules.hash for rules in taken] == [parse_rules(text(299)).hash]


def test_a_hangup_has_the_file_read_although_it_is_the_same(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text(80))
    metrics = WorkerMetrics()

    async def hang_up() -> RuleSet:
        rules, hangup = RuleFile(file, look=3600), asyncio.Event()
        rules.read()
        found: asyncio.Future[RuleSet] = asyncio.get_running_loop().create_future()

        async def take(rules: RuleSet) -> None:
            found.set_result(rules)

        following = asyncio.create_task(rules.follow(hangup, lambda _: None, take, metrics))
        hangup.set()
        async with asyncio.timeout(20):
            await found
        following.cancel()
        return found.result()

    assert asyncio.run(hang_up()).hash == parse_rules(text(80)).hash
    assert metrics.registry.get_sample_value("processor_worker_rules_read_total") == 1


def test_a_change_is_found_although_size_and_time_of_writing_are_as_before(tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text(80))
    before = file.stat()

    async def change() -> RuleSet:
        rules = RuleFile(file, look=0.02)
        rules.read()
        found: asyncio.Future[RuleSet] = asyncio.get_running_loop().create_future()

        async def take(rules: RuleSet) -> None:
            found.set_result(rules)

        # As `rsync --inplace --times` does it; a file that becomes readable changes no more than this either.
        file.write_text(text(85))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        following = asyncio.create_task(rules.follow(asyncio.Event(), lambda _: None, take, WorkerMetrics()))
        async with asyncio.timeout(10):
            await found
        following.cancel()
        return found.result()

    assert asyncio.run(change()).hash == parse_rules(text(85)).hash


def test_each_of_many_mistakes_in_a_row_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(text(80))
    metrics = WorkerMetrics()

    async def take(_: RuleSet) -> None:
        pytest.fail("a wrong file is taken")

    async def mistake() -> None:
        rules, hangup = RuleFile(file, look=3600), asyncio.Event()
        rules.read()
        following = asyncio.create_task(rules.follow(hangup, lambda _: None, take, metrics))
        for number in range(1, 9):
            file.write_text(f"wrong{number}: 1")
            hangup.set()
            async with asyncio.timeout(20):
                while metrics.registry.get_sample_value("processor_worker_rules_refused_total") != number:  # noqa: ASYNC110 - a counter is all there is to see
                    await asyncio.sleep(0.001)
        following.cancel()

    with caplog.at_level(logging.ERROR), caplog.filtering(RateLimit()):
        asyncio.run(mistake())
    assert [f"'wrong{number}'" in caplog.text for number in range(1, 9)] == [True] * 8
