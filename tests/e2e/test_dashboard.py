import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.demo import RunningDemo
from tests.support.prometheus import Prometheus

pytestmark = [
    pytest.mark.needs("prometheus", "mosquitto", "cc"),
    pytest.mark.timeout(400),
]

DASHBOARDS = sorted(Path("grafana/dashboards").glob("*.json"))
#: What Grafana puts in for its own variables; four scrapes, as it does.
VARIABLES = {"__rate_interval": "4s", "gate": ".*", "bridge": ".*", "worker": ".*"}
DEADLINE = 30.0


def dashboard(path: Path) -> dict[str, Any]:
    return dict(json.loads(path.read_text()))


def queries() -> list[tuple[str, str]]:
    return [
        (f"{path.stem}: {panel['title']} {target['refId']}", target["expr"])
        for path in DASHBOARDS
        for panel in dashboard(path)["panels"]
        for target in panel.get("targets", ())
    ]


def filled(expression: str) -> str:
    return re.sub(r"\$\{?(\w+)\}?", lambda name: VARIABLES[name[1]], expression)


@pytest.mark.parametrize(("name", "expression"), queries(), ids=[name for name, _ in queries()])
def test_a_panel_shows_what_the_demo_does(
    watching: Prometheus, demo: RunningDemo, name: str, expression: str
) -> None:
    assert demo.process.poll() is None
    end = time.monotonic() + DEADLINE
    while True:
        now = time.time()
        series = watching.query_range(filled(expression), start=now - 300, end=now, step=1)
        values = [float(value) for one in series for _, value in one["values"]]
        if any(value not in {0.0, float("inf")} and value == value for value in values):  # noqa: PLR0124 - NaN is no data
            return
        assert time.monotonic() < end, f"{name}: {filled(expression)} gives {series}"
        time.sleep(0.5)


def test_no_panel_makes_its_data_up() -> None:
    for name, expression in queries():
        assert "vector(" not in expression, name


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_every_panel_reads_the_chosen_datasource_says_what_it_shows_and_keeps_its_place(path: Path) -> None:
    board = dashboard(path)
    names = {variable["name"] for variable in board["templating"]["list"]}
    places: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in board["panels"]]
    assert len(set(ids)) == len(ids)
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + dx, place["y"] + dy) for dx in range(place["w"]) for dy in range(place["h"])}
        assert not cells & places, panel["title"]
        assert place["x"] + place["w"] <= 24
        places |= cells
        for target in panel.get("targets", ()):
            assert target["datasource"]["uid"] == "${datasource}"
            assert set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"} <= names
        if panel["type"] != "row":
            assert panel["fieldConfig"]["defaults"]["unit"]
