"""A trace as the waterfall draws it: a row for each event, delivery and dead letter, on one axis of time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

from dashboard.viewmodels import units
from dashboard.viewmodels.text import middle, one_line
from eventwake.domain.trace import Delivery, DeliveryState, Knowledge, Node, Span, TracedEvent, walk

ROWS_AT_MOST = 2_000
ROOM_BEHIND = 0.04  # of the axis, so that what ends last is seen to end
SHORTEST_AXIS_MS = 10
LONE_AXIS_MS = 1_000  # where there is but one moment
BOUNDED_ROOM = 2
LABEL = 60
AT_MOST = "≤ "
OPEN_LETTERS = ("open", "came_back", "unknown")


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of a row. `kind`: wait or work; `sure` is False between the samples that bound it."""

    kind: str
    start_ms: int
    end_ms: int | None  # None: it goes on, or nobody knows
    sure: bool


@dataclass(frozen=True, slots=True)
class Row:
    id: str
    depth: int
    last: bool
    kind: str  # event | delivery | letter | missing
    status: str  # ok | wait | bad | unknown | twice
    label: str
    sub: str
    at_ms: int
    duration: str
    title: str
    bars: tuple[Bar, ...] = ()
    badges: tuple[str, ...] = field(default=())


def rows(roots: Sequence[Node]) -> list[Row]:
    return [_row(node, depth, last) for node, depth, last in walk(roots)[:ROWS_AT_MOST]]


def drawn(shown: Sequence[Row], selected: str | None) -> dict[str, object]:
    """What the component takes: the rows, and the axis.

    The events' own times span the axis, since they are exact. What only samples bound may end long after
    the last of them: it is cut at `BOUNDED_ROOM` times the span.
    """
    times = [row.at_ms for row in shown if row.kind != "missing"]
    start = min(times, default=0)
    span = max(times, default=start) - start
    limit = start + (BOUNDED_ROOM * span or LONE_AXIS_MS)
    ends = [min(bar.end_ms, limit) for row in shown for bar in row.bars if bar.end_ms is not None]
    end = max([*times, *ends, start + SHORTEST_AXIS_MS])
    end += max(1, round((end - start) * ROOM_BEHIND))
    return {"rows": [asdict(row) for row in shown], "start_ms": start, "end_ms": end, "selected": selected}


def _row(node: Node, depth: int, last: bool) -> Row:
    if node.event:
        return _event(node, node.event, depth, last)
    if node.delivery:
        return _delivered(node, node.delivery, depth, last)
    if node.letter:
        letter = node.letter
        bad = letter.state in OPEN_LETTERS
        return Row(
            node.id, depth, last, "letter", "bad" if bad else "ok",
            f"dead letter {letter.letter_id}", one_line(letter.error, LABEL), node.at_ms,
            letter.state.replace("_", " "), one_line(letter.error, 400),
            badges=(f"{letter.attempts} tries",) if letter.attempts else (),
        )  # fmt: skip
    cause = node.caused_by or ""
    return Row(
        node.id, depth, last, "missing", "unknown", "not here", middle(cause, 40), node.at_ms, "",
        f"What follows was caused by {cause}, which is not in the store: it was trimmed before it was read, "
        "has been dropped by retention, or lies in a source that is not watched.",
    )  # fmt: skip


def _event(node: Node, event: TracedEvent, depth: int, last: bool) -> Row:
    badges = [badge for badge, on in (("again", node.duplicate_of), ("replayed", event.replayed)) if on]
    producer = f" · by {event.producer}" if event.producer else ""
    return Row(
        node.id, depth, last, "event", "twice" if node.duplicate_of and not event.replayed else "ok",
        one_line(event.event_type or "unknown type", LABEL), one_line(f"{event.stream}{producer}", LABEL),
        node.at_ms, "", one_line(f"{event.event_type} in {event.stream} at {event.position}{producer}", 300),
        badges=tuple(badges),
    )  # fmt: skip


def _delivered(node: Node, delivery: Delivery, depth: int, last: bool) -> Row:
    status = {DeliveryState.PASSED: "ok", DeliveryState.UNKNOWN: "unknown"}.get(delivery.state, "wait")
    if any(child.letter for child in node.children):
        status = "bad"
    tries = delivery.deliveries or 0
    texts = {
        DeliveryState.PASSED: _times(node.waiting, node.processing),
        DeliveryState.PENDING: f"pending with {delivery.consumer or 'a consumer'}",
        DeliveryState.WAITING: "has yet to see it",
        DeliveryState.UNKNOWN: "unknown",
    }
    return Row(
        node.id, depth, last, "delivery", status, one_line(delivery.group, LABEL), "", node.at_ms,
        one_line(texts[delivery.state], 120),
        one_line(f"{delivery.group}: {texts[delivery.state]}", 300),
        _bars(node.at_ms, delivery),
        (f"delivery {tries}",) if tries > 1 else (),
    )  # fmt: skip


def _bars(at_ms: int, delivery: Delivery) -> tuple[Bar, ...]:
    """What is sure, and between it what only two samples bound."""
    given, done = delivery.delivered, delivery.done
    if delivery.state is DeliveryState.UNKNOWN and given.high_ms is None:
        return ()
    given_low = max(at_ms, given.low_ms or at_ms)
    bars = [Bar("wait", at_ms, given_low, True)]
    if given.high_ms is None:
        return (*bars, Bar("wait", given_low, None, False))
    given_high = max(given_low, given.high_ms)
    bars.append(Bar("wait", given_low, given_high, False))
    done_low = max(given_high, done.low_ms or given_high)
    bars.append(Bar("work", given_high, done_low, True))
    done_high = max(done_low, done.high_ms) if done.high_ms is not None else None
    bars.append(Bar("work", done_low, done_high, False))
    return tuple(bar for bar in bars if bar.end_ms is None or bar.end_ms > bar.start_ms)


def _times(waiting: Span | None, processing: Span | None) -> str:
    """Waiting and processing in words; where only one bound is known for both, that one."""
    waited, worked = span_text(waiting), span_text(processing)
    if waited == worked == units.UNKNOWN:
        return "passed, nobody knows when"
    if waited == worked and waited.startswith(AT_MOST):
        return f"done within {waited.removeprefix(AT_MOST)}"
    return f"waited {waited}, worked {worked}"


def span_text(span: Span | None) -> str:
    """A duration with how well it is known: "12 ms", "≤ 2.0 s", "1.0 s to 3.0 s", "unknown"."""
    if span is None or span.knowledge is Knowledge.UNKNOWN:
        return units.UNKNOWN
    if span.knowledge is Knowledge.MEASURED:
        return units.duration(span.low_ms)
    if not span.low_ms:
        return f"{AT_MOST}{units.duration(span.high_ms)}"
    return f"{units.duration(span.low_ms)} to {units.duration(span.high_ms)}"
