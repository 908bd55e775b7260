"""A trace out of the store's rows: what it consists of, what is said of it, and what one row of it holds."""

from collections.abc import Collection, Mapping, Sequence
from datetime import tzinfo
from typing import Any, NamedTuple

from dashboard.viewmodels import units
from dashboard.viewmodels.waterfall import span_text
from eventwake.domain import saga, trace
from eventwake.domain.envelope import Link
from eventwake.domain.saga import SagaDefinition, StepSeen
from eventwake.domain.trace import Delivery, Node, TracedEvent, TracedLetter, Window
from eventwake.store.reads.events import EventRow
from eventwake.store.reads.letters import LetterRow
from eventwake.store.writes.events import Flag

YOUNG_MS = 600_000  # a trace that showed something within this time may still grow
DECIDED = ("consumed", "succeeded", "discarded", "gone", "expired")


class EventLine(NamedTuple):
    """An event in a list."""

    at: str
    event_type: str
    stream: str
    producer: str
    key: str
    event_id: str
    correlation_id: str


class TraceLine(NamedTuple):
    """A trace that a search found."""

    first: str
    last: str
    events: int
    types: str
    key: str
    correlation_id: str


class Found(NamedTuple):
    """The events of one search that belong together; `link` is what opens them."""

    link: Mapping[str, str]
    line: TraceLine


class GroupLine(NamedTuple):
    """What one group has done with one event."""

    group: str
    state: str
    waited: str
    worked: str
    given: str
    done: str
    deliveries: int | None
    consumer: str


class Fact(NamedTuple):
    name: str
    text: str


def event_lines(events: Sequence[EventRow], zone: tzinfo) -> list[EventLine]:
    return [
        EventLine(
            units.clock(event.recorded_ms, zone, millis=True),
            event.event_type or units.UNKNOWN,
            event.stream,
            event.producer or units.UNKNOWN,
            event.key or "",
            event.event_id or "",
            event.correlation_id or "",
        )
        for event in events
    ]


def link_of(event: EventRow) -> dict[str, str]:
    """The query parameters that open an event's trace with the event chosen."""
    if event.correlation_id:
        return {"trace": event.correlation_id, "row": f"e:{event.ref}"}
    return {"event": event.ref}


def found(events: Sequence[EventRow], zone: tzinfo) -> list[Found]:
    """The traces that events of a search belong to, the newest first."""
    together: dict[str, list[EventRow]] = {}
    for event in sorted(events, key=lambda e: -e.recorded_ms):
        together.setdefault(event.correlation_id or event.ref, []).append(event)
    return [_found(members, zone) for members in together.values()]


def _found(events: Sequence[EventRow], zone: tzinfo) -> Found:
    newest, oldest = events[0], events[-1]
    types = dict.fromkeys(event.event_type or units.UNKNOWN for event in reversed(events))
    link = {"trace": newest.correlation_id} if newest.correlation_id else {"event": newest.ref}
    return Found(
        link,
        TraceLine(
            units.clock(oldest.recorded_ms, zone, millis=True),
            units.clock(newest.recorded_ms, zone, millis=True),
            len(events),
            ", ".join(types),
            next((event.key for event in events if event.key), ""),
            newest.correlation_id or "(none)",
        ),
    )


def build(
    events: Sequence[EventRow],
    deliveries: Mapping[str, Sequence[Delivery]],
    letters: Sequence[tuple[LetterRow, str | None]],
    copies: Collection[tuple[str, str]],
) -> list[Node]:
    """The trace's tree; `copies` are the places of events that a retry sent."""
    traced = [
        TracedEvent(
            event.ref, event.source, event.stream, event.position, event.recorded_ms, event.event_type,
            event.event_id, event.causation_id, event.producer, (event.stream, event.position) in copies,
        )
        for event in events
    ]  # fmt: skip
    dead = [
        TracedLetter(
            letter.id, letter.state, letter.event_id, letter.origin_stream, origin_position,
            letter.group_name, ": ".join(filter(None, (letter.error_class, letter.error_message))),
            letter.attempts, letter.failed_ms,
        )
        for letter, origin_position in letters
    ]  # fmt: skip
    return trace.build(traced, deliveries, dead)


def summary(events: Sequence[EventRow], letters: Sequence[LetterRow], more: bool) -> str:
    """One line: how much, by whom, how long, and how it is known to belong together."""
    services = {trace.service_name(event.producer) for event in events if event.producer}
    times = [event.recorded_ms for event in events]
    length = units.duration(max(times) - min(times)) if times else units.UNKNOWN
    dead = sum(letter.state not in DECIDED for letter in letters)
    joined = sorted({event.link for event in events if event.link != Link.NONE})
    parts = [
        f"{'the first ' if more else ''}{_many(len(events), 'event')}",
        _many(len(services), "service"),
        _many(len({(event.source, event.stream) for event in events}), "stream"),
        length,
        f"joined by {' and '.join(joined)}" if joined else "joined by nothing: it stands alone",
    ]
    if letters:
        parts.append(f"{_many(len(letters), 'dead letter')}, {dead} undecided" if dead else
                     f"{_many(len(letters), 'dead letter')}, all decided")  # fmt: skip
    return " · ".join(parts)


def _many(number: int, what: str) -> str:
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def steps(definition: SagaDefinition, events: Sequence[EventRow]) -> list[StepSeen]:
    return saga.progress(definition, [(e.event_type or "", e.recorded_ms) for e in events])


def group_lines(node: Node, zone: tzinfo) -> list[GroupLine]:
    """What every group has done with the event of a node."""
    rows = []
    for child in node.children:
        if child.delivery:
            delivery = child.delivery
            rows.append(
                GroupLine(
                    delivery.group,
                    "gave it up" if any(c.letter for c in child.children) else delivery.state.value,
                    span_text(child.waiting),
                    span_text(child.processing),
                    window_text(delivery.delivered, zone),
                    window_text(delivery.done, zone),
                    delivery.deliveries,
                    delivery.consumer or "",
                )
            )
    return rows


def window_text(window: Window, zone: tzinfo) -> str:
    """A moment with its bounds: "14:05:03.120", "14:05:03.120 to 14:05:05.010", "after ...", "unknown"."""
    low, high = (_time(at, zone) if at is not None else None for at in (window.low_ms, window.high_ms))
    if low and high:
        return low if low == high else f"{low} to {high}"
    if low:
        return f"after {low}"
    return f"before {high}" if high else units.UNKNOWN


def _time(at_ms: int, zone: tzinfo) -> str:
    return units.clock(at_ms, zone, millis=True).partition(" ")[2]


def event_facts(event: EventRow, now_ms: int, zone: tzinfo) -> list[Fact]:
    at = units.clock(event.recorded_ms, zone, millis=True)
    said = units.clock(event.event_ms, zone, millis=True) if event.event_ms is not None else "does not say"
    return [
        Fact("Type", event.event_type or units.UNKNOWN),
        Fact("Event id", event.event_id or "none"),
        Fact("Lies in", f"{event.source} / {event.stream} @ {event.position}"),
        Fact("Recorded", f"{at}, {units.age(event.recorded_ms, now_ms)}"),
        Fact("Its own time", said),
        Fact("Producer", event.producer or units.UNKNOWN),
        Fact("Key", event.key or "none"),
        Fact("Correlation", f"{event.correlation_id} (by {event.link})" if event.correlation_id else "none"),
        Fact("Caused by", event.causation_id or "does not say"),
        Fact("Size", units.size(event.size)),
    ]


def notes(event: EventRow) -> list[str]:
    """What is not as it was in the broker."""
    flags = Flag(event.flags)
    said = {
        Flag.UNDECODABLE: "The payload could not be decoded; its bytes are below.",
        Flag.CAPPED: f"Cut at the payload cap; the whole event has {units.size(event.size)}.",
        Flag.MASKED: "Values were masked when it was taken in.",
    }
    return [text for flag, text in said.items() if flag in flags]


def node_named(roots: Sequence[Node], name: str | None) -> Node | None:
    """The row that the link names, else the first event."""
    nodes: list[Any] = [node for node, _, _ in trace.walk(roots)]
    return next((node for node in nodes if node.id == name), nodes[0] if nodes else None)
