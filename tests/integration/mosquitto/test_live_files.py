"""Files of the configuration that cannot be taken as they are: gone, no file, too long, anyone's to write."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from tests.support.mosquitto import scrape

from .conftest import ASSET, Gated
from .test_live import IN_FORCE, wait_good

pytestmark = pytest.mark.needs("mosquitto", "cc")

Gates = Callable[..., AbstractContextManager[Gated]]


def remove(file: Path) -> None:
    file.unlink()


def make_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def lengthen(file: Path) -> None:
    file.write_text(file.read_text() + "# more\n" * (1 << 20))


def open_to_anyone(file: Path) -> None:
    file.chmod(0o666)


@pytest.mark.parametrize("name", ["gate.toml", "acl"])
@pytest.mark.parametrize("spoil", [remove, make_folder, lengthen, open_to_anyone])
def test_a_file_that_cannot_be_taken_is_seen_in_the_metrics_until_it_can(
    gate_of: Gates, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    with gate_of(tmp_path) as gated, gated.device() as device:
        file = tmp_path / name
        original = file.read_text()
        spoil(file)
        gated.broker.wait_for(f"{file}: .*; the one before stays in force")
        wait_good(gated, expected=False)
        assert scrape(gated.metrics_port)['authplugin_config_reloads_total{outcome="bad"}'] == 1
        device.ping()
        if file.is_dir():
            file.rmdir()
        file.unlink(missing_ok=True)
        file.write_text(original)
        wait_good(gated, expected=True)


@pytest.mark.parametrize("name", ["gate.toml", "acl"])
@pytest.mark.parametrize("spoil", [lengthen, open_to_anyone])
def test_sighup_takes_no_file_that_the_watch_refuses(
    gate_of: Gates, tmp_path: Path, name: str, spoil: Callable[[Path], None]
) -> None:
    with gate_of(tmp_path, mosquitto="watch_s = 0") as gated, gated.device() as device:
        config = tmp_path / "gate.toml"
        config.write_text(config.read_text().replace("expiry_jitter_s = 0.0", "expiry_jitter_s = 1.0"))
        spoil(tmp_path / name)
        gated.broker.reload()
        wait_good(gated, expected=False)
        gated.broker.wait_for(f"until this is right: {tmp_path / name}: ")
        assert IN_FORCE not in gated.broker.log
        if spoil is open_to_anyone:  # of an acl_file that is too long nobody knows what it allows
            device.ping()
            assert device.publish(f"assets/{ASSET}/telemetry") == 0
