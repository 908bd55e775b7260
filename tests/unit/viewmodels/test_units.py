"""Numbers as people read them."""

from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.viewmodels import units

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@pytest.mark.parametrize(
    "say",
    [
        units.count, units.duration, units.rate, units.size, units.clock,
        lambda value: units.lag("unknown", value), lambda value: units.time_lag("unknown", value),
    ],
)  # fmt: skip
def test_what_is_not_known_is_unknown_and_never_a_number(say: Callable[[Any], str]) -> None:
    assert say(None) == "unknown"


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"), (999, "999 ms"), (1_000, "1.0 s"), (2_400, "2.4 s"), (MINUTE, "1 min"),
        (200_000, "3 min 20 s"), (HOUR, "1 h"), (HOUR + 5 * MINUTE, "1 h 5 min"), (DAY, "1 d"),
        (DAY + 3 * HOUR, "1 d 3 h"), (400 * DAY, "400 d"),
    ],
)  # fmt: skip
def test_a_duration_has_two_units_at_most(ms: int, said: str) -> None:
    assert units.duration(ms) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [(0, "0 s ago"), (59_999, "59 s ago"), (MINUTE, "1 min ago"), (HOUR, "1 h ago"), (3 * DAY, "3 d ago")],
)
def test_an_age_has_one_unit(ms: int, said: str) -> None:
    assert units.age(10 * DAY - ms, 10 * DAY) == said


def test_what_never_was_has_no_age_and_what_a_fast_clock_wrote_is_of_now() -> None:
    assert units.age(None, DAY) == "never"
    assert units.age(DAY + 5_000, DAY) == "0 s ago"


@pytest.mark.parametrize(
    ("per_s", "said"),
    [
        (0, "0/s"), (1_234.5, "1,234/s"), (12.34, "12.3/s"), (0.05, "3.0/min"), (0.001, "3.6/h"),
        (0.000_001, "< 0.1/h"),
    ],
)  # fmt: skip
def test_a_slow_rate_is_told_by_the_minute_or_hour(per_s: float, said: str) -> None:
    assert units.rate(per_s) == said


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (1_023, "1023 B"),
        (2_048, "2.0 KiB"),
        (3 * 2**20, "3.0 MiB"),
        (5_000 * 2**30, "5000.0 GiB"),
    ],
)
def test_sizes(number: int, said: str) -> None:
    assert units.size(number) == said


@pytest.mark.parametrize(
    ("part", "whole", "said"),
    [(3, 750, "0.4 %"), (0, 10, "0.0 %"), (1, 100_000, "< 0.1 %"), (5, 0, "unknown"), (7, 7, "100.0 %")],
)
def test_a_share_of_nothing_is_unknown_and_a_small_one_is_not_0(part: int, whole: int, said: str) -> None:
    assert units.share(part, whole) == said


@pytest.mark.parametrize(
    ("kind", "said"),
    [("known", "1,234"), ("at most", "≤ 1,234"), ("at least", "≥ 1,234"), ("about", "≈ 1,234")],
)
def test_a_lag_carries_its_bound(kind: str, said: str) -> None:
    assert units.lag(kind, 1_234) == said


def test_a_capped_count_says_that_there_are_more() -> None:
    assert units.count(10_001, at_most=10_000) == "10,000+"
    assert units.count(10_000, at_most=10_000) == "10,000"


def test_a_clock_is_of_the_readers_zone_and_takes_any_year() -> None:
    at_ms = 1_800_000_005_123
    assert units.clock(at_ms) == "2027-01-15 08:00:05"
    assert units.clock(at_ms, ZoneInfo("Asia/Tokyo"), millis=True) == "2027-01-15 17:00:05.123"
    assert units.clock(10**18) == "1000000000000000000 ms since 1970"
    assert units.moment(10**18) is None
