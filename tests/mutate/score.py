"""What became of a package's mutants."""

import ast
import itertools
import sys
import time
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.mutate.mutants import Mutant, apply, find_mutants
from tests.mutate.process import SURVIVED, Job, judge_all, live_functions, pass_when_imported, swap_code
from tests.mutate.selection import OPTIONS, Collected
from tests.support.corpus import published_sets

EQUIVALENT = Path(__file__).parent / "equivalent.toml"
_FAILING = "the tests do not pass as they are; run them with pytest to see why"
_IMPORT_SECONDS = 120.0
_SPARE_SECONDS = 10.0
_SLOWER = 5
_TOLD = 50


class Survivor(msgspec.Struct, frozen=True):
    """A mutant that every test let through."""

    module: str
    line: int
    unit: str
    operator: str
    before: str
    after: str


class Score(msgspec.Struct, frozen=True):
    """A package's score.

    Attributes:
        package: its folder.
        mutants: judged ones.
        killed: those that a test failed on, or that never came to an end.
        equivalent: those left out, with a reason each.
        score: killed over judged, 0 to 1.
        seconds: it took.
        survivors: the rest.
    """

    package: str
    mutants: int
    killed: int
    equivalent: int
    score: float
    seconds: float
    survivors: list[Survivor]


class Equivalent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A change that no test can see, and why."""

    module: str
    unit: str
    before: str
    after: str
    reason: str


def judge_package(
    package: Path, tests: Sequence[str], *, units: Collection[str] | None, workers: int
) -> Score:
    """Judge every mutant of a package, or those of some of its functions."""
    began = time.monotonic()
    sources, found = _find(package)
    if units is not None:
        found = [mutant for mutant in found if mutant.unit in units]
    left_out = {} if units is not None else equivalents()
    judged = [mutant for mutant in found if _key(mutant) not in left_out]
    trial = _Trial(sources, tests, workers)
    at_import = [mutant for mutant in judged if mutant.at_import]
    in_functions = [mutant for mutant in judged if not mutant.at_import]
    survivors: list[Mutant] = []
    count = itertools.count(1)

    def note(verdicts: Iterable[tuple[Mutant, str]]) -> None:
        for mutant, verdict in verdicts:
            if (number := next(count)) % _TOLD == 0:
                sys.stderr.write(f"{number} of {len(judged)} judged\n")
            if verdict == SURVIVED:
                survivors.append(mutant)
                sys.stderr.write(f"survived: {_name(mutant.file)}:{mutant.line} {mutant.after}\n")

    note(trial.while_importing(at_import))
    trial.in_functions(package.resolve(), in_functions, note)
    survivors.sort(key=lambda mutant: (mutant.file, mutant.line))
    return Score(
        str(package),
        len(judged),
        len(judged) - len(survivors),
        len(found) - len(judged),
        1 - len(survivors) / len(judged) if judged else 0.0,
        round(time.monotonic() - began, 1),
        [Survivor(_name(m.file), m.line, m.unit or "", m.operator, m.before, m.after) for m in survivors],
    )


class _Trial:
    """A package's mutants before its tests, in forks of this process."""

    def __init__(self, sources: Mapping[Path, str], tests: Sequence[str], workers: int) -> None:
        self._sources = sources
        self._tests = tests
        self._workers = workers

    def while_importing(self, mutants: Iterable[Mutant]) -> Iterator[tuple[Mutant, str]]:
        """Judge mutants of what runs while importing. The package must not be imported yet."""
        # Forks inherit the keys that are made here; finding primes takes longer than most tests.
        published_sets()
        # A fork whose tests fail without a mutant would kill them all.
        file, source = next(iter(self._sources.items()))
        for _, verdict in judge_all(
            [(file, _IMPORT_SECONDS, self._imported(file, ast.parse(source)))], workers=1
        ):
            if verdict != SURVIVED:
                raise RuntimeError(_FAILING)
        yield from judge_all(
            (
                (one, _IMPORT_SECONDS, self._imported(one.file, apply(self._sources[one.file], one)))
                for one in mutants
            ),
            workers=self._workers,
        )

    def in_functions(
        self, package: Path, mutants: Iterable[Mutant], note: Callable[[Iterable[tuple[Mutant, str]]], None]
    ) -> None:
        """Judge mutants of functions, and tell ``note``. After this the package is imported, and stays."""

        def judge(collected: Collected) -> None:
            note(judge_all((self._running(collected, one) for one in mutants), workers=self._workers))

        collected = Collected(package, judge)
        pytest.main([*OPTIONS, *self._tests], plugins=[collected])
        if not collected.done:
            raise RuntimeError(_FAILING)

    def _imported(self, file: Path, tree: ast.Module) -> Callable[[], bool]:
        return pass_when_imported(_name(file), file, tree, self._tests)

    def _running(self, collected: Collected, mutant: Mutant) -> Job[Mutant]:
        items, seconds = collected.that_reach(mutant)
        functions = live_functions(mutant.file, str(mutant.unit))

        def survives() -> bool:
            swap_code(self._sources[mutant.file], mutant, functions)
            return collected.all_pass(items)

        return mutant, _SPARE_SECONDS + _SLOWER * seconds, survives


def equivalents() -> dict[tuple[str, str, str, str], str]:
    """The changes that no test can see, as module, function, before and after, each with its reason."""
    listed = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    entries = msgspec.convert(listed, list[Equivalent])
    return {(one.module, one.unit, one.before, one.after): one.reason for one in entries}


def stale_equivalents(packages: Iterable[Path]) -> set[tuple[str, str, str, str]]:
    """Those of `equivalents` that are no mutants of these packages any more."""
    keys = {_key(mutant) for package in packages for mutant in _find(package)[1]}
    return equivalents().keys() - keys


def _find(package: Path) -> tuple[dict[Path, str], list[Mutant]]:
    sources = {file: file.read_text() for file in sorted(package.resolve().rglob("*.py"))}
    return sources, [mutant for file, source in sources.items() for mutant in find_mutants(file, source)]


def _key(mutant: Mutant) -> tuple[str, str, str, str]:
    return _name(mutant.file), mutant.unit or "", mutant.before, mutant.after


def _name(file: Path) -> str:
    """The module's dotted name."""
    parts = list(file.relative_to(Path.cwd()).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
