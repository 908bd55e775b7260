"""What is said of the node or edge that was picked in the flow graph."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dashboard.viewmodels import units
from dashboard.viewmodels.flow import KINDS, Seen, chosen, edge_rate, failed_of, failed_text, lag_of, lag_text
from dashboard.viewmodels.flow_lines import (
    FailedLine,
    PublishedLine,
    ReadingLine,
    failed_lines,
    published_lines,
    reading_line,
)
from eventwake.domain.flow import Edge, Graph, Health, Node, NodeKind
from eventwake.domain.lag import Lag, LagKind, Status, total
from eventwake.domain.trace import service_name
from eventwake.store.reads.events import EventFilter
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letter_counts import ArrivalRow
from eventwake.store.reads.rates import Flow
from eventwake.store.writes.events import OTHER

FROM_STREAMS = 4  # a service's newest events are looked for in so many streams that it publishes to
MARKS = {Health.OK: "● ok", Health.UNKNOWN: "○ unknown", Health.WARN: "▲ warning", Health.BAD: "✕ failing"}


class Figure(NamedTuple):
    label: str
    value: str
    help: str


class Link(NamedTuple):
    page: str
    label: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Details:
    """Of one node or edge; what does not concern it is empty. Texts stand as they came, not escaped."""

    names: tuple[str, ...]  # of the node, or of the edge's source and target
    kind: str
    health: Health
    says: list[str]
    figures: list[Figure]
    published: list[PublishedLine]
    reading: list[ReadingLine]
    failed: list[FailedLine]
    events: tuple[EventFilter, ...]
    links: list[Link]


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows that the picked thing stands for."""

    flows: list[Flow]
    groups: list[GroupRow]
    arrivals: list[ArrivalRow]


def details(seen: Seen, graph: Graph, pick: str) -> Details | None:
    """What is known of the picked node or edge; None where the window has no such thing."""
    item = chosen(graph, pick)
    if item is None:
        return None
    nodes = {node.id: node for node in graph.nodes}
    if isinstance(item, Edge):
        return _edge_details(seen, item, nodes[item.source], nodes[item.target])
    return _node_details(seen, item)


def _node_details(seen: Seen, node: Node) -> Details:
    flow_of, group_of, arrival_of = _touching(seen, node)
    rows = _Rows(
        [row for row in seen.flows if flow_of(row)],
        [row for row in seen.groups if group_of(row)],
        [row for row in seen.arrivals if arrival_of(row)],
    )
    say = {NodeKind.STREAM: _stream_figures, NodeKind.DEAD_LETTERS: _dead_letter_figures}
    figures = say.get(node.kind, _party_figures)(seen, node, rows)
    by_stream = node.kind is NodeKind.STREAM
    events = tuple(_of_stream(seen, i) for i in node.stream_ids) if by_stream else _published(seen, rows)
    dead = node.stream_ids if node.kind is NodeKind.DEAD_LETTERS else []
    made = _made(seen, (node.label,), KINDS[node.kind], node.health, figures, rows, events, dead)
    return replace(made, says=_node_says(seen, node, rows) + made.says)


def _edge_details(seen: Seen, edge: Edge, source: Node, target: Node) -> Details:
    from_flow, from_group, from_arrival = _touching(seen, source)
    to_flow, to_group, to_arrival = _touching(seen, target)
    reads, ends = bool(source.stream_ids), target.kind is NodeKind.DEAD_LETTERS
    rows = _Rows(
        [] if reads else [row for row in seen.flows if from_flow(row) and to_flow(row)],
        [row for row in seen.groups if from_group(row) and to_group(row)] if reads else [],
        [row for row in seen.arrivals if from_arrival(row) and to_arrival(row)] if ends else [],
    )
    rate = edge_rate(seen, edge, {source.id: source, target.id: target})
    figures = [Figure("Rate", units.rate(rate), "Events a second, over the window")]
    if edge.inferred:
        kind = "inferred from who reacts"
        figures += _reaction_figures(seen, source, target)
    elif ends:
        kind = "letters given up"
        letters = sum(row.letters for row in rows.arrivals)
        figures += [Figure("Letters", units.count(letters), "That failed within the window")]
    elif reads:
        kind = "reading"
        figures += _reading_figures(rows.groups)
    else:
        kind = "publishing"
        figures += _publishing_figures(rows.flows)
    events = tuple(_of_stream(seen, i) for i in source.stream_ids) if reads else _published(seen, rows)
    return _made(seen, (source.label, target.label), kind, edge.health, figures, rows, events)


def _made(
    seen: Seen,
    names: tuple[str, ...],
    kind: str,
    health: Health,
    figures: list[Figure],
    rows: _Rows,
    events: tuple[EventFilter, ...],
    dead_letters: Sequence[int] = (),
) -> Details:
    unwell = [row for row in rows.groups if row.status != Status.OK.value]
    return Details(
        names,
        kind,
        health,
        [f"{row.name} on {row.stream}: {row.status}, by rule {row.rule}" for row in unwell],
        figures,
        published_lines(seen, rows.flows),
        [reading_line(seen, row) for row in rows.groups],
        failed_lines(seen, rows.arrivals),
        events,
        _links(seen, rows, dead_letters),
    )


def _node_says(seen: Seen, node: Node, rows: _Rows) -> list[str]:
    """Why a stream is not well; of groups the rules tell."""
    says = [
        f"The source {seen.by_id[i].source} does not answer: what goes on now is unknown."
        for i in node.stream_ids
        if not seen.fresh(i)
    ]
    undecodable = sum(row.undecodable for row in rows.flows)
    if node.kind is NodeKind.STREAM and undecodable:
        says.append(f"{units.count(undecodable)} events of this window are undecodable.")
    if node.kind is NodeKind.DEAD_LETTERS and node.errors:
        says.append(f"{units.count(node.errors)} letters wait for a decision.")
    return says


# Which rows touch a node


def _touching(
    seen: Seen, node: Node
) -> tuple[Callable[[Flow], bool], Callable[[GroupRow], bool], Callable[[ArrivalRow], bool]]:
    if node.stream_ids:
        ids = set(node.stream_ids)
        names = {(seen.by_id[i].source, seen.by_id[i].name) for i in ids}

        def failed_here(row: ArrivalRow) -> bool:
            into = seen.by_id.get(row.stream_id)
            return row.stream_id in ids or bool(into and (into.source, row.origin_stream) in names)

        return (lambda row: row.stream_id in ids), (lambda row: row.stream_id in ids), failed_here

    def same(name: str | None) -> bool:
        return bool(name) and f"party:{service_name(name or '')}" == node.id

    return (
        (lambda row: same(row.producer)),
        (lambda row: row.id in node.group_ids),
        (lambda row: same(row.group_name)),
    )


# Figures


def _stream_figures(seen: Seen, node: Node, rows: _Rows) -> list[Figure]:
    failed, whole = failed_of(seen, node)
    rate = node.in_per_s if seen.fresh(node.stream_ids[0]) else None
    return [
        Figure("Published", units.rate(rate), "Events a second, over the window"),
        Figure("Events", units.count(whole), "Within the window"),
        Figure(
            "Given up or undecodable",
            failed_text(failed, whole) if whole or failed else units.UNKNOWN,
            f"{units.count(failed)} of {units.count(whole)} events of the window",
        ),
        Figure("Groups", units.count(len(rows.groups)), "Consumer groups that read this stream"),
        _longest_wait(rows.groups),
    ]


def _dead_letter_figures(seen: Seen, node: Node, rows: _Rows) -> list[Figure]:
    letters = sum(row.letters for row in rows.arrivals)
    return [
        Figure("Open", units.count(node.errors), "Letters that wait for a decision, whenever they came"),
        Figure("Arrived", units.count(letters), "Letters that failed within the window"),
        Figure("Rate", units.rate(letters / seen.window.seconds), "Letters a second, over the window"),
    ]


def _party_figures(seen: Seen, node: Node, rows: _Rows) -> list[Figure]:
    figures = []
    if rows.flows or not rows.groups:
        figures.append(Figure("Publishes", units.rate(node.out_per_s), "Events a second, over the window"))
    if rows.groups:
        figures.append(Figure("Takes", units.rate(node.in_per_s), "Events a second, over the window"))
        figures += _reading_figures(rows.groups)
    failed, whole = failed_of(seen, node)
    help_ = f"{units.count(failed)} letters in the window, of {units.count(whole)} events taken"
    figures.append(Figure("Given up", failed_text(failed, whole) if failed else "0", help_))
    return figures


def _reading_figures(groups: Sequence[GroupRow]) -> list[Figure]:
    pending = [row.pending for row in groups]
    return [
        Figure("Lag", lag_text(total(lag_of(row) for row in groups)), "Events that it has yet to read, now"),
        _longest_wait(groups),
        Figure(
            "Pending",
            units.UNKNOWN if None in pending else units.count(sum(n or 0 for n in pending)),
            "Events that were handed out and not acknowledged, now",
        ),
    ]


def _publishing_figures(flows: Sequence[Flow]) -> list[Figure]:
    events = sum(row.events for row in flows)
    undecodable = sum(row.undecodable for row in flows)
    return [
        Figure("Events", units.count(events), "Within the window"),
        Figure("Undecodable", units.share(undecodable, events), f"{units.count(undecodable)} events"),
    ]


def _reaction_figures(seen: Seen, source: Node, target: Node) -> list[Figure]:
    rows = [
        row
        for row in seen.links
        if row.cause_stream_id in source.stream_ids and f"party:{service_name(row.producer)}" == target.id
    ]
    return [
        Figure("Seen", units.count(sum(row.seen for row in rows)), "Reactions in samples, since ever"),
        Figure("Last", units.age(max((row.last_ms for row in rows), default=None), seen.now_ms), ""),
    ]


def _longest_wait(groups: Sequence[GroupRow]) -> Figure:
    help_ = "How long the oldest event that a group has not passed has waited, now"
    known = [_waits(row) for row in groups if row.time_lag_ms is not None]
    if not known or (len(known) < len(groups) and not any(lag.value for lag in known)):
        return Figure("Longest wait", units.UNKNOWN if groups else "no group", help_)
    worst = max(known, key=lambda lag: lag.value or 0)
    return Figure("Longest wait", units.time_lag(worst.kind.value, worst.value), help_)


def _waits(row: GroupRow) -> Lag:
    return Lag(LagKind(row.time_lag_kind), row.time_lag_ms, row.time_lag_reason)


# Where it leads


def _of_stream(seen: Seen, stream_id: int) -> EventFilter:
    return EventFilter(stream_id=stream_id, since_ms=seen.window.since_ms)


def _published(seen: Seen, rows: _Rows) -> tuple[EventFilter, ...]:
    places: dict[tuple[int, str], int] = {}
    for row in rows.flows:
        if row.producer not in ("", OTHER) and row.events:
            places[row.stream_id, row.producer] = places.get((row.stream_id, row.producer), 0) + row.events
    most = sorted(places, key=lambda place: -places[place])[:FROM_STREAMS]
    return tuple(
        EventFilter(stream_id=stream_id, producer=producer, since_ms=seen.window.since_ms)
        for stream_id, producer in most
    )


def _links(seen: Seen, rows: _Rows, dead_letters: Sequence[int]) -> list[Link]:
    links = []
    readers = {(row.name, row.source) for row in rows.groups}
    if len(readers) == 1:
        name, source = next(iter(readers))
        links.append(Link("lag", "Lag", {"group": name, "in": source}))
    elif readers:
        links.append(Link("lag", "Lag", {}))
    givers = {row.group_name for row in rows.arrivals}
    giver = next(iter(givers)) if len(givers) == 1 else None
    group = {"group": giver} if giver else {}
    for stream_id in dict.fromkeys([*dead_letters, *(row.stream_id for row in rows.arrivals)]):
        name = seen.by_id[stream_id].name
        links.append(Link("dead_letters", f"Letters in {name}", {"stream": name, **group}))
    return links
