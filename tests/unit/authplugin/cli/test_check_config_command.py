"""What a configuration means, said before anything starts."""

import json
import os
import tempfile
from pathlib import Path

import pytest

from authplugin.brokers.mosquitto.acl import write_acl
from authplugin.cli import main
from authplugin.settings import load
from tests.support.mints import mint

CONFIG = """
[[issuers]]
issuer = "https://login.example.com"
audiences = ["mqtt"]
openid_configuration = "https://login.example.com/.well-known/openid-configuration"
id_form = "opaque"
asset_claim = "/machine/id"
device_claim = "sub"
required_claims = [{claim = "typ", values = ["Bearer", 1, true]}, {claim = "azp"}]
attributes = [{name = "site", claim = "/machine/site"}]
[issuers.possession]
mode = "optional"
[[issuers.possession.assets]]
mode = "required"
exact = ["pump-1"]
prefixes = ["pump-"]
[[issuers.possession.assets]]
mode = "off"
prefixes = ["pump-old-"]
[topics]
publish = ["plants/{site}/{aid}/#"]
"""


def test_a_mapped_issuer_is_shown_with_what_it_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(CONFIG)
    assert main(["check-config", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    for line in (
        "  keys       https://login.example.com/.well-known/openid-configuration (discovery)",
        "  asset in   /machine/id, device in sub",
        '  requires   typ = "Bearer" or 1 or true',
        "  requires   azp",
        "  attribute  site in /machine/site",
        "  possession optional",
        "             required of pump-1",
        "             off of pump-old-…",
        "             required of pump-…",
        "assets publish    plants/{site}/{aid}/#",
    ):
        assert line in lines


def test_every_file_that_a_gate_cannot_start_without_is_looked_into(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n'
        'require_provisioned = true\nprovisioned_file = "assets"\n'
        '[revocation]\nfile = "revocations"\n[admin]\nport = 1\nsecret_file = "secret"\n'
        '[audit]\nfile = "audit"\n'
    )
    os.mkfifo(tmp_path / "audit")
    (tmp_path / "revocations").write_text('\n{"asset": 1}\n')
    (tmp_path / "secret").write_text("short")
    (tmp_path / "secret").chmod(0o600)
    assert main(["check-config", str(file)]) == 1
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": found")[0] for line in said if not line.startswith("note: ")] == [
        f"{tmp_path}/revocations:2: the line",
        f"{tmp_path}/assets: issuers[0].provisioned_file",
        f"{tmp_path}/secret: admin.secret_file",
        f"{tmp_path}/audit: audit.file",
    ]
    (tmp_path / "audit").unlink()
    (tmp_path / "revocations").write_text("# none\n")
    (tmp_path / "assets").write_text("02iAB00000CdEfG\n")
    (tmp_path / "secret").write_text("correct horse battery staple")
    assert main(["check-config", str(file)]) == 0


def test_an_issuer_of_asset_tokens_needs_no_more_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text('[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n')
    assert main(["check-config", str(file)]) == 0
    text = capsys.readouterr().out
    assert "  keys       https://a.example.com/id/keys\n" in text
    assert not any(word in text for word in ("possession", "requires", "attribute", "asset in"))


@pytest.mark.parametrize(
    ("socket", "found"),
    [
        ("x" * 120, "admin.socket: found a path of "),
        ("gate.toml", "admin.socket: found what is no socket"),
        ("nowhere/admin", "admin.socket: found no such folder"),
    ],
)
def test_a_place_where_the_admin_socket_cannot_be_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], socket: str, found: str
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        f'[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n[admin]\nsocket = "{socket}"\n'
    )
    assert main(["check-config", str(file)]) == 1
    assert found in capsys.readouterr().err
    file.write_text(file.read_text().replace(socket, "admin"))
    assert main(["check-config", str(file)]) == 0


def test_a_socket_in_a_folder_that_the_service_makes_is_no_mistake(tmp_path: Path) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n'
        '[admin]\nsocket = "/run/not-there-yet/admin"\n'
    )
    assert main(["check-config", str(file)]) == 0


@pytest.mark.parametrize(
    ("keys", "noted"),
    [
        (None, "No such file or directory"),
        ("junk", "the key set is not JSON"),
        ('{"keys":[]}', "the set has no usable key"),
        (json.dumps(mint().jwks()), None),
    ],
)
def test_a_key_set_that_opens_nothing_is_noted_and_no_mistake(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], keys: str | None, noted: str | None
) -> None:
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\njwks_file = "keys.json"\n'
    )
    if keys is not None:
        (tmp_path / "keys.json").write_text(keys)
    assert main(["check-config", str(file)]) == 0
    said = capsys.readouterr().err
    assert ("note: issuers[0].jwks_file: " in said) is (noted is not None)
    assert noted is None or noted in said


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A gate's configuration whose broker has none."""
    file = tmp_path / "gate.toml"
    file.write_text(
        '[[issuers]]\nissuer = "https://a.example.com"\naudiences = ["a"]\n'
        '[[service_accounts]]\nname = "bridge"\n[mosquitto]\npassword_file = "passwords"\n'
    )
    (tmp_path / "passwords").write_text("bridge:$7$x\n")
    return file


def test_a_password_file_that_is_not_there_is_a_mistake(
    gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["check-config", str(gate)]) == 0
    passwords = gate.with_name("passwords")
    passwords.unlink()
    capsys.readouterr()
    assert main(["check-config", str(gate)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(
        f"{passwords}: mosquitto.password_file: found No such file or directory, expected "
    )


def test_a_brokers_configuration_that_is_not_there_is_a_mistake_by_option_and_by_setting(
    gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = gate.with_name("gone.conf")
    assert main(["check-config", str(gate), "--broker-config", str(gone)]) == 1
    said = f"{gone}: the broker's configuration: found No such file or directory"
    assert capsys.readouterr().err.startswith(said)
    gate.write_text(gate.read_text() + 'config_file = "gone.conf"\n')
    assert main(["check-config", str(gate)]) == 1
    assert capsys.readouterr().err.startswith(said)


def test_a_broker_without_this_gate_is_noted(gate: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = load(gate, {}).policy
    acl, broker = gate.with_name("acl"), gate.with_name("mosquitto.conf")
    acl.write_text(write_acl(policy.topics, policy.service_accounts))
    text = f"acl_file {acl}\npassword_file {gate.with_name('passwords')}\n"
    for line, note in (
        ("", True),
        (f"plugin_opt_config_file {gate}.old\n", True),
        (f"plugin_opt_config_file {gate}\n", False),
    ):
        broker.write_text(text + line)
        assert main(["check-config", str(gate), "--broker-config", str(broker)]) == 0
        said = f"note: {broker}: no plugin_opt_config_file {gate}: this gate is not in it\n"
        assert capsys.readouterr().err == (said if note else "")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, whose broker becomes somebody else")
def test_what_the_brokers_user_may_not_do_is_a_mistake_when_the_broker_is_known(
    gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gate.write_text(gate.read_text() + '[admin]\nsocket = "admin"\n')
    policy = load(gate, {}).policy
    acl, broker = gate.with_name("acl"), gate.with_name("mosquitto.conf")
    acl.write_text(write_acl(policy.topics, policy.service_accounts))
    text = f"acl_file {acl}\npassword_file {gate.with_name('passwords')}\nuser "
    for user, code in (("root", 0), ("nobody", 1), ("nobody-has-this-name", 0)):
        broker.write_text(text + user)
        assert main(["check-config", str(gate), "--broker-config", str(broker)]) == code
        said = f"{gate.parent}: admin.socket: found no right of user nobody to write there"
        assert (said in capsys.readouterr().err) is bool(code)


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, whose broker becomes somebody else")
def test_what_the_usual_brokers_user_may_not_do_is_noted_when_no_broker_is_known(
    gate: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("authplugin.brokers.mosquitto.build.BROKER_USER", "nobody")
    gate.write_text(gate.read_text() + '[admin]\nsocket = "admin"\n')
    assert main(["check-config", str(gate)]) == 0
    said = capsys.readouterr().err
    assert said.startswith(f"note: {gate.parent}: admin.socket: found no right of user nobody to write there")
    assert said.endswith("--broker-config says whom it is about\n")


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root, to be somebody else")
def test_what_the_caller_may_not_read_of_the_brokers_files_is_noted_and_no_mistake(
    gate: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        for file in (gate, gate.with_name("passwords")):
            (folder / file.name).write_text(file.read_text())
        policy = load(gate, {}).policy
        acl, broker = folder / "acl", folder / "mosquitto.conf"
        acl.write_text(write_acl(policy.topics, policy.service_accounts))
        acl.chmod(0o600)
        broker.write_text(
            f"acl_file {acl}\npassword_file {folder}/passwords\nplugin_opt_config_file {folder}/gate.toml\n"
        )
        words = ["check-config", f"{folder}/gate.toml", "--broker-config", str(broker)]
        assert main(words) == 0
        assert capsys.readouterr().err == ""
        os.seteuid(65534)
        try:
            assert main(words) == 0
        finally:
            os.seteuid(0)
    said = f"note: {acl}: not looked into (Permission denied): run this as the broker's user\n"
    assert capsys.readouterr().err == said
