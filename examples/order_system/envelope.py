"""The envelope that every event travels in: flat stream fields, with the data as one JSON object."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import uuid4

Fields = Mapping[bytes, bytes]
Entries = list[tuple[bytes, Fields]]  # of a stream: ids and fields
Data = dict[str, Any]

SCHEMA_VERSION = 1


class Cause(NamedTuple):
    """What another event needs to know of the one that caused it."""

    event_id: str
    correlation_id: str


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `causation_id` is None on the first event of a trace."""

    event_type: str
    event_id: str
    timestamp: str
    data: Data
    correlation_id: str
    causation_id: str | None
    producer: str
    schema_version: int

    @property
    def cause(self) -> Cause:
        return Cause(self.event_id, self.correlation_id)


def utc_now() -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def make(
    event_type: str,
    data: Data,
    producer: str,
    cause: Cause | None = None,
    schema_version: int = SCHEMA_VERSION,
) -> Event:
    """A new event: the start of a trace, or caused by `cause` and in its trace."""
    return Event(
        event_type=event_type,
        event_id=str(uuid4()),
        timestamp=utc_now(),
        data=data,
        correlation_id=cause.correlation_id if cause else str(uuid4()),
        causation_id=cause.event_id if cause else None,
        producer=producer,
        schema_version=schema_version,
    )


def to_fields(event: Event) -> dict[str, str]:
    """The stream fields of an event."""
    fields = {
        "event_type": event.event_type,
        "event_id": event.event_id,
        "timestamp": event.timestamp,
        "correlation_id": event.correlation_id,
        "causation_id": event.causation_id or "",
        "producer": event.producer,
        "schema_version": str(event.schema_version),
        "data": json.dumps(event.data, ensure_ascii=False, separators=(",", ":")),
    }
    if event.causation_id is None:
        del fields["causation_id"]
    return fields


def text(fields: Fields, name: str) -> str | None:
    """One field as text, whatever its bytes; None where it is missing."""
    value = fields.get(name.encode())
    return None if value is None else value.decode("utf-8", "backslashreplace")


def parse(fields: Fields) -> Event:
    """The event in stream fields; fields that it does not know are left alone.

    Raises KeyError for a missing field, ValueError for data that is no JSON object.
    """
    data = json.loads(fields[b"data"])
    if not isinstance(data, dict):
        raise ValueError(f"data is a JSON {type(data).__name__}, not an object")
    return Event(
        event_type=fields[b"event_type"].decode(),
        event_id=fields[b"event_id"].decode(),
        timestamp=fields[b"timestamp"].decode(),
        data=data,
        correlation_id=fields[b"correlation_id"].decode(),
        causation_id=text(fields, "causation_id"),
        producer=fields[b"producer"].decode(),
        schema_version=int(fields[b"schema_version"]),
    )
