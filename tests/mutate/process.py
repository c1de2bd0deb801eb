"""Judging mutants: each one in a forked process of its own, on the tests that reach it, shortest first.

What a function does is changed in a process that has already collected the tests, by giving the live
function its mutant's code. What runs while importing is changed before anything is imported.
"""

import ast
import gc
import importlib.abc
import importlib.machinery
import importlib.util
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import TypeVar

import pytest

from tests.mutate.mutants import Mutant, apply
from tests.mutate.selection import OPTIONS

KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"
_SURVIVED_CODE, _KILLED_CODE = 0, 1
_MEMORY_BYTES = 4 << 30
_POLL_SECONDS = 0.002
#: A busy machine is no reason to call a mutant endless; one that sleeps for ever is ended all the same.
_WALL_PER_CPU = 20
_VERDICTS = {_SURVIVED_CODE: SURVIVED, -signal.SIGXCPU: TIMEOUT}

T = TypeVar("T")
Job = tuple[T, float, Callable[[], bool]]


def judge_all(jobs: Iterable[Job[T]], *, workers: int) -> Iterator[tuple[T, str]]:
    """Judge mutants in forked processes.

    Args:
        jobs: what is judged, CPU seconds it may take, and what says in the fork whether the tests still pass.
        workers: processes at a time.
    """
    running: dict[int, tuple[T, float]] = {}
    try:
        for mutant, seconds, survives in jobs:
            while len(running) >= workers:
                yield from _ended(running)
            running[_fork(survives, seconds)] = (mutant, time.monotonic() + _WALL_PER_CPU * seconds)
        while running:
            yield from _ended(running)
    finally:
        for pid in running:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _ended(running: dict[int, tuple[T, float]]) -> Iterator[tuple[T, str]]:
    for pid, (mutant, deadline) in list(running.items()):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            del running[pid]
            yield mutant, _VERDICTS.get(os.waitstatus_to_exitcode(status), KILLED)
        elif time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            del running[pid]
            yield mutant, TIMEOUT
    time.sleep(_POLL_SECONDS)


def _fork(survives: Callable[[], bool], seconds: float) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = _KILLED_CODE
    try:
        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(seconds), math.ceil(seconds) + 1))
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        code = _SURVIVED_CODE if survives() else _KILLED_CODE
    finally:
        # Whatever a mutant raised, this process must not go on as if it were its parent.
        os._exit(code)


def pass_when_imported(name: str, file: Path, tree: ast.Module, tests: Sequence[str]) -> Callable[[], bool]:
    """What imports a module from another tree, and runs the tests on it up to the first that fails."""

    def survives() -> bool:
        sys.meta_path.insert(0, MutantFinder(name, file, tree))
        # File by file, so that most mutants fall before tests that take long to collect are collected.
        return all(
            pytest.main([*OPTIONS, "-x", str(one)]) == pytest.ExitCode.OK for one in _nearest(name, tests)
        )

    return survives


def _nearest(name: str, tests: Sequence[str]) -> list[Path]:
    """Test files, those first that name the module, and the short ones first of all."""
    files = [file for test in map(Path, tests) for file in (sorted(test.rglob("test_*.py")) or [test])]
    texts = {file: file.read_text() for file in files}
    return sorted(files, key=lambda file: (f"{name} import" not in texts[file], len(texts[file])))


def swap_code(source: str, mutant: Mutant, originals: Sequence[FunctionType]) -> None:
    """Give the live functions the mutant's code, and forget what they remembered."""
    changed = compile(apply(source, mutant), str(mutant.file), "exec")
    wanted = {code.co_qualname: code for code in _codes(changed) if code.co_qualname == mutant.unit}
    for function in originals:
        function.__code__ = wanted[function.__qualname__]
    for module in list(sys.modules.values()):
        for value in list(vars(module).values()) if module.__name__.startswith("authplugin.") else ():
            if callable(getattr(value, "cache_clear", None)):
                value.cache_clear()


def live_functions(file: Path, unit: str) -> list[FunctionType]:
    """The functions that were made from ``unit`` of ``file``, wrapped ones included."""
    return [
        thing
        for thing in gc.get_objects()
        if isinstance(thing, FunctionType)
        and thing.__code__.co_qualname == unit
        and Path(thing.__code__.co_filename) == file
    ]


def _codes(code: CodeType) -> Iterator[CodeType]:
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


class MutantFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a mutated tree, and leaves all others alone."""

    def __init__(self, name: str, file: Path, tree: ast.Module) -> None:
        self._name = name
        self._file = file
        self._tree = tree

    def find_spec(
        self, fullname: str, _path: object = None, _target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        package = [str(self._file.parent)] if self._file.name == "__init__.py" else None
        return importlib.util.spec_from_file_location(
            fullname, self._file, loader=self, submodule_search_locations=package
        )

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._tree, str(self._file), "exec"), vars(module))  # noqa: S102 - the module's own text
