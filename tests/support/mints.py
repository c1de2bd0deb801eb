"""Issuers for tests: made once a run, because RSA keys take their time."""

from functools import cache

from authplugin.testing import FakeClock, TokenMint

CLOCK = FakeClock()
"""The minute in which every minted token is young; tests that move time make a clock of their own."""


def mint(
    algorithm: str = "RS256", kid: str = "Assets", issuer: str = "https://acme.my.site.com"
) -> TokenMint:
    """The issuer with that key name, the same one for the whole run."""
    return _mint(algorithm, kid, issuer)


@cache
def _mint(algorithm: str, kid: str, issuer: str) -> TokenMint:
    return TokenMint(issuer, kid=kid, algorithm=algorithm, clock=CLOCK)
