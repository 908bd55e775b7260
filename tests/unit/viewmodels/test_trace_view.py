"""A trace from the store's rows to the rows that are drawn and the words that are said."""

from datetime import UTC
from typing import Any

import pytest

from dashboard.viewmodels import trace as view
from dashboard.viewmodels import waterfall
from dashboard.viewmodels.waterfall import Bar
from eventwake.domain.trace import Delivery, DeliveryState, Knowledge, Span, Window
from eventwake.store.reads.events import EventRow
from eventwake.store.reads.letters import LetterRow
from eventwake.store.writes.events import Flag

AT = 1_800_000_000_000
PASSED, PENDING = DeliveryState.PASSED, DeliveryState.PENDING
WAITING, UNKNOWN = DeliveryState.WAITING, DeliveryState.UNKNOWN


def event(number: int, event_type: str = "OrderPlaced", cause: int | None = None, **more: Any) -> EventRow:
    """The event with that number, so many seconds after the first."""
    values: dict[str, Any] = {
        "ref": f"1-{number}", "stream_id": 1, "source": "shop", "stream": "orders", "position": f"{number}-0",
        "recorded_ms": AT + 1_000 * number, "event_ms": None, "event_type": event_type,
        "event_id": f"e-{number}", "key": "ord-1", "producer": "order-service", "correlation_id": "c-1",
        "causation_id": f"e-{cause}" if cause is not None else None, "link": "correlation id", "flags": 0,
        "size": 100,
    }  # fmt: skip
    return EventRow(**{**values, **more})


def letter(state: str = "open", **more: Any) -> LetterRow:
    values: dict[str, Any] = {
        **dict.fromkeys(LetterRow._fields), "id": 9, "state": state, "event_id": "e-0",
        "origin_stream": "orders", "group_name": "mailer", "error_class": "Timeout",
        "error_message": "no answer", "attempts": 4, "failed_ms": AT + 5_000,
    }  # fmt: skip
    return LetterRow(**{**values, **more})


def drawn(
    events: list[EventRow],
    deliveries: dict[str, list[Delivery]] | None = None,
    letters: list[tuple[LetterRow, str | None]] | None = None,
    copies: set[tuple[str, str]] | None = None,
) -> list[waterfall.Row]:
    return waterfall.rows(view.build(events, deliveries or {}, letters or [], copies or set()))


class TestTree:
    def test_an_effect_hangs_under_the_group_whose_service_made_it(self) -> None:
        deliveries = {"1-0": [Delivery("payment", PASSED), Delivery("mailer", WAITING)]}
        rows = drawn([event(0), event(1, "PaymentCharged", 0, producer="payment-service")], deliveries)
        assert [(row.kind, row.label, row.depth) for row in rows] == [
            ("event", "OrderPlaced", 0), ("delivery", "mailer", 1), ("delivery", "payment", 1),
            ("event", "PaymentCharged", 2),
        ]  # fmt: skip

    def test_an_event_that_came_twice_is_said_to_be_there_again(self) -> None:
        rows = drawn([event(0), event(1, event_id="e-0")])
        assert [(row.status, row.badges, row.depth) for row in rows] == [
            ("ok", (), 0),
            ("twice", ("again",), 1),
        ]

    def test_a_copy_that_a_retry_sent_is_no_mistake_of_the_producer(self) -> None:
        rows = drawn([event(0), event(1, event_id="e-0")], copies={("orders", "1-0")})
        assert (rows[1].status, rows[1].badges) == ("ok", ("again", "replayed"))

    def test_a_cause_that_is_not_there_has_a_row_of_its_own(self) -> None:
        first, second = drawn([event(1, cause=7)])
        assert (first.kind, first.sub, second.depth) == ("missing", "e-7", 1)
        assert "trimmed before it was read" in first.title

    def test_a_letter_hangs_under_the_group_that_gave_it_up_and_marks_it(self) -> None:
        rows = drawn([event(0)], {"1-0": [Delivery("mailer", PASSED)]}, [(letter(), "0-0")])
        assert [(row.kind, row.status) for row in rows] == [
            ("event", "ok"), ("delivery", "bad"), ("letter", "bad"),
        ]  # fmt: skip
        assert (rows[2].sub, rows[2].badges) == ("Timeout: no answer", ("4 tries",))

    @pytest.mark.parametrize("state", ["discarded", "consumed", "gone"])
    def test_a_letter_that_is_decided_is_not_marked(self, state: str) -> None:
        assert drawn([event(0)], {}, [(letter(state), "0-0")])[1].status == "ok"

    def test_events_that_cause_each_other_in_a_ring_are_drawn_once_each(self) -> None:
        rows = drawn([event(0, cause=2), event(1, cause=0), event(2, cause=1)])
        assert sorted(row.id for row in rows) == ["e:1-0", "e:1-1", "e:1-2"]

    def test_a_very_long_chain_is_cut_and_does_not_end_the_program(self) -> None:
        chain = [event(number, cause=number - 1 if number else None) for number in range(2_100)]
        assert len(drawn(chain)) == waterfall.ROWS_AT_MOST


class TestBars:
    def bars(self, delivery: Delivery) -> tuple[Bar, ...]:
        return drawn([event(0)], {"1-0": [delivery]})[1].bars

    def test_between_two_samples_a_bar_is_not_sure(self) -> None:
        given, done = Window(AT + 100, AT + 300), Window(AT + 900, AT + 1_000)
        assert self.bars(Delivery("mailer", PASSED, given, done)) == (
            Bar("wait", AT, AT + 100, True), Bar("wait", AT + 100, AT + 300, False),
            Bar("work", AT + 300, AT + 900, True), Bar("work", AT + 900, AT + 1_000, False),
        )  # fmt: skip

    def test_what_waits_goes_on_without_an_end(self) -> None:
        assert self.bars(Delivery("mailer", WAITING, Window(low_ms=AT + 500)))[-1] == Bar(
            "wait", AT + 500, None, False
        )

    def test_of_what_nobody_knows_nothing_is_drawn(self) -> None:
        assert self.bars(Delivery("mailer", UNKNOWN)) == ()

    def test_a_delivery_before_the_event_by_another_clock_never_goes_back_in_time(self) -> None:
        bars = self.bars(Delivery("mailer", PASSED, Window(AT - 900, AT - 800), Window(high_ms=AT - 700)))
        assert all(bar.end_ms is None or bar.end_ms > bar.start_ms >= AT for bar in bars)

    def test_the_axis_spans_the_events_and_what_is_merely_bounded_does_not_stretch_it(self) -> None:
        late = Delivery("mailer", PASSED, Window(AT, AT + 86_400_000), Window(high_ms=AT + 86_400_000))
        picture = waterfall.drawn(drawn([event(0), event(1)], {"1-0": [late]}), "e:1-0")
        assert picture["start_ms"] == AT
        assert AT + 2_000 <= int(str(picture["end_ms"])) < AT + 2_200

    def test_one_event_alone_has_an_axis(self) -> None:
        picture = waterfall.drawn(drawn([event(0)]), None)
        assert int(str(picture["end_ms"])) > int(str(picture["start_ms"]))
        assert waterfall.drawn([], None)["rows"] == []


class TestWords:
    @pytest.mark.parametrize(
        ("delivery", "said"),
        [
            (Delivery("mailer", WAITING), "has yet to see it"),
            (Delivery("mailer", UNKNOWN), "unknown"),
            (Delivery("mailer", PENDING, consumer="mailer-1"), "pending with mailer-1"),
            (Delivery("mailer", PENDING), "pending with a consumer"),
            (Delivery("mailer", PASSED), "passed, nobody knows when"),
            (Delivery("mailer", PASSED, Window(AT + 20, AT + 20), Window(AT + 50, AT + 50)),
             "waited 20 ms, worked 30 ms"),
            (Delivery("mailer", PASSED, Window(AT, AT + 2_000), Window(AT, AT + 2_000)), "done within 2.0 s"),
        ],
    )  # fmt: skip
    def test_a_delivery_says_how_well_its_times_are_known(self, delivery: Delivery, said: str) -> None:
        assert drawn([event(0)], {"1-0": [delivery]})[1].duration == said

    def test_more_than_one_delivery_is_counted(self) -> None:
        for tries, badges in ((1, ()), (3, ("delivery 3",)), (None, ())):
            delivery = Delivery("mailer", PENDING, deliveries=tries)
            assert drawn([event(0)], {"1-0": [delivery]})[1].badges == badges

    @pytest.mark.parametrize(
        ("span", "said"),
        [
            (None, "unknown"),
            (Span(Knowledge.UNKNOWN), "unknown"),
            (Span(Knowledge.MEASURED, 12, 12), "12 ms"),
            (Span(Knowledge.BOUNDED, 0, 2_000), "≤ 2.0 s"),
            (Span(Knowledge.BOUNDED, 1_000, 3_000), "1.0 s to 3.0 s"),
        ],
    )
    def test_a_span_carries_its_bounds(self, span: Span | None, said: str) -> None:
        assert waterfall.span_text(span) == said

    @pytest.mark.parametrize(
        ("window", "said"),
        [
            (Window(), "unknown"),
            (Window(low_ms=AT), "after 08:00:00.000"),
            (Window(high_ms=AT), "before 08:00:00.000"),
            (Window(AT, AT), "08:00:00.000"),
            (Window(AT, AT + 1_010), "08:00:00.000 to 08:00:01.010"),
        ],
    )
    def test_a_moment_carries_its_bounds(self, window: Window, said: str) -> None:
        assert view.window_text(window, UTC) == said

    def test_a_summary_says_how_much_and_how_it_is_known_to_belong_together(self) -> None:
        events = [event(0), event(2, producer="payment-service", stream="payments")]
        said = "2 events · 2 services · 2 streams · 2.0 s · joined by correlation id"
        assert view.summary(events, [], False) == said
        assert view.summary(events, [letter(), letter("consumed")], True) == (
            f"the first {said} · 2 dead letters, 1 undecided"
        )
        alone = event(0, link="none", producer=None, correlation_id=None)
        assert view.summary([alone], [], False).endswith("0 ms · joined by nothing: it stands alone")

    def test_what_is_not_as_it_was_in_the_broker_is_said(self) -> None:
        assert view.notes(event(0)) == []
        whole = view.notes(event(0, flags=int(Flag.UNDECODABLE | Flag.CAPPED | Flag.MASKED), size=200_000))
        assert whole == [
            "The payload could not be decoded; its bytes are below.",
            "Cut at the payload cap; the whole event has 195.3 KiB.",
            "Values were masked when it was taken in.",
        ]


class TestSearch:
    def test_events_of_one_correlation_are_one_trace_and_lone_ones_stand_alone(self) -> None:
        lone = event(5, correlation_id=None, event_type=None)
        found = view.found([event(0), event(2, "OrderConfirmed"), lone], UTC)
        assert [each.link for each in found] == [{"event": "1-5"}, {"trace": "c-1"}]
        assert [each.line.types for each in found] == ["unknown", "OrderPlaced, OrderConfirmed"]
        assert found[1].line.first < found[1].line.last

    def test_a_link_opens_the_trace_with_the_event_chosen(self) -> None:
        assert view.link_of(event(3)) == {"trace": "c-1", "row": "e:1-3"}
        assert view.link_of(event(3, correlation_id=None)) == {"event": "1-3"}

    def test_a_row_that_the_trace_does_not_have_is_taken_for_the_first(self) -> None:
        roots = view.build([event(0), event(1)], {}, [], set())
        for name, expected in (("e:1-1", "e:1-1"), ("e:9-9", "e:1-0"), (None, "e:1-0")):
            node = view.node_named(roots, name)
            assert node is not None
            assert node.id == expected
        assert view.node_named([], "e:1-0") is None
