"""Debian's Chromium without a screen, driven by its own chromedriver."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

WIDTH, HEIGHT = 1280, 1520

#: Without these Chromium asks the outside world about updates, safety lists and more at each start.
_QUIET = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


@contextlib.contextmanager
def browser() -> Iterator[Chrome]:
    """A browser with an empty profile; it and its driver are gone afterwards."""
    driver = shutil.which("chromedriver")
    assert driver is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = shutil.which("chromium") or ""
        for argument in (*_QUIET, f"--user-data-dir={profile}", f"--window-size={WIDTH},{HEIGHT}"):
            options.add_argument(argument)
        if os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # root may not have Chromium's sandbox
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        chrome = Chrome(options=options, service=Service(driver))
        try:
            yield chrome
        finally:
            chrome.quit()


def prefer(chrome: Chrome, scheme: str) -> None:
    """Make the page believe that the person prefers that colour scheme."""
    chrome.execute_cdp_cmd(
        "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    )


def screenshot(chrome: Chrome, name: str) -> Path:
    """The whole page as build/screenshots/<name>.png."""
    directory = Path("build/screenshots")
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{name}.png"
    assert chrome.save_screenshot(str(path))
    return path


def complaints(chrome: Chrome) -> list[str]:
    """What the browser's console holds: errors of scripts, refused or missing resources."""
    return [str(entry["message"]) for entry in chrome.get_log("browser")]  # type: ignore[no-untyped-call]
