"""Every detector by the word that a rule file uses for it; a new one is a file here and a line below."""

from collections.abc import Mapping
from types import MappingProxyType

from processor.detect.detector import Detector
from processor.detect.event import EVENT
from processor.detect.ewma import EWMA
from processor.detect.forecast import FORECAST
from processor.detect.rate import RATE
from processor.detect.silence import SILENCE
from processor.detect.stuck import STUCK
from processor.detect.threshold import THRESHOLD

DETECTORS: Mapping[str, Detector] = MappingProxyType(
    {each.name: each for each in (THRESHOLD, RATE, FORECAST, SILENCE, EVENT, STUCK, EWMA)}
)
