from hypothesis import given
from hypothesis import strategies as st

from authplugin.jose.compact import split
from authplugin.jose.respelling import respell
from authplugin.jose.verify import verify_jws
from tests.support.mints import mint

MINT = mint("ES256", kid="P-256", issuer="https://b.example.com")


@given(st.integers())
def test_the_other_spelling_holds_as_well_and_is_spelled_back_to_the_first(jti: int) -> None:
    token = MINT.mint(jti=str(jti))
    other = respell(split(token))
    assert other != token
    assert verify_jws(other, MINT.jwks(), algorithms={"ES256"}) == split(token).payload
    assert respell(split(other)) == token
