"""One trace as a tree: events, the groups that they were delivered to, and where they ended as dead letters.

Every duration says how it is known. A broker keeps the time of an event, but of a consumer we only see, at
each sample, whether it had passed; so its times are bounded by two samples, unless an event that it caused
tells more.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Knowledge(StrEnum):
    MEASURED = "measured"
    BOUNDED = "bounded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Window:
    """A moment that lies between `low_ms` and `high_ms`; None on a side where nothing bounds it."""

    low_ms: int | None = None
    high_ms: int | None = None

    @property
    def knowledge(self) -> Knowledge:
        if self.low_ms is None or self.high_ms is None:
            return Knowledge.UNKNOWN
        return Knowledge.MEASURED if self.low_ms == self.high_ms else Knowledge.BOUNDED

    def within(self, low_ms: int | None = None, high_ms: int | None = None) -> "Window":
        """The same moment, known more closely."""
        low = max((b for b in (self.low_ms, low_ms) if b is not None), default=None)
        high = min((b for b in (self.high_ms, high_ms) if b is not None), default=None)
        if low is not None and high is not None and low > high:  # clocks differ by a little
            low = high
        return Window(low, high)


@dataclass(frozen=True, slots=True)
class Span:
    """A duration between two moments, each known as well as it is."""

    knowledge: Knowledge
    low_ms: int | None = None
    high_ms: int | None = None

    @classmethod
    def between(cls, start: Window, end: Window) -> "Span":
        if Knowledge.UNKNOWN in (start.knowledge, end.knowledge):
            return cls(Knowledge.UNKNOWN)
        low = max(0, (end.low_ms or 0) - (start.high_ms or 0))
        high = max(0, (end.high_ms or 0) - (start.low_ms or 0))
        exact = start.knowledge is end.knowledge is Knowledge.MEASURED
        return cls(Knowledge.MEASURED if exact else Knowledge.BOUNDED, low, high)


class DeliveryState(StrEnum):
    PASSED = "passed"
    PENDING = "pending"
    WAITING = "waiting"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What one group has done with one event."""

    group: str
    state: DeliveryState
    delivered: Window = Window()
    done: Window = Window()
    deliveries: int | None = None
    consumer: str | None = None


@dataclass(frozen=True, slots=True)
class TracedEvent:
    """An event of the trace; `ref` names it in the store."""

    ref: str
    source: str
    stream: str
    position: str
    recorded_ms: int
    event_type: str | None
    event_id: str | None
    causation_id: str | None
    producer: str | None
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class TracedLetter:
    """A dead letter of one of the trace's events."""

    letter_id: int
    state: str
    event_id: str | None
    origin_stream: str | None
    origin_position: str | None
    group: str | None
    error: str
    attempts: int | None
    failed_ms: int


@dataclass(slots=True)
class Node:
    """One row of the trace with what follows from it. `id` is stable while the trace grows."""

    id: str
    kind: str  # event | delivery | letter | missing
    at_ms: int
    event: TracedEvent | None = None
    delivery: Delivery | None = None
    letter: TracedLetter | None = None
    caused_by: str | None = None
    duplicate_of: str | None = None
    waiting: Span | None = None
    processing: Span | None = None
    children: list["Node"] = field(default_factory=list)


_SUFFIX = re.compile(r"[-_.](?:service|svc|group|consumers?|workers?|processor|app)$")


def service_name(name: str) -> str:
    """A producer's or group's name without what differs by habit: `payment-service` and `payments-group`
    differ, `payment-service`, `payment_svc` and `payment` do not.
    """
    plain = name.strip().lower()
    while (shorter := _SUFFIX.sub("", plain)) != plain:
        plain = shorter
    return plain


def build(
    events: Sequence[TracedEvent],
    deliveries: Mapping[str, Sequence[Delivery]],
    letters: Sequence[TracedLetter],
) -> list[Node]:
    """The roots of the trace, oldest first. `deliveries` are by event `ref`."""
    nodes = {event.ref: Node(f"e:{event.ref}", "event", event.recorded_ms, event) for event in events}
    first_of: dict[str, Node] = {}
    for node in sorted(nodes.values(), key=lambda n: n.at_ms):
        event_id = node.event.event_id if node.event else None
        if event_id and (first := first_of.setdefault(event_id, node)) is not node:
            node.duplicate_of = first.id
    roots: list[Node] = []
    effects: dict[str, list[Node]] = defaultdict(list)
    missing: dict[str, Node] = {}
    for node in nodes.values():
        cause = node.event.causation_id if node.event else None
        parent = first_of.get(cause) if cause else None
        if node.duplicate_of:
            first_of[node.event.event_id].children.append(node)  # type: ignore[union-attr,index]
        elif parent is not None and parent is not node and not _leads_to(node, parent, first_of):
            effects[parent.id].append(node)
        elif cause and parent is None:
            gap = missing.setdefault(cause, Node(f"m:{cause}", "missing", node.at_ms, caused_by=cause))
            gap.at_ms = min(gap.at_ms, node.at_ms)
            gap.children.append(node)
        else:
            roots.append(node)
    for node in nodes.values():
        _attach(node, effects[node.id], deliveries.get(node.event.ref, ()) if node.event else ())
    _attach_letters(letters, list(nodes.values()), first_of, roots)
    return _sorted([*roots, *missing.values()])


def _leads_to(node: Node, ancestor: Node, first_of: Mapping[str, Node]) -> bool:
    """Whether following causes up from `ancestor` comes to `node`: hostile or broken ids can form a ring."""
    seen: set[str] = set()
    at: Node | None = ancestor
    while at is not None and at.id not in seen:
        if at is node:
            return True
        seen.add(at.id)
        at = first_of.get(at.event.causation_id) if at.event and at.event.causation_id else None
    return False


def _attach(node: Node, effects: list[Node], deliveries: Iterable[Delivery]) -> None:
    """Hangs effects under the group whose service produced them, else under the event itself."""
    left = list(effects)
    for delivery in deliveries:
        name = service_name(delivery.group)
        mine = [e for e in left if e.event and e.event.producer and service_name(e.event.producer) == name]
        left = [effect for effect in left if effect not in mine]
        node.children.append(_delivery_node(node, delivery, mine))
    node.children += left


def _delivery_node(node: Node, delivery: Delivery, effects: list[Node]) -> Node:
    start = Window(node.at_ms, node.at_ms)
    delivered, done = delivery.delivered.within(low_ms=node.at_ms), delivery.done.within(low_ms=node.at_ms)
    if effects:
        times = [effect.at_ms for effect in effects]
        delivered = delivered.within(high_ms=min(times))
        done = done.within(low_ms=max(times))
    row = Node(f"d:{node.id}:{delivery.group}", "delivery", node.at_ms, children=effects)
    row.delivery = replace(delivery, delivered=delivered, done=done)
    row.waiting = Span.between(start, delivered)
    row.processing = Span.between(delivered, done)
    return row


def _attach_letters(
    letters: Sequence[TracedLetter], nodes: Sequence[Node], first_of: Mapping[str, Node], roots: list[Node]
) -> None:
    """Each letter under the group that gave its event up, else under the event, else by itself."""
    by_place = {(n.event.stream, n.event.position): n for n in nodes if n.event}
    for letter in letters:
        row = Node(f"l:{letter.letter_id}", "letter", letter.failed_ms, letter=letter)
        event = by_place.get((letter.origin_stream or "", letter.origin_position or ""))
        event = event or first_of.get(letter.event_id or "")
        if event is None:
            roots.append(row)
            continue
        groups = (
            child for child in event.children if child.delivery and child.delivery.group == letter.group
        )
        next(groups, event).children.append(row)


_ORDER = {"delivery": 0, "event": 1, "missing": 1, "letter": 2}


def _sorted(roots: list[Node]) -> list[Node]:
    """Every level by time; without recursion, since a chain of causes may be very long."""
    stack = [roots]
    while stack:
        level = stack.pop()
        level.sort(key=lambda node: (node.at_ms, _ORDER[node.kind], node.id))
        stack += [node.children for node in level if node.children]
    return roots


def walk(roots: Sequence[Node]) -> list[tuple[Node, int, bool]]:
    """Every row in the order in which it is read: (node, depth, last of its siblings)."""
    rows: list[tuple[Node, int, bool]] = []
    stack = [(node, 0, node is roots[-1]) for node in reversed(roots)]
    while stack:
        node, depth, last = stack.pop()
        rows.append((node, depth, last))
        stack += [(child, depth + 1, child is node.children[-1]) for child in reversed(node.children)]
    return rows
