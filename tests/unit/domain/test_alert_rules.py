"""An alert's state after each evaluation: waiting for long enough, firing, resolved, or not measurable."""

import random

import pytest

from eventwake.domain.alert import Alert, AlertState, comparable, step
from eventwake.domain.lag import LagKind

ABOVE = 10.0
OK, PENDING, FIRING, RESOLVED, UNKNOWN = (
    AlertState.OK, AlertState.PENDING, AlertState.FIRING, AlertState.RESOLVED, AlertState.UNKNOWN,
)  # fmt: skip


def run(*values: float | None, for_s: int = 20, every_s: int = 10) -> list[tuple[AlertState, int]]:
    """The states and since when (in seconds) after each evaluation, one every ten seconds."""
    alert: Alert | None = None
    states = []
    for turn, value in enumerate(values):
        alert = step(alert, value, ABOVE, for_s * 1000, turn * every_s * 1000)
        states.append((alert.state, alert.since_ms // 1000))
    return states


def test_it_waits_until_the_value_held_for_long_enough_and_then_fires() -> None:
    assert run(5, 11, 12, 13, 14) == [(OK, 0), (PENDING, 10), (PENDING, 10), (FIRING, 30), (FIRING, 30)]


def test_without_a_waiting_time_it_fires_at_once() -> None:
    assert run(11, for_s=0) == [(FIRING, 0)]


def test_the_bound_itself_is_within_bounds() -> None:
    assert run(10.0, 10.01, for_s=0) == [(OK, 0), (FIRING, 10)]


def test_a_dip_begins_the_waiting_anew() -> None:
    assert run(11, 11, 5, 11, 11, 11) == [
        (PENDING, 0), (PENDING, 0), (OK, 20), (PENDING, 30), (PENDING, 30), (FIRING, 50),
    ]  # fmt: skip


def test_what_fired_is_resolved_once_and_then_is_simply_ok() -> None:
    assert run(11, 9, 9, 9, for_s=0) == [(FIRING, 0), (RESOLVED, 10), (OK, 20), (OK, 20)]


def test_what_was_resolved_waits_again_before_it_fires_again() -> None:
    assert run(11, 11, 11, 9, 11, 11, 11)[3:] == [(RESOLVED, 30), (PENDING, 40), (PENDING, 40), (FIRING, 60)]


def test_what_cannot_be_measured_neither_fires_nor_resolves() -> None:
    assert run(11, None, None, 11, for_s=0) == [(FIRING, 0)] * 4
    assert run(None, None, 9) == [(UNKNOWN, 0), (UNKNOWN, 0), (OK, 20)]


def test_a_gap_in_the_waiting_does_not_count_as_having_held() -> None:
    assert run(11, None, 11, 11, 11) == [
        (PENDING, 0), (UNKNOWN, 10), (PENDING, 20), (PENDING, 20), (FIRING, 40),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        (LagKind.KNOWN, 11.0, 11.0), (LagKind.KNOWN, 9.0, 9.0), (LagKind.APPROXIMATE, 11.0, 11.0),
        (LagKind.AT_LEAST, 11.0, 11.0), (LagKind.AT_LEAST, ABOVE, None), (LagKind.AT_LEAST, 9.0, None),
        (LagKind.AT_MOST, 11.0, None), (LagKind.AT_MOST, ABOVE, ABOVE), (LagKind.AT_MOST, 9.0, 9.0),
        (LagKind.UNKNOWN, None, None),
    ],
)  # fmt: skip
def test_a_bound_is_compared_only_where_it_tells_on_which_side_it_lies(
    kind: LagKind, value: float | None, told: float | None
) -> None:
    assert comparable(value, kind, ABOVE) == told


@pytest.mark.parametrize("before", list(AlertState))
@pytest.mark.parametrize("value", [None, 0.0, ABOVE, 11.0])
def test_it_shows_the_value_that_it_judged(before: AlertState, value: float | None) -> None:
    alert = step(Alert(before, 0, 99.0), value, ABOVE, 0, 5_000)
    if value is not None:
        assert alert.value == value
    else:
        assert alert.state in (FIRING, UNKNOWN)


def test_it_never_fires_before_its_time_and_always_says_so_when_it_ends() -> None:
    dice = random.Random(1)
    for _ in range(500):
        values = [dice.choice([None, 5.0, 11.0, 12.0]) for _ in range(30)]
        states = [state for state, _ in run(*values)]
        for turn, state in enumerate(states):
            before = states[turn - 1] if turn else OK
            if state is FIRING and before is not FIRING:
                assert turn >= 2
                assert all(value is not None and value > ABOVE for value in values[turn - 2 : turn + 1])
            assert (state is RESOLVED) == (before is FIRING and state is not FIRING)
