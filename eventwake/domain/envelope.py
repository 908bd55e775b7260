"""One event as it lay in a broker, and our common view of it."""

from collections.abc import Collection, Iterator, Sequence
from enum import StrEnum
from typing import NamedTuple


class Link(StrEnum):
    """How an event's correlation was inferred, strongest first."""

    FIELD = "correlation id"
    CLOUDEVENTS = "CloudEvents extension"
    NSERVICEBUS = "NServiceBus conversation"
    TRACEPARENT = "W3C traceparent"
    KEY = "business key"
    NONE = "none"


class Record(NamedTuple):
    """One entry of a stream, its bytes as they lay there.

    `fields` is flat (name, value, name, value, ...) in the broker's order, repeats kept: a Redis entry's
    fields, a Kafka record's headers, an SQS message's attributes. `value` is the payload of brokers that
    have one beside the fields.
    """

    position: str
    recorded_ms: int
    fields: Sequence[bytes | None]
    key: bytes | None = None
    value: bytes | None = None
    partition: int = 0


class Envelope(NamedTuple):
    """The decoded view of a record. `None` means that the event does not say."""

    event_type: str | None = None
    event_id: str | None = None
    timestamp_ms: int | None = None
    key: str | None = None
    producer: str | None = None
    correlation_id: str | None = None
    causation_id: str | None = None
    link: Link = Link.NONE
    undecodable: str | None = None


def pairs(fields: Sequence[bytes | None]) -> Iterator[tuple[bytes, bytes | None]]:
    """The flat fields of a record as (name, value)."""
    names = iter(fields)
    return ((name or b"", value) for name, value in zip(names, names, strict=True))


def without(fields: Sequence[bytes | None], names: Collection[bytes]) -> list[bytes | None]:
    """The flat fields of a record but for those names."""
    kept: list[bytes | None] = []
    for name, value in pairs(fields):
        if name not in names:
            kept += (name, value)
    return kept
