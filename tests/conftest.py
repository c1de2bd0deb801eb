"""What the tests stand on: servers that must be there, and what was not run when they are not."""

import ctypes.util
import os
import shutil
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from tests.support.machine import as_root, debian_python

# How fast a machine is is no property of the code; whoever has set a profile of its own keeps it.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings.get_current_profile_name() == "default":
    settings.load_profile("unhurried")

#: What a test may need, and the Debian package a person would install to have it.
PROGRAMS = {
    "cc": "gcc libc6-dev",
    "mosquitto": "mosquitto",
    "libmosquitto": "libmosquitto1",
    "java": "default-jre-headless",
    "maven": "maven",
    "chromium": "chromium chromium-driver",
    "prometheus": "prometheus",
    "openssl": "openssl libssl-dev",
    "mosquitto-clients": "mosquitto-clients",
    "paho-c": "gcc libc6-dev libpaho-mqtt-dev",
    "node": "nodejs",
    "npm": "npm",
    "debian-python": "python3 libpython3-dev",
    "root": "sudo, and let it ask for no password",
}
_COMMANDS = {
    "maven": "mvn",
    "chromium": "chromedriver",
    "mosquitto-clients": "mosquitto_pub",
    "paho-c": "cc",
}
#: What no command shows to be there.
_FILES = {"openssl": Path("/usr/include/openssl/evp.h"), "paho-c": Path("/usr/include/MQTTClient.h")}
_LIBRARIES = {"libmosquitto": "mosquitto"}
# Debian keeps the broker outside an ordinary user's PATH.
_PATH = os.environ.get("PATH", "") + os.pathsep + "/usr/sbin" + os.pathsep + "/sbin"

_not_run: dict[str, set[str]] = {}


#: The order in which tests start: what waits longest goes first, so that it ends with the rest.
_FIRST = ("tests/e2e/test_demo", "tests/e2e/", "tests/integration/stream/", "tests/integration/", "tests/")
#: These share one running demo, so they go to one process.
_SHARING = ("tests/e2e/test_demo.py", "tests/e2e/test_dashboard.py", "tests/e2e/test_status_page.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: next(n for n, place in enumerate(_FIRST) if item.nodeid.startswith(place)))


class Scheduling(LoadScopeScheduling):  # type: ignore[misc] # xdist ships no types
    """Under ``-n``: a file's tests stay together; each of the stream, which mostly waits, goes alone."""

    def __init__(self, config: pytest.Config, log: Producer | None = None) -> None:
        super().__init__(config, log)
        self.config.option.loadscopereorder = False

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        if file in _SHARING:
            return "the shared demo"
        return nodeid if file.startswith("tests/integration/stream/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Scheduling:
    return Scheduling(config, log)


def pytest_configure(config: pytest.Config) -> None:
    os.environ["PATH"] = _PATH
    config.addinivalue_line("markers", "needs(*programs): programs from Debian that this test runs for real")


def _missing(item: pytest.Item) -> list[str]:
    wanted = [name for mark in item.iter_markers("needs") for name in mark.args]
    for name in wanted:
        if name not in PROGRAMS:
            raise pytest.UsageError(f"{item.nodeid}: needs({name!r}) is not one of {sorted(PROGRAMS)}")
    return [name for name in wanted if not _is_here(name)]


def _is_here(name: str) -> bool:
    if name == "root":
        return as_root() is not None
    if name == "debian-python":
        return debian_python() is not None
    if name in _LIBRARIES:
        return ctypes.util.find_library(_LIBRARIES[name]) is not None
    if name in _FILES and not _FILES[name].exists():
        return False
    return shutil.which(_COMMANDS.get(name, name), path=_PATH) is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    missing = _missing(item)
    if not missing:
        return
    text = "missing: " + ", ".join(f"{name} (apt-get install {PROGRAMS[name]})" for name in missing)
    if os.environ.get("CI"):
        pytest.fail(f"{text}; in CI nothing may be missing", pytrace=False)
    pytest.skip(text)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and _missing(item):
        report.user_properties.append(("not_run", ", ".join(_missing(item))))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.stats.get("skipped", []):
        for name, value in report.user_properties:
            if name == "not_run":
                _not_run.setdefault(value, set()).add(report.nodeid)
    if _not_run:
        terminalreporter.section("not run, because this machine lacks something")
        for missing, tests in sorted(_not_run.items()):
            terminalreporter.write_line(f"{missing}: {len(tests)} tests")
