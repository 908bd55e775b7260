"""The flow graph: nodes and edges from what was seen within the window, and how healthy each is."""

import pytest

from eventwake.domain.flow import (
    Consumed,
    Edge,
    Failed,
    Graph,
    Health,
    Node,
    NodeKind,
    Published,
    Reaction,
    StreamSeen,
    build,
    worst,
)
from eventwake.domain.lag import Lag, Status

ORDERS = StreamSeen(1, "shop", "orders", dead_letters=False, fresh=True)
PAYMENTS = StreamSeen(2, "shop", "payments", dead_letters=False, fresh=True)
DEAD = StreamSeen(3, "shop", "orders:dlq", dead_letters=True, fresh=True)
STALE = StreamSeen(4, "far", "invoices", dead_letters=False, fresh=False)
MINUTE = 60.0


def graph(*seen: Published | Consumed | Failed | Reaction, seconds: float = MINUTE) -> Graph:
    def of(kind: type) -> list:  # type: ignore[type-arg]
        return [item for item in seen if isinstance(item, kind)]

    streams = [ORDERS, PAYMENTS, DEAD, STALE]
    return build(seconds, streams, of(Published), of(Consumed), of(Failed), of(Reaction))


def consumed(group: str = "mail", stream: StreamSeen = ORDERS, **more: object) -> Consumed:
    usual = {"group_id": 7, "per_s": 5.0, "lag": Lag.known(0), "status": Status.OK, **more}
    return Consumed(stream_id=stream.id, group=group, **usual)  # type: ignore[arg-type]


def node(graph: Graph, label: str) -> Node:
    [found] = [node for node in graph.nodes if node.label == label]
    return found


def edge(graph: Graph, source: str, target: str) -> Edge:
    ends = (node(graph, source).id, node(graph, target).id)
    [found] = [edge for edge in graph.edges if (edge.source, edge.target) == ends]
    return found


def test_who_publishes_and_who_reads_is_drawn_with_rates() -> None:
    drawn = graph(Published(1, "shop-web", 600, 0), consumed("mail"))
    assert [(n.label, n.kind) for n in drawn.nodes] == [
        ("orders", NodeKind.STREAM), ("shop-web", NodeKind.SERVICE), ("mail", NodeKind.GROUP),
    ]  # fmt: skip
    assert edge(drawn, "shop-web", "orders").per_s == 10.0
    assert edge(drawn, "orders", "mail").per_s == 5.0
    assert (node(drawn, "orders").in_per_s, node(drawn, "shop-web").out_per_s) == (10.0, 10.0)


def test_streams_that_nothing_touched_are_left_out() -> None:
    assert [n.label for n in graph(Published(1, "", 1, 0)).nodes] == ["orders"]
    assert graph() == Graph([], [])


def test_a_producer_that_is_not_known_is_no_node() -> None:
    drawn = graph(Published(1, "", 60, 0))
    assert drawn.edges == []
    assert node(drawn, "orders").in_per_s == 1.0


def test_several_types_of_one_producer_are_one_edge() -> None:
    drawn = graph(Published(1, "web", 60, 0), Published(1, "web", 120, 0))
    assert edge(drawn, "web", "orders").per_s == 3.0


def test_a_service_and_its_group_are_one_node_whichever_is_seen_first() -> None:
    for name in ("payment", "payment-service"):
        drawn = graph(Published(2, name, 60, 0), consumed("payment-group", ORDERS))
        assert [n.kind for n in drawn.nodes if n.group_ids] == [NodeKind.SERVICE]
        assert len(drawn.nodes) == 3


def test_groups_of_one_name_on_two_streams_are_one_node_as_bad_as_the_worse() -> None:
    drawn = graph(
        consumed("mail", ORDERS, group_id=7, lag=Lag.known(3)),
        consumed("mail", PAYMENTS, group_id=8, lag=Lag.unknown("no commit"), status=Status.STOPPED),
    )
    mail = node(drawn, "mail")
    assert (mail.group_ids, mail.in_per_s, mail.health) == ([7, 8], 10.0, Health.BAD)
    assert mail.lag is not None
    assert str(mail.lag) == "at least 3"


def test_a_sum_with_a_rate_that_is_not_known_is_not_known() -> None:
    drawn = graph(consumed("mail", ORDERS), consumed("mail", PAYMENTS, per_s=None))
    assert node(drawn, "mail").in_per_s is None
    assert edge(drawn, "orders", "mail").per_s == 5.0


@pytest.mark.parametrize(
    ("status", "health"),
    [
        (Status.OK, Health.OK),
        (Status.UNKNOWN, Health.UNKNOWN),
        (Status.FALLING_BEHIND, Health.WARN),
        (Status.REWOUND, Health.WARN),
        (Status.STALLED, Health.BAD),
        (Status.STOPPED, Health.BAD),
    ],
)
def test_a_group_is_drawn_as_its_status(status: Status, health: Health) -> None:
    drawn = graph(consumed("mail", status=status))
    assert (node(drawn, "mail").health, edge(drawn, "orders", "mail").health) == (health, health)


def test_of_a_source_that_does_not_answer_nothing_is_said_to_be_well_or_ill() -> None:
    for status in Status:
        drawn = graph(consumed("mail", STALE, status=status))
        assert {n.health for n in drawn.nodes} == {Health.UNKNOWN}


def test_what_a_group_gave_up_leads_from_it_to_the_dead_letters() -> None:
    drawn = graph(consumed("mail"), Failed(3, "mail", "orders", letters=6, still_open=4))
    assert edge(drawn, "mail", "orders:dlq").health is Health.BAD
    assert edge(drawn, "mail", "orders:dlq").per_s == 0.1
    dead = node(drawn, "orders:dlq")
    assert (dead.kind, dead.errors, dead.health) == (NodeKind.DEAD_LETTERS, 4, Health.BAD)
    assert node(drawn, "mail").errors == 6


def test_letters_of_an_unknown_group_come_from_the_stream_that_they_lay_in() -> None:
    drawn = graph(Failed(3, None, "orders", letters=6, still_open=0))
    assert edge(drawn, "orders", "orders:dlq").per_s == 0.1
    assert node(drawn, "orders:dlq").health is Health.OK


def test_an_origin_is_looked_for_in_the_letters_own_source_only() -> None:
    drawn = graph(Failed(3, None, "invoices", letters=1, still_open=1))
    assert drawn.edges == []


def test_undecodable_events_make_a_stream_doubtful() -> None:
    drawn = graph(Published(1, "web", 60, undecodable=2))
    assert (node(drawn, "orders").errors, node(drawn, "orders").health) == (2, Health.WARN)


def test_who_was_seen_to_react_without_a_group_is_inferred_and_has_no_rate() -> None:
    drawn = graph(Published(1, "web", 60, 0), Published(2, "billing", 60, 0), Reaction(1, "billing-service"))
    inferred = edge(drawn, "orders", "billing")
    assert (inferred.inferred, inferred.per_s, inferred.lag) == (True, None, None)


def test_an_edge_that_a_group_shows_is_not_inferred_as_well() -> None:
    drawn = graph(Published(2, "billing", 60, 0), consumed("billing", ORDERS), Reaction(1, "billing"))
    assert not edge(drawn, "orders", "billing").inferred


def test_a_reaction_of_someone_who_published_nothing_in_the_window_is_not_drawn() -> None:
    assert graph(Reaction(1, "billing")) == Graph([], [])


def test_what_is_said_of_a_stream_that_is_not_known_is_left_out() -> None:
    seen = [Published(99, "web", 1, 0), Failed(99, "mail", None, 1, 1), Reaction(99, "web")]
    assert graph(*seen, consumed("mail", StreamSeen(99, "s", "x", False, True))) == Graph([], [])


def test_a_window_of_no_length_divides_by_nothing() -> None:
    assert edge(graph(Published(1, "web", 5, 0), seconds=0.0), "web", "orders").per_s == 5.0


def test_the_worst_of_several_counts_and_of_none_is_ok() -> None:
    assert worst([Health.WARN, Health.OK, Health.UNKNOWN]) is Health.WARN
    assert worst([Health.UNKNOWN, Health.OK]) is Health.UNKNOWN
    assert worst([]) is Health.OK
