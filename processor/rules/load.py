"""A rule file → a frozen `RuleSet`, or every reason why not."""

import hashlib
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from processor.detect.catalog import DETECTORS
from processor.detect.detector import Detector, Target
from processor.errors import ConfigurationError, Refused
from processor.rules.document import Document, describe, line_of
from processor.rules.ruleset import Rule, RuleSet, can_match
from processor.rules.schema import RuleForm, Select, SetForm

#: A rule file is written by people; one larger than this is not a rule file.
LARGEST = 1_000_000
#: Most rules: each is a row for every series that it looks at.
MOST = 1_000

_ENCODER = msgspec.json.Encoder(order="sorted", enc_hook=int)


class RulesRefused(Refused):
    """Raised when a rule file is wrong."""


def load_rules(file: Path) -> RuleSet:
    """Read and compile a rule file.

    Raises:
        RulesRefused: with file, line, key, found and expected of everything that is wrong.
    """
    try:
        # A pipe would be waited for, and a terminal be read for ever.
        if file.exists() and not (file.is_file() or file.is_dir()):
            raise _refuse(str(file), "a pipe, socket or device", "a file")
        data = file.read_bytes()
        text = data.decode()
    except OSError as error:
        raise _refuse(str(file), str(error.strerror or error), "a readable rule file") from None
    except UnicodeDecodeError:
        raise _refuse(str(file), "bytes that are not UTF-8", "a rule file in YAML") from None
    if len(data) > LARGEST:
        raise _refuse(str(file), f"{len(data)} bytes", f"at most {LARGEST}")
    return parse_rules(text, str(file))


def parse_rules(text: str, file: str = "rules.yaml") -> RuleSet:
    """Compile the text of a rule file; `file` is only its name in errors.

    Raises:
        RulesRefused: with file, line, key, found and expected of everything that is wrong.
    """
    try:
        document = Document(file, text)
    except yaml.YAMLError:
        raise _refuse(file, "characters that YAML does not allow", "a rule file in YAML") from None
    effective, rules = _set(document)
    if document.errors:
        raise RulesRefused(document.errors)
    digest = hashlib.sha256("".join(rule.hash for rule in rules).encode()).hexdigest()[:16]
    return RuleSet(digest, tuple(rules), effective)


def _refuse(file: str, found: str, expected: str) -> RulesRefused:
    error = ConfigurationError(file=file, line=None, key="(file)", found=found, expected=expected)
    return RulesRefused((error,))


def _set(document: Document) -> tuple[int | None, list[Rule]]:
    """From when the rules are in force, and the rules."""
    root = document.root()
    if root is None:
        return None, []
    members = document.members(root, "", [field.encode_name for field in msgspec.structs.fields(SetForm)])
    stated = members.get("effective")
    effective = None if stated is None else _effective(document, stated)
    return effective, _rules(document, root, members.get("rules"))


def _effective(document: Document, node: yaml.Node) -> int | None:
    """Milliseconds since the epoch of a time with its zone; read from the text, not as YAML's type."""
    text = node.value if isinstance(node, yaml.ScalarNode) else ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None or "T" not in text or moment.timestamp() < 0:
        expected = "a time of RFC 3339 with its zone, such as 2026-11-21T12:00:00Z"
        # As it was written: YAML's own reading of it is a date of Python's, or nothing.
        document.refuse(line_of(node), "effective", text or describe(document.value(node)), expected)
        return None
    return round(moment.timestamp() * 1000)


def _rules(document: Document, root: yaml.Node, node: yaml.Node | None) -> list[Rule]:
    if not isinstance(node, yaml.SequenceNode) or not node.value:
        line = line_of(node or root)
        document.refuse(line, "rules", "nothing" if node is None else "no list", "a list of rules")
        return []
    if len(node.value) > MOST:
        document.refuse(line_of(node.value[MOST]), "rules", f"{len(node.value)} rules", f"at most {MOST}")
        return []
    rules: dict[str, Rule] = {}
    for index, each in enumerate(node.value):
        rule = _rule(document, each, f"rules[{index}]")
        if rule is not None and rule.id in rules:
            document.refuse(line_of(each), f"rules[{index}].id", repr(rule.id), "an id used once")
        elif rule is not None:
            rules[rule.id] = rule
    return list(rules.values())


def _rule(document: Document, node: yaml.Node, key: str) -> Rule | None:
    form: RuleForm | None = document.struct(node, key, RuleForm)
    found = _detector(document, node, f"{key}.detect")
    if form is None or found is None:
        return None
    detector, options = found
    select = form.select
    if not _check_patterns(document, node, f"{key}.select.assets", select):
        return None
    if select.metric is not None and select.event is not None:
        document.refuse(line_of(node), f"{key}.select", "metric and event", "one of the two")
        return None
    target = _target(select)
    if target not in detector.targets:
        expected = " or ".join(_WORDS[each] for each in detector.targets)
        document.refuse(line_of(node), f"{key}.select", _WORDS[target], f"{expected}, for {detector.name}")
        return None
    try:
        content = _ENCODER.encode({"rule": form, "options": options})
    except UnicodeEncodeError:
        document.refuse(line_of(node), key, "half of a surrogate pair", "text that UTF-8 can write")
        return None
    return Rule(
        id=form.id,
        version=form.version,
        hash=hashlib.sha256(content).hexdigest()[:16],
        kind=form.kind,
        severity=form.severity,
        title=form.title,
        target=target,
        select=select.metric or select.event or "",
        assets=tuple(select.assets),
        detector=detector,
        params=detector.pack(options),
        hold=form.hold,
        clear=form.clear,
    )


_WORDS = {Target.METRIC: "a metric", Target.EVENT: "an event", Target.ASSET: "neither metric nor event"}


def _target(select: Select) -> Target:
    if select.metric is not None:
        return Target.METRIC
    return Target.ASSET if select.event is None else Target.EVENT


def _check_patterns(document: Document, node: yaml.Node, key: str, select: Select) -> bool:
    """Refuse patterns that no asset's id can match; whether there was none."""
    below = _below(_below(node, "select"), "assets")
    nodes = below.value if isinstance(below, yaml.SequenceNode) else []
    wrong = [at for at, pattern in enumerate(select.assets) if not can_match(pattern)]
    for at in wrong:
        expected = "a pattern of A-Z a-z 0-9 _ - with `*`, `?` and `[…]` that an asset id can match"
        document.refuse(line_of(nodes[at]), f"{key}[{at}]", repr(select.assets[at]), expected)
    return not wrong


def _below(node: yaml.Node | None, name: str) -> yaml.Node | None:
    """The value of a mapping's member; None when there is none."""
    if not isinstance(node, yaml.MappingNode):
        return None
    return next((value for member, value in node.value if getattr(member, "value", None) == name), None)


def _detector(document: Document, node: yaml.Node, key: str) -> tuple[Detector, Any] | None:
    """The detector under ``detect`` with its checked options."""
    if not isinstance(node, yaml.MappingNode):
        return None
    below = _below(node, "detect")
    if not isinstance(below, yaml.MappingNode):
        return None
    members = document.members(below, key, list(DETECTORS))
    if len(below.value) != 1:
        document.refuse(line_of(below), key, f"{len(below.value)} detectors", "exactly one")
        return None
    for name, value in members.items():
        options = _options(document, value, f"{key}.{name}", DETECTORS[name])
        if options is not None:
            return DETECTORS[name], options
    return None


def _options(document: Document, node: yaml.Node, key: str, detector: Detector) -> Any:  # noqa: ANN401 - an instance of the detector's options, or None
    options = document.struct(node, key, detector.options)
    try:
        if options is not None:
            detector.pack(options)
    except ValueError as error:
        document.refuse(line_of(node), key, "options that do not fit", str(error))
        return None
    return options
