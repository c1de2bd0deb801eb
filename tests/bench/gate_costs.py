"""CPU of the gate's roads, each against the bare RSA check in the same rounds."""

import random
from collections.abc import Callable, Sequence

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from authplugin.jose.claims import check_asset, check_claims
from authplugin.jose.compact import parse_header, split
from authplugin.jose.usual import read_usual
from authplugin.jose.verify import verify_signature
from authplugin.model import Allow, Connect, Deny
from tests.bench.figures import Figure, Spread, Turn, compare
from tests.bench.gate_rig import ISSUER, Device, Rig

RSA = "cryptography RSA verify alone"
VERIFY = "verify, bytes to claims"
COLD = "whole cold authenticate, everything on"
CACHED = "cached authenticate, everything on, random order"
LOOKUP = "key lookup"
WORST = "the worst refusal"
FURTHER = "junk behind a good header"
"""Junk that its sender has taken some trouble over: it is judged up to its claims, and is a debt."""

BOUNDS = {VERIFY: 1.45, COLD: 1.7, CACHED: 0.18, LOOKUP: 0.02}
WORST_BOUND = 0.3

TOKENS = 512
_JUNK_SEGMENT = 400
_WHOLE_PASSWORD = 65_535
_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def measure_costs(rig: Rig, *, rounds: int, cached: int) -> list[Figure]:
    """Measure every road of the gate.

    Args:
        rig: a gate that runs.
        rounds: counted ones.
        cached: tokens that are known.
    """
    devices = rig.devices(TOKENS)
    known = rig.devices(cached)
    _let_in(rig, known)
    refusals = _refusals(rig)
    ratios, micro = compare(
        RSA,
        {
            RSA: _rsa(rig, devices),
            VERIFY: _verify(rig, devices),
            COLD: _cold(rig),
            CACHED: _cached(rig, known),
            LOOKUP: _lookup(rig),
            **refusals,
        },
        rounds=rounds,
    )
    figures = [_figure(f"{name} / that", ratios[name], bound) for name, bound in BOUNDS.items()]
    worst = max([name for name in refusals if name != FURTHER], key=lambda name: ratios[name].median)
    figures.append(_figure(f"{WORST} ({worst}) / that", ratios[worst], WORST_BOUND))
    figures += [_figure(f"  refusal: {name} / that", ratios[name], None) for name in refusals]
    figures += [
        _figure(f"  CPU µs: {name}", micro[name], None) for name in (RSA, VERIFY, COLD, CACHED, LOOKUP)
    ]
    return figures


def _figure(name: str, measured: Spread, bound: float | None) -> Figure:
    return Figure(name, measured.median, bound, spread=(measured.low, measured.high))


def _rsa(rig: Rig, devices: Sequence[Device]) -> Turn:
    """The floor: the prepared key and prepared arguments, nothing else."""
    public = rig.mint.key.public_key()
    assert isinstance(public, RSAPublicKey)
    verify, padding, digest = public.verify, PKCS1v15(), SHA256()
    parts = [split(device.token) for device in devices]
    inputs = [(compact.signature, compact.signing_input) for compact in parts]

    def run() -> int:
        for signature, signing_input in inputs:
            verify(signature, signing_input, padding, digest)
        return len(inputs)

    return lambda: run


def _verify(rig: Rig, devices: Sequence[Device]) -> Turn:
    """From a token's bytes to checked claims, as the gate strings it together."""
    policy = rig.assembly.loaded.policy
    keys = rig.assembly.keys
    now = rig.now()
    tokens = [device.token for device in devices]

    def run() -> int:
        for token in tokens:
            compact = split(token)
            header = parse_header(compact.header, policy.algorithms)
            claims = read_usual(compact.payload)
            if claims is None:
                raise AssertionError("the mint's tokens are usual ones")
            issuer = policy.issuers[claims.iss]
            verify_signature(compact, header, keys.find(issuer.issuer, header.kid))
            check_claims(
                claims,
                audiences=issuer.audiences,
                now=now,
                leeway=issuer.leeway,
                max_age=issuer.max_age,
                names=issuer.names,
            )
            check_asset(claims, issuer.id_form)
        return len(tokens)

    return lambda: run


def _cold(rig: Rig) -> Turn:
    """Tokens that nobody has seen, a new lot each round."""

    def prepare() -> Callable[[], int]:
        devices = rig.devices(TOKENS)
        return lambda: _let_in(rig, devices)

    return prepare


def _cached(rig: Rig, known: Sequence[Device]) -> Turn:
    shuffled = list(known)

    def prepare() -> Callable[[], int]:
        random.shuffle(shuffled)
        return lambda: _let_in(rig, shuffled)

    return prepare


def _let_in(rig: Rig, devices: Sequence[Device]) -> int:
    """Everybody comes in, and the audit's lines are in its file before the clock is stopped."""
    authenticate = rig.gate.authenticate
    for client_id, token, address in devices:
        decision = authenticate(Connect(client_id, None, token, address))
        if type(decision) is not Allow:
            raise AssertionError(f"a good token was refused: {decision}")
    rig.settle()
    return len(devices)


def _lookup(rig: Rig) -> Turn:
    find = rig.assembly.keys.find
    kid = rig.mint.kid

    def run() -> int:
        for _ in range(TOKENS):
            find(ISSUER, kid)
        return TOKENS

    return lambda: run


def _refusals(rig: Rig) -> dict[str, Turn]:
    """What costs an attacker nothing to send; every password and address is another one each time."""
    draw = random.Random(7515)

    def letters(count: int) -> bytes:
        return bytes(draw.choices(_LETTERS, k=count))

    header = rig.devices(1)[0].token.partition(b".")[0]
    return {
        FURTHER: _refusal(rig, lambda: b".".join([header, *[letters(_JUNK_SEGMENT) for _ in range(2)]])),
        "junk segments": _refusal(rig, lambda: b".".join([letters(_JUNK_SEGMENT) for _ in range(3)])),
        "junk segments behind a good beginning": _refusal(
            rig, lambda: b"eyJ" + b".".join([letters(_JUNK_SEGMENT) for _ in range(3)])
        ),
        "no dots": _refusal(rig, lambda: letters(3 * _JUNK_SEGMENT)),
        "64 kB": _refusal(rig, lambda: letters(64) * (_WHOLE_PASSWORD // 64)),
    }


def _refusal(rig: Rig, junk: Callable[[], bytes]) -> Turn:
    authenticate = rig.gate.authenticate
    strangers = (f"172.{16 + (n >> 16 & 15)}.{n >> 8 & 255}.{n & 255}" for n in range(1 << 20))

    def prepare() -> Callable[[], int]:
        connects = [Connect("x", None, junk(), next(strangers)) for _ in range(TOKENS)]

        def run() -> int:
            for connect in connects:
                if type(authenticate(connect)) is not Deny:
                    raise AssertionError("junk was let in")
            rig.settle()
            return TOKENS

        return run

    return prepare
