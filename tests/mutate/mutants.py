"""Mutants of a module: each one small change of its syntax tree, of the kind that people make by mistake.

Not changed: annotations, docstrings, ``__all__``, and the words of raised errors and of refusals,
which are for people; everything that decides is.
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Pow: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitAnd,
}
_CONDITIONAL = (ast.If, ast.While, ast.IfExp)
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_DECIDED_WITHIN = (ast.Compare, ast.BoolOp, ast.UnaryOp)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One change.

    Attributes:
        file: the module's file.
        line: of the change, from 1.
        lines: of its statement, or of its head when it is a compound one.
        unit: qualified name of the function it is in; None for the module itself.
        at_import: whether it is in what runs while importing: the module, or a function it calls then.
        operator: kind of change.
        before: the statement as it is (its head when it is a compound one).
        after: the same with the change.
        number: which site of the tree, and which of its changes: what `apply` needs.
    """

    file: Path
    line: int
    lines: range
    unit: str | None
    at_import: bool
    operator: str
    before: str
    after: str
    number: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Place:
    """A node and where it hangs, so that it can be replaced."""

    parent: ast.AST
    field: str
    index: int | None
    node: ast.AST
    statement: ast.stmt
    unit: str | None

    def replace(self, node: ast.AST) -> None:
        if self.index is None:
            setattr(self.parent, self.field, node)
        else:
            getattr(self.parent, self.field)[self.index] = node


def find_mutants(file: Path, source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its text."""
    found = []
    tree = ast.parse(source)
    called = {
        place.node.func.id
        for place in _places(tree)
        if place.unit is None and isinstance(place.node, ast.Call) and isinstance(place.node.func, ast.Name)
    }
    for site, place in enumerate(_places(tree)):
        for change, (operator, replacement) in enumerate(_changes(place)):
            before = _head(place.statement)
            place.replace(replacement)
            whole = replacement if isinstance(replacement, ast.stmt) else place.statement
            after = "(removed)" if isinstance(whole, ast.Pass) else _head(whole)
            place.replace(place.node)
            line = getattr(place.node, "lineno", place.statement.lineno)
            lines = _head_lines(place.statement)
            early = place.unit is None or place.unit in called
            number = (site, change)
            found.append(Mutant(file, line, lines, place.unit, early, operator, before, after, number))
    return found


def apply(source: str, mutant: Mutant) -> ast.Module:
    """The module's tree with the change in it."""
    tree = ast.parse(source)
    site, change = mutant.number
    place = next(place for number, place in enumerate(_places(tree)) if number == site)
    place.replace(_changes(place)[change][1])
    return ast.fix_missing_locations(tree)


def _places(tree: ast.Module) -> Iterator[_Place]:
    for index, statement in enumerate(tree.body):
        if not (_is_export_list(statement) or _is_docstring(statement)):
            yield from _below(_Place(tree, "body", index, statement, statement, None), ())


def _below(place: _Place, names: tuple[str, ...]) -> Iterator[_Place]:
    """This place and those below it, but not what is for people or for type checkers."""
    yield place
    node = place.node
    inner = place.unit
    if isinstance(node, (*_FUNCTIONS, ast.ClassDef)):
        names = (*names, node.name)
    for field, value in ast.iter_fields(node):
        if _is_words(node, field):
            continue
        unit = (
            ".".join(names) if isinstance(node, _FUNCTIONS) and field == "body" and inner is None else inner
        )
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _is_docstring(child):
                continue
            statement = child if isinstance(child, ast.stmt) else place.statement
            where = index if isinstance(value, list) else None
            yield from _below(_Place(node, field, where, child, statement, unit), names)


def _changes(place: _Place) -> list[tuple[str, ast.AST]]:
    node = place.node
    if isinstance(node, _CONDITIONAL) and not isinstance(node.test, _DECIDED_WITHIN):
        return [("condition", _with(node, test=ast.UnaryOp(ast.Not(), node.test)))]
    if isinstance(node, ast.Compare):
        return [("comparison", changed) for changed in _other_comparisons(node)]
    if isinstance(node, ast.Constant):
        return [("constant", ast.Constant(value)) for value in _other_values(node.value)]
    if isinstance(node, ast.expr):
        return [("operator", changed) for changed in _other_operators(node)]
    if isinstance(node, ast.Return) and not isinstance(node.value, ast.Constant | None):
        return [("return", ast.Return(ast.Constant(None)))]
    return [("statement", changed) for changed in _other_statements(node)]


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


def _other_comparisons(node: ast.Compare) -> Iterator[ast.AST]:
    """The first operator and its border; of a chain also the last one's."""
    for other in _COMPARISONS[type(node.ops[0])]:
        yield _with(node, ops=[other(), *node.ops[1:]])
    if len(node.ops) > 1:
        for other in _COMPARISONS[type(node.ops[-1])]:
            yield _with(node, ops=[*node.ops[:-1], other()])


def _other_operators(node: ast.expr) -> Iterator[ast.AST]:
    match node:
        case ast.BoolOp():
            yield _with(node, op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        case ast.BinOp() if type(node.op) in _ARITHMETIC:
            yield _with(node, op=_ARITHMETIC[type(node.op)]())
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            yield node.operand


def _other_statements(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Break():
            yield ast.Continue()
        case ast.Continue():
            yield ast.Break()
        case ast.Expr() | ast.AugAssign() | ast.Delete() | ast.Raise():
            yield ast.Pass()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()


def _other_values(value: object) -> list[bool | float | str | bytes]:
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int | float):
        return [value + 1, value - 1]
    if isinstance(value, str):
        return ["" if value else "x"]
    if isinstance(value, bytes):
        return [b"" if value else b"x"]
    return []


def _is_words(node: ast.AST, field: str) -> bool:
    """Annotations, and what an error or a refusal says to a person."""
    if field in {"annotation", "returns", "format_spec"}:
        return True
    if isinstance(node, ast.AnnAssign) and field == "target":
        return True
    # Refused(Reason.X, "words"), ValueError("words"): the reason is no literal, so nothing is lost.
    raised = isinstance(node, ast.Call) and field == "args" and isinstance(node.func, ast.Name)
    return raised and node.func.id.endswith(("Error", "Refused"))  # type: ignore[attr-defined] # a Call of a Name


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_export_list(statement: ast.stmt) -> bool:
    match statement:
        case ast.Assign(targets=[ast.Name(id="__all__")]) | ast.Import() | ast.ImportFrom():
            return True
        case _:
            return False


def _head_lines(statement: ast.stmt) -> range:
    end = statement.end_lineno or statement.lineno
    body = getattr(statement, "body", None)
    if body:
        end = max(statement.lineno, body[0].lineno - 1)
    return range(statement.lineno, end + 1)


def _head(statement: ast.stmt) -> str:
    """The statement's text; of a compound one, without what is inside it."""
    head = copy.copy(statement)
    for field in ("body", "orelse", "finalbody", "handlers"):
        if hasattr(head, field):
            setattr(head, field, [ast.Pass()] if field == "body" else [])
    if isinstance(head, ast.Try):
        return "try:"
    text = ast.unparse(ast.fix_missing_locations(head))
    return text.removesuffix("pass").strip().replace("\n    ", "\n")
