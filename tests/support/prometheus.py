"""Debian's real Prometheus, scraping what a test names, ended by its process id."""

import contextlib
import json
import re
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

TEMPLATE = Path(__file__).parents[2] / "deploy" / "prometheus" / "prometheus.yml"
DEADLINE = 30.0


class BadQueryError(Exception):
    """Prometheus does not accept the expression."""


@dataclass
class Prometheus:
    """A running server."""

    url: str

    def query_range(self, expression: str, *, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The series of a range query.

        Raises:
            BadQueryError: with what Prometheus says.
        """
        answer = self._ask("query_range", query=expression, start=start, end=end, step=step)
        return list(answer["data"]["result"])

    def up(self) -> dict[str, float]:
        """Job → 1 when its last scrape went well."""
        result = self._ask("query", query="up")["data"]["result"]
        return {series["metric"]["job"]: float(series["value"][1]) for series in result}

    def _ask(self, path: str, **parameters: object) -> dict[str, Any]:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - loopback
                return dict(json.load(answer))
        except urllib.error.HTTPError as error:
            with error:
                raise BadQueryError(error.read().decode()) from None


@contextlib.contextmanager
def prometheus(directory: Path, targets: Mapping[str, str], *, interval: str) -> Iterator[Prometheus]:
    """A server with the shipped configuration, except for where its jobs are and how often it asks.

    Args:
        directory: for its configuration, log and database.
        targets: job → host:port; every job of the shipped configuration has one.
        interval: between scrapes, e.g. ``1s``.
    """
    configuration = yaml.safe_load(TEMPLATE.read_text())
    configuration["global"]["scrape_interval"] = interval
    for job in configuration["scrape_configs"]:
        job["static_configs"] = [{"targets": [targets[job["job_name"]]]}]
    file, log = directory / "prometheus.yml", directory / "prometheus.log"
    file.write_text(yaml.safe_dump(configuration))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={file}",
                f"--storage.tsdb.path={directory / 'tsdb'}",
                "--web.listen-address=127.0.0.1:0",
            ],
            stdout=output,
            stderr=output,
        )
    try:
        server = Prometheus(f"http://127.0.0.1:{_port(process, log)}")
        end = time.monotonic() + DEADLINE
        while not all(server.up().get(job) == 1 for job in targets):
            assert time.monotonic() < end, (
                f"not every target answers: {server.up()}\n{log.read_text()[-2000:]}"
            )
            time.sleep(0.2)
        yield server
    finally:
        process.terminate()
        process.wait(20)


def _port(process: "subprocess.Popen[bytes]", log: Path) -> int:
    """The port it took, once it is ready for queries."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        text = log.read_text(errors="replace")
        assert process.poll() is None, text[-2000:]
        found = re.search(r"address=127\.0\.0\.1:([1-9]\d*)", text)
        if found and "ready to receive web requests" in text:
            return int(found[1])
        time.sleep(0.05)
    raise AssertionError(f"Prometheus did not come up:\n{log.read_text()[-2000:]}")
