"""A file of settings, before its first key is read."""

from pathlib import Path

import pytest

from authplugin.errors import ConfigurationError
from authplugin.settings import load
from authplugin.settings.file import MAX_BYTES

ISSUER = '[[issuers]]\nissuer = "https://acme.my.site.com"\naudiences = ["https://ingest.example.com"]\n'


def test_what_never_ends_or_is_too_long_or_anyones_to_write_is_no_configuration(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="the file: found what is not a regular file, expected"):
        load(Path("/dev/zero"), {})
    path = tmp_path / "gate.toml"
    path.write_text(ISSUER + "#" * MAX_BYTES)
    with pytest.raises(
        ConfigurationError, match=f"has more than {MAX_BYTES} bytes, expected a file of at most"
    ):
        load(path, {})
    path.write_text(ISSUER)
    path.chmod(0o666)
    with pytest.raises(ConfigurationError, match="found a file that anyone may write, expected mode 0644"):
        load(path, {})
