"""The gate: a broker auth hook that verifies asset tokens and holds each connection to one asset."""


def __getattr__(name: str) -> str:
    """Give ``__version__`` when somebody asks: what reads it would cost the broker a megabyte."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import version  # noqa: PLC0415 - as said above

    return version("assetgate")
