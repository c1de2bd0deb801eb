import asyncio
import http.server
import threading

import pytest

from deploy.demo.metrics import Metrics, scrape

TEXT = """\
# TYPE gate_refusals counter
gate_refusals_total{door="connect",reason="expired"} 2.0
gate_refusals_total{door="connect",reason="malformed"} 1.0
gate_refusals_total{door="topic",reason="expired"} 4.0
# TYPE sessions gauge
sessions 50.0
"""


def test_samples_are_summed_by_the_labels_that_were_asked_for() -> None:
    metrics = Metrics(TEXT)
    assert metrics.total("gate_refusals_total") == 7
    assert metrics.total("gate_refusals_total", door="connect") == 3
    assert metrics.by("gate_refusals_total", "reason") == {"expired": 6, "malformed": 1}
    assert metrics.by("gate_refusals_total", "reason", door="connect") == {"expired": 2, "malformed": 1}
    assert metrics.total("absent") == 0
    assert (metrics.has("sessions"), metrics.has("absent")) == (True, False)


def test_a_server_that_has_no_metrics_is_an_error_with_its_address() -> None:
    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Nothing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(OSError, match=r"http://127\.0\.0\.1:\d+/metrics answered 404"):
                asyncio.run(scrape(f"http://127.0.0.1:{server.server_port}/metrics"))
        finally:
            server.shutdown()
            thread.join()
