"""The tables under the flow graph, line by line."""

from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import NamedTuple
from urllib.parse import urlencode

from dashboard.viewmodels import units
from dashboard.viewmodels.flow import Seen
from eventwake.store.reads.events import EventRow
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letter_counts import ArrivalRow
from eventwake.store.reads.rates import Flow


class PublishedLine(NamedTuple):
    """Events of one type by one producer in one stream."""

    stream: str
    event_type: str
    producer: str
    rate: str
    events: int
    undecodable: int
    size: str


class ReadingLine(NamedTuple):
    """One group on one stream."""

    group: str
    stream: str
    status: str
    rate: str
    lag: str
    waits: str
    pending: str
    consumers: int | None
    rule: str


class FailedLine(NamedTuple):
    """Letters of the window."""

    group: str
    origin: str
    into: str
    letters: int
    rate: str


class EventLine(NamedTuple):
    at: datetime | None
    event_type: str
    stream: str
    producer: str
    key: str
    event_id: str
    trace: str  # the address of its trace


def published_lines(seen: Seen, flows: Sequence[Flow]) -> list[PublishedLine]:
    return [
        PublishedLine(
            seen.by_id[row.stream_id].name,
            row.event_type or units.UNKNOWN,
            row.producer or units.UNKNOWN,
            units.rate(row.events / seen.window.seconds),
            row.events,
            row.undecodable,
            units.size(round(row.bytes / row.events) if row.events else None),
        )
        for row in sorted(flows, key=lambda row: (-row.events, row.stream_id, row.event_type, row.producer))
    ]


def reading_line(seen: Seen, row: GroupRow) -> ReadingLine:
    fresh = seen.fresh(row.stream_id)
    return ReadingLine(
        row.name,
        row.stream,
        row.status if fresh else f"{units.UNKNOWN} (was {row.status})",
        units.rate(seen.group_rate(row)),
        units.lag(row.lag_kind, row.lag),
        units.time_lag(row.time_lag_kind, row.time_lag_ms),
        units.count(row.pending),
        row.consumers,
        row.rule,
    )


def failed_lines(seen: Seen, arrivals: Sequence[ArrivalRow]) -> list[FailedLine]:
    return [
        FailedLine(
            row.group_name or units.UNKNOWN,
            row.origin_stream or units.UNKNOWN,
            seen.by_id[row.stream_id].name,
            row.letters,
            units.rate(row.letters / seen.window.seconds),
        )
        for row in sorted(arrivals, key=lambda row: -row.letters)
    ]


def event_lines(pages: Iterable[Sequence[EventRow]], at_most: int, zone: tzinfo) -> list[EventLine]:
    """The newest events of several lists; each line leads to its trace."""
    newest = sorted((event for page in pages for event in page), key=lambda e: e.recorded_ms, reverse=True)
    return [
        EventLine(
            units.moment(event.recorded_ms, zone),
            event.event_type or units.UNKNOWN,
            event.stream,
            event.producer or units.UNKNOWN,
            event.key or "",
            event.event_id or "",
            "traces?"
            + urlencode({"trace": event.correlation_id} if event.correlation_id else {"event": event.ref}),
        )
        for event in newest[:at_most]
    ]
