"""What a dead letter holds, and the alert that goes with it."""

import traceback
from dataclasses import dataclass

from examples.order_system.envelope import Cause, Event, Fields, make, text
from examples.order_system.names import dead_letters_of


@dataclass(frozen=True, slots=True)
class Delivery:
    """One entry of a stream, as delivered for the `times`-th time."""

    stream: str
    entry_id: str
    fields: Fields
    times: int


@dataclass(frozen=True, slots=True)
class Failure:
    """Who gave an event up, why, and the times (ISO 8601) of its first and its last failure."""

    group: str
    consumer: str
    error: Exception
    first_failed_at: str
    failed_at: str


def letter_fields(delivery: Delivery, failure: Failure) -> dict[bytes, bytes]:
    """The event's own fields byte for byte, known or not, and those that tell of the failure.

    The latter overwrite those of an earlier failure, so that nothing piles up on an event that was sent
    again with all the fields of its dead letter.
    """
    told = {
        "original_stream": delivery.stream,
        "original_id": delivery.entry_id,
        "consumer_group": failure.group,
        "consumer": failure.consumer,
        "error_type": type(failure.error).__name__,
        "error": str(failure.error),
        "stack_trace": "".join(traceback.format_exception(failure.error)),
        "retry_count": str(delivery.times - 1),
        "first_failed_at": failure.first_failed_at,
        "failed_at": failure.failed_at,
    }
    added = {name.encode(): value.encode("utf-8", "backslashreplace") for name, value in told.items()}
    return {**delivery.fields, **added}


def alert_for(delivery: Delivery, failure: Failure) -> Event:
    """Tells those who run the system; in the trace of the event that failed, where that says its trace."""
    event_id = text(delivery.fields, "event_id")
    correlation_id = text(delivery.fields, "correlation_id")
    data = {
        "group": failure.group,
        "stream": delivery.stream,
        "dead_letter_stream": dead_letters_of(delivery.stream),
        "original_id": delivery.entry_id,
        "error": f"{type(failure.error).__name__}: {failure.error}",
        "event_type": text(delivery.fields, "event_type"),
        "event_id": event_id,
        "correlation_id": correlation_id,
    }
    cause = Cause(event_id, correlation_id) if event_id and correlation_id else None
    return make("DeadLetterAlert", data, failure.group, cause)
