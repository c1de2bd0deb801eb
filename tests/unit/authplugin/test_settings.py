import re
from pathlib import Path

import pytest

from authplugin.errors import ConfigurationError, ConfigurationErrors
from authplugin.keys.schedule import FILE_TIMING
from authplugin.settings import Loaded, key_timing, key_url, load, parse

ISSUER = '[[issuers]]\nissuer = "https://acme.my.site.com"\naudiences = ["https://ingest.example.com"]\n'
SECOND = '[[issuers]]\nissuer = "https://b.example.com"\naudiences = ["b"]\n'
ACCOUNT = '[[service_accounts]]\nname = "bridge"\n'


def read(text: str, **environ: str) -> Loaded:
    return parse(text, name="gate.toml", environ=environ, base=Path("/etc/assetgate"))


def mistakes(text: str, **environ: str) -> list[str]:
    with pytest.raises(ConfigurationErrors) as caught:
        read(text, **environ)
    return [str(error) for error in caught.value.errors]


def test_an_issuer_and_an_audience_are_enough() -> None:
    loaded = read(ISSUER)
    issuer = loaded.policy.issuers["https://acme.my.site.com"]
    assert issuer.audiences == {"https://ingest.example.com"}
    assert issuer.algorithms == {"RS256"}
    assert (issuer.leeway, issuer.max_age) == (30.0, None)
    assert issuer.assets.every
    assert not issuer.did_as_client_id
    assert key_url(loaded.settings.issuers[0]) == "https://acme.my.site.com/id/keys"
    assert loaded.settings.metrics.address == "127.0.0.1"


def test_the_default_key_url_keeps_the_path_and_drops_one_slash() -> None:
    loaded = read(ISSUER.replace(".com", ".com/site/", 1))
    assert key_url(loaded.settings.issuers[0]) == "https://acme.my.site.com/site/id/keys"


def test_a_setting_overrides_the_key_url() -> None:
    loaded = read(ISSUER + 'jwks_uri = "http://127.0.0.1:8080/keys"\n')
    assert key_url(loaded.settings.issuers[0]) == "http://127.0.0.1:8080/keys"


def test_relative_paths_start_at_the_files_directory() -> None:
    settings = read(ISSUER + 'jwks_file = "keys.json"\n[audit]\nfile = "/var/log/a"\n').settings
    assert settings.issuers[0].jwks_file == "/etc/assetgate/keys.json"
    assert settings.audit.file == "/var/log/a"
    assert settings.mosquitto.acl_file.startswith("/etc/assetgate/")


def test_the_environment_overrides_the_file() -> None:
    settings = read(
        ISSUER + "[metrics]\nport = 1\n",
        AUTHPLUGIN_METRICS__PORT="9464",
        AUTHPLUGIN_ISSUERS__0__LEEWAY_S="5",
        AUTHPLUGIN_METRICS__ADDRESS="::1",
        AUTHPLUGIN_TOPICS__SUBSCRIBE="[]",
        OTHER_METRICS__PORT="7",
    ).settings
    assert (settings.metrics.port, settings.metrics.address) == (9464, "::1")
    assert settings.issuers[0].leeway_s == 5.0
    assert settings.topics.subscribe == ()


def test_the_environment_can_be_all_there_is() -> None:
    loaded = read(
        "",
        AUTHPLUGIN_ISSUERS__0__ISSUER="https://acme.my.site.com",
        AUTHPLUGIN_ISSUERS__0__AUDIENCES='["a"]',
    )
    assert loaded.policy.issuers["https://acme.my.site.com"].audiences == {"a"}


MISTAKES = [
    (
        ISSUER + "require_provisioned = true\n",
        "gate.toml:4: issuers[0].require_provisioned: found true without provisioned_file",
    ),
    (
        ISSUER + '[admin]\nsocket = "a"\nport = 1\nsecret_file = "s"\n',
        "gate.toml:6: admin.port: found socket as well, expected one of the two",
    ),
    (
        ISSUER + "[admin]\nport = 1\n",
        "gate.toml:4: admin.secret_file: found nothing, expected a file with the secret",
    ),
    (
        ISSUER + '[[service_accounts]]\nname = "b"\naddresses = ["::1", "10.1.0.1/16"]\n',
        "gate.toml:6: service_accounts[0].addresses[1]: found 10.1.0.1/16, expected an IP address",
    ),
    (
        ISSUER + "[sessions]\nmost_per_asset = 2\n[clones]\nclients_per_asset = 3\n",
        "gate.toml:5: sessions.most_per_asset: found 2, expected at least clones.clients_per_asset, 3",
    ),
    (
        ISSUER + "[clones]\nclients_per_asset = 0\n",
        "gate.toml:5: clones.clients_per_asset: found 0, expected an integer of 1 to 64",
    ),
    (
        ISSUER + "[throttle]\nper_second = 0\n",
        "gate.toml:5: throttle.per_second: found 0, expected a number of 0.01 to 1000000.0 in 1/s",
    ),
    ("x = 1\n" + ISSUER, "gate.toml:1: x: found an unknown name, expected one of "),
    (
        ISSUER.replace("audiences", "audience"),
        "gate.toml:3: issuers[0].audience: found an unknown name, expected audiences",
    ),
    ("[[issuers]]\naudiences = ['a']\n", "gate.toml:1: issuers[0].issuer: found nothing, expected text"),
    ("", "gate.toml: issuers: found nothing, expected a list of"),
    (
        ISSUER + "leeway_s = 301\n",
        "gate.toml:4: issuers[0].leeway_s: found 301, expected a number of 0 to 300 in s",
    ),
    (ISSUER + "leeway_s = true\n", "gate.toml:4: issuers[0].leeway_s: found true, expected a number"),
    (
        ISSUER + 'algorithms = ["HS256"]\n',
        "gate.toml:4: issuers[0].algorithms: found ['HS256'], expected a list of one of \"RS256\"",
    ),
    (
        ISSUER + 'id_form = "sfdc"\n',
        'gate.toml:4: issuers[0].id_form: found "sfdc", expected one of "salesforce", "opaque"',
    ),
    (ISSUER + 'assets = "all"\n', 'gate.toml:4: issuers[0].assets: found "all", expected "any" or a table'),
    (ISSUER + "assets = {}\n", "gate.toml:4: issuers[0].assets: found no asset id"),
    (
        ISSUER + 'assets = { exact = ["x"] }\n',
        "gate.toml:4: issuers[0].assets.exact[0]: found x, which is not a record id",
    ),
    (ISSUER + 'assets = { prefixes = ["a/"] }\n', "gate.toml:4: issuers[0].assets.prefixes[0]: found a/"),
    (
        ISSUER + 'assets = { exakt = ["x"] }\n',
        "gate.toml:4: issuers[0].assets.exakt: found an unknown name, expected exact",
    ),
    (
        ISSUER.replace('"https://acme', '" https://acme'),
        'gate.toml:2: issuers[0].issuer: found " https://acme.my.site.com", expected the token',
    ),
    (
        ISSUER + ISSUER,
        "gate.toml:5: issuers[1].issuer: found https://acme.my.site.com, expected an issuer that",
    ),
    (
        ISSUER + SECOND,
        "gate.toml:4: issuers[1].assets: found any, expected asset ids that https://acme",
    ),
    # Its 15-character form is a client id of the first issuer's asset: one would take the other's session.
    (
        ISSUER
        + 'assets = { exact = ["02iAB00000CdEfGYAV"] }\n'
        + SECOND
        + 'id_form = "opaque"\nassets = { exact = ["02iAB00000CdEfG"] }\n',
        "gate.toml:9: issuers[1].assets: found 02iAB00000CdEfG, expected asset ids that https://acme",
    ),
    (
        ISSUER
        + 'id_form = "opaque"\nassets = { exact = ["02iAB00000CdEfG"] }\n'
        + SECOND
        + 'assets = { prefixes = ["02iAB00000CdEfGY"] }\n',
        "gate.toml:9: issuers[1].assets: found 02iAB00000CdEfG, expected asset ids that https://acme",
    ),
    (
        ISSUER + 'jwks_uri = "https://a/"\njwks_file = "x"\n',
        "gate.toml:5: issuers[0].jwks_file: found jwks_uri as well",
    ),
    (
        ISSUER + 'jwks_uri = "http://a.example.com/"\n',
        "gate.toml:4: issuers[0].jwks_uri: found http://a.example.com/, expected an https URL",
    ),
    (
        ISSUER + 'jwks_uri = "https://u:p@a.example.com/"\n',
        "gate.toml:4: issuers[0].jwks_uri: found another kind of address",
    ),
    (ISSUER + 'jwks_uri = "https://[::1"\n', "gate.toml:4: issuers[0].jwks_uri: found https://[::1"),
    (
        ISSUER.replace("https://acme", "acme"),
        "gate.toml:2: issuers[0].issuer: found acme.my.site.com, expected an https URL",
    ),
    (
        ISSUER + 'id_form = "opaque"\ndid_as_client_id = true\n',
        "gate.toml:5: issuers[0].did_as_client_id: found true",
    ),
    (
        ISSUER
        + 'assets = {prefixes = ["02iAB"]}\ndid_as_client_id = true\n'
        + ISSUER.replace("acme", "rival")
        + 'assets = {prefixes = ["02iCD"]}\ndid_as_client_id = true\n',
        "gate.toml:10: issuers[1].did_as_client_id: found true, as for https://acme.my.site.com",
    ),
    (
        ISSUER + '[topics]\npublish = ["a/b"]\n',
        "gate.toml:5: topics.publish[0]: found a/b, which does not have {aid}",
    ),
    (
        ISSUER
        + '[topics]\nsubscribe = ["assets/all/{aid}"]\npublish = ["assets/{aid}/status", "assets/{aid}/+"]\n',
        "gate.toml:4: topics: found assets/{aid}/status and assets/all/{aid} meet",
    ),
    (
        ISSUER + ACCOUNT + ACCOUNT,
        "gate.toml:7: service_accounts[1].name: found bridge, expected a name that is listed once",
    ),
    (
        ISSUER + ACCOUNT.replace("bridge", "a b"),
        'gate.toml:5: service_accounts[0].name: found "a b", expected text',
    ),
    (
        ISSUER + ACCOUNT.replace("bridge", "02iAB00000CdEfG"),
        "gate.toml:5: service_accounts[0].name: found 02iAB00000CdEfG, expected a name",
    ),
    (
        ISSUER + ACCOUNT + 'publish = ["assets/#"]\n',
        "gate.toml:6: service_accounts[0].publish[0]: found assets/#, expected topics apart",
    ),
    (
        ISSUER + ACCOUNT + 'publish = ["+/x/status"]\n',
        "gate.toml:6: service_accounts[0].publish[0]: found +/x/status",
    ),
    (
        ISSUER + ACCOUNT + 'publish = ["assets/+/events/door"]\n',
        "gate.toml:6: service_accounts[0].publish[0]: found assets/+/events/door",
    ),
    (
        ISSUER + ACCOUNT + 'publish = ["assetgate/+/x"]\n',
        "gate.toml:6: service_accounts[0].publish[0]: found assetgate/+/x, expected topics apart",
    ),
    (
        ISSUER + '[topics]\nsubscribe = ["assetgate/auth/{aid}"]\n',
        "gate.toml:5: topics.subscribe: found assetgate/auth/{aid}, expected topics apart",
    ),
    (
        ISSUER + 'id_form = "opaque"\n[topics]\npublish = ["{aid}/+/x"]\n',
        "gate.toml:6: topics.publish: found {aid}/+/x, expected topics apart from assetgate/auth/#",
    ),
    (
        ISSUER + ACCOUNT + 'subscribe = ["a#"]\n',
        "gate.toml:6: service_accounts[0].subscribe[0]: found a#, which has a #",
    ),
    (
        ISSUER + '[metrics]\naddress = "localhost"\n',
        "gate.toml:5: metrics.address: found localhost, expected an IP address",
    ),
    (
        ISSUER + "[metrics]\nport = 70000\n",
        "gate.toml:5: metrics.port: found 70000, expected an integer of 0 to 65535",
    ),
    ("metrics = 3\n" + ISSUER, "gate.toml:1: metrics: found 3, expected a table"),
    ("[[issuers]\n", "gate.toml:1: the file: found no TOML: "),
    ("a = ", "gate.toml:1: the file: found no TOML: "),
    ("issuers = [1]\n", "gate.toml:1: issuers[0]: found 1, expected a table"),
    ("issuers = 1\n", "gate.toml:1: issuers: found 1, expected a list of a table"),
]


@pytest.mark.parametrize(("text", "expected"), MISTAKES, ids=lambda value: value[-40:])
def test_a_mistake_is_named_with_its_line_key_found_and_expected(text: str, expected: str) -> None:
    found = mistakes(text)
    assert any(mistake.startswith(expected) for mistake in found), found


def test_the_line_is_that_of_the_key_below_long_lists_and_blank_lines() -> None:
    ids = "".join(f'  "02iAB{number:010}",\n' for number in range(3000))
    text = f"{ISSUER}assets = {{ exact = [] }}\n\n# a comment\n\n[metrics]\n\nport = -1\n"
    assert mistakes(text.replace("[] }", "[\n" + ids + "] }"))[0].startswith("gate.toml:3011: metrics.port: ")
    assert mistakes(text.replace("{ exact = [] }", '"x"'))[0].startswith("gate.toml:4: issuers[0].assets: ")


def test_every_mistake_is_found_at_once_in_the_order_of_the_file() -> None:
    found = mistakes(ISSUER + "leeway_s = -1\n[cache]\ncapacity = 'x'\n[metrics]\nprot = 1\n")
    assert [re.match(r"gate.toml:(\d+): ", text)[1] for text in found] == ["4", "6", "8"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        (
            "AUTHPLUGIN_METRICS__PORT",
            "x",
            'environment: AUTHPLUGIN_METRICS__PORT: found "x", expected an integer',
        ),
        (
            "AUTHPLUGIN_METRICS__PROT",
            "1",
            "environment: AUTHPLUGIN_METRICS__PROT: found an unknown name, expected port",
        ),
        (
            "AUTHPLUGIN_METRICS_PORT",
            "1",
            "environment: AUTHPLUGIN_METRICS_PORT: found a variable that names no key, expected a name like ",
        ),
        (
            "AUTHPLUGIN_ISSUERS__5__ISSUER",
            "1",
            "environment: AUTHPLUGIN_ISSUERS__5__ISSUER: found a variable",
        ),
        ("AUTHPLUGIN_METRICS__0__PORT__X", "1", "environment: AUTHPLUGIN_METRICS__0__PORT__X"),
        (
            "AUTHPLUGIN_ISSUERS__\u00b2__ISSUER",
            "1",
            "environment: AUTHPLUGIN_ISSUERS__\u00b2__ISSUER: found a variable",
        ),
        (
            "AUTHPLUGIN_METRICS__ADDRESS",
            "\udcff",
            "environment: AUTHPLUGIN_METRICS__ADDRESS: found bytes that are no UTF-8",
        ),
    ],
)
def test_a_mistake_in_the_environment_names_the_variable(variable: str, value: str, expected: str) -> None:
    assert any(found.startswith(expected) for found in mistakes(ISSUER, **{variable: value}))


def test_a_variable_that_names_no_key_is_told_how_names_are_made() -> None:
    assert mistakes(ISSUER, AUTHPLUGIN_PORT="1")[0].endswith("expected a name like AUTHPLUGIN_<TABLE>__<KEY>")


def test_issuers_apart_may_stand_together() -> None:
    loaded = read(
        ISSUER
        + 'assets = { prefixes = ["02iA"] }\n'
        + SECOND
        + 'assets = { exact = ["02iBB00000CdEfG"], prefixes = ["02iC"] }\n'
        + "algorithms = ['ES256', 'EdDSA']\n"
    )
    second = loaded.policy.issuers["https://b.example.com"]
    assert second.assets.holds("02iBB00000CdEfGYAV")
    assert not second.assets.holds("02iAB00000CdEfGYAV")
    assert loaded.policy.algorithms == {"RS256", "ES256", "EdDSA"}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ('{ prefixes = ["02i"] }', '{ prefixes = ["02iA"] }'),
        ('{ prefixes = ["02iA"] }', '{ prefixes = ["02i"] }'),
        ('{ prefixes = ["02i"] }', '{ exact = ["02iAB00000CdEfG"] }'),
        ('{ exact = ["02iAB00000CdEfGYAV"] }', '{ exact = ["02iAB00000CdEfG"] }'),
        ('{ exact = ["02iAB00000CdEfG"] }', '"any"'),
    ],
)
def test_two_issuers_may_not_speak_for_one_asset(first: str, second: str) -> None:
    (found,) = mistakes(f"{ISSUER}assets = {first}\n{SECOND}assets = {second}\n")
    assert "issuers[1].assets" in found


def test_a_file_that_cannot_be_read_is_a_mistake_too(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="found No such file"):
        load(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"a = '\xff'")
    with pytest.raises(ConfigurationError, match="found no UTF-8"):
        load(tmp_path / "latin.toml")


def test_load_reads_a_file_and_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHPLUGIN_CACHE__CAPACITY", "7")
    path = tmp_path / "gate.toml"
    path.write_text(ISSUER + 'jwks_file = "k.json"\n')
    loaded = load(path)
    assert loaded.settings.cache.capacity == 7
    assert loaded.settings.issuers[0].jwks_file == str(tmp_path / "k.json")


def test_a_mark_of_an_editor_at_the_beginning_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(ISSUER, encoding="utf-8-sig")
    assert len(load(path, {}).policy.issuers) == 1


def test_variables_of_the_development_issuer_are_not_the_gates() -> None:
    loaded = read(ISSUER, AUTHPLUGIN_ISSUER__CLIENT_SECRET="correct horse", AUTHPLUGIN_CACHE__CAPACITY="7")
    assert loaded.settings.cache.capacity == 7


def test_how_often_keys_are_read_follows_the_settings() -> None:
    settings = read(ISSUER + "[keys]\nsoft_ttl_s = 60\nhard_ttl_s = 600\ncooldown_s = 7\n").settings
    timing = key_timing(settings, settings.issuers[0])
    assert (timing.soft, timing.hard, timing.cooldown) == (60, 600, 7)
    settings = read(ISSUER + 'jwks_file = "k"\n[keys]\nhard_ttl_s = 600\n').settings
    timing = key_timing(settings, settings.issuers[0])
    assert (timing.soft, timing.hard) == (FILE_TIMING.soft, 600)
