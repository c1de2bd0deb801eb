"""What may be said about an issuer: where its keys are, what its tokens have, who must prove possession."""

from pathlib import Path

import pytest

from authplugin.errors import ConfigurationErrors
from authplugin.jose.claims import FOREIGN
from authplugin.jose.profile import Attribute, RequiredClaim
from authplugin.policy import IssuerPolicy, PossessionMode
from authplugin.settings import parse

HEAD = '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n'
OPAQUE = HEAD + 'id_form = "opaque"\n'
MAPPED = OPAQUE + 'asset_claim = "sub"\n'
REQUIRED = '[[issuers.required_claims]]\nclaim = "{}"\nvalues = ["Bearer", 3, true]\n'
ATTRIBUTE = '[[issuers.attributes]]\nname = "{}"\nclaim = "/device/site"\n'
TOPICS = '[topics]\npublish = ["assets/{aid}/{site}/#"]\n'
ASSETS = '[[issuers.possession.assets]]\nmode = "{}"\n{} = ["{}"]\n'
DISCOVERY = 'openid_configuration = "https://a.example.com/.well-known/openid-configuration"\n'


def issuer(text: str) -> IssuerPolicy:
    return parse(text, name="gate.toml", environ={}, base=Path()).policy.issuers["https://a.example.com"]


def mistake(text: str) -> str:
    with pytest.raises(ConfigurationErrors) as caught:
        issuer(text)
    return str(caught.value)


def test_an_issuer_asks_for_nothing_more_unless_told() -> None:
    plain = issuer(HEAD)
    assert (plain.types, plain.foreign) == (frozenset({"JWT"}), FOREIGN)
    assert (plain.required, plain.attributes) == ((), ())
    assert plain.possession is None


def test_a_mapped_issuer_says_what_tells_its_asset_tokens_apart() -> None:
    mapped = issuer(MAPPED + 'allowed_claims = ["scp"]\n' + REQUIRED.format("typ"))
    assert mapped.foreign == FOREIGN - {"sub", "scp"}
    assert mapped.required == (RequiredClaim("typ", ("Bearer", 3, True)),)
    assert issuer(MAPPED + 'token_types = ["at+jwt"]\n').types == {"at+jwt"}


@pytest.mark.parametrize(
    "text",
    [MAPPED, MAPPED + 'token_types = ["JWT", "at+jwt"]\n', OPAQUE + 'allowed_claims = ["sub", "scp"]\n'],
)
def test_tokens_that_could_be_id_tokens_must_be_told_apart(text: str) -> None:
    assert "sub in asset tokens" in mistake(text).replace("scp, ", "")
    assert "required_claims, that tell asset tokens from them" in mistake(text)


def test_attributes_are_for_templates_and_templates_for_attributes() -> None:
    assert issuer(HEAD + ATTRIBUTE.format("site") + TOPICS).attributes == (Attribute("site", "/device/site"),)
    assert "topics.publish[0]: found assets/{aid}/{site}/#" in mistake(HEAD + TOPICS)
    assert "attributes[0].name: found site, expected a name that a template" in mistake(
        HEAD + ATTRIBUTE.format("site")
    )
    other = HEAD.replace("//a.", "//b.") + 'assets = {prefixes = ["03i"]}\n'
    mine = HEAD + 'assets = {prefixes = ["02i"]}\n' + ATTRIBUTE.format("site")
    assert "topics.publish[0]" in mistake(mine + other + TOPICS)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            HEAD + ATTRIBUTE.format("aid") + TOPICS,
            "attributes[0].name: found aid, expected a name of its own",
        ),
        (HEAD + 2 * ATTRIBUTE.format("site") + TOPICS, "attributes[1].name: found site"),
        (HEAD + ATTRIBUTE.format("Site") + TOPICS, 'attributes[0].name: found "Site"'),
        (HEAD + 'asset_claim = "/a~2"\n', "asset_claim: found /a~2, which has a ~"),
        (HEAD + 'device_claim = "/~"\n', "device_claim: found /~"),
        (HEAD + REQUIRED.format("/~"), "required_claims[0].claim: found /~"),
        (HEAD + 'allowed_claims = ["aid"]\n', "allowed_claims: found ['aid']"),
        (HEAD + "token_types = []\n", "token_types: found []"),
    ],
)
def test_a_mistake_about_tokens_is_named(text: str, words: str) -> None:
    assert words in mistake(text)


def test_possession_is_looked_up_by_id_then_by_the_longest_prefix() -> None:
    text = HEAD + '[issuers.possession]\nmode = "optional"\n'
    text += ASSETS.format("off", "prefixes", "02i") + ASSETS.format("required", "prefixes", "02iAB")
    text += ASSETS.format("off", "exact", "02iAB00000CdEfG")
    possession = issuer(text).possession
    assert possession is not None
    modes = [possession.mode(name) for name in ("02iAB00000CdEfGYAV", "02iABx", "02ix", "03i")]
    assert modes == ["off", "required", "off", "optional"]


def test_possession_that_is_off_everywhere_costs_nothing() -> None:
    assert issuer(HEAD + ASSETS.format("off", "prefixes", "02i")).possession is None
    required = issuer(HEAD + ASSETS.format("required", "prefixes", "02i")).possession
    assert required is not None
    assert required.default is PossessionMode.OFF


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[issuers.possession]\nmode = "always"\n', 'possession.mode: found "always"'),
        ('[[issuers.possession.assets]]\nmode = "off"\n', "assets[0]: found no asset id"),
        ('[[issuers.possession.assets]]\nexact = ["02iAB00000CdEfG"]\n', "assets[0].mode: found nothing"),
        (ASSETS.format("off", "exact", "02i"), "assets[0].exact[0]: found 02i, which"),
        (ASSETS.format("off", "prefixes", "+"), "assets[0].prefixes[0]: found +"),
        (
            ASSETS.format("off", "prefixes", "02i") + ASSETS.format("required", "prefixes", "02i"),
            "assets[1].prefixes: found 02i as required, expected one mode; above it is off",
        ),
    ],
)
def test_a_mistake_about_possession_is_named(text: str, words: str) -> None:
    assert words in mistake(HEAD + text)


def test_keys_may_be_found_by_discovery_whatever_the_issuer_is_called() -> None:
    assert issuer(HEAD + DISCOVERY + 'jwks_hosts = ["keys.example.com"]\n')
    parse(HEAD.replace("https://", "") + DISCOVERY, name="x", environ={}, base=Path())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            DISCOVERY + 'jwks_uri = "https://a.example.com/keys"\n',
            "openid_configuration: found jwks_uri as well",
        ),
        (DISCOVERY + 'jwks_file = "keys.json"\n', "jwks_file: found openid_configuration as well"),
        ('jwks_uri = "https://a/keys"\njwks_file = "keys.json"\n', "jwks_file: found jwks_uri as well"),
        ('jwks_hosts = ["keys.example.com"]\n', "jwks_hosts: found no openid_configuration"),
        (
            'openid_configuration = "http://a.example.com/"\n',
            "openid_configuration: found http://a.example.com/",
        ),
        ('openid_configuration = ""\n', "openid_configuration: found "),
    ],
)
def test_a_mistake_about_the_place_of_keys_is_named(text: str, words: str) -> None:
    assert words in mistake(HEAD + text)
