"""One partition's memory: samples in, case events out."""

from processor.engine.partition import Engine, warm
from processor.limits import Limits

__all__ = ["Engine", "Limits", "warm"]
