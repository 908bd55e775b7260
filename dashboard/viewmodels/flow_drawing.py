"""What the flow graph's component draws: one line of figures a node, and the rest in its tooltip."""

from collections.abc import Mapping
from typing import Any

from dashboard.viewmodels import flow_layout, units
from dashboard.viewmodels.flow import KINDS, Seen, chosen, edge_rate, failed_of, failed_text, lag_text
from dashboard.viewmodels.text import middle, one_line
from eventwake.domain.flow import Edge, Graph, Node, NodeKind
from eventwake.domain.lag import Lag, Status

LABEL_LETTERS = 18  # what a node has room for
PAGE_PX = 1_340  # the drawing's width on a common screen; its height is chosen for that
MIN_PX, MAX_PX = 300, 660


def drawn(seen: Seen, graph: Graph, pick: str | None) -> dict[str, Any]:
    """What the component draws; its module says what is what."""
    layout = flow_layout.place((n.id for n in graph.nodes), ((e.source, e.target) for e in graph.edges))
    nodes = {node.id: node for node in graph.nodes}
    in_order = sorted(graph.nodes, key=lambda node: layout.nodes[node.id])
    fitted = min(1.0, PAGE_PX / layout.width)
    return {
        "nodes": [{**_node(seen, node), **_place(layout, node.id)} for node in in_order],
        "edges": [
            {
                **_edge(seen, edge, nodes),
                "points": layout.edges[edge.source, edge.target],
                "tag_at": 0.3 if (edge.target, edge.source) in layout.edges else 0.5,
            }
            for edge in sorted(graph.edges, key=lambda edge: edge.id)
        ],
        "selected": pick if chosen(graph, pick) else None,
        "width": layout.width,
        "height": layout.height,
        "pixels": round(min(MAX_PX, max(MIN_PX, layout.height * fitted + 50))),
    }


def _place(layout: flow_layout.Layout, node_id: str) -> dict[str, float]:
    x, y = layout.nodes[node_id]
    return {"x": x, "y": y, "width": flow_layout.NODE_WIDTH, "height": flow_layout.NODE_HEIGHT}


def _node(seen: Seen, node: Node) -> dict[str, Any]:
    detail, aside = _figures(seen, node)
    said = [f"{one_line(node.label)} ({KINDS[node.kind]}{_where(seen, node)})", *_node_says(seen, node)]
    return {
        "id": node.id,
        "kind": node.kind.value,
        "label": middle(node.label, LABEL_LETTERS),
        "detail": detail,
        "aside": aside,
        "status": node.health.value,
        "title": "\n".join(said),
    }


def _where(seen: Seen, node: Node) -> str:
    sources = sorted({seen.by_id[i].source for i in node.stream_ids})
    return f" in {', '.join(map(one_line, sources))}" if sources else ""


def _figures(seen: Seen, node: Node) -> tuple[str, str]:
    """A node's second line: what flows, and at the right what is amiss."""
    if node.kind is NodeKind.DEAD_LETTERS:
        rate = f"+{units.rate(node.in_per_s)}" if node.in_per_s else ""
        return f"{units.count(node.errors)} open", rate
    if node.kind is NodeKind.STREAM:
        if not seen.fresh(node.stream_ids[0]):
            return units.UNKNOWN, "no answer"
        return units.rate(node.in_per_s), _failed_share(seen, node)
    if not node.group_ids:
        return f"sends {units.rate(node.out_per_s)}", ""
    taken = units.rate(node.in_per_s)
    if node.out_per_s:
        return f"{taken} → {units.rate(node.out_per_s)}", _failed_share(seen, node)
    return f"{taken} · lag {_short_lag(node.lag)}", _failed_share(seen, node)


def _failed_share(seen: Seen, node: Node) -> str:
    """The share of events that were given up or undecodable; "" where none were."""
    failed, whole = failed_of(seen, node)
    return f"{failed_text(failed, whole)} ✕" if failed else ""


def _node_says(seen: Seen, node: Node) -> list[str]:
    """The same in sentences, with what there was no room for."""
    said = []
    failed, whole = failed_of(seen, node)
    if node.kind is NodeKind.DEAD_LETTERS:
        said.append(f"{units.count(node.errors)} letters open; {units.rate(node.in_per_s)} arrived")
    elif node.kind is NodeKind.STREAM:
        said.append(f"{units.rate(node.in_per_s)} published")
        if failed:
            said.append(f"{units.count(failed)} of {units.count(whole)} events given up or undecodable")
    else:
        if node.group_ids:
            said.append(f"takes {units.rate(node.in_per_s)}, lag {lag_text(node.lag)}")
        if node.out_per_s or not node.group_ids:
            said.append(f"publishes {units.rate(node.out_per_s)}")
        if failed:
            said.append(f"gave up {units.count(failed)} events")
        said += _worst_rules(seen, node)
    if any(not seen.fresh(i) for i in node.stream_ids):
        said.append("its source does not answer: what goes on now is unknown")
    return said


def _worst_rules(seen: Seen, node: Node) -> list[str]:
    """Why a group is not well: each stream's status with the rule that gave it."""
    return [
        f"{one_line(row.stream)}: {row.status} (rule {row.rule})"
        for row in seen.groups
        if row.id in node.group_ids and row.status != Status.OK.value
    ]


def _edge(seen: Seen, edge: Edge, nodes: Mapping[str, Node]) -> dict[str, Any]:
    rate = edge_rate(seen, edge, nodes)
    label, note = units.rate(rate), ""
    if edge.inferred:
        label = "inferred"
    elif edge.lag is not None:
        lag = _short_lag(edge.lag)
        label = f"{label} · lag {lag}"
        note = "" if edge.lag.value == 0 else f"lag {lag}"
    ends = " → ".join(one_line(nodes[end].label) for end in (edge.source, edge.target))
    return {
        "id": edge.id,
        "source": edge.source,
        "target": edge.target,
        "rate": rate,
        "label": label,
        "note": note,
        "status": edge.health.value,
        "dashed": edge.inferred,
        "title": f"{ends}\n{_edge_says(edge, rate)}",
    }


def _edge_says(edge: Edge, rate: float | None) -> str:
    if edge.inferred:
        return "seen to react to these events, though no group of that name reads them; rate unknown"
    return units.rate(rate) + (f", lag {lag_text(edge.lag)}" if edge.lag is not None else "")


def _short_lag(lag: Lag | None) -> str:
    """A lag with its bound in a few letters: "≥ 1.2k"."""
    if lag is None or lag.value is None:
        return units.UNKNOWN
    sign = units.lag(lag.kind.value, 0)[:-1]
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if lag.value >= size:
            return f"{sign}{lag.value / size:.1f}{unit}"
    return f"{sign}{lag.value}"
