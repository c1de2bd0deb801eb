"""Every class of attack on a token, eight tokens or more of each, each with the reason to refuse it for.

One long file on purpose: it is one table, a row a class, and is read against the list of classes as a whole.
Two issuers are meant to be configured, with the key sets of `published_sets`.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from authplugin.errors import Reason
from authplugin.testing import TokenMint
from authplugin.testing.mint import base64url
from tests.support.mints import CLOCK, mint
from tests.support.weakkeys import low_exponent_key, modulus, number, roca_key, rsa_jwk, small_key

NOW = CLOCK.now()
RIVAL = "https://rival.my.site.com"
ALGORITHMS = frozenset({"RS256", "ES256", "EdDSA"})
Row = Iterator[tuple[str, bytes, Reason]]
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551  # order of P-256
ROWS: dict[str, Callable[[], Row]] = {}


def row(function: Callable[[], Row]) -> Callable[[], Row]:
    ROWS[function.__name__] = function
    return function


def rsa_key(of: TokenMint) -> RSAPrivateKey:
    assert isinstance(of.key, RSAPrivateKey)
    return of.key


def text(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def parts(token: bytes) -> list[bytes]:
    return token.split(b".")


@row
def unsigned() -> Row:
    good = mint()
    for alg in (
        "none",
        "None",
        "NONE",
        "noNE",
        "",
        " none",
        "none\u0000",
        None,
        [],
        ["RS256"],
        {"a": 1},
        0,
        True,
    ):
        header = {"kid": good.kid, "typ": "JWT", "alg": alg}
        yield (
            repr(alg),
            base64url(text(header)) + b"." + base64url(text(good.claims())) + b".",
            Reason.ALG_NOT_ALLOWED,
        )
    missing = {"kid": good.kid, "typ": "JWT"}
    yield "missing", good.sign(good.claims(), header=missing), Reason.ALG_NOT_ALLOWED
    yield "mint", good.alg_none(), Reason.ALG_NOT_ALLOWED
    head, payload, _ = parts(good.mint())
    yield "signature stripped", head + b"." + payload + b".", Reason.SIGNATURE_INVALID


@row
def hmac_confusion() -> Row:
    good = mint()
    public = rsa_key(good).public_key()
    secrets = {
        "pem": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        "pem stripped": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).strip(),
        "pkcs1 pem": public.public_bytes(Encoding.PEM, PublicFormat.PKCS1),
        "der": public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
        "pkcs1 der": public.public_bytes(Encoding.DER, PublicFormat.PKCS1),
        "jwk": text(good.jwk()),
        "jwks": text(good.jwks()),
        "modulus": public.public_numbers().n.to_bytes(256, "big"),
        "modulus letters": str(good.jwk()["n"]).encode(),
        "empty": b"",
    }
    for name, secret in secrets.items():
        yield name, good.hmac(secret), Reason.ALG_NOT_ALLOWED
    # The same bytes under the allowed name: the signature has HMAC's length, not the modulus's.
    head = base64url(text(good.header()))
    for name, secret in secrets.items():
        payload = parts(good.hmac(secret))
        yield f"{name} as RS256", head + b"." + payload[1] + b"." + payload[2], Reason.SIGNATURE_INVALID


@row
def other_algorithm_with_the_right_key() -> Row:
    good = mint()
    for alg in ("RS384", "RS512", "PS256", "PS384", "PS512"):
        token = good.sign(good.claims(), header=good.header({"alg": alg}), algorithm=alg)
        yield alg, token, Reason.ALG_NOT_ALLOWED
        # Valid padding of another kind under the allowed name.
        yield f"{alg} as RS256", good.sign(good.claims(), algorithm=alg), Reason.SIGNATURE_INVALID
    for alg in ("rs256", "Rs256", "RS256 ", "RS256\u0000", "ES256", "EdDSA", "RSA-OAEP", "dir"):
        yield repr(alg), good.sign(good.claims(), header=good.header({"alg": alg})), Reason.ALG_NOT_ALLOWED


@row
def kid_injection() -> Row:
    good = mint()
    for kid in (
        "../../etc/passwd",
        "..",
        "/dev/../null",
        "' OR '1'='1",
        'Assets"; DROP TABLE keys',
        "Assets\u0000",
        "Assets\n",
        "Assets ",
        "$(id)",
        "`id`",
        "|id",
        "Ässets",
        "",
        "A" * 257,
        "\\Assets",
        "<Assets>",
        7,
        0,
        True,
        None,
        ["Assets"],
        {"kid": "Assets"},
    ):
        header = {"kid": kid, "typ": "JWT", "alg": "RS256"}
        yield repr(kid)[:20], good.sign(good.claims(), header=header), Reason.KID_INVALID
    yield "missing", good.sign(good.claims(), header={"alg": "RS256"}), Reason.KID_INVALID
    yield "10 kB", good.sign(good.claims(), header=good.header({"kid": "A" * 10240})), Reason.TOO_LONG
    yield "2 kB", good.sign(good.claims(), header=good.header({"kid": "A" * 2048})), Reason.MALFORMED
    for kid in ("assets", "ASSETS", "Assets2", "190", "constructor", "__class__", "keys", "0"):
        yield kid, good.sign(good.claims(), header=good.header({"kid": kid})), Reason.KEY_UNKNOWN


@row
def keys_in_the_header() -> Row:
    good, stranger = mint(), mint(kid="Stranger")
    for name, value in (
        ("jku", "https://attacker.example.com/id/keys"),
        ("jku", "http://127.0.0.1:9/id/keys"),
        ("jku", None),
        ("x5u", "https://attacker.example.com/cert.pem"),
        ("x5u", "file:///etc/passwd"),
        ("jwk", stranger.jwk()),
        ("jwk", {}),
        ("x5c", ["MIIB"]),
        ("x5c", []),
    ):
        header = {**good.header(), name: value}
        yield (
            f"{name} {value}"[:24],
            good.sign(good.claims(), header=header, key=stranger.key),
            (Reason.HEADER_NOT_ALLOWED),
        )
        yield f"{name} signed well", good.sign(good.claims(), header=header), Reason.HEADER_NOT_ALLOWED


@row
def extensions() -> Row:
    good = mint()
    changes: Mapping[str, object]
    for changes in (
        {"crit": ["b64"], "b64": False},
        {"b64": False},
        {"b64": True},
        {"crit": []},
        {"crit": ["exp"]},
        {"crit": "b64"},
        {"crit": ["http://example.com/unknown"]},
        {"zip": "DEF"},
        {"zip": ""},
        {"typ": "at+jwt"},
        {"typ": "dpop+jwt"},
        {"typ": "secevent+jwt"},
        {"typ": ["JWT"]},
        {"typ": 1},
    ):
        header = {**good.header(), **changes}
        yield str(changes), good.sign(good.claims(), header=header), Reason.HEADER_NOT_ALLOWED


@row
def members_named_twice() -> Row:
    good = mint()
    claims = text(good.claims())
    for name, value in (
        ("aud", '"https://ingest.example.com"'),
        ("exp", "9999999999"),
        ("aid", '"02iAB00000CdEfH"'),
        ("did", '"other"'),
        ("iss", f'"{good.issuer}"'),
        ("nbf", "0"),
        ("cnf", "{}"),
        ("extra", '1,"extra":2'),
        ("\\u0061id", '"02iAB00000CdEfH"'),
        ("x", '{"y":1,"y":2}'),
        ("x", '[{"y":1,"y":1}]'),
    ):
        yield (
            f"first {name}",
            good.sign(b'{"%s":%s,' % (name.encode(), value.encode()) + claims[1:]),
            (Reason.CLAIMS_MALFORMED),
        )
        yield (
            f"last {name}",
            good.sign(claims[:-1] + b',"%s":%s}' % (name.encode(), value.encode())),
            (Reason.CLAIMS_MALFORMED),
        )
    for header in (
        b'{"alg":"none","alg":"RS256","kid":"Assets"}',
        b'{"alg":"RS256","alg":"RS256","kid":"Assets"}',
        b'{"alg":"RS256","kid":"Stranger","kid":"Assets"}',
        b'{"alg":"RS256","kid":"Assets","\\u006bid":"Assets"}',
        b'{"alg":"RS256","kid":"Assets","typ":"JWT","typ":"JWT"}',
        b'{"alg":"RS256","kid":"Assets","x":{"a":1,"a":2}}',
        b'{"crit":["b64"],"alg":"RS256","kid":"Assets","crit":[]}',
        b'{"alg":"RS256" ,"kid":"Assets", "kid":"Assets"}',
    ):
        yield f"header {header!r}", good.sign(good.claims(), header=header), Reason.MALFORMED


@row
def huge_and_deep() -> Row:
    good = mint()
    token = good.mint()
    head, payload, signature = parts(token)
    yield "64 kB of letters", b"A" * 65535, Reason.TOO_LONG
    yield "64 kB token", good.mint(extra="x" * 50000), Reason.TOO_LONG
    yield "one over", token + b"A" * (8193 - len(token)), Reason.TOO_LONG
    yield "10,000 dots", b"." * 10000, Reason.TOO_LONG
    yield "8,000 dots", b"." * 8000, Reason.MALFORMED
    yield "8 kB of letters", b"A" * 8192, Reason.MALFORMED
    yield "empty", b"", Reason.MALFORMED
    yield "one part", head, Reason.MALFORMED
    yield "two parts", head + b"." + payload, Reason.MALFORMED
    yield "four parts", token + b".", Reason.MALFORMED
    yield "five parts: JWE", b".".join([head, payload, signature, payload, signature]), Reason.MALFORMED
    yield "two dots only", b"..", Reason.MALFORMED
    yield "no header", b"." + payload + b"." + signature, Reason.MALFORMED
    for depth in (17, 100, 990, 2000):
        for opening, closing in (("[", "]"), ('{"a":', "}")):
            nested = opening * depth + "1" + closing * depth
            if len(nested) > 5000:
                continue
            claims = text(good.claims())[:-1] + b',"x":' + nested.encode() + b"}"
            yield f"{depth} {opening} in claims", good.sign(claims), Reason.CLAIMS_MALFORMED
    for depth in (17, 100, 300):
        header = text(good.header())[:-1] + b',"x":' + b"[" * depth + b"]" * depth + b"}"
        yield f"{depth} [ in header", good.sign(good.claims(), header=header), Reason.MALFORMED
    yield (
        "unclosed",
        base64url(text(good.header())) + b"." + base64url(b"[" * 5900) + b".",
        Reason.CLAIMS_MALFORMED,
    )


@row
def other_spellings_of_a_good_token() -> Row:
    good = mint()
    token = good.mint()
    head, payload, signature = parts(token)
    for tail in (b"=", b"==", b"!!!!", b"\n", b" ", b"\x00", b"\r\n", b"%3D", b"+", b"/", b"\xff", b"~"):
        yield f"ends in {tail!r}", token + tail, Reason.MALFORMED
    for lead in (b" ", b"\n", b"Bearer ", b"\xef\xbb\xbf"):
        yield f"begins with {lead!r}", lead + token, Reason.MALFORMED
    for where, changed in (
        ("header", b".".join([head + b"==", payload, signature])),
        ("payload", b".".join([head, payload + b"=", signature])),
        ("inside", b".".join([head, payload[:40] + b"\n" + payload[40:], signature])),
        ("junk inside", b".".join([head, payload, signature[:40] + b"!!!!" + signature[40:]])),
    ):
        yield where, changed, Reason.MALFORMED
    letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = letters.index(signature[-1:])  # 256 bytes: the last letter has four unused bits
    for bits in range(1, 16):
        yield f"tail bits {bits}", token[:-1] + letters[last + bits : last + bits + 1], Reason.MALFORMED
    yield "standard alphabet", token.replace(b"-", b"+").replace(b"_", b"/"), Reason.MALFORMED


@row
def json_that_others_read() -> Row:
    good = mint()
    claims = text(good.claims())
    for name, value in (
        ("exp", "NaN"),
        ("exp", "Infinity"),
        ("exp", "-Infinity"),
        ("exp", "1e400"),
        ("exp", "1e308"),
        ("exp", "9007199254740992"),
        ("exp", "-1"),
        ("exp", '"9999999999"'),
        ("exp", "true"),
        ("exp", "null"),
        ("exp", "[9999999999]"),
        ("exp", "9" * 400),
        ("nbf", '"0"'),
        ("nbf", "false"),
        ("nbf", "1e999"),
        ("iat", "{}"),
        ("iss", "7"),
        ("iss", '["https://acme.my.site.com"]'),
        ("aud", "7"),
        ("aud", "[7]"),
        ("aud", '{"https://ingest.example.com":1}'),
        ("aud", "null"),
        ("aid", "7"),
        ("aid", "null"),
        ("did", "[]"),
        ("id", "5"),
        ("cnf", '"jwk"'),
        ("cnf", '{"jwk":"x"}'),
        ("cnf", '{"jwk":{"kty":"oct","k":"AAAA"}}'),
        ("x", '"\\ud800"'),
        ("x", '"\\udc00\\ud800"'),
        ("x", "'single'"),
        ("x", "0x10"),
        ("x", "01"),
        ("x", "+1"),
        ("x", "1."),
        ("x", "undefined"),
        ("x", '"tab\tinside"'),
    ):
        others = {key: value for key, value in good.claims().items() if key != name}
        body = text(others)[:-1] + f',"{name}":{value}}}'.encode()
        yield f"{name} {value[:12]}", good.sign(body), Reason.CLAIMS_MALFORMED
    for body in (
        b"\xef\xbb\xbf" + claims,
        claims.decode().encode("utf-16"),
        claims.decode().encode("utf-16-le"),
        claims.decode().encode("utf-32"),
        claims + b"{}",
        claims + b"\x00",
        claims[:-1],
        claims[:-1] + b",}",
        claims[:-1] + b"/* */}",
        claims[:-1] + b',"x":"\xff"}',
        claims[:-1] + b',"x":"\xed\xa0\x80"}',
        claims[:-1] + b',"x":"\xc0\xaf"}',
        b"[" + claims + b"]",
        b'"text"',
        b"null",
        b"7",
        b"",
    ):
        yield f"payload {body[:8]!r} {len(body)}", good.sign(body), Reason.CLAIMS_MALFORMED
    header = text(good.header())
    for body in (
        b"\xef\xbb\xbf" + header,
        header.decode().encode("utf-16"),
        header + b"x",
        header[:-1],
        header[:-1] + b',"x":"\xff"}',
        header[:-1] + b',"x":NaN}',
        b"[" + header + b"]",
        b"null",
    ):
        yield f"header {body[:8]!r} {len(body)}", good.sign(good.claims(), header=body), Reason.MALFORMED


@row
def psychic_ecdsa() -> Row:
    good = mint("ES256", "Curve")
    head, payload, signature = parts(good.mint())
    octets = jwt.utils.base64url_decode(signature)
    r, s = octets[:32], octets[32:]
    zero, order, one = bytes(32), N.to_bytes(32, "big"), (1).to_bytes(32, "big")
    over = (int.from_bytes(s, "big") + N).to_bytes(33, "big")
    assert isinstance(good.key, EllipticCurvePrivateKey)
    der = good.key.sign(head + b"." + payload, ECDSA(SHA256()))
    forged = {
        "r = s = 0": zero + zero,
        "r = 0": zero + s,
        "s = 0": r + zero,
        "r = s = 1": one + one,
        "r = n": order + s,
        "s = n": r + order,
        "r = s = n": order + order,
        "r = s = 2^256 - 1": b"\xff" * 64,
        "short": octets[:63],
        "long": octets + b"\0",
        "s + n": r + over,
        "empty": b"",
        "DER": der,
        "swapped": s + r,
    }
    for name, octets in forged.items():
        yield name, head + b"." + payload + b"." + base64url(octets), Reason.SIGNATURE_INVALID


@row
def pkcs1_forgeries() -> Row:
    """Encoded messages that lax verifiers take, under the issuer's own key: only the exact one is right."""
    good = mint()
    private = rsa_key(good).private_numbers()
    head, payload, _ = parts(good.mint())
    signing_input = head + b"." + payload
    n, d = private.public_numbers.n, private.d
    digest = hashlib.sha256(signing_input).digest()
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    right = encoded_message(signing_input)

    def raised(message: bytes) -> bytes:
        signature = pow(int.from_bytes(message, "big"), d, n).to_bytes(256, "big")
        return signing_input + b"." + base64url(signature)

    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20"
    long_form = bytes.fromhex("308131300d060960864801650304020105000420")
    sha1 = bytes.fromhex("3021300906052b0e03021a05000414") + hashlib.sha1(signing_input).digest()  # noqa: S324 - a wrong hash is the point
    wrong = {
        "garbage after the hash": b"\x00\x01"
        + b"\xff" * 8
        + b"\x00"
        + info
        + digest
        + b"\x00" * (256 - 11 - 51),
        "garbage of the attacker's": b"\x00\x01"
        + b"\xff" * 8
        + b"\x00"
        + info
        + digest
        + b"A" * (256 - 11 - 51),
        "no padding": b"\x00\x01\x00" + info + digest + b"\x00" * (256 - 3 - 51),
        "block type 2": b"\x00\x02" + right[2:],
        "block type 0": b"\x00\x00" + right[2:],
        "first byte 1": b"\x01" + right[1:],
        "hole in the padding": right[:50] + b"\x00" + right[51:],
        "wrong padding byte": right[:50] + b"\xfe" + right[51:],
        "no separator": right.replace(b"\x00" + info, b"\xff" + info),
        "no NULL": b"\x00\x01"
        + b"\xff" * (256 - 3 - len(without_null) - 32)
        + b"\x00"
        + without_null
        + digest,
        "long length form": b"\x00\x01"
        + b"\xff" * (256 - 3 - len(long_form) - 32)
        + b"\x00"
        + long_form
        + digest,
        "SHA-1": b"\x00\x01" + b"\xff" * (256 - 3 - len(sha1)) + b"\x00" + sha1,
        "bare hash": b"\x00\x01" + b"\xff" * (256 - 3 - 32) + b"\x00" + digest,
        "hash of something else": right[:-32] + hashlib.sha256(b"x").digest(),
        "one bit": right[:-1] + bytes([right[-1] ^ 1]),
    }
    for name, message in wrong.items():
        assert len(message) == 256
        yield name, raised(message), Reason.SIGNATURE_INVALID
    for name, octets in {
        "zero": bytes(256),
        "one": bytes(255) + b"\x01",
        "n": n.to_bytes(256, "big"),
        "n - 1": (n - 1).to_bytes(256, "big"),
        "all ones": b"\xff" * 256,
        "short": bytes(255),
        "long": bytes(257),
        "the message itself": right,
    }.items():
        yield name, signing_input + b"." + base64url(octets), Reason.SIGNATURE_INVALID


@row
def forged_edwards() -> Row:
    """Ed25519 signatures that lax verifiers take (RFC 8032 §5.1.7, §8.4)."""
    good = mint("EdDSA", "Edwards")
    head, payload, signature = parts(good.mint())
    octets = jwt.utils.base64url_decode(signature)
    r, s = octets[:32], int.from_bytes(octets[32:], "little")
    order = 2**252 + 27742317777372353535851937790883648493
    neutral, double = b"\x01" + bytes(31), b"\xec" + b"\xff" * 30 + b"\x7f"
    forged = {
        "empty": b"",
        "zero": bytes(64),
        "short": octets[:63],
        "long": octets + b"\0",
        "twice": octets * 2,
        "s + order": r + (s + order).to_bytes(32, "little"),
        "s + 8 orders": r + (s + 8 * order).to_bytes(32, "little"),
        "s = 0": r + bytes(32),
        "R neutral, s = 0": neutral + bytes(32),
        "R of order 2, s = 0": double + bytes(32),
        "R not reduced": b"\xee" + b"\xff" * 30 + b"\x7f" + octets[32:],
        "sign of R turned": r[:31] + bytes([r[31] ^ 0x80]) + octets[32:],
        "halves swapped": octets[32:] + r,
        "all ones": b"\xff" * 64,
    }
    for name, changed in forged.items():
        yield name, head + b"." + payload + b"." + base64url(changed), Reason.SIGNATURE_INVALID
    digest = hashlib.sha512(head + b"." + payload).digest()
    assert isinstance(good.key, Ed25519PrivateKey)
    prehashed = base64url(good.key.sign(digest))
    yield "over the hash", head + b"." + payload + b"." + prehashed, Reason.SIGNATURE_INVALID


def encoded_message(signing_input: bytes) -> bytes:
    """The padded hash that an RSA signature of 2,048 bits must come to (RFC 8017 §9.2)."""
    info = bytes.fromhex("3031300d060960864801650304020105000420")
    digest = hashlib.sha256(signing_input).digest()
    return b"\x00\x01" + b"\xff" * (256 - 3 - len(info) - 32) + b"\x00" + info + digest


def weak_keys() -> dict[str, tuple[dict[str, object], RSAPrivateKey | None]]:
    """Unfit keys of the first issuer by kid, with what signs under them; None for e = 1."""
    fit = rsa_key(mint(kid="Other"))
    jwk = mint(kid="Other").jwk()
    return {
        "Small": (rsa_jwk(modulus(small_key())), small_key()),
        "Low": (rsa_jwk(modulus(low_exponent_key()), 3), low_exponent_key()),
        "One": (rsa_jwk(modulus(fit), 1), None),
        "Even": (rsa_jwk(modulus(fit), 65538), fit),
        "Flawed": (rsa_jwk(modulus(roca_key())), roca_key()),
        "Huge": (rsa_jwk((1 << 16383) + 1), fit),
        "Factor": (rsa_jwk(modulus(fit) * 3), fit),
        "Encrypts": ({**jwk, "use": "enc"}, fit),
        "Uses": ({**jwk, "use": ["sig"]}, fit),
        "Wraps": ({**jwk, "key_ops": ["wrapKey"]}, fit),
        "Signs": ({**jwk, "key_ops": ["sign"]}, fit),
        "Nothing": ({**jwk, "key_ops": []}, fit),
        "Longer": ({**jwk, "alg": "RS512"}, fit),
        "Salted": ({**jwk, "alg": "PS256"}, fit),
        "Secret": ({**jwk, "alg": "HS256"}, fit),
        "Lower": ({**jwk, "kty": "rsa"}, fit),
        "Padded": ({**jwk, "n": number(modulus(fit)) + "="}, fit),
        "Spaced": ({**jwk, "n": " " + number(modulus(fit))}, fit),
    }


def twins() -> list[dict[str, object]]:
    """Keys of the first issuer that share a kid; of such a kid none may be used."""
    fit = mint(kid="Other").jwk()
    pairs = {
        "Same": (fit, fit),
        "Two": (fit, mint(kid="Third").jwk()),
        "Half": (fit, {**fit, "use": "enc"}),
        "Kinds": (fit, mint("ES256", "Curve").jwk()),
        "Stub": (fit, {}),
        "Three": (fit, fit, {"kty": "AKP"}),
    }
    return [{**jwk, "kid": kid} for kid, jwks in pairs.items() for jwk in jwks]


def published_sets() -> dict[str, dict[str, object]]:
    """The key set of each configured issuer; the first publishes fit keys and many unfit ones."""
    fit = [mint().jwk(), mint("ES256", "Curve").jwk(), mint("EdDSA", "Edwards").jwk()]
    unfit = [{**jwk, "kid": kid} for kid, (jwk, _) in weak_keys().items()]
    return {mint().issuer: {"keys": [*unfit, *fit, *twins()]}, RIVAL: mint(issuer=RIVAL).jwks()}


@row
def weak_and_misused_keys() -> Row:
    good = mint()
    for kid, (_, key) in weak_keys().items():
        if key is not None:
            token = good.sign(good.claims(), header=good.header({"kid": kid}), key=key)
        else:
            # Under e = 1 the padded hash is its own signature: anyone can make one.
            head, payload, _ = parts(good.sign(good.claims(), header=good.header({"kid": kid})))
            token = head + b"." + payload + b"." + base64url(encoded_message(head + b"." + payload))
        yield kid, token, Reason.KEY_UNKNOWN


@row
def kids_named_twice() -> Row:
    good = mint()
    for kid in dict.fromkeys(str(jwk["kid"]) for jwk in twins()):
        for other in ("Other", "Third"):
            header = good.header({"kid": kid})
            yield (
                f"{kid} {other}",
                good.sign(good.claims(), header=header, key=mint(kid=other).key),
                (Reason.KEY_UNKNOWN),
            )


@row
def other_tenants() -> Row:
    good = mint()
    other = mint(issuer=RIVAL)
    yield "same kid, other issuer's key", other.sign(other.claims(iss=good.issuer)), Reason.SIGNATURE_INVALID
    yield "our key, other issuer's name", good.sign(good.claims(iss=other.issuer)), Reason.SIGNATURE_INVALID
    yield (
        "kid of the other issuer only",
        good.sign(good.claims(), header=good.header({"kid": "Rival"})),
        (Reason.KEY_UNKNOWN),
    )
    yield "stranger", good.unknown_issuer(), Reason.ISSUER_UNKNOWN
    for iss in (
        good.issuer + "/",
        good.issuer.upper(),
        good.issuer + "#",
        good.issuer[:-1],
        good.issuer.replace("https", "http"),
        "acme.my.site.com",
        good.issuer + ".example.com",
        good.issuer + "\u0000",
        " " + good.issuer,
        "",
    ):
        yield repr(iss), good.mint(iss=iss), Reason.ISSUER_UNKNOWN
    yield "no issuer", good.mint(iss=None), Reason.ISSUER_UNKNOWN


@row
def time() -> Row:
    good = mint()
    now = int(NOW)
    for ago in (30, 31, 60, 3600, 86400 * 30):
        yield f"exp {ago} s ago", good.mint(nbf=now - 86400 * 60, exp=now - ago), Reason.EXPIRED
    yield "exp 0", good.mint(exp=0, nbf=0), Reason.EXPIRED
    yield "exp 30.0 s ago", good.mint(exp=float(now - 30)), Reason.EXPIRED
    yield "exp before nbf", good.mint(exp=now - 60, nbf=now + 60), Reason.EXPIRED
    for ahead in (31, 60, 3600, 86400 * 365):
        yield f"nbf {ahead} s ahead", good.mint(nbf=now + ahead, exp=now + 86400 * 400), Reason.NOT_YET_VALID
        yield f"iat {ahead} s ahead", good.mint(iat=now + ahead, exp=now + 86400 * 400), Reason.NOT_YET_VALID
    yield "no exp", good.without_expiry(), Reason.EXP_MISSING
    yield "mint expired", good.expired(), Reason.EXPIRED
    yield "mint early", good.not_yet_valid(), Reason.NOT_YET_VALID


@row
def other_audiences() -> Row:
    good = mint()
    ours = good.audience
    for aud in (
        [],
        "",
        [""],
        "https://elsewhere.example.com",
        [ours + "/"],
        [ours.upper()],
        [ours[:-1]],
        [ours + "\u0000"],
        f"{ours} https://elsewhere.example.com",
        ["https://*.example.com"],
    ):
        yield repr(aud), good.mint(aud=aud), Reason.AUDIENCE_MISMATCH
    yield "none", good.mint(aud=None), Reason.AUDIENCE_MISMATCH
    yield "mint", good.wrong_audience(), Reason.AUDIENCE_MISMATCH


@row
def tokens_of_another_kind() -> Row:
    good = mint()
    yield "id token", good.id_token(), Reason.NOT_ASSET_TOKEN
    yield "access token", good.access_token(), Reason.NOT_ASSET_TOKEN
    for changes in (
        {"sub": f"{good.issuer}/id/00DAB0000000001AAA/005AB0000000001AAA"},
        {"sub": None, "at_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
        {"c_hash": "MTIzNDU2Nzg5MDEyMzQ1Ng"},
        {"nonce": "n-0S6_WzA2Mj"},
        {"auth_time": 1700000000},
        {"scp": "api"},
        {"aid": None, "did": None, "sub": "user"},
        {"aud": good.audience, "sub": "user", "iat": int(NOW)},
    ):
        yield str(sorted(changes)), good.mint(**changes), Reason.NOT_ASSET_TOKEN
    for tty in ("sfdc-core-token", "", None, 1):
        yield (
            f"tty {tty!r}",
            good.sign(good.claims(), header={**good.header(), "tty": tty}),
            Reason.NOT_ASSET_TOKEN,
        )


@row
def identities_that_are_unsafe_or_missing() -> Row:
    good = mint()
    for aid in (
        "+",
        "#",
        "a/b",
        "../02iAB00000CdEfG",
        "02iAB00000CdEf/",
        "02iAB00000CdEf#",
        "02iAB00000CdEf",
        "02iAB00000CdEfGY",
        "02iAB00000CdEfGYAW",
        "02iAB00000CdEfGyav",
        "02iAB00000CdEfGYAVX",
        "02iAB00000CdEf\u0000",
        "02iAB00000CdEfé",
        "02iAB00000CdEf\uff11",
        " 02iAB00000CdEfG",
        "x" * 65,
    ):
        yield f"aid {aid!r}"[:30], good.mint(aid=aid), Reason.ASSET_UNSAFE
    yield "no aid", good.mint(aid=None), Reason.ASSET_MISSING
    yield "empty aid", good.mint(aid=""), Reason.ASSET_MISSING
    yield "no did", good.mint(did=None), Reason.DEVICE_MISSING
    yield "empty did", good.mint(did=""), Reason.DEVICE_MISSING
    for did in ("x" * 129, "a\u0000", "a\nb", "\u202eabc", "\x7f", "a\u2028"):
        yield f"did {did!r}"[:30], good.mint(did=did), Reason.CLAIMS_MALFORMED
