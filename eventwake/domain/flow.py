"""The flow graph: who publishes to which stream, who reads it, and where letters end, from what was seen.

A service is known by the producer name of its events, or by a consumer group of the same name; groups of one
name on several streams are one node.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from eventwake.domain.lag import Lag, Status, total
from eventwake.domain.trace import service_name


class NodeKind(StrEnum):
    SERVICE = "service"
    STREAM = "stream"
    GROUP = "group"
    DEAD_LETTERS = "dead_letters"


class Health(StrEnum):
    """How a node or edge is drawn, best first."""

    OK = "ok"
    UNKNOWN = "unknown"
    WARN = "warn"
    BAD = "bad"


HEALTH_OF_STATUS = {
    Status.OK: Health.OK,
    Status.UNKNOWN: Health.UNKNOWN,
    Status.FALLING_BEHIND: Health.WARN,
    Status.REWOUND: Health.WARN,
    Status.STALLED: Health.BAD,
    Status.STOPPED: Health.BAD,
}
_SEVERITY = [Health.OK, Health.UNKNOWN, Health.WARN, Health.BAD]


def worst(states: Iterable[Health]) -> Health:
    return max(states, key=_SEVERITY.index, default=Health.OK)


@dataclass(frozen=True, slots=True)
class StreamSeen:
    id: int
    source: str
    name: str
    dead_letters: bool
    fresh: bool  # its source answers


@dataclass(frozen=True, slots=True)
class Published:
    """Events that a producer put into a stream within the window; producer "" is not known."""

    stream_id: int
    producer: str
    events: int
    undecodable: int


@dataclass(frozen=True, slots=True)
class Consumed:
    """One group on one stream; `per_s` None where the rate cannot be known."""

    group_id: int
    stream_id: int
    group: str
    per_s: float | None
    lag: Lag
    status: Status


@dataclass(frozen=True, slots=True)
class Failed:
    """Letters that arrived within the window in a dead-letter stream, by whom and from where."""

    stream_id: int
    group: str | None
    origin_stream: str | None
    letters: int
    still_open: int


@dataclass(frozen=True, slots=True)
class Reaction:
    """A producer was seen to react to events of a stream."""

    cause_stream_id: int
    producer: str


@dataclass(slots=True)
class Node:
    id: str
    kind: NodeKind
    label: str
    in_per_s: float | None = 0.0
    out_per_s: float = 0.0
    errors: int = 0  # letters given up by it, undecodable events of it, or letters open in it
    lag: Lag | None = None
    health: Health = Health.OK
    stream_ids: list[int] = field(default_factory=list)
    group_ids: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Edge:
    """`inferred`: known only by who was seen to react, not by a consumer group; its rate is then unknown."""

    id: str
    source: str
    target: str
    per_s: float | None
    health: Health = Health.OK
    lag: Lag | None = None
    inferred: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    nodes: list[Node]
    edges: list[Edge]


def build(
    seconds: float,
    streams: Sequence[StreamSeen],
    published: Sequence[Published],
    consumed: Sequence[Consumed],
    failed: Sequence[Failed],
    reactions: Sequence[Reaction],
) -> Graph:
    """The graph of a window `seconds` long. Streams that nothing touched are left out."""
    graph = _Builder(seconds, streams)
    for publication in published:
        graph.publish(publication)
    for consumption in consumed:
        graph.consume(consumption)
    for failure in failed:
        graph.fail(failure)
    for reaction in reactions:
        graph.react(reaction)
    return graph.finished()


class _Builder:
    def __init__(self, seconds: float, streams: Sequence[StreamSeen]) -> None:
        self._seconds = max(seconds, 1.0)
        self._streams = {stream.id: stream for stream in streams}
        self._by_name = {(s.source, s.name): s for s in streams}
        self._nodes: dict[str, Node] = {}
        self._edges: dict[tuple[str, str], Edge] = {}
        self._lags: dict[str, list[Lag]] = defaultdict(list)

    def publish(self, publication: Published) -> None:
        if (stream := self._streams.get(publication.stream_id)) is None:
            return
        node, rate = self._stream_node(stream), publication.events / self._seconds
        node.in_per_s = (node.in_per_s or 0.0) + rate
        node.errors += publication.undecodable
        if publication.producer:
            service = self._party(publication.producer, NodeKind.SERVICE)
            service.out_per_s += rate
            self._edge(service, node, rate)

    def consume(self, consumption: Consumed) -> None:
        if (stream := self._streams.get(consumption.stream_id)) is None:
            return
        party = self._party(consumption.group, NodeKind.GROUP)
        health = HEALTH_OF_STATUS[consumption.status] if stream.fresh else Health.UNKNOWN
        party.group_ids.append(consumption.group_id)
        party.health = worst((party.health, health))
        rates = (party.in_per_s, consumption.per_s)
        party.in_per_s = None if None in rates else sum(rate for rate in rates if rate is not None)
        self._lags[party.id].append(consumption.lag)
        self._edge(self._stream_node(stream), party, consumption.per_s, health, consumption.lag)

    def fail(self, failure: Failed) -> None:
        if (stream := self._streams.get(failure.stream_id)) is None:
            return
        node, rate = self._stream_node(stream), failure.letters / self._seconds
        node.in_per_s = (node.in_per_s or 0.0) + rate
        node.errors += failure.still_open
        origin = self._by_name.get((stream.source, failure.origin_stream or ""))
        giver = None
        if failure.group:
            giver = self._party(failure.group, NodeKind.GROUP)
            giver.errors += failure.letters
        elif origin is not None:
            giver = self._stream_node(origin)
        if giver is not None:
            self._edge(giver, node, rate, Health.BAD if failure.letters else Health.OK)

    def react(self, reaction: Reaction) -> None:
        """Who reacts without a group that bears its name is drawn with a dashed edge."""
        stream = self._streams.get(reaction.cause_stream_id)
        key = f"party:{service_name(reaction.producer)}"
        if stream is None or key not in self._nodes:
            return
        party, node = self._nodes[key], self._stream_node(stream)
        if (node.id, party.id) not in self._edges:
            edge_id = f"{node.id}>{party.id}"
            self._edges[node.id, party.id] = Edge(edge_id, node.id, party.id, None, inferred=True)

    def finished(self) -> Graph:
        for node_id, lags in self._lags.items():
            self._nodes[node_id].lag = total(lags)
        for node in self._nodes.values():
            if node.kind is NodeKind.DEAD_LETTERS and node.errors:
                node.health = Health.BAD
            elif node.kind is NodeKind.STREAM and node.errors:
                node.health = worst((node.health, Health.WARN))
        return Graph(list(self._nodes.values()), list(self._edges.values()))

    def _stream_node(self, stream: StreamSeen) -> Node:
        kind = NodeKind.DEAD_LETTERS if stream.dead_letters else NodeKind.STREAM
        node = self._nodes.setdefault(f"stream:{stream.id}", Node(f"stream:{stream.id}", kind, stream.name))
        if not node.stream_ids:
            node.stream_ids.append(stream.id)
        if not stream.fresh:
            node.health = Health.UNKNOWN
        return node

    def _party(self, name: str, kind: NodeKind) -> Node:
        """A service or group; one that both publishes and consumes under one name is one node, a service."""
        key = f"party:{service_name(name)}"
        node = self._nodes.setdefault(key, Node(key, kind, name))
        if kind is NodeKind.SERVICE:
            node.kind = kind
        return node

    def _edge(
        self,
        source: Node,
        target: Node,
        per_s: float | None,
        health: Health = Health.OK,
        lag: Lag | None = None,
    ) -> None:
        key = (source.id, target.id)
        if (before := self._edges.get(key)) is not None:
            both = (before.per_s, per_s)
            per_s = None if None in both else sum(rate for rate in both if rate is not None)
            health = worst((before.health, health))
            lag = lag or before.lag
        self._edges[key] = Edge(f"{source.id}>{target.id}", *key, per_s, health, lag)
