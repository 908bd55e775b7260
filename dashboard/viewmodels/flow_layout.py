"""Where the flow graph's nodes and edges lie: layers from left to right, the same for the same topology.

Rates, lag and colours have no part in it, so that a refresh never moves a node.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby, pairwise
from types import MappingProxyType

import fast_sugiyama

NODE_WIDTH, NODE_HEIGHT = 160, 46
LAYER_STEP = NODE_WIDTH + 50  # the gap holds the arrows and a lag's label
ROW = 60  # from the middle of a node to the middle of the next one in its layer
LANE = 20  # the same for an edge that passes a layer
COMPONENT_GAP = 24
PORT_GAP = 9  # between edges that end on the same side of a node
BOTH_WAYS = 6  # how far apart the two directions run between two nodes that have both
LOOSE_COLUMNS = 6  # nodes without edges stand in a grid this wide
KEPT = 64  # layouts: a few windows and sources for a while

Point = tuple[float, float]
Pair = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Layout:
    """The upper left corner of each node, and each edge as points from its source to its target.

    Between two points an edge leaves and arrives level; the two points of a self-loop lie on the node's
    upper side.
    """

    width: float
    height: float
    nodes: Mapping[str, Point]
    edges: Mapping[Pair, tuple[Point, ...]]


@dataclass(slots=True)
class _Grid:
    """Layers and middles: of the nodes, and of the lanes of edges that pass layers, keyed by edge."""

    nodes: dict[str, tuple[int, float]]
    lanes: dict[Pair, list[tuple[int, float]]]


def place(nodes: Iterable[str], edges: Iterable[Pair]) -> Layout:
    """The layout of these nodes and directed edges; cycles, self-loops and loose nodes may be among them."""
    return _placed(tuple(sorted(set(nodes))), tuple(sorted(set(edges))))


@lru_cache(maxsize=KEPT)
def _placed(nodes: tuple[str, ...], edges: tuple[Pair, ...]) -> Layout:
    rank = _order(nodes, edges)
    forward = {edge if rank[edge[0]] < rank[edge[1]] else edge[::-1] for edge in edges if edge[0] != edge[1]}
    grid = _stacked(_components(sorted(forward)))
    _add_loose(grid, [node for node in nodes if node not in grid.nodes])
    routes = _routes(grid, edges)
    corners = {
        node: (layer * LAYER_STEP, middle - NODE_HEIGHT / 2) for node, (layer, middle) in grid.nodes.items()
    }
    ys = [y for _, y in corners.values()] + [y for route in routes.values() for _, y in route]
    top = min(ys, default=0.0)
    bottom = max([y for _, y in corners.values()], default=0.0) + NODE_HEIGHT
    return Layout(
        max((x for x, _ in corners.values()), default=0.0) + NODE_WIDTH,
        max([bottom, *ys]) - top,
        MappingProxyType({node: (x, round(y - top, 1)) for node, (x, y) in corners.items()}),
        MappingProxyType({e: tuple((x, round(y - top, 1)) for x, y in route) for e, route in routes.items()}),
    )


def _order(nodes: Sequence[str], edges: Sequence[Pair]) -> dict[str, int]:
    """Places in a line with few edges that lead back: Eades, Lin and Smyth's greedy heuristic.

    The layout must not be given a cycle: its library ends the process at a self-loop. Among equals the node
    with the most ways out comes first, since an orchestrator is asked before it is answered.
    """
    out, into = defaultdict(set), defaultdict(set)
    for source, target in edges:
        if source != target:
            out[source].add(target)
            into[target].add(source)
    ways_out = {node: len(out[node]) for node in nodes}
    left, first, last = set(nodes), list[str](), list[str]()
    while left:
        if sinks := sorted(node for node in left if not out[node]):
            taken, line = sinks[-1], last
        elif sources := sorted(node for node in left if not into[node]):
            taken, line = sources[0], first
        else:
            taken = min(left, key=lambda n: (len(into[n]) - len(out[n]), -ways_out[n], n))
            line = first
        line.append(taken)
        left.discard(taken)
        for target in out.pop(taken, ()):
            into[target].discard(taken)
        for source in into.pop(taken, ()):
            out[source].discard(taken)
    return {node: place for place, node in enumerate([*first, *reversed(last)])}


def _components(edges: Sequence[Pair]) -> list[_Grid]:
    """Each connected part in layers, the largest part first."""
    names = sorted({node for edge in edges for node in edge})
    number = {name: index for index, name in enumerate(names)}
    parts = fast_sugiyama.from_edges(
        [(number[source], number[target]) for source, target in edges],
        dummy_vertices=True,
        ranking_type="minimize",
        vertex_spacing=ROW,
        dummy_size=LANE / ROW,
    )
    grids = []
    for found, _, _, found_links in parts:
        positions = [(int(key), (float(x), float(depth))) for key, (x, depth) in found]
        links = [(int(source), int(target)) for source, target in found_links or ()]
        deepest = max(depth for _, (_, depth) in positions)
        layers = {key: round((deepest - depth) / ROW) for key, (_, depth) in positions}
        middles = _apart(positions, layers, len(names))
        at = {key: (layers[key], middles[key]) for key in layers}
        nodes = {names[key]: place for key, place in at.items() if key < len(names)}
        chains = _chains(links, len(names))
        lanes = {(names[a], names[b]): [at[key] for key in chain] for (a, b), chain in chains.items()}
        grids.append(_Grid(nodes, lanes))
    return sorted(grids, key=lambda grid: (-len(grid.nodes), min(grid.nodes)))


def _apart(positions: Sequence[tuple[int, Point]], layers: Mapping[int, int], nodes: int) -> dict[int, float]:
    """Middles with no two nearer than they may be, which the library does not promise."""
    ordered = sorted((layers[key], x, key) for key, (x, _) in positions)
    middles: dict[int, float] = {}
    for _, layer in groupby(ordered, key=lambda entry: entry[0]):
        line = list(layer)
        at = line[0][1]
        moved = [at]
        for (_, _, before), (_, x, key) in pairwise(line):
            at = max(x, at + sum(ROW if k < nodes else LANE for k in (before, key)) / 2)
            moved.append(at)
        back = sum(now - x for now, (_, x, _) in zip(moved, line, strict=True)) / len(line)
        middles |= {key: now - back for now, (_, _, key) in zip(moved, line, strict=True)}
    return middles


def _chains(links: Iterable[tuple[int, int]], nodes: int) -> dict[tuple[int, int], list[int]]:
    """(source, target) -> the stand-ins of that edge in the layers that it passes, in its direction."""
    after = {source: target for source, target in links if source >= nodes}
    before = {target: source for source, target in links if target >= nodes}
    chains = {}
    for start in (key for key, source in before.items() if source < nodes):
        chain = [start]
        while (following := after[chain[-1]]) >= nodes:
            chain.append(following)
        chains[before[start], following] = chain
    return chains


def _stacked(parts: Sequence[_Grid]) -> _Grid:
    whole, floor = _Grid({}, {}), 0.0
    for part in parts:
        places = [*part.nodes.values(), *(place for lane in part.lanes.values() for place in lane)]
        shift = floor - min(middle for _, middle in places)
        whole.nodes |= {node: (layer, middle + shift) for node, (layer, middle) in part.nodes.items()}
        whole.lanes |= {
            edge: [(layer, middle + shift) for layer, middle in lane] for edge, lane in part.lanes.items()
        }
        floor = shift + max(middle for _, middle in places) + ROW + COMPONENT_GAP
    return whole


def _add_loose(grid: _Grid, loose: Sequence[str]) -> None:
    places = [*grid.nodes.values(), *(place for lane in grid.lanes.values() for place in lane)]
    floor = max((middle + ROW for _, middle in places), default=0.0)
    for index, node in enumerate(loose):
        grid.nodes[node] = (index % LOOSE_COLUMNS, floor + index // LOOSE_COLUMNS * ROW)


def _routes(grid: _Grid, edges: Sequence[Pair]) -> dict[Pair, tuple[Point, ...]]:
    known = set(edges)
    inner = {edge: _inner(grid, edge, edge[::-1] in known) for edge in edges if edge[0] != edge[1]}
    ports = _ports(grid, inner)
    routes = {edge: (ports[edge, 0], *points, ports[edge, 1]) for edge, points in inner.items()}
    for node in (source for source, target in edges if source == target):
        layer, middle = grid.nodes[node]
        right, left = (layer * LAYER_STEP + NODE_WIDTH * share for share in (0.7, 0.3))
        routes[node, node] = ((right, middle - NODE_HEIGHT / 2), (left, middle - NODE_HEIGHT / 2))
    return routes


def _inner(grid: _Grid, edge: Pair, both_ways: bool) -> list[Point]:
    """The points between the ends: an edge crosses each layer that it passes on the level."""
    lane, sides, shift = grid.lanes.get(edge, []), (0, NODE_WIDTH), 0
    if not lane:
        lane, sides, shift = grid.lanes.get(edge[::-1], [])[::-1], (NODE_WIDTH, 0), both_ways * BOTH_WAYS
    return [(layer * LAYER_STEP + side, middle + shift) for layer, middle in lane for side in sides]


def _ports(grid: _Grid, inner: Mapping[Pair, list[Point]]) -> dict[tuple[Pair, int], Point]:
    """(edge, 0 or 1: its beginning or its end) -> where it touches the node, spread so that none cross."""
    sides = defaultdict(list)
    for edge, points in inner.items():
        (from_layer, from_y), (to_layer, to_y) = (grid.nodes[node] for node in edge)
        leaves_right = from_layer < to_layer
        toward, back = (points[0][1], points[-1][1]) if points else (to_y, from_y)
        sides[edge[0], leaves_right].append((toward, edge, 0))
        sides[edge[1], not leaves_right].append((back, edge, 1))
    ports: dict[tuple[Pair, int], Point] = {}
    for (node, on_right), ends in sides.items():
        layer, middle = grid.nodes[node]
        step = min(PORT_GAP, (NODE_HEIGHT - 12) / max(1, len(ends) - 1))
        for index, (_, edge, end) in enumerate(sorted(ends)):
            y = middle + (index - (len(ends) - 1) / 2) * step
            ports[edge, end] = (layer * LAYER_STEP + NODE_WIDTH * on_right, y)
    return ports
