import asyncio
import http.client
import json
from collections.abc import Callable
from urllib.parse import urlsplit

import pytest

from deploy.demo.page.board import Board
from deploy.demo.page.server import serve

Answer = tuple[int, dict[str, str], bytes]
Ask = Callable[..., Answer]


def asked(scenario: Callable[[Ask], None]) -> None:
    """Run the scenario against a page on a real socket."""
    board = Board(names={}, limits=(), meanings={}, now=lambda: 0)
    board.sample("A1", "temperature", 1, 20.5)

    async def main() -> None:
        async with serve(board) as url:

            def ask(path: str, *, method: str = "GET", host: str | None = None) -> Answer:
                address = urlsplit(url)
                connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=10)
                try:
                    connection.request(method, path, headers={"Host": host} if host else {})
                    answer = connection.getresponse()
                    return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
                finally:
                    connection.close()

            await asyncio.to_thread(scenario, ask)

    asyncio.run(main())


def test_everything_the_page_needs_is_served_and_closed_against_other_origins() -> None:
    def scenario(ask: Ask) -> None:
        for path, media_type in (
            ("/", "text/html"),
            ("/page.css", "text/css"),
            ("/page.js", "text/javascript"),
            ("/chart.js", "text/javascript"),
            ("/api/state", "application/json"),
        ):
            status, headers, body = ask(path)
            assert status == 200
            assert headers["content-type"].startswith(media_type)
            assert headers["content-security-policy"].startswith("default-src 'none'")
            assert headers["x-content-type-options"] == "nosniff"
            assert b"://" not in body.replace(b"http://www.w3.org/2000/svg", b""), "an address outside"

    asked(scenario)


def test_a_name_that_was_rebound_to_this_machine_is_refused() -> None:
    def scenario(ask: Ask) -> None:
        for host in ("evil.example", "evil.example:80", "127.0.0.1:1", "127.0.0.1"):
            assert ask("/api/state", host=host)[0] == 421

    asked(scenario)


def test_only_reading_is_answered() -> None:
    def scenario(ask: Ask) -> None:
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            status, headers, _ = ask("/api/state", method=method)
            assert (status, headers["allow"]) == (405, "GET, HEAD")
        status, _, body = ask("/", method="HEAD")
        assert (status, body) == (200, b"")

    asked(scenario)


def test_a_series_is_asked_by_asset_and_metric() -> None:
    def scenario(ask: Ask) -> None:
        status, _, body = ask("/api/series?asset=A1&metric=temperature")
        assert status == 200
        assert json.loads(body)["points"] == [[1, 20.5]]
        assert json.loads(ask("/api/series?asset=nobody&metric=x")[2])["points"] == []

    asked(scenario)


@pytest.mark.parametrize("query", ["", "?asset=A1", "?asset=A1&asset=A2&metric=x", "?" + "a=1&" * 50])
def test_a_series_asked_wrongly_says_how(query: str) -> None:
    def scenario(ask: Ask) -> None:
        status, _, body = ask(f"/api/series{query}")
        assert status == 400
        assert b"one asset and one metric" in body

    asked(scenario)


def test_no_file_beyond_the_pages_own_can_be_reached() -> None:
    def scenario(ask: Ask) -> None:
        for path in ("/server.py", "/../board.py", "/%2e%2e/board.py", "//etc/passwd", "/index.html"):
            assert ask(path)[0] == 404

    asked(scenario)
