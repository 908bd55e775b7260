"""The flow graph of a window: the store's rows as the domain's input, and what can be said of its parts."""

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from dashboard.viewmodels import freshness, units
from eventwake.domain import flow
from eventwake.domain.flow import Edge, Graph, Node, NodeKind
from eventwake.domain.lag import Lag, LagKind, Status
from eventwake.store.reads.flow import LinkRow, Stand
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letter_counts import ArrivalRow
from eventwake.store.reads.rates import FINE_MS, Flow, span_for
from eventwake.store.reads.sources import SourceRow, StreamRow

K = TypeVar("K", bound=Hashable)

WINDOWS_MS = {
    "5 min": 300_000, "15 min": 900_000, "1 h": 3_600_000, "6 h": 21_600_000, "24 h": 86_400_000,
}  # fmt: skip
DEFAULT_WINDOW = "15 min"
KINDS = {
    NodeKind.SERVICE: "service",
    NodeKind.STREAM: "stream",
    NodeKind.GROUP: "consumer group",
    NodeKind.DEAD_LETTERS: "dead-letter stream",
}


@dataclass(frozen=True, slots=True)
class Window:
    """[since, until), as far as it is known; `chosen_ms` is the length that was asked for."""

    since_ms: int
    until_ms: int
    span_ms: int
    chosen_ms: int

    @property
    def first_bucket_ms(self) -> int:
        """Where to begin to read the rollup of this span."""
        return self.since_ms // self.span_ms * self.span_ms

    @property
    def seconds(self) -> float:
        return max(self.until_ms - self.since_ms, FINE_MS) / 1000

    def said(self) -> str:
        length = units.duration(self.until_ms - self.since_ms)
        short = self.until_ms - self.since_ms < self.chosen_ms
        return f"{length} (all that is known)" if short else length


def window(chosen_ms: int, known_since_ms: int | None, now_ms: int) -> Window:
    """The window that ends now, cut to what is known, so that a rate is no average over unseen time."""
    until = now_ms // FINE_MS * FINE_MS
    span = span_for(chosen_ms, until - chosen_ms, now_ms)
    since = (until - chosen_ms) // span * span
    return Window(min(until, max(since, known_since_ms or since)), until, span, chosen_ms)


@dataclass(frozen=True)
class Seen:
    """What was read for one window."""

    window: Window
    now_ms: int
    sources: Sequence[SourceRow] = ()
    streams: Sequence[StreamRow] = ()
    flows: Sequence[Flow] = ()
    groups: Sequence[GroupRow] = ()
    stands: Mapping[int, Stand] | None = None
    arrivals: Sequence[ArrivalRow] = ()
    open_letters: Mapping[int, int] | None = None
    links: Sequence[LinkRow] = ()

    def of_source(self, name: str | None) -> "Seen":
        """Only what lies in one source; None: in all."""
        if name is None:
            return self
        own = [stream for stream in self.streams if stream.source == name]
        ids = {stream.id for stream in own}
        return replace(
            self,
            streams=own,
            flows=[row for row in self.flows if row.stream_id in ids],
            groups=[row for row in self.groups if row.stream_id in ids],
            arrivals=[row for row in self.arrivals if row.stream_id in ids],
            links=[row for row in self.links if row.cause_stream_id in ids],
        )

    @cached_property
    def by_id(self) -> dict[int, StreamRow]:
        return {stream.id: stream for stream in self.streams}

    @cached_property
    def answering(self) -> set[str]:
        """Sources that answer; of others it is not known what goes on now."""
        return freshness.answering(self.sources, self.now_ms)

    @cached_property
    def events(self) -> Counter[int]:
        """stream id -> its events within the window."""
        return _summed((row.stream_id, row.events) for row in self.flows)

    @cached_property
    def failures(self) -> Counter[int]:
        """stream id -> its events that were undecodable or given up within the window."""
        ids = {(stream.source, stream.name): stream.id for stream in self.streams}
        failed = _summed((row.stream_id, row.undecodable) for row in self.flows)
        for row in self.arrivals:
            stream = self.by_id.get(row.stream_id)
            if stream and (origin := ids.get((stream.source, row.origin_stream or ""))) is not None:
                failed[origin] += row.letters
        return failed

    def fresh(self, stream_id: int) -> bool:
        stream = self.by_id.get(stream_id)
        return stream is not None and stream.source in self.answering

    def group_rate(self, group: GroupRow) -> float | None:
        """Events a second that the group passed within the window; None where that cannot be told."""
        stand = (self.stands or {}).get(group.id)
        if stand is None or stand.committed is None or group.committed is None:
            return None
        ms, passed = group.sampled_ms - stand.at_ms, group.committed - stand.committed
        return passed * 1000 / ms if ms > 0 and passed >= 0 and self.fresh(group.stream_id) else None


def _summed(pairs: Iterable[tuple[K, int]]) -> Counter[K]:
    total: Counter[K] = Counter()
    for key, value in pairs:
        total[key] += value
    return total


def build(seen: Seen) -> Graph:
    """The graph of what was seen."""
    consumed = [
        flow.Consumed(row.id, row.stream_id, row.name, seen.group_rate(row), lag_of(row), Status(row.status))
        for row in seen.groups
    ]
    failed = [flow.Failed(*row, still_open=0) for row in seen.arrivals]
    failed += [
        flow.Failed(stream_id, None, None, 0, letters)
        for stream_id, letters in (seen.open_letters or {}).items()
    ]
    return flow.build(
        seen.window.seconds,
        [
            flow.StreamSeen(s.id, s.source, s.name, s.kind == "dead_letters", s.source in seen.answering)
            for s in seen.streams
        ],
        _published(seen),
        consumed,
        failed,
        [flow.Reaction(row.cause_stream_id, row.producer) for row in seen.links],
    )


def _published(seen: Seen) -> list[flow.Published]:
    events = _summed(((row.stream_id, row.producer), row.events) for row in seen.flows)
    undecodable = _summed(((row.stream_id, row.producer), row.undecodable) for row in seen.flows)
    return [
        flow.Published(stream_id, producer, number, undecodable[stream_id, producer])
        for (stream_id, producer), number in sorted(events.items())
    ]


def lag_of(group: GroupRow) -> Lag:
    return Lag(LagKind(group.lag_kind), group.lag, group.lag_reason)


def chosen(graph: Graph, pick: str | None) -> Node | Edge | None:
    """The node or edge of that id, if the graph has it."""
    items: list[Node | Edge] = [*graph.nodes, *graph.edges]
    return next((item for item in items if item.id == pick), None)


def failed_of(seen: Seen, node: Node) -> tuple[int, int | None]:
    """(events that failed, events) of a stream, or of what a service or group took, within the window.

    The second is None where it is not known.
    """
    if node.stream_ids:
        ids = node.stream_ids
        return sum(seen.failures[i] for i in ids), sum(seen.events[i] for i in ids)
    return node.errors, None if node.in_per_s is None else round(node.in_per_s * seen.window.seconds)


def failed_text(failed: int, whole: int | None) -> str:
    """A share, or the number where a share says nothing: what failed may have been read long before."""
    return units.share(failed, whole) if whole and failed <= whole else units.count(failed)


def edge_rate(seen: Seen, edge: Edge, nodes: Mapping[str, Node]) -> float | None:
    """The edge's rate; None also where the source of its stream does not answer."""
    ids = nodes[edge.source].stream_ids + nodes[edge.target].stream_ids
    return edge.per_s if all(seen.fresh(i) for i in ids) else None


def lag_text(lag: Lag | None) -> str:
    if lag is None:
        return units.UNKNOWN
    reason = f" ({lag.reason})" if lag.value is None and lag.reason else ""
    return units.lag(lag.kind.value, lag.value) + reason


def summary(seen: Seen, graph: Graph) -> str:
    """One line over the graph."""
    kinds = Counter(node.kind for node in graph.nodes)
    parties = kinds[NodeKind.SERVICE] + kinds[NodeKind.GROUP]
    events = sum(seen.events.values())
    failed = failed_text(sum(seen.failures.values()), events)
    said = [
        f"{units.rate(events / seen.window.seconds)} over the last {seen.window.said()}",
        f"{failed} given up or undecodable" if events else "",
        f"streams: {kinds[NodeKind.STREAM]}, for dead letters: {kinds[NodeKind.DEAD_LETTERS]}, "
        f"services and groups: {parties}",
    ]
    return " · ".join(filter(None, said))


def nothing_seen(seen: Seen) -> str:
    """What to do where the graph is empty."""
    if not seen.sources:
        return "No source is watched yet. Name one in the settings and start the collectors."
    down = [source.name for source in seen.sources if source.name not in seen.answering]
    if len(down) == len(seen.sources):
        return "No source answers, and nothing was seen in this window. The Overview says what is the matter."
    return "No event was seen in this window and no group reads a stream. Choose a longer window."
