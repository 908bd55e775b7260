"""The link is the view: what a person chose is in it, and opening it brings the same view back."""

from eventwake.clock import now_ms
from tests.ui.conftest import Found
from tests.ui.dashboard import Tab
from tests.ui.filled_store import Builder, declined, envelope


def bound(tab: Tab) -> set[str]:
    """What the browser puts into the link as soon as it is chosen."""
    return {getattr(node.proto, "query_param_key", "") for node in tab.nodes()} - {""}


def test_every_choice_on_a_page_is_in_its_link(full: Found) -> None:
    assert bound(Tab("dead_letters")) == {"live", "state", "source", "stream", "group", "type", "text"}
    assert bound(Tab("traces")) == {"live", "text", "type", "source", "stream", "within"}
    assert bound(Tab("traces", within="Custom")) >= {"since", "until"}
    assert bound(Tab("lag")) == {"live", "find", "status", "source"}
    assert bound(Tab("lag", group="payment-service")) == {"live", "window"}
    assert bound(Tab("flow")) == {"live", "window", "source"}
    assert bound(Tab("reports", period="Custom")) == {"live", "period", "from", "to"}


def test_filters_of_letters_come_back_from_the_link(full: Found) -> None:
    tab = Tab("dead_letters", state="All", stream="stock:dlq", group="stock-keeper")
    assert tab.app.selectbox(key="stream").value == "stock:dlq"
    assert tab.rows("event_type") == [("StockCounted",)]
    assert Tab("dead_letters", state="Discarded").rows("state") == [("discarded",)]
    assert Tab("dead_letters", type="EmailQueued").rows("event_type") == [("EmailQueued",)]
    assert Tab("dead_letters", text="ord-3002").rows("event_type") == [("StockCounted",)]


def test_a_cause_that_was_clicked_is_in_the_link_and_can_be_left_again(full: Found) -> None:
    tab = Tab("dead_letters")
    cause = next(b.key for b in tab.app.button if "PaymentDeclined" in b.label)
    assert cause is not None
    tab.click(cause)
    assert tab.link["cause"] == cause.removeprefix("cause.")
    assert len(Tab("dead_letters", **tab.link).rows("error")) == 2
    assert "cause" not in tab.click(cause).link


def test_the_chosen_letter_is_in_the_link(full: Found) -> None:
    tab = Tab("dead_letters", stream="payments:dlq").select(0)
    assert tab.link["letter"] == str(full.filled.return_of)
    assert f"letter {full.filled.return_of}" in Tab("dead_letters", **tab.link).said()
    assert "letter" not in tab.select(0, 1).link


def test_a_link_to_another_letter_is_followed_on_the_page_of_the_first(full: Found) -> None:
    letters = {state.value: number for state, number in full.filled.letters.items()}
    tab = Tab("dead_letters", state="All", letter=str(letters["came_back"]))
    tab.app.query_params["letter"] = str(full.filled.return_of)
    tab.run()
    assert f"· letter {full.filled.return_of}" in tab.said()
    assert tab.link["letter"] == str(full.filled.return_of)
    tab.select(2)  # and a selection is followed after that
    assert tab.link["letter"] != str(full.filled.return_of)


def test_pages_of_letters_are_turned_both_ways_and_each_has_its_link(full: Found) -> None:
    with full.store.write() as tx:
        build = Builder(tx, now_ms())
        dead = build.stream("shop", "orders:dlq", kind="dead_letters")
        for number in range(120):
            order = f"ord-5{number:03}"
            fields = envelope("OrderPlaced", "order-service", order, build.ago(130 - number))
            build.letter(dead, build.ago(125 - number), fields, **declined(number, build, 125 - number))
    tab = Tab("dead_letters", stream="orders:dlq")
    newest = tab.rows("key")
    assert len(newest) == 100
    assert newest[0] == ("ord-5119",)
    tab.click("older")
    assert [key for (key,) in tab.rows("key")] == [f"ord-5{number:03}" for number in range(19, -1, -1)]
    assert Tab("dead_letters", **tab.link).rows("key") == tab.rows("key")
    assert tab.click("newer").rows("key") == newest


def test_a_trace_found_by_any_of_its_names_opens(full: Found) -> None:
    correlation_id = full.filled.traces["running"]
    for text in (correlation_id, "ord-1004"):
        tab = Tab("traces", text=text)
        assert tab.link["trace"] == correlation_id
        assert "2 events · 2 services · 1 stream" in tab.said()


def test_of_several_traces_one_is_chosen_and_the_way_back_leads_to_all_of_them(full: Found) -> None:
    with full.store.write() as tx:
        build = Builder(tx, now_ms())
        returns = build.stream("shop", "returns")
        later = envelope("OrderReturned", "order-service", "ord-1001", now_ms(), correlation_id="a-return")
        build.event(returns, now_ms(), later)
    tab = Tab("traces", text="ord-1001")
    assert "2 traces hold it. Choose one." in tab.said()
    assert tab.rows("correlation_id")[0] == ("a-return",)
    tab.select(0)
    assert tab.link["trace"] == "a-return"
    [back] = [n.proto for n in tab.nodes() if n.type == "page_link" and n.proto.label == "All traces"]
    assert back.query_string == "text=ord-1001"


def test_the_chosen_row_of_a_trace_is_in_the_link(full: Found) -> None:
    tab = Tab("traces", trace=full.filled.traces["running"])
    assert "**OrderPlaced** in orders" in tab.said()
    second = tab.component("waterfall").split('"e:')[2].partition('"')[0]
    assert "**InventoryReserved** in orders" in Tab("traces", **{**tab.link, "row": f"e:{second}"}).said()


def test_an_event_of_the_list_leads_to_its_trace(full: Found) -> None:
    tab = Tab("traces").select(0)
    assert tab.link["trace"] == full.filled.traces["running"]


def test_filters_of_events_come_back_from_the_link(full: Found) -> None:
    assert Tab("traces", type="OrderCancelled").rows("event_type", "key") == [("OrderCancelled", "ord-1002")]
    assert len(Tab("traces", stream="emails").rows("event_id")) == 3
    day = {"since": "2026-01-01T00:00", "until": "2026-01-02T00:00"}
    for none in (Tab("traces", within="Custom", **day), Tab("traces", stream="emails", source="warehouse")):
        assert "No event fits these filters." in none.said()


def test_a_group_that_was_chosen_opens_with_its_own_link(full: Found) -> None:
    tab = Tab("lag").select(0)
    assert (tab.link["group"], tab.link["in"]) == ("stock-keeper", "warehouse")
    assert Tab("lag", **tab.link).rows("stream", "lag") == [("stock", "≈ 40")]


def test_groups_are_filtered_by_the_link(full: Found) -> None:
    assert Tab("lag", status="stalled").rows("group") == [("email-service",)]
    assert Tab("lag", source="archive").rows("group") == [("bookkeeper",)]
    assert "No group fits." in Tab("lag", find="nobody").said()


def test_what_was_picked_in_the_flow_is_in_the_link(full: Found) -> None:
    tab = Tab("flow", pick=f"stream:{full.filled.streams['payments']}", window="1 h", source="shop")
    assert "##### payments" in tab.said()
    assert tab.app.selectbox(key="source").value == "shop"
    assert "pick" not in tab.click("unpick").link
    assert "was not seen in this window" in Tab("flow", pick="stream:9999").said()


def test_a_link_to_an_alert_marks_it(full: Found) -> None:
    assert "**Group far behind** ◀" in Tab("alerts", alert=str(full.filled.alerts["firing"])).said()


def test_the_period_of_a_report_is_in_the_link(full: Found) -> None:
    tab = Tab("reports", period="Custom", **{"from": "2026-01-05", "to": "2026-01-06"})
    assert "2026-01-05 00:00:00 to 2026-01-07 00:00:00 (UTC)" in tab.said()
    wrong = Tab("reports", period="Custom", **{"from": "2026-01-06", "to": "2026-01-05"})
    assert "Choose a first day, and a last one that is not before it." in wrong.said()


def test_live_refresh_is_in_the_link(full: Found) -> None:
    tab = Tab("overview", live="false")
    assert tab.app.toggle(key="live").value is False
