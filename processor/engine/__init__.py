"""One partition's memory: samples in, case events out."""

from processor.engine.limits import Limits
from processor.engine.partition import Engine, warm

__all__ = ["Engine", "Limits", "warm"]
