"""The flow graph's layout: layered from left to right, the same for the same topology, whatever its shape."""

import random
from itertools import combinations

import pytest

from dashboard.viewmodels import flow_layout
from dashboard.viewmodels.flow_layout import LAYER_STEP, NODE_HEIGHT, NODE_WIDTH, Layout, Pair, place

ORDER_SYSTEM: list[Pair] = [
    ("user", "users"), ("users", "order"), ("users", "email"), ("users", "payment"), ("users", "analytics"),
    ("order", "orders"), ("order", "inventory.commands"), ("order", "payment.commands"), ("order", "dlq"),
    ("orders", "order"), ("orders", "email"), ("orders", "analytics"), ("inventory.commands", "inventory"),
    ("inventory", "reserved"), ("reserved", "order"), ("reserved", "analytics"),
    ("payment.commands", "payment"), ("payment", "payments"), ("payments", "order"),
    ("email", "emails"), ("emails", "analytics"), ("email", "dlq"), ("analytics", "dlq"),
]  # fmt: skip

CROWDED = [(79, 8), (92, 10), (114, 12), (161, 45)]  # the library's own layout overlaps, every other time


def laid(edges: list[Pair], *loose: str) -> Layout:
    return place({node for edge in edges for node in edge} | set(loose), edges)


def uncached(edges: list[Pair]) -> Layout:
    flow_layout._placed.cache_clear()
    return laid(edges)


def overlapping(layout: Layout) -> list[tuple[str, str]]:
    return [
        (a, b)
        for (a, (ax, ay)), (b, (bx, by)) in combinations(layout.nodes.items(), 2)
        if abs(ax - bx) < NODE_WIDTH and abs(ay - by) < NODE_HEIGHT
    ]


def random_edges(seed: int, nodes: int) -> list[Pair]:
    dice = random.Random(seed)
    return [(f"n{dice.randrange(nodes)}", f"n{dice.randrange(nodes)}") for _ in range(int(nodes * 1.5))]


def test_what_follows_stands_to_the_right() -> None:
    nodes = laid([("a", "b"), ("b", "c"), ("a", "c")]).nodes
    assert [nodes[name][0] for name in "abc"] == [0, LAYER_STEP, 2 * LAYER_STEP]


def test_the_order_of_the_input_changes_nothing() -> None:
    first = uncached(ORDER_SYSTEM)
    assert uncached(ORDER_SYSTEM[::-1]) == first
    assert uncached(random.Random(3).sample(ORDER_SYSTEM, len(ORDER_SYSTEM))) == first


def test_the_same_topology_is_laid_out_once() -> None:
    assert laid(ORDER_SYSTEM) is laid(ORDER_SYSTEM[::-1])


def test_an_orchestrator_stands_before_those_who_answer_it() -> None:
    x = {name: corner[0] for name, corner in laid(ORDER_SYSTEM).nodes.items()}
    assert x["user"] < x["users"] < x["order"] < x["payment.commands"] < x["payment"] < x["payments"]
    assert x["order"] < x["inventory.commands"] < x["inventory"] < x["reserved"] < x["analytics"] < x["dlq"]


@pytest.mark.parametrize("seed", range(20))
def test_no_two_nodes_overlap_and_every_edge_is_drawn(seed: int) -> None:
    edges = random_edges(seed, nodes=5 + 2 * seed)
    layout = laid(edges, "loose 1", "loose 2")
    assert overlapping(layout) == []
    assert set(layout.edges) == set(edges)


@pytest.mark.parametrize(("seed", "nodes"), CROWDED)
def test_nodes_that_the_layout_library_lets_overlap_are_moved_apart(seed: int, nodes: int) -> None:
    for _ in range(8):
        assert overlapping(uncached(random_edges(seed, nodes))) == []


def test_a_hundred_and_fifty_nodes_find_room() -> None:
    layout = laid(random_edges(7, nodes=150))
    assert overlapping(layout) == []
    corners = layout.nodes.values()
    assert all(0 <= x <= layout.width - NODE_WIDTH for x, _ in corners)
    assert all(0 <= y <= layout.height - NODE_HEIGHT for _, y in corners)


@pytest.mark.parametrize("seed", range(10))
def test_an_edge_begins_and_ends_at_the_sides_of_its_nodes(seed: int) -> None:
    layout = laid(random_edges(seed, nodes=20))
    for (source, target), points in layout.edges.items():
        if source == target:
            continue
        for node, (x, y) in ((source, points[0]), (target, points[-1])):
            left, top = layout.nodes[node]
            assert x in (left, left + NODE_WIDTH)
            assert top <= y <= top + NODE_HEIGHT


@pytest.mark.parametrize("seed", range(10))
def test_no_edge_runs_through_a_node_in_a_layer_that_it_passes(seed: int) -> None:
    layout = laid(random_edges(seed, nodes=25))
    passed = [
        point for (source, target), points in layout.edges.items() if source != target
        for point in points[1:-1]
    ]  # fmt: skip
    for left, top in layout.nodes.values():
        assert not [1 for x, y in passed if left <= x <= left + NODE_WIDTH and top < y < top + NODE_HEIGHT]


def test_a_cycle_has_one_edge_that_leads_back() -> None:
    layout = laid([("a", "b"), ("b", "c"), ("c", "a")])
    back = [edge for edge, points in layout.edges.items() if points[-1][0] < points[0][0]]
    assert len(back) == 1


def test_both_directions_between_two_nodes_are_apart() -> None:
    edges = laid([("a", "b"), ("b", "a")]).edges
    assert edges["a", "b"][0][1] != edges["b", "a"][-1][1]


def test_a_self_loop_lies_on_the_nodes_upper_side() -> None:
    layout = laid([("a", "a"), ("a", "b")])
    left, top = layout.nodes["a"]
    assert [y for _, y in layout.edges["a", "a"]] == [top, top]
    assert all(left < x < left + NODE_WIDTH for x, _ in layout.edges["a", "a"])


def test_parts_that_do_not_touch_lie_one_below_the_other() -> None:
    nodes = laid([("a", "b"), ("b", "c"), ("x", "y")]).nodes
    assert max(nodes[name][1] for name in "abc") + NODE_HEIGHT <= min(nodes[name][1] for name in "xy")


def test_loose_nodes_stand_below_the_rest() -> None:
    nodes = laid([("a", "b")], "loose").nodes
    assert nodes["loose"][1] >= nodes["a"][1] + NODE_HEIGHT


def test_a_single_node_is_a_layout() -> None:
    assert laid([], "only") == Layout(NODE_WIDTH, NODE_HEIGHT, {"only": (0, 0)}, {})


def test_nothing_is_a_layout() -> None:
    assert laid([]).nodes == {}
