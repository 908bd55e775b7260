"""A saga's state from its events, which may be seen late, twice or out of order."""

import random
from itertools import permutations

import pytest

from eventwake.domain.saga import SagaDefinition, SagaState, progress, state_after

ORDER = SagaDefinition(
    name="order",
    steps=("order.placed", "stock.reserved", "payment.taken"),
    compensations=("stock.released",),
    completed=("order.confirmed",),
    compensated=("order.cancelled",),
    stuck_after_s=60.0,
)
ENDS = (SagaState.COMPLETED, SagaState.COMPENSATED)


def after(*event_types: str) -> SagaState | None:
    state: SagaState | None = None
    for event_type in event_types:
        state = state_after(ORDER, state, event_type)
    return state


@pytest.mark.parametrize(
    ("events", "state"),
    [
        (["order.placed"], SagaState.RUNNING),
        (["order.placed", "stock.reserved", "payment.taken"], SagaState.RUNNING),
        (["order.placed", "stock.reserved", "payment.taken", "order.confirmed"], SagaState.COMPLETED),
        (["order.placed", "stock.reserved", "stock.released"], SagaState.COMPENSATING),
        (["order.placed", "stock.released", "order.cancelled"], SagaState.COMPENSATED),
        (["order.placed", "order.cancelled"], SagaState.COMPENSATED),
        (["stock.reserved"], SagaState.RUNNING),  # its beginning is read later, or never
        (["order.confirmed"], SagaState.COMPLETED),
    ],
)
def test_its_events_tell_where_it_stands(events: list[str], state: SagaState) -> None:
    assert after(*events) is state


def test_a_step_that_comes_late_does_not_stop_the_undoing() -> None:
    assert after("order.placed", "stock.released", "payment.taken") is SagaState.COMPENSATING


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("event_type", sorted(ORDER.types))
def test_an_end_is_an_end(end: SagaState, event_type: str) -> None:
    assert state_after(ORDER, end, event_type) is end


@pytest.mark.parametrize(
    ("events", "end"),
    [
        (["order.placed", "stock.reserved", "payment.taken", "order.confirmed"], SagaState.COMPLETED),
        (["order.placed", "stock.reserved", "stock.released", "order.cancelled"], SagaState.COMPENSATED),
    ],
)
def test_it_ends_alike_in_whatever_order_its_streams_are_read(events: list[str], end: SagaState) -> None:
    assert {after(*order) for order in permutations(events)} == {end}


def test_it_undoes_alike_in_whatever_order_its_streams_are_read() -> None:
    events = ["order.placed", "stock.reserved", "payment.taken", "stock.released"]
    assert {after(*order) for order in permutations(events)} == {SagaState.COMPENSATING}


def test_an_event_seen_twice_changes_nothing() -> None:
    dice = random.Random(2)
    for _ in range(300):
        events = dice.choices(sorted(ORDER.types), k=8)
        twice = [event for event in events for _ in range(2)]
        assert after(*twice) is after(*events)


class TestProgress:
    def test_shows_the_declared_steps_in_their_order_and_what_undoes_them_after(self) -> None:
        steps = progress(ORDER, [("stock.released", 40), ("order.placed", 10)])
        assert [(s.event_type, s.compensation, s.seen_ms) for s in steps] == [
            ("order.placed", False, 10),
            ("stock.reserved", False, None),
            ("payment.taken", False, None),
            ("order.confirmed", False, None),
            ("stock.released", True, 40),
            ("order.cancelled", True, None),
        ]

    def test_tells_the_first_time_of_a_step_that_was_repeated(self) -> None:
        seen = [("order.placed", 30), ("order.placed", 10), ("order.placed", 20)]
        assert progress(ORDER, seen)[0].seen_ms == 10

    def test_names_a_step_once_that_is_the_end_as_well(self) -> None:
        short = SagaDefinition("s", ("placed", "paid"), (), ("paid",), (), 60.0)
        assert [step.event_type for step in progress(short, [])] == ["placed", "paid"]

    def test_leaves_out_what_was_not_declared(self) -> None:
        assert all(step.seen_ms is None for step in progress(ORDER, [("mail.sent", 5)]))
