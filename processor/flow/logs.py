"""What the worker logs, and how: ours in full, Faust's and aiokafka's within bounds."""

import logging

from processor.errors import ProcessorError
from processor.ratelimit import RateLimit


class PlainRefusals(logging.Filter):
    """Lets what this package raises, and what Kafka refuses, speak for itself: Faust adds stack traces."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Write every record, refusals without their stack."""
        error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
        if isinstance(error, ProcessorError):
            record.msg, record.args = str(error), ()
            record.exc_info = record.exc_text = None
        elif type(error).__module__ == "aiokafka.errors":
            # What Kafka refuses is no fault of the program; what to do about it is said at its end.
            record.exc_info = record.exc_text = None
        return True


def set_up() -> None:
    """Log to stderr; our own at INFO, Faust's and aiokafka's warnings with a limit."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(PlainRefusals())
    handler.addFilter(RateLimit())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("processor").setLevel(logging.INFO)
    # Faust names a service's log by the module of its class: these are Faust's words, not ours.
    logging.getLogger("processor.flow.transport").setLevel(logging.WARNING)
