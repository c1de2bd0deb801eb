import asyncio
import contextlib
import math
import threading
import time
from collections.abc import Iterator

import pytest
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select, WebDriverWait

from deploy.demo.page.board import Board, Case, GateCounts, Limit, StreamCounts
from deploy.demo.page.server import serve
from tests.support.browser import browser, complaints, prefer, screenshot
from tests.support.demo import RunningDemo

pytestmark = [pytest.mark.needs("chromium")]

HOSTILE_NAME = "<img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Chrome]:
    with browser() as chrome:
        yield chrome


def recorded() -> Board:
    """Three devices over a minute and a half: one healthy, one that overheats, one named by an attacker."""
    now = int(time.time() * 1000)
    start = now - 90_000
    board = Board(
        names={"A1": "Press 1", "A2": "Press 2", "A3": HOSTILE_NAME},
        limits=(Limit("temperature", 82.0, "overheating above 82"),),
        meanings={"expired": "The token has run out."},
        now=lambda: int(time.time() * 1000),
    )
    for k in range(180):
        for number in (1, 2, 3):
            heat = max(0.0, min(16.0, (k - 100) * 0.4)) if number == 2 else 0.0
            board.sample(
                f"A{number}", "temperature", start + k * 500, 70 + 2 * math.sin(k / 20 + number) + heat, "°C"
            )
    board.gate = GateCounts(allowed=50, refusals={"expired": 1, "topic_denied": 3}, sessions=50)
    board.stream = StreamCounts(samples=540, dead=1)
    for number, (asset, closed) in enumerate((("A2", None), ("A3", now - 5_000))):
        board.case(
            Case(
                id=f"c{number}",
                kind="case",
                detail="86.1 is above 82",
                title=f"Overheating {HOSTILE_NAME if asset == 'A3' else ''}",
                asset=asset,
                device="Press 2" if asset == "A2" else HOSTILE_NAME,
                metric="temperature",
                severity="high",
                seen="86.1 °C",
                expected="at most 82 °C",
                rule="overheat",
                version="3",
                since=now - 25_000,
                opened=now - 22_000 - number * 1000,
                closed=closed,
                evidence=("temperature 84.9 °C", "temperature 86.1 °C"),
                took=0.42,
            )
        )
    return board


@pytest.fixture
def page(chrome: Chrome) -> Iterator[Chrome]:
    with serving(recorded()) as url:
        chrome.get(url)
        wait(chrome, "#cases tbody tr")
        wait(chrome, "#chart path.value")
        yield chrome
        assert complaints(chrome) == []
        leave(chrome)


@contextlib.contextmanager
def serving(board: Board) -> Iterator[str]:
    """The page on a thread of its own."""
    started: list[str] = []
    ready, done = threading.Event(), threading.Event()

    async def main() -> None:
        async with serve(board) as url:
            started.append(url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    try:
        assert ready.wait(20)
        yield started[0]
    finally:
        done.set()
        thread.join()


def leave(chrome: Chrome) -> None:
    """Close the page, whose questions nobody answers any more, and forget what the console says of them."""
    chrome.get("about:blank")
    complaints(chrome)


def wait(chrome: Chrome, selector: str) -> None:
    WebDriverWait(chrome, 20).until(lambda c: c.find_elements(By.CSS_SELECTOR, selector))


def texts(chrome: Chrome, selector: str) -> list[str]:
    # In one turn of the page: it renews its tables each second, and an element held longer may be gone.
    text = "(each.innerText ?? each.textContent).trim()"
    script = f"return Array.from(document.querySelectorAll(arguments[0]), each => {text})"
    found: list[str] = chrome.execute_script(script, selector)
    return found


def test_refusals_are_shown_by_reason(page: Chrome) -> None:
    assert texts(page, "#reasons tbody code") == ["topic_denied", "expired"]
    assert texts(page, "#reasons tbody td") == ["3", "1"]
    assert (texts(page, "#total-allowed"), texts(page, "#total-refused")) == (["50"], ["4"])


def test_the_chart_draws_the_series_its_limit_and_its_anomaly(page: Chrome) -> None:
    assert page.find_element(By.CSS_SELECTOR, "#chart path.value").rect["width"] > 300
    assert texts(page, "#chart .limit-label") == ["overheating above 82"]
    assert texts(page, "#chart .flag-label") == ["Overheating"]
    assert "180 samples" in texts(page, "#chart-summary")[0]
    assert "one anomaly" in texts(page, "#chart-summary")[0]


def test_cases_are_shown_newest_first_with_seen_expected_rule_and_evidence(page: Chrome) -> None:
    assert texts(page, "#cases tbody .pill") == ["open", "closed"]
    first = texts(page, "#cases tbody tr:first-child")[0]
    for expected in ("Press 2", "86.1 °C", "at most 82 °C", "overheat", "version 3", "0.42 s"):
        assert expected in first
    page.find_element(By.CSS_SELECTOR, "#cases summary").click()
    assert texts(page, "#cases details[open] li") == ["temperature 84.9 °C", "temperature 86.1 °C"]


def test_names_and_ids_are_text_whatever_they_hold(page: Chrome) -> None:
    assert HOSTILE_NAME in texts(page, "#cases tbody tr:nth-child(2) button")[0]
    assert page.find_elements(By.CSS_SELECTOR, "main img") == []
    assert page.title == "assetgate: live status"


def test_another_series_can_be_chosen_and_read_with_the_keyboard(page: Chrome) -> None:
    Select(page.find_element(By.ID, "asset")).select_by_value("A1")
    WebDriverWait(page, 20).until(lambda c: "Press 1" in texts(c, "#chart-summary")[0])
    assert texts(page, "#chart .flag-label") == []
    chart = page.find_element(By.ID, "chart")
    chart.send_keys(Keys.END)
    assert "°C" in texts(page, "#chart-reading")[0]


def test_both_colour_schemes_are_legible(page: Chrome) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        prefer(page, scheme)
        colours = page.execute_script(
            "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
        )
        grounds.add(colours[1])
        assert contrast(*colours) > 7, "WCAG AAA for text"
        screenshot(page, f"recorded-{scheme}")
    assert len(grounds) == 2


@pytest.mark.needs("mosquitto", "cc")
@pytest.mark.timeout(400)
def test_a_running_demo_shows_its_refusals_its_cases_and_the_series_they_were_found_in(
    chrome: Chrome, demo: RunningDemo
) -> None:
    assert demo.told() == 0, demo.output
    prefer(chrome, "light")
    chrome.get(demo.addresses().page)
    wait(chrome, "#cases tbody tr:nth-child(4)")
    wait(chrome, "#chart path.flag")
    reasons = set(texts(chrome, "#reasons tbody code"))
    assert reasons >= {"expired", "audience_mismatch", "key_unknown", "alg_not_allowed", "not_asset_token"}
    assert reasons >= {"client_id_mismatch", "topic_denied"}
    assert int(texts(chrome, "#total-allowed")[0].replace(",", "")) >= 50
    assert texts(chrome, "#total-sessions") == ["50"]
    assert sorted(texts(chrome, "#cases tbody code.nowrap")) == [
        "overheating",
        "silent",
        "supply-low",
        "toner-runs-out",
    ]
    # Until a person chooses, the chart follows the newest case that a metric shows.
    assert texts(chrome, "#chart .flag-label") == ["The machine overheats"]
    assert texts(chrome, "#chart .limit-label") == ["overheating: above 80"]
    screenshot(chrome, "status")
    prefer(chrome, "dark")
    screenshot(chrome, "status-dark")
    assert complaints(chrome) == []


def test_the_page_says_when_the_demo_has_gone(chrome: Chrome) -> None:
    with serving(recorded()) as url:
        chrome.get(url)
        WebDriverWait(chrome, 20).until(lambda c: texts(c, "#contact") == ["live"])
    WebDriverWait(chrome, 20).until(lambda c: texts(c, "#contact") == ["the demo does not answer"])
    leave(chrome)


def contrast(one: str, other: str) -> float:
    """Contrast ratio of two ``rgb(r, g, b)`` colours (WCAG 2.2)."""

    def luminance(colour: str) -> float:
        parts = [float(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)
