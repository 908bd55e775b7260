"""A trace as a tree: what caused what, who was given it, where it ended, and how well each time is known.

Events are written as `event("b", 20, cause="a")`: id, time of the broker's record, the id of its cause.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from eventwake.domain.trace import (
    Delivery,
    DeliveryState,
    Knowledge,
    Node,
    Span,
    TracedEvent,
    TracedLetter,
    Window,
    build,
    service_name,
    walk,
)

NOT_KNOWN = Window()
M, B, U = Knowledge.MEASURED, Knowledge.BOUNDED, Knowledge.UNKNOWN


def event(event_id: str | None, at_ms: int, **more: Any) -> TracedEvent:
    more = {"ref": event_id, "stream": "orders", "producer": None, "cause": None, **more}
    return TracedEvent(
        more["ref"],
        "shop",
        more["stream"],
        f"{at_ms}-0",
        at_ms,
        "t",
        event_id,
        more["cause"],
        more["producer"],
    )


def letter(letter_id: int, **more: Any) -> TracedLetter:
    more = {
        "state": "open", "event_id": None, "stream": None, "position": None, "group": None, "attempts": 1,
        "failed_ms": 1_000, **more,
    }  # fmt: skip
    return TracedLetter(
        letter_id, more["state"], more["event_id"], more["stream"], more["position"], more["group"], "boom",
        more["attempts"], more["failed_ms"],
    )  # fmt: skip


def passed(group: str, delivered: Window = NOT_KNOWN, done: Window = NOT_KNOWN) -> Delivery:
    return Delivery(group, DeliveryState.PASSED, delivered, done)


def tree(
    events: Sequence[TracedEvent],
    deliveries: Mapping[str, Sequence[Delivery]] | None = None,
    letters: Sequence[TracedLetter] = (),
) -> str:
    """The rows as one text: "a(b c(d))" where b and c lie under a, and d under c."""

    def text(node: Node) -> str:
        kind, _, name = node.id.partition(":")
        shown = {"e": node.event.event_id or name if node.event else name, "d": name.rpartition(":")[2]}.get(
            kind, f"{kind}:{name}"
        )
        twice = "'" if node.duplicate_of else ""
        return f"{shown}{twice}" + (f"({' '.join(map(text, node.children))})" if node.children else "")

    return " ".join(map(text, build(events, deliveries or {}, letters)))


class TestCauses:
    def test_an_event_lies_under_the_one_that_caused_it(self) -> None:
        events = [
            event("a", 10),
            event("b", 20, cause="a"),
            event("c", 30, cause="b"),
            event("d", 25, cause="a"),
        ]
        assert tree(events) == "a(b(c) d)"

    def test_the_order_in_which_they_were_read_does_not_matter(self) -> None:
        events = [
            event("a", 10),
            event("b", 20, cause="a"),
            event("c", 30, cause="b"),
            event("d", 25, cause="a"),
        ]
        dice = random.Random(6)
        assert {tree(dice.sample(events, 4)) for _ in range(20)} == {"a(b(c) d)"}

    def test_events_without_a_cause_are_roots_by_time(self) -> None:
        assert tree([event("b", 20), event("a", 10)]) == "a b"

    def test_a_cause_that_was_never_seen_is_shown_as_missing_once(self) -> None:
        """It was trimmed, or another system has it: the gap is drawn, and not closed."""
        events = [event("b", 20, cause="x"), event("c", 15, cause="x"), event("d", 12)]
        assert tree(events) == "d m:x(c b)"
        [gap] = [node for node in build(events, {}, []) if node.kind == "missing"]
        assert (gap.caused_by, gap.at_ms) == ("x", 15)

    def test_an_effect_whose_clock_is_behind_still_lies_under_its_cause(self) -> None:
        assert tree([event("a", 10), event("b", 5, cause="a")]) == "a(b)"

    @pytest.mark.parametrize(
        "events",
        [
            [event("a", 10, cause="a")],
            [event("a", 10, cause="b"), event("b", 20, cause="a")],
            [event("a", 10, cause="c"), event("b", 20, cause="a"), event("c", 30, cause="b")],
        ],
    )
    def test_a_ring_of_causes_is_shown_and_does_not_hang(self, events: list[TracedEvent]) -> None:
        shown = [node.event.event_id for node, _, _ in walk(build(events, {}, [])) if node.event]
        assert sorted(filter(None, shown)) == sorted(e.event_id or "" for e in events)

    def test_a_very_long_chain_of_causes_is_shown_to_its_end(self) -> None:
        events = [event(str(n), n, cause=str(n - 1) if n else None) for n in range(3_000)]
        rows = walk(build(events, {}, []))
        assert [depth for _, depth, _ in rows] == list(range(3_000))

    def test_every_event_and_letter_is_shown_exactly_once_whatever_the_links(self) -> None:
        dice = random.Random(9)
        for _ in range(300):
            ids = [dice.choice([None, "a", "b", "c", "d", "e"]) for _ in range(dice.randint(0, 8))]
            events = [
                event(event_id, dice.randrange(50), ref=str(n), cause=dice.choice([None, "a", "b", "c", "z"]),
                      producer=dice.choice([None, "g1", "g2"]))
                for n, event_id in enumerate(ids)
            ]  # fmt: skip
            groups = {
                str(n): [passed(g) for g in ("g1", "g2")[: dice.randint(0, 2)]] for n in range(len(ids))
            }
            letters = [letter(n, event_id=dice.choice(["a", "q"]), group="g1") for n in range(3)]
            rows = [node for node, _, _ in walk(build(events, groups, letters))]
            assert sorted(n.event.ref for n in rows if n.event) == [str(n) for n in range(len(ids))]
            assert sorted(n.letter.letter_id for n in rows if n.letter) == [0, 1, 2]
            assert len({node.id for node in rows}) == len(rows)


class TestDuplicates:
    def test_an_event_that_was_sent_twice_lies_under_the_first_of_it_and_says_so(self) -> None:
        events = [event("a", 30, ref="late"), event("a", 10, ref="early"), event("b", 40, cause="a")]
        assert tree(events) == "a(a' b)"
        [root] = build(events, {}, [])
        assert root.event is not None
        assert root.event.ref == "early"
        assert root.children[0].duplicate_of == root.id

    def test_events_without_an_id_are_never_duplicates(self) -> None:
        assert tree([event(None, 10, ref="x"), event(None, 20, ref="y")]) == "x y"

    def test_a_retry_that_carries_the_same_id_has_its_own_deliveries(self) -> None:
        events = [event("a", 10, ref="first"), event("a", 50, ref="again")]
        deliveries = {"first": [passed("mail")], "again": [passed("mail")]}
        assert tree(events, deliveries) == "a(mail a'(mail))"


class TestDeliveries:
    def test_an_effect_lies_under_the_group_whose_service_produced_it(self) -> None:
        events = [
            event("a", 10), event("b", 20, cause="a", producer="payment-service"),
            event("c", 30, cause="a", producer="elsewhere"),
        ]  # fmt: skip
        assert tree(events, {"a": [passed("payment"), passed("mail")]}) == "a(mail payment(b) c)"

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("payment", "payment-service", True),
            ("Payment_SVC", "payment.consumer", True),
            ("payment-consumer-group", "payment", True),
            ("payments", "payment", False),
            ("payment", "payment-mailer", False),
            ("service", "group", False),  # nothing but habit is no name
        ],
    )
    def test_a_service_and_its_group_have_one_name_but_for_habit(
        self, one: str, other: str, same: bool
    ) -> None:
        assert (service_name(one) == service_name(other)) is same

    def test_waiting_and_processing_are_as_well_known_as_their_ends(self) -> None:
        """Recorded at 100; seen delivered between 150 and 170 and done between 180 and 200."""
        node = self.delivered(passed("mail", Window(150, 170), Window(180, 200)))
        assert (node.waiting, node.processing) == (Span(B, 50, 70), Span(B, 10, 50))

    def test_of_which_nothing_is_known_they_are_unknown_and_not_0(self) -> None:
        node = self.delivered(Delivery("mail", DeliveryState.WAITING))
        assert (node.waiting, node.processing) == (Span(U), Span(U))

    def test_exact_times_are_measured(self) -> None:
        node = self.delivered(passed("mail", Window(130, 130), Window(160, 160)))
        assert (node.waiting, node.processing) == (Span(M, 30, 30), Span(M, 30, 30))

    def test_nothing_is_delivered_before_it_is_recorded(self) -> None:
        node = self.delivered(passed("mail", Window(None, 140), Window(90, 200)))
        assert node.waiting == Span(B, 0, 40)
        assert node.delivery is not None
        assert node.delivery.done == Window(100, 200)

    def test_an_effect_tells_that_it_was_delivered_before_and_not_done_yet(self) -> None:
        """The samples only say "by 400", but what it caused was recorded at 120 and at 150."""
        node = self.delivered(
            passed("mail", Window(100, 400), Window(100, 400)),
            event("b", 150, cause="a", producer="mail"),
            event("c", 120, cause="a", producer="mail"),
        )
        assert node.waiting == Span(B, 0, 20)
        assert node.delivery is not None
        assert node.delivery.done == Window(150, 400)
        assert [child.id for child in node.children] == ["e:c", "e:b"]

    def test_clocks_that_differ_never_make_a_negative_time(self) -> None:
        node = self.delivered(
            passed("mail", Window(150, 170), Window(180, 200)), event("b", 90, cause="a", producer="mail")
        )
        for span in (node.waiting, node.processing):
            assert span is not None
            assert span.low_ms is None or 0 <= span.low_ms <= (span.high_ms or 0)

    def delivered(self, delivery: Delivery, *effects: TracedEvent) -> Node:
        [root] = build([event("a", 100), *effects], {"a": [delivery]}, [])
        return root.children[0]


class TestWindowsAndSpans:
    @pytest.mark.parametrize(
        ("window", "knowledge"),
        [(Window(1, 1), M), (Window(1, 2), B), (Window(1, None), U), (Window(None, 1), U), (Window(), U)],
    )
    def test_a_moment_is_known_as_well_as_its_bounds(self, window: Window, knowledge: Knowledge) -> None:
        assert window.knowledge is knowledge

    def test_a_duration_is_measured_only_between_two_measured_moments(self) -> None:
        assert Span.between(Window(1, 1), Window(4, 4)) == Span(M, 3, 3)
        assert Span.between(Window(1, 2), Window(4, 4)) == Span(B, 2, 3)
        assert Span.between(Window(1, 1), Window(4, None)) == Span(U)

    def test_a_duration_holds_every_difference_of_moments_in_its_windows(self) -> None:
        dice = random.Random(10)
        for _ in range(1_000):
            (a, b), (c, d) = (sorted(dice.choices(range(30), k=2)) for _ in range(2))
            start, end = dice.randint(a, b), dice.randint(c, d)
            span = Span.between(Window(a, b), Window(c, d))
            assert span.low_ms is not None
            assert span.high_ms is not None
            if end >= start:
                assert span.low_ms <= end - start <= span.high_ms

    def test_knowing_more_never_widens_a_moment(self) -> None:
        dice = random.Random(12)
        bounds = [None, *range(6)]
        for _ in range(1_000):
            low, high = sorted(dice.choices(range(6), k=2))
            closer = Window(low, high).within(dice.choice(bounds), dice.choice(bounds))
            assert closer.low_ms is not None
            assert closer.high_ms is not None
            assert closer.low_ms <= closer.high_ms <= high


class TestLetters:
    EVENTS = (event("a", 10), event("b", 20, cause="a"))

    def test_a_letter_lies_under_the_group_that_gave_its_event_up(self) -> None:
        groups = {"b": [passed("mail"), passed("stats")]}
        by_place = letter(1, stream="orders", position="20-0", group="mail")
        assert tree(self.EVENTS, groups, [by_place]) == "a(b(mail(l:1) stats))"

    def test_it_is_found_by_its_event_id_where_its_place_is_not_known(self) -> None:
        assert tree(self.EVENTS, {}, [letter(1, event_id="b")]) == "a(b(l:1))"

    def test_its_place_goes_before_its_event_id(self) -> None:
        """A retry that failed again has the id of the first, but lies where it was sent."""
        events = [event("a", 10, ref="first"), event("a", 50, ref="retry")]
        again = letter(2, event_id="a", stream="orders", position="50-0")
        assert tree(events, {}, [letter(1, event_id="a"), again]) == "a(a'(l:2) l:1)"

    def test_of_a_group_that_is_not_known_it_lies_under_the_event(self) -> None:
        assert tree(self.EVENTS, {"b": [passed("stats")]}, [letter(1, event_id="b", group="mail")]) == (
            "a(b(stats l:1))"
        )

    def test_of_an_event_that_is_not_known_it_is_a_root_and_not_left_out(self) -> None:
        assert tree(self.EVENTS, {}, [letter(1, event_id="z", failed_ms=5)]) == "l:1 a(b)"


class TestRows:
    def test_are_read_from_the_root_down_with_the_last_of_each_level_marked(self) -> None:
        events = [
            event("a", 10),
            event("b", 20, cause="a"),
            event("c", 30, cause="b"),
            event("d", 40, cause="a"),
        ]
        rows = [
            (node.id, depth, last) for node, depth, last in walk(build([*events, event("e", 50)], {}, []))
        ]
        assert rows == [
            ("e:a", 0, False), ("e:b", 1, False), ("e:c", 2, True), ("e:d", 1, True), ("e:e", 0, True),
        ]  # fmt: skip

    def test_of_an_empty_trace_are_none(self) -> None:
        assert walk(build([], {}, [])) == []

    def test_keep_their_ids_while_the_trace_grows(self) -> None:
        """A page that refreshes keeps what was unfolded and chosen."""
        first = [node.id for node, _, _ in walk(build([event("a", 10)], {"a": [passed("mail")]}, []))]
        grown = build(
            [event("z", 1), event("a", 10), event("a", 12, ref="twice")], {"a": [passed("mail")]}, []
        )
        assert set(first) <= {node.id for node, _, _ in walk(grown)}
