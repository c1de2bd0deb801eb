from deploy.demo.page.board import Board, Case, GateCounts, Limit


def board() -> Board:
    return Board(
        names={"A1": "Press 1"},
        limits=(Limit("temperature", 90.0, "above 90"),),
        meanings={"expired": "Its time was over."},
        now=lambda: 10_000,
    )


def case(number: int, *, opened: int = 2_000, closed: int | None = None) -> Case:
    return Case(
        id=f"case-{number}",
        kind="case",
        title="Too hot",
        detail="95 is above 90",
        asset="A1",
        device="Press 1",
        metric="temperature",
        severity="high",
        seen="95 °C",
        expected="at most 90 °C",
        rule="overheat",
        version="1",
        since=1_000,
        opened=opened,
        closed=closed,
        evidence=(),
        took=0.4,
    )


def test_refusals_are_listed_most_frequent_first_with_their_meaning() -> None:
    shown = board()
    shown.gate = GateCounts(allowed=50, refusals={"malformed": 1, "expired": 3}, sessions=50)
    assert shown.state()["gate"] == {
        "allowed": 50,
        "refused": 4,
        "sessions": 50,
        "reasons": [
            {"reason": "expired", "meaning": "Its time was over.", "count": 3},
            {"reason": "malformed", "meaning": "", "count": 1},
        ],
    }


def test_a_series_comes_with_its_limit_and_its_episodes() -> None:
    shown = board()
    shown.sample("A1", "temperature", 1_000, 88.0, "°C")
    shown.sample("A1", "temperature", 2_000, 95.0)
    shown.case(case(1))
    series = shown.series("A1", "temperature")
    assert series["points"] == [(1_000, 88.0), (2_000, 95.0)]
    assert series["unit"] == "°C"
    assert series["limits"] == [{"value": 90.0, "label": "above 90"}]
    assert series["marks"] == [{"from": 1_000, "to": None, "label": "Too hot", "kind": "case"}]


def test_a_repeated_or_late_sample_does_not_bend_the_line() -> None:
    shown = board()
    for time, value in ((1_000, 1.0), (2_000, 2.0), (2_000, 9.0), (1_500, 9.0)):
        shown.sample("A1", "pressure", time, value)
    assert shown.series("A1", "pressure")["points"] == [(1_000, 1.0), (2_000, 2.0)]


def test_what_is_kept_is_bounded() -> None:
    shown = board()
    for number in range(2_500):
        shown.sample(f"asset-{number}", "pressure", 1, 1.0)
        shown.case(case(number))
    for time in range(2_000):
        shown.sample("asset-1", "pressure", time, 1.0)
    state = shown.state()
    assert isinstance(state["devices"], list)
    assert isinstance(state["cases"], list)
    assert (len(state["devices"]), len(state["cases"])) == (2_000, 200)
    points = shown.series("asset-1", "pressure")["points"]
    assert isinstance(points, list)
    assert len(points) == 900


def test_the_newest_case_comes_first_and_a_newer_state_replaces_the_older() -> None:
    shown = board()
    shown.case(case(1, opened=2_000))
    shown.case(case(2, opened=3_000))
    shown.case(case(1, opened=2_000, closed=4_000))
    cases = shown.state()["cases"]
    assert isinstance(cases, list)
    assert [(each["id"], each["closed"]) for each in cases] == [("case-2", None), ("case-1", 4_000)]
