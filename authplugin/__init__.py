"""The gate: a broker auth hook that verifies asset tokens and holds each connection to one asset."""

from importlib.metadata import version

__version__ = version("assetgate")
