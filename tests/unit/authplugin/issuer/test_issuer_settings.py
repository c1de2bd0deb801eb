from pathlib import Path

import pytest

from authplugin.errors import ConfigurationErrors
from authplugin.issuer.settings import SECRET_VARIABLE, is_issuer, load_settings


def write(directory: Path, text: str) -> Path:
    path = directory / "issuer.toml"
    path.write_text(text)
    return path


def test_without_a_file_the_environment_alone_is_read() -> None:
    settings = load_settings(None, {"AUTHPLUGIN_ISSUER__PORT": "0", "AUTHPLUGIN_METRICS__PORT": "9464"})
    assert (settings.port, settings.host, settings.audience) == (0, "127.0.0.1", ())


def test_the_environment_overrides_the_file_and_paths_start_at_the_files_directory(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[issuer]\naudience = ["https://ingest.example.com"]\nkid = "A"\nclient_secret_file = "secret"\n',
    )
    settings = load_settings(path, {"AUTHPLUGIN_ISSUER__KID": "B"})
    assert settings.audience == ("https://ingest.example.com",)
    assert settings.kid == "B"
    assert settings.client_secret_file == str(tmp_path.resolve() / "secret")


def test_the_secrets_variable_is_no_setting_and_never_in_the_settings() -> None:
    assert "swordfish" not in repr(load_settings(None, {SECRET_VARIABLE: "swordfish"}))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("audiences = []", "audience, the nearest name known here"),
        ("port = 99999", "an integer of 0 to 65535"),
        ("validity = 0", "an integer of 1 to"),
        ('issuer = "acme.my.site.com"', "http(s)://"),
        ('client_secret = "swordfish"', "client_secret_file, the nearest name known here"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_was_expected(
    tmp_path: Path, line: str, expected: str
) -> None:
    path = write(tmp_path, f"# the demo's\n[issuer]\n{line}\n")
    with pytest.raises(ConfigurationErrors) as wrong:
        load_settings(path, {})
    assert str(wrong.value).startswith(f"{path}:3: issuer.")
    assert expected in str(wrong.value)
    assert "swordfish" not in str(wrong.value)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8443", "https://acme.my.site.com", "https://a.example/site"]
)
def test_an_issuer_is_an_address_that_paths_can_be_added_to(url: str) -> None:
    assert is_issuer(url)


@pytest.mark.parametrize(
    "url", ["", "acme", "ftp://a", "https://", "https://a/", "https://a?b", "https://a#b"]
)
def test_anything_else_is_no_issuer(url: str) -> None:
    assert not is_issuer(url)
