"""What became of a package's mutants."""

import ast
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
from tests.support.mints import mint

EQUIVALENT = Path(__file__).parent / "equivalent.toml"
#: Made before the forks, which inherit them: making RSA keys takes longer than most tests.
_KEYS = (("RS256", "Assets"), ("RS256", "Stranger"), ("ES256", "Curve"), ("EdDSA", "EdDSA"))
_FAILING = "the tests do not pass as they are; run them with pytest to see why"
_IMPORT_SECONDS = 120.0
_SPARE_SECONDS = 10.0
_SLOWER = 5


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
    """Judge every mutant of a package, or those of some of its functions.

    Raises:
        ValueError: the list of equivalent mutants names one of these modules that is not there.
    """
    began = time.monotonic()
    sources = {file: file.read_text() for file in sorted(package.resolve().rglob("*.py"))}
    found = [mutant for file, source in sources.items() for mutant in find_mutants(file, source)]
    if units is not None:
        found = [mutant for mutant in found if mutant.unit in units]
    left_out = _equivalent({_name(file) for file in sources}) if units is None else set()
    left_out_but_absent = left_out - {_key(mutant) for mutant in found}
    if left_out_but_absent:
        raise ValueError(f"{EQUIVALENT.name} names mutants that are not there: {sorted(left_out_but_absent)}")
    judged = [mutant for mutant in found if _key(mutant) not in left_out]
    trial = _Trial(sources, tests, workers)
    at_import = [mutant for mutant in judged if mutant.unit is None]
    in_functions = [mutant for mutant in judged if mutant.unit is not None]
    survivors: list[Mutant] = []

    def note(verdicts: Iterable[tuple[Mutant, str]]) -> None:
        for mutant, verdict in verdicts:
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
        for algorithm, kid in _KEYS:
            mint(algorithm, kid)
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


def _key(mutant: Mutant) -> tuple[str, str, str, str]:
    return _name(mutant.file), mutant.unit or "", mutant.before, mutant.after


def _equivalent(modules: Collection[str]) -> set[tuple[str, str, str, str]]:
    listed = tomllib.loads(EQUIVALENT.read_text())["equivalent"]
    entries = msgspec.convert(listed, list[Equivalent])
    return {(one.module, one.unit, one.before, one.after) for one in entries if one.module in modules}


def _name(file: Path) -> str:
    """The module's dotted name."""
    parts = list(file.relative_to(Path.cwd()).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
