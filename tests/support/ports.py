"""Ports for servers of tests."""

from deploy.demo.processes import free_ports


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, nor is likely to before its server does."""
    return free_ports(1)[0]
