import socket

import pytest
from prometheus_client import CollectorRegistry

from processor.errors import StreamError
from processor.metrics import expose


def test_a_port_that_is_taken_is_said_with_what_to_change() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(StreamError, match=r"127\.0\.0\.1:\d+ \(Address already in use\): free the port"):
            expose(CollectorRegistry(), "127.0.0.1", taken.getsockname()[1])


def test_an_address_that_is_not_ours_is_said_with_what_to_change() -> None:
    with pytest.raises(StreamError, match=r"192\.0\.2\.1:0 .*change metrics\.address"):
        expose(CollectorRegistry(), "192.0.2.1", 0)
