"""Read a program's Prometheus metrics as any scraper would: over HTTP, in the text format."""

import asyncio
import http.client
from collections.abc import Mapping
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

_TIMEOUT_SECONDS = 5.0
_LIMIT_BYTES = 8 * 1024 * 1024

Labels = frozenset[tuple[str, str]]


class Metrics:
    """One scrape: values by sample name and labels."""

    def __init__(self, text: str) -> None:
        self._values: dict[str, dict[Labels, float]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                self._values.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value

    def total(self, name: str, **labels: str) -> float:
        """Sum of the samples of that name that carry these labels; 0 when there is none."""
        wanted = labels.items()
        return sum(value for found, value in self._values.get(name, {}).items() if wanted <= found)

    def by(self, name: str, label: str, **labels: str) -> Mapping[str, float]:
        """Sums of the samples that carry these labels, by the values of one more label."""
        wanted = labels.items()
        sums: dict[str, float] = {}
        for found, value in self._values.get(name, {}).items():
            key = dict(found).get(label)
            if key is not None and wanted <= found:
                sums[key] = sums.get(key, 0.0) + value
        return sums

    def has(self, name: str) -> bool:
        """True when at least one sample has that name."""
        return name in self._values


async def scrape(url: str) -> Metrics:
    """Read the metrics at that http URL.

    Raises:
        OSError: nobody answers there, or not with metrics.
    """
    return Metrics(await asyncio.to_thread(_fetch, url))


def _fetch(url: str) -> str:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", address.path or "/", headers={"Accept": "text/plain"})
        with connection.getresponse() as answer:
            if answer.status != http.client.OK:
                raise OSError(f"{url} answered {answer.status} {answer.reason}")
            return answer.read(_LIMIT_BYTES).decode("utf-8")
    except http.client.HTTPException as error:
        raise OSError(f"{url} did not answer in HTTP: {error!r}") from error
    finally:
        connection.close()
