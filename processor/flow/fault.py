"""What Kafka refused, in words that name the right or the setting to change."""

from aiokafka import errors

from processor.errors import StreamError
from processor.settings import ProcessorSettings


def describe_fault(error: BaseException, settings: ProcessorSettings) -> StreamError:
    """What to do about a failure that aiokafka does not get over by itself."""
    worker, topic = settings.worker, settings.topics.telemetry
    match error:
        case errors.GroupAuthorizationFailedError():
            text = f"the group {worker.group} does not take this worker: let the account read the group"
        case errors.TopicAuthorizationFailedError():
            text = f"topic {topic} does not give its records: let the account read the topic"
        case errors.InvalidSessionTimeoutError():
            text = (
                f"the brokers do not take worker.session_timeout = {worker.session_timeout:g} s: it is to "
                "lie between their group.min.session.timeout.ms (6 s unless set) and "
                "group.max.session.timeout.ms"
            )
        case errors.InconsistentGroupProtocolError():
            text = f"other programs are in the group {worker.group}: choose another worker.group"
        case _:
            text = f"the group {worker.group} failed ({error}): start again; nothing is lost"
    return StreamError(text)
