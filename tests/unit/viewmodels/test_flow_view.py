"""The flow page: from the store's rows to what the component draws and what the details say."""

import json
from dataclasses import replace
from datetime import UTC
from typing import Any

from dashboard.viewmodels import flow as view
from dashboard.viewmodels import flow_details, flow_drawing, flow_lines
from dashboard.viewmodels.flow import Seen, Window
from eventwake.domain.flow import Health
from eventwake.store.reads.events import EventFilter, EventRow
from eventwake.store.reads.flow import LinkRow, Stand
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letter_counts import ArrivalRow
from eventwake.store.reads.rates import COARSE_MS, FINE_MS, Flow
from eventwake.store.reads.sources import SourceRow, StreamRow

NOW = 1_800_000_005_000
UNTIL = 1_800_000_000_000
MINUTE = 60_000
ORDERS, DEAD = 1, 2


def stream(id_: int, name: str, kind: str = "events", source: str = "shop") -> StreamRow:
    return StreamRow(id_, source, name, kind, 10, 10, 0, 0, NOW, None)


def source(name: str = "shop", state: str = "up", checked_ms: int = NOW) -> SourceRow:
    return SourceRow(name, "redis_streams", state, 0, "", "Valkey", True, checked_ms)


def group(id_: int, name: str, **more: Any) -> GroupRow:
    values: dict[str, Any] = {
        **dict.fromkeys(GroupRow._fields),
        "id": id_, "source": "shop", "stream_id": ORDERS, "stream": "orders", "name": name, "status": "ok",
        "rule": "2: lag 0 is within the allowed 0", "committed": 700, "lag_kind": "known", "lag": 0,
        "lag_reason": "", "time_lag_kind": "known", "time_lag_ms": 0, "time_lag_reason": "", "pending": 0,
        "consumers": 1, "sampled_ms": NOW,
    }  # fmt: skip
    return GroupRow(**{**values, **more})


def seen(**more: Any) -> Seen:
    """One minute: order-service publishes 600 events, email-service reads 300 of them and gives up 3."""
    usual = Seen(
        Window(UNTIL - MINUTE, UNTIL, FINE_MS, MINUTE),
        NOW,
        [source()],
        [stream(ORDERS, "orders"), stream(DEAD, "orders:dlq", "dead_letters")],
        [Flow(ORDERS, "OrderPlaced", "order-service", 600, 60_000, 0)],
        [group(7, "email-service")],
        {7: Stand(NOW - MINUTE, 400)},
        [ArrivalRow(DEAD, "email-service", "orders", 3)],
        {DEAD: 20},
        [],
    )
    return replace(usual, **more)


def drawn(rows: Seen, pick: str | None = None) -> dict[str, Any]:
    return flow_drawing.drawn(rows, view.build(rows), pick)


def node(rows: Seen, node_id: str) -> dict[str, Any]:
    return next(node for node in drawn(rows)["nodes"] if node["id"] == node_id)


def edge(rows: Seen, edge_id: str) -> dict[str, Any]:
    return next(edge for edge in drawn(rows)["edges"] if edge["id"] == edge_id)


def told(rows: Seen, pick: str) -> flow_details.Details:
    found = flow_details.details(rows, view.build(rows), pick)
    assert found is not None
    return found


def figures(rows: Seen, pick: str) -> dict[str, str]:
    return {figure.label: figure.value for figure in told(rows, pick).figures}


# The window


def test_a_window_ends_at_the_last_whole_bucket() -> None:
    window = view.window(5 * MINUTE, None, NOW)
    assert (window.until_ms, window.seconds, window.span_ms) == (UNTIL, 300, FINE_MS)


def test_a_long_window_reads_the_coarse_rollup_from_its_first_bucket() -> None:
    window = view.window(24 * 60 * MINUTE, UNTIL - 24 * 60 * MINUTE - 1, NOW)
    assert window.span_ms == COARSE_MS
    assert window.first_bucket_ms == window.since_ms // COARSE_MS * COARSE_MS


def test_a_window_is_cut_to_what_is_known_and_says_so() -> None:
    window = view.window(24 * 60 * MINUTE, UNTIL - 3 * MINUTE, NOW)
    assert window.seconds == 180
    assert window.first_bucket_ms <= window.since_ms
    assert window.said() == "3 min (all that is known)"
    assert view.window(5 * MINUTE, 0, NOW).said() == "5 min"


# What is drawn


def test_a_service_shows_what_it_takes_and_sends() -> None:
    both = seen(groups=[group(7, "order-service")])
    assert node(both, "party:order")["detail"] == "5.0/s → 10.0/s"
    assert node(seen(), "party:order")["detail"] == "sends 10.0/s"


def test_a_group_shows_its_rate_its_lag_and_the_share_that_it_gave_up() -> None:
    email = node(seen(groups=[group(7, "email-service", lag=12)]), "party:email")
    assert (email["kind"], email["detail"], email["aside"]) == ("group", "5.0/s · lag 12", "1.0 % ✕")


def test_a_stream_shows_its_rate_and_its_failed_share() -> None:
    orders = node(seen(), f"stream:{ORDERS}")
    assert (orders["detail"], orders["aside"]) == ("10.0/s", "0.5 % ✕")


def test_undecodable_events_count_as_failed_and_warn() -> None:
    rows = seen(flows=[Flow(ORDERS, "", "order-service", 600, 1, 60)], arrivals=[])
    orders = node(rows, f"stream:{ORDERS}")
    assert (orders["aside"], orders["status"]) == ("10.0 % ✕", "warn")


def test_a_dead_letter_stream_shows_what_is_open_and_what_arrives() -> None:
    dead = node(seen(), f"stream:{DEAD}")
    assert (dead["kind"], dead["detail"], dead["aside"]) == ("dead_letters", "20 open", "+3.0/min")
    assert dead["status"] == "bad"


def test_open_letters_are_counted_once_however_many_groups_gave_up() -> None:
    rows = seen(arrivals=[ArrivalRow(DEAD, name, "orders", 1) for name in ("a", "b", "c")])
    assert node(rows, f"stream:{DEAD}")["detail"] == "20 open"


def test_a_rate_that_cannot_be_told_is_unknown() -> None:
    for rows in (
        seen(stands={}),
        seen(stands={7: Stand(NOW - MINUTE, None)}),
        seen(stands={7: Stand(NOW - MINUTE, 900)}),  # it was set back
        seen(groups=[group(7, "email-service", committed=None)]),
    ):
        assert node(rows, "party:email")["detail"] == "unknown · lag 0"
        assert edge(rows, f"stream:{ORDERS}>party:email")["rate"] is None


def test_of_a_source_that_is_silent_nothing_is_known_now() -> None:
    for silent in (source(state="down"), source(checked_ms=NOW - MINUTE)):
        rows = seen(sources=[silent])
        orders = node(rows, f"stream:{ORDERS}")
        assert (orders["detail"], orders["aside"], orders["status"]) == ("unknown", "no answer", "unknown")
        assert edge(rows, f"party:order>stream:{ORDERS}")["label"] == "unknown"
        assert node(seen(sources=[silent], open_letters={DEAD: 0}), f"stream:{DEAD}")["status"] == "unknown"


def test_an_edge_to_a_group_shows_its_lag_unless_there_is_none() -> None:
    reading = f"stream:{ORDERS}>party:email"
    caught_up = edge(seen(), reading)
    assert (caught_up["label"], caught_up["note"]) == ("5.0/s · lag 0", "")
    behind = seen(groups=[group(7, "email-service", lag=12_345, lag_kind="at least", status="stalled")])
    assert (edge(behind, reading)["note"], edge(behind, reading)["status"]) == ("lag ≥ 12.3k", "bad")
    unknown = seen(groups=[group(7, "email-service", lag=None, lag_kind="unknown", lag_reason="no count")])
    assert edge(unknown, reading)["note"] == "lag unknown"
    assert "no count" in edge(unknown, reading)["title"]


def test_an_edge_of_letters_is_bad() -> None:
    assert edge(seen(), f"party:email>stream:{DEAD}")["status"] == "bad"


def test_who_reacts_without_a_group_has_a_dashed_edge() -> None:
    rows = seen(links=[LinkRow(ORDERS, "order-service", ORDERS, 5, NOW)])
    inferred = edge(rows, f"stream:{ORDERS}>party:order")
    assert (inferred["dashed"], inferred["rate"], inferred["label"]) == (True, None, "inferred")


def test_a_long_name_is_cut_in_its_middle_and_whole_in_the_tooltip() -> None:
    name = "shop.orders.created.v2.eu-west-1"
    rows = seen(streams=[stream(ORDERS, name), stream(DEAD, "dlq", "dead_letters")])
    orders = node(rows, f"stream:{ORDERS}")
    assert len(orders["label"]) <= flow_drawing.LABEL_LETTERS
    assert orders["label"].endswith("west-1"[-4:])
    assert name in orders["title"]


def test_a_group_that_is_not_well_says_by_which_rule() -> None:
    rows = seen(groups=[group(7, "email-service", status="stalled", rule="5: behind and unmoved for 60 s")])
    assert "orders: stalled (rule 5: behind and unmoved for 60 s)" in node(rows, "party:email")["title"]


def test_rates_do_not_move_nodes() -> None:
    def places(rows: Seen) -> list[tuple[str, float, float]]:
        return [(node["id"], node["x"], node["y"]) for node in drawn(rows)["nodes"]]

    busier = seen(flows=[Flow(ORDERS, "OrderPlaced", "order-service", 60_000, 1, 0)], stands={})
    assert places(busier) == places(seen())


def test_only_what_is_there_is_selected() -> None:
    assert drawn(seen(), "party:email")["selected"] == "party:email"
    assert drawn(seen(), "party:nobody")["selected"] is None


def test_what_is_drawn_is_json() -> None:
    assert json.loads(json.dumps(drawn(seen())))["nodes"]


def test_a_source_is_shown_alone() -> None:
    other = Flow(9, "Shipped", "shipping", 60, 1, 0)
    rows = seen(
        sources=[source(), source("depot")],
        streams=[*seen().streams, stream(9, "shipments", source="depot")],
        flows=[*seen().flows, other],
    )
    assert {n["id"] for n in drawn(rows.of_source("depot"))["nodes"]} == {"stream:9", "party:shipping"}
    assert rows.of_source(None) is rows


def test_the_summary_counts_what_is_seen() -> None:
    assert view.summary(seen(), view.build(seen())) == (
        "10.0/s over the last 1 min · 0.5 % given up or undecodable · "
        "streams: 1, for dead letters: 1, services and groups: 2"
    )


def test_of_no_events_no_share_is_told() -> None:
    rows = seen(flows=[], arrivals=[])
    assert "given up" not in view.summary(rows, view.build(rows))


def test_an_empty_graph_says_what_to_do() -> None:
    nothing: dict[str, Any] = {"streams": [], "flows": [], "groups": [], "arrivals": [], "open_letters": {}}
    assert "Name one in the settings" in view.nothing_seen(seen(sources=[], **nothing))
    assert "No source answers" in view.nothing_seen(seen(sources=[source(state="down")], **nothing))
    assert "longer window" in view.nothing_seen(seen(**nothing))


# The details


def test_a_streams_details_hold_types_groups_letters_and_where_its_events_are() -> None:
    orders = told(seen(), f"stream:{ORDERS}")
    assert [(line.event_type, line.producer, line.rate) for line in orders.published] == [
        ("OrderPlaced", "order-service", "10.0/s")
    ]
    assert [(line.group, line.rate, line.lag) for line in orders.reading] == [("email-service", "5.0/s", "0")]
    assert [(line.group, line.into, line.letters) for line in orders.failed] == [
        ("email-service", "orders:dlq", 3)
    ]
    assert orders.events == (EventFilter(stream_id=ORDERS, since_ms=UNTIL - MINUTE),)
    assert figures(seen(), f"stream:{ORDERS}")["Given up or undecodable"] == "0.5 %"


def test_a_services_details_hold_only_its_own_rows() -> None:
    rows = seen(flows=[*seen().flows, Flow(ORDERS, "OrderNoted", "someone-else", 6, 6, 0)])
    order = told(rows, "party:order")
    assert [line.event_type for line in order.published] == ["OrderPlaced"]
    assert (order.reading, order.failed) == ([], [])
    assert order.events == (EventFilter(stream_id=ORDERS, producer="order-service", since_ms=UNTIL - MINUTE),)


def test_a_group_that_is_not_well_is_told_with_its_rule() -> None:
    rows = seen(groups=[group(7, "email-service", status="stopped", rule="3: unmoved", pending=None, lag=9)])
    email = told(rows, "party:email")
    assert email.health is Health.BAD
    assert email.says == ["email-service on orders: stopped, by rule 3: unmoved"]
    shown = figures(rows, "party:email")
    assert (shown["Lag"], shown["Pending"], shown["Given up"]) == ("9", "unknown", "1.0 %")


def test_details_lead_to_that_groups_lag_and_letters() -> None:
    links = {link.page: link.parameters for link in told(seen(), "party:email").links}
    assert links == {
        "lag": {"group": "email-service", "in": "shop"},
        "dead_letters": {"stream": "orders:dlq", "group": "email-service"},
    }


def test_a_stream_that_several_groups_read_leads_to_the_lag_of_all() -> None:
    rows = seen(groups=[group(7, "email-service"), group(8, "audit")])
    links = {link.page: link.parameters for link in told(rows, f"stream:{ORDERS}").links}
    assert links["lag"] == {}


def test_a_dead_letter_stream_leads_to_its_letters_even_when_none_is_new() -> None:
    dead = told(seen(arrivals=[]), f"stream:{DEAD}")
    assert [link.parameters for link in dead.links] == [{"stream": "orders:dlq"}]
    assert figures(seen(), f"stream:{DEAD}") == {"Open": "20", "Arrived": "3", "Rate": "3.0/min"}


def test_each_kind_of_edge_has_its_own_figures() -> None:
    assert figures(seen(), f"party:order>stream:{ORDERS}") == {
        "Rate": "10.0/s", "Events": "600", "Undecodable": "0.0 %",
    }  # fmt: skip
    assert figures(seen(), f"stream:{ORDERS}>party:email") == {
        "Rate": "5.0/s", "Lag": "0", "Longest wait": "0 ms", "Pending": "0",
    }  # fmt: skip
    assert figures(seen(), f"party:email>stream:{DEAD}") == {"Rate": "3.0/min", "Letters": "3"}
    rows = seen(links=[LinkRow(ORDERS, "order-service", ORDERS, 5, NOW - 7_000)])
    assert figures(rows, f"stream:{ORDERS}>party:order") == {
        "Rate": "unknown",
        "Seen": "5",
        "Last": "7 s ago",
    }


def test_a_wait_that_is_not_known_is_not_zero() -> None:
    rows = seen(groups=[group(7, "email-service", time_lag_ms=None, time_lag_kind="unknown"), group(8, "b")])
    assert figures(rows, f"stream:{ORDERS}")["Longest wait"] == "unknown"


def test_what_the_window_does_not_have_has_no_details() -> None:
    assert flow_details.details(seen(), view.build(seen()), "stream:99") is None


def test_the_newest_events_of_several_streams_lead_to_their_traces() -> None:
    def event(ref: str, at_ms: int, correlation_id: str | None) -> EventRow:
        return EventRow(ref, 1, "shop", "orders", "1-0", at_ms, None, "T", "id", None, "p", correlation_id,
                        None, "", 0, 1)  # fmt: skip

    pages = [[event("1-1", 1_000, "a&b")], [event("1-2", 2_000, None), event("1-3", 500, "c")]]
    lines = flow_lines.event_lines(pages, 2, UTC)
    assert [line.trace for line in lines] == ["traces?event=1-2", "traces?trace=a%26b"]
