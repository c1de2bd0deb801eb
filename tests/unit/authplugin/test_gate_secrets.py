"""What a dump of the gate's memory would show: digests of tokens, never a token."""

import gc
import types
from collections.abc import Iterator

import pytest

from authplugin.model import Action, Allow, Connect
from tests.support.corpus import ROWS
from tests.support.gates import AID, Bench
from tests.support.mints import mint

_CODE = (types.FunctionType, types.BuiltinFunctionType, types.CodeType, types.FrameType)
_NOT_HELD = (type, types.ModuleType, *_CODE)
WINDOW = 24


def held(root: object) -> Iterator[object]:
    """Everything that can be reached from an object, also through structs that the collector skips."""
    seen: dict[int, object] = {}
    waiting = [root]
    while waiting:
        thing = waiting.pop()
        if id(thing) in seen or isinstance(thing, _NOT_HELD):
            continue
        seen[id(thing)] = thing
        yield thing
        waiting += gc.get_referents(thing)
        waiting += [getattr(thing, name) for name in getattr(type(thing), "__struct_fields__", ())]


def windows(token: bytes) -> set[bytes]:
    """Pieces of the parts that are secret: the header is the issuer's, alike for all its tokens."""
    parts = token.split(b".")[1:]
    return {part[at : at + WINDOW] for part in parts for at in range(0, len(part) - WINDOW + 1, 11)}


def shown(root: object, tokens: list[bytes]) -> list[str]:
    """Types of what shows a piece of a token: in its text or bytes, or in what it says of itself."""
    pieces = {piece for token in tokens for piece in windows(token)}
    found = []
    for thing in held(root):
        match thing:
            case bytes() | bytearray():
                text = bytes(thing)
            case str():
                text = thing.encode("utf-8", "replace")
            case _:
                text = b""
        if any(piece in text for piece in pieces):
            found.append(type(thing).__name__)
    return found


@pytest.fixture(name="tokens", scope="module")
def make_tokens() -> list[bytes]:
    good = mint()
    hostile = [token for make in ROWS.values() for _, token, _ in make() if len(token) > 200][::7]
    return [good.mint(), good.forged(), good.expired(), good.id_token(), *hostile[:40]]


def test_nothing_the_gate_holds_has_a_token_in_it(tokens: list[bytes]) -> None:
    bench = Bench()
    let_in = 0
    for number, token in enumerate(tokens):
        decision = bench.gate.authenticate(Connect(AID, None, token, f"2001:db8:{number:x}::1"))
        if isinstance(decision, Allow):
            let_in += 1
            bench.gate.open_session(AID, 1, decision.grant)
            bench.gate.authorize(decision.grant, Action.PUBLISH, f"assets/{AID}/telemetry/t")
        bench.gate.explain(token)
    assert let_in == 1
    assert len(bench.verdicts) == 1
    assert shown(bench, tokens) == []


def test_no_value_says_a_token_when_it_is_printed(tokens: list[bytes]) -> None:
    bench = Bench()
    pieces = {piece.decode() for token in tokens for piece in windows(token)}
    for number, token in enumerate(tokens):
        connect = Connect(AID, None, token, f"2001:db8:{number:x}::1")
        decision = bench.gate.authenticate(connect)
        said = [repr(connect), str(connect), repr(decision), repr(bench.gate.explain(token))]
        assert not any(piece in text for piece in pieces for text in said)


def test_a_token_would_be_found_wherever_it_was_kept(tokens: list[bytes]) -> None:
    bench = Bench()
    decision = bench.gate.authenticate(Connect(AID, None, tokens[0], "192.0.2.1"))
    assert isinstance(decision, Allow)
    for kept in (
        {"a": [tokens[0].decode()]},
        (bytearray(tokens[0][-60:]),),
        Connect(AID, None, tokens[0], "x"),
    ):
        assert shown(kept, tokens)
