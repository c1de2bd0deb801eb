import os
import subprocess
import sys
from pathlib import Path

import pytest

from processor.detect.detector import Target
from processor.detect.duration import EXPECTED
from processor.rules import RulesRefused, load_rules, parse_rules
from tests.support.telemetry import rules_text

ONE = rules_text("{stuck: {over: 1s}}")
TYPOS = """\
rules:
  - id: hot
    kind: csae
    severty: high
    title: Too hot
    select: {metrc: temperature}
    detect: {treshold: {above: 85}}
    for: 10 seconds
    for: 10s
  - 7
"""


def errors(text: str) -> list[str]:
    with pytest.raises(RulesRefused) as caught:
        parse_rules(text, "r.yaml")
    return [str(error) for error in caught.value.errors]


def test_a_good_file_becomes_a_frozen_set_with_a_hash_of_its_content() -> None:
    text = rules_text("{threshold: {above: 80}}", more="for: 5s")
    rules = parse_rules(text)
    rule = rules.rules[0]
    assert (rule.id, rule.version, rule.target, rule.select, rule.hold) == (
        "r",
        1,
        Target.METRIC,
        "temperature",
        5000,
    )
    assert rules.hash == parse_rules("# a comment\n" + text).hash
    assert rules.hash != parse_rules(text.replace("80", "81")).hash
    assert rules.hash != parse_rules(text.replace("5s", "6s")).hash


@pytest.mark.parametrize("text", ["2026-11-21T12:00:00Z", "'2026-11-21T13:00:00+01:00'"])
def test_a_set_may_state_from_which_event_time_it_is_in_force(text: str) -> None:
    stated = parse_rules(f"effective: {text}\n{ONE}")
    assert stated.effective == 1_795_262_400_000
    assert stated.hash == parse_rules(ONE).hash
    assert parse_rules(ONE).effective is None


@pytest.mark.parametrize(
    "text",
    [
        "tomorrow",
        "2026-11-21",
        "2026-11-21T12:00:00",
        "2026-02-30T00:00:00Z",
        "[1]",
        "1",
        "1969-01-01T00:00:00Z",
    ],
)
def test_a_time_that_is_none_or_has_no_zone_is_refused(text: str) -> None:
    (error,) = errors(f"effective: {text}\n{ONE}")
    assert error.startswith(f"r.yaml:1: effective: found {text}, expected ")
    assert error.endswith("expected a time of RFC 3339 with its zone, such as 2026-11-21T12:00:00Z")


def test_a_title_that_no_event_could_carry_is_refused() -> None:
    text = ONE.replace("Something is wrong", '"\\ud800"')
    assert errors(text) == [
        "r.yaml:3: rules[0]: found half of a surrogate pair, expected text that UTF-8 can write"
    ]


def test_more_rules_than_a_worker_takes_are_refused() -> None:
    head, rule = ONE.split("  - ", 1)
    text = head + "".join("  - " + rule.replace("id: r", f"id: r{n}") for n in range(1001))
    assert [each.partition(": ")[2] for each in errors(text)] == [
        "rules: found 1001 rules, expected at most 1000"
    ]


def test_every_mistake_is_named_at_once_with_line_key_found_and_expected() -> None:
    assert errors(TYPOS) == [
        "r.yaml:2: rules[0].severity: found nothing, expected a value: this key is required",
        "r.yaml:3: rules[0].kind: found 'csae', expected one of case, opportunity, security",
        "r.yaml:4: rules[0].severty: found unknown key 'severty', expected 'severity'",
        "r.yaml:6: rules[0].select.metrc: found unknown key 'metrc', expected 'metric'",
        "r.yaml:7: rules[0].detect.treshold: found unknown key 'treshold', expected 'threshold'",
        "r.yaml:8: rules[0].for: found '10 seconds', expected a duration such as 250ms, 10s, 5m, 1.5h or 7d",
        "r.yaml:9: rules[0].for: found the key a second time, expected each key once",
        "r.yaml:10: rules[1]: found 7, expected a mapping",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "r.yaml:1: (document): found nothing"),
        ("a: [", "expected a YAML document"),
        ("rules: []", "r.yaml:1: rules: found no list, expected a list of rules"),
        ("[]", "found [], expected a mapping"),
        ("rules: *nowhere", "undefined alias"),
        ("\x00", "characters that YAML does not allow"),
        ("&a [*a]", "expected a mapping"),
        (rules_text("{}"), "found 0 detectors, expected exactly one"),
        (rules_text("{threshold: {above: 1}, stuck: {over: 1s}}"), "found 2 detectors, expected exactly one"),
        (rules_text("{threshold: {above: .nan}}"), "found nan, expected a finite number"),
        (rules_text("{threshold: {above: hot}}"), "above: found 'hot', expected float | null"),
        (rules_text("{threshold: {}}"), "expected above, below or both"),
        (rules_text("{silence: {after: 10}}"), "found 10, expected a duration"),
        (rules_text("{event: {}}"), "select: found a metric, expected an event, for event"),
        (rules_text("{stuck: {over: 1s}}", select="{}"), "found neither metric nor event, expected a metric"),
        (rules_text("{stuck: {over: 1s}}", select="{metric: a, event: b}"), "one of the two"),
        (rules_text("{stuck: {over: 1s}}", select="{metric: 'a b'}"), "expected 1 to 64 of the characters"),
        (rules_text("{stuck: {over: 1s}}", more="version: yes"), "found True, expected int"),
        (ONE + ONE[7:], "found 'r', expected an id used once"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_what_to_change(text: str, expected: str) -> None:
    assert any(expected in error for error in errors(text)), errors(text)


@pytest.mark.parametrize("number", ["010", "-010", "1:30", "1_000", "0b11", "1:30.5", "00"])
def test_a_number_that_yaml_reads_otherwise_than_it_looks_is_refused(number: str) -> None:
    (error,) = errors(rules_text(f"{{threshold: {{above: {number}}}}}"))
    assert error.startswith("r.yaml:8: rules[0].detect.threshold.above: ")
    assert error.endswith(f"found {number}, expected a decimal number, such as 8 or 90.5")


def test_such_a_number_in_the_place_of_something_else_is_told_as_it_was_written() -> None:
    text = rules_text("{silence: {after: 1:30}}", select="{}", more="version: 010")
    assert errors(text) == [
        f"r.yaml:8: rules[0].detect.silence.after: found 1:30, expected {EXPECTED}",
        "r.yaml:9: rules[0].version: found 010, expected a decimal number, such as 8 or 90.5",
    ]


@pytest.mark.parametrize("number", ["10", "0", "0.5", "-1.5", "+8", "1.0e+3", "0x1F", ".5", "10.0"])
def test_numbers_as_people_write_them_are_read(number: str) -> None:
    rule = parse_rules(rules_text(f"{{threshold: {{above: {number}}}}}")).rules[0]
    assert rule.params["above"] == (31 if number == "0x1F" else float(number))


@pytest.mark.parametrize("pattern", ["[", "[!]", "a.b", "[z-a]", "press 7", "[.]", "a[b", "a/*", "ä*"])
def test_a_pattern_that_no_asset_id_can_match_is_refused(pattern: str) -> None:
    text = rules_text("{silence: {after: 5s}}", select=f"{{assets: ['*', '{pattern}']}}")
    (error,) = errors(text)
    assert error.startswith(f"r.yaml:7: rules[0].select.assets[1]: found {pattern!r}, expected a pattern of ")


@pytest.mark.parametrize("pattern", ["**", "?", "press-[0-9]", "[!a]*", "[]a]", "[!]a]", "_-", "[a-c]?"])
def test_a_pattern_that_some_asset_id_matches_is_taken(pattern: str) -> None:
    text = rules_text("{silence: {after: 5s}}", select=f"{{assets: ['{pattern}']}}")
    assert parse_rules(text).rules[0].assets == (pattern,)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RulesRefused, match="readable rule file"):
        load_rules(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(RulesRefused, match="not UTF-8"):
        load_rules(tmp_path / "latin.yaml")
    (tmp_path / "large.yaml").write_text("#" * 1_000_001)
    with pytest.raises(RulesRefused, match="at most 1000000"):
        load_rules(tmp_path / "large.yaml")


def test_a_byte_order_mark_changes_nothing(tmp_path: Path) -> None:
    text = rules_text("{threshold: {above: 80}}")
    (tmp_path / "r.yaml").write_text(text, encoding="utf-8-sig")
    assert load_rules(tmp_path / "r.yaml") == parse_rules(text)


def test_a_rule_selects_by_metric_and_by_patterns_of_assets() -> None:
    rule = parse_rules(rules_text("{stuck: {over: 1s}}", select="{metric: a, assets: ['press-*', x]}")).rules[
        0
    ]
    assert rule.selects("press-7", Target.METRIC, "a")
    assert rule.selects("x", Target.METRIC, "a")
    assert not rule.selects("PRESS-7", Target.METRIC, "a")
    assert not rule.selects("press-7", Target.METRIC, "b")
    assert not rule.selects("press-7", Target.EVENT, "a")


def check(*args: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "processor", "rules", "check", *map(str, args)],
        check=False, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def test_the_command_ends_with_1_and_one_line_an_error(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text(TYPOS)
    done = check(file)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 8
    assert f"{file}:7: rules[0].detect.treshold: found unknown key 'treshold'" in done.stderr


def test_the_command_sums_a_good_file_up_and_tries_it_on_a_sample(tmp_path: Path) -> None:
    file, sample = tmp_path / "r.yaml", tmp_path / "sample.jsonl"
    file.write_text(rules_text("{threshold: {above: 80}}", more="for: 2s"))
    lines = [
        f'{{"asset":"a","ts":{1_700_000_000_000 + n * 1000},"metrics":{{"temperature":{60 + n * 10}}}}}'
        for n in range(8)
    ]
    sample.write_text("\n".join([*lines, "not json"]))
    done = check(file, "--sample", sample)
    assert "r (version 1, case, high): threshold on metric temperature, for 2s" in done.stdout
    assert '"type":"assetgate.case.opened.v1"' in done.stdout
    assert "received 9, judged 8, dead 1" in done.stdout
    assert f"{sample}:9: key_missing" in done.stderr
    assert done.returncode == 1


def test_a_line_of_a_sample_whose_time_is_none_is_said_to_be_and_those_after_it_are_judged(
    tmp_path: Path,
) -> None:
    file, sample = tmp_path / "r.yaml", tmp_path / "sample.jsonl"
    file.write_text(rules_text("{threshold: {above: 80}}"))
    times = ["1" + "0" * 20, "9000000000000000000", "1700000000123000", "-5", "1.5", '"yesterday"']
    lines = [f'{{"asset":"a","ts":{ts},"metrics":{{"temperature":90}}}}' for ts in times]
    lines.append('{"asset":"a","ts":"2023-11-14T22:13:20.123Z","metrics":{"temperature":90}}')
    lines.append('{"asset":"b","ts":1700000000123,"metrics":{"temperature":90}}')
    lines.append('{"asset":"c","metrics":{"temperature":90}}')
    sample.write_text("\n".join(lines))
    done = check(file, "--sample", sample)
    assert [line.partition(": ")[2].partition(":")[0] for line in done.stderr.splitlines()] == [
        "time_invalid"
    ] * 6
    assert done.stdout.count('"type":"assetgate.case.opened.v1"') == 3
    assert "received 9, judged 3, dead 6" in done.stdout


def test_a_pipe_in_the_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rules.yaml")
    with pytest.raises(RulesRefused, match="found a pipe, socket or device, expected a file"):
        load_rules(tmp_path / "rules.yaml")
