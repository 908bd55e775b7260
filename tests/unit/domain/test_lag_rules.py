"""Lag as a typed value, a group's status by numbered rules, time lag and catching up.

A history is written as (second, committed, end); the lag is their difference unless it is given.
"""

import math
import random
from collections.abc import Sequence

import pytest

from eventwake.domain.lag import (
    EXTRAPOLATE_AT_MOST_MS,
    GroupSample,
    Lag,
    LagKind,
    Status,
    catch_up,
    judge,
    time_lag_ms,
    total,
)

Point = tuple[float, int | None, int | None]

known, at_most, at_least, about = Lag.known, Lag.at_most, Lag.at_least, Lag.approximate
UNKNOWN = Lag.unknown("no commit")


def history(*points: Point) -> list[GroupSample]:
    return [sample(*point) for point in points]


def sample(second: float, committed: int | None, end: int | None, lag: Lag | None = None) -> GroupSample:
    if lag is None:
        lag = UNKNOWN if committed is None or end is None else known(end - committed)
    return GroupSample(int(second * 1000), committed, end, lag)


def judged(
    samples: Sequence[GroupSample], moved_s: float | None = None, allowed: int = 0
) -> tuple[Status, str]:
    """The status and the number of the rule that fired."""
    moved_ms = None if moved_s is None else int(moved_s * 1000)
    judgement = judge(samples, moved_ms, allowed_lag=allowed)
    return judgement.status, judgement.rule.partition(":")[0]


class TestTheTypedValue:
    @pytest.mark.parametrize(
        ("lag", "text"),
        [
            (known(1234), "1,234"), (known(0), "0"), (at_most(5), "at most 5"),
            (at_least(100), "at least 100"), (about(7), "about 7"), (UNKNOWN, "unknown"),
        ],
    )  # fmt: skip
    def test_says_how_far_it_can_be_trusted(self, lag: Lag, text: str) -> None:
        assert str(lag) == text

    @pytest.mark.parametrize(
        ("parts", "kind", "value"),
        [
            ([known(1), known(2)], LagKind.KNOWN, 3),
            ([known(1), at_most(2)], LagKind.AT_MOST, 3),
            ([known(1), at_least(2)], LagKind.AT_LEAST, 3),
            ([at_most(1), at_least(2)], LagKind.APPROXIMATE, 3),
            ([known(1), about(2), at_most(4)], LagKind.APPROXIMATE, 7),
            ([known(1), UNKNOWN], LagKind.AT_LEAST, 1),
            ([at_least(1), UNKNOWN], LagKind.AT_LEAST, 1),
            ([at_most(1), UNKNOWN], LagKind.UNKNOWN, None),
            ([about(1), UNKNOWN], LagKind.UNKNOWN, None),
            ([UNKNOWN, UNKNOWN], LagKind.UNKNOWN, None),
        ],
    )
    def test_a_sum_is_as_uncertain_as_its_parts(
        self, parts: list[Lag], kind: LagKind, value: int | None
    ) -> None:
        assert (total(parts).kind, total(parts).value) == (kind, value)

    def test_a_sum_with_an_unknown_part_says_so(self) -> None:
        assert total([known(3), UNKNOWN, known(4)]).reason == "1 of 3 parts unknown: no commit"

    def test_no_sum_promises_what_its_parts_may_break(self) -> None:
        """Whatever the true values behind the parts are, the sum's bound holds."""
        dice = random.Random(7)
        for _ in range(2_000):
            parts, truth = [], 0
            for _ in range(dice.randint(1, 4)):
                true = dice.randint(0, 9)
                truth += true
                slack = dice.randint(0, 3)
                parts.append(
                    dice.choice([known(true), at_most(true + slack), at_least(max(0, true - slack)), UNKNOWN])
                )
            value = total(parts)
            if value.kind is LagKind.KNOWN:
                assert value.value == truth
            elif value.kind is LagKind.AT_MOST:
                assert value.value is not None and truth <= value.value
            elif value.kind is LagKind.AT_LEAST:
                assert value.value is not None and truth >= value.value


class TestStatus:
    def test_1_too_few_samples_say_nothing_even_of_a_group_that_is_far_behind_or_at_the_end(self) -> None:
        for end in (10, 10_000):
            assert judged(history((0, 10, end), (10, 10, end))) == (Status.UNKNOWN, "1")
        assert judged([]) == (Status.UNKNOWN, "1")

    def test_1_a_lag_that_is_unknown_now_says_nothing_and_why(self) -> None:
        samples = history((0, 1, 1), (10, 2, 2), (20, None, 3))
        judgement = judge(samples, 10_000)
        assert (judgement.status, judgement.rule) == (Status.UNKNOWN, "1: lag unknown, no commit")

    def test_1_a_lower_bound_within_what_is_allowed_is_no_all_clear(self) -> None:
        """Three partitions read to their ends and one without a leader: at least 0, which is not 0."""
        samples = [sample(second, None, None, total([known(0), UNKNOWN])) for second in (0, 10, 20)]
        assert judged(samples, 20) == (Status.UNKNOWN, "1")
        assert judged([*samples[:-1], sample(20, None, None, at_least(1))], 20) != (Status.UNKNOWN, "1")

    @pytest.mark.parametrize("lag", [known(5), at_most(5), about(5)])
    def test_2_within_the_allowed_lag_is_ok(self, lag: Lag) -> None:
        samples = [sample(0, 1, 100), sample(10, 1, 100), sample(20, 95, 100, lag)]
        assert judged(samples, None, allowed=5) == (Status.OK, "2")
        assert judged(samples, None, allowed=4) != (Status.OK, "2")

    def test_2_goes_before_every_fault_in_the_window(self) -> None:
        assert judged(history((0, 50, 60), (10, 20, 60), (20, 60, 60)), 20) == (Status.OK, "2")
        assert judged(history((0, 60, 60), (10, 60, 60), (20, 60, 60)), None) == (Status.OK, "2")

    def test_3_no_commit_for_longer_than_the_window_while_events_came_is_stopped(self) -> None:
        samples = history((100, 5, 10), (110, 5, 20), (120, 5, 30))
        assert judged(samples, 99) == (Status.STOPPED, "3")
        assert judged(samples, None) == (Status.STOPPED, "3"), "it was never seen to move"

    def test_3_a_commit_as_old_as_the_window_is_not_yet_stopped(self) -> None:
        samples = history((100, 5, 10), (110, 5, 20), (120, 5, 30))
        assert judged(samples, 100) == (Status.STALLED, "5")

    def test_3_where_no_events_came_either_it_is_stalled_and_not_stopped(self) -> None:
        assert judged(history((100, 5, 10), (110, 5, 10), (120, 5, 10)), 50) == (Status.STALLED, "5")

    def test_4_a_position_that_fell_and_stayed_down_is_rewound(self) -> None:
        samples = history((0, 50, 60), (10, 20, 60), (20, 30, 60))
        judgement = judge(samples, 20_000)
        assert (judgement.status, judgement.rule) == (Status.REWOUND, "4: position fell by 20 events")

    def test_4_a_position_that_recovered_is_not_rewound(self) -> None:
        assert judged(history((0, 50, 60), (10, 20, 60), (20, 55, 60)), 20) == (Status.OK, "7")

    def test_4_a_position_that_was_not_readable_between_is_compared_with_the_one_before(self) -> None:
        assert judged(history((0, 50, 60), (10, None, 60), (20, 30, 60)), 20) == (Status.REWOUND, "4")

    def test_5_behind_all_the_time_at_one_place_is_stalled(self) -> None:
        assert judged(history((0, 5, 9), (10, 5, 9), (20, 5, 10)), 0) == (Status.STALLED, "5")

    def test_5_wants_all_positions_equal_not_only_the_first_and_the_last(self) -> None:
        """It went back and read up again: it moves."""
        assert judged(history((0, 5, 9), (10, 3, 9), (20, 5, 9)), 20) == (Status.FALLING_BEHIND, "6")

    def test_5_holds_where_the_broker_counts_no_positions(self) -> None:
        samples = [sample(second, None, None, known(9)) for second in (100, 110, 120)]
        assert judged(samples, 50) == (Status.STALLED, "5")
        assert judged(samples, 115) == (Status.FALLING_BEHIND, "6"), "its position was seen to change"

    def test_6_behind_all_the_time_and_not_nearer_is_falling_behind(self) -> None:
        assert judged(history((0, 5, 10), (10, 8, 20), (20, 12, 30)), 20) == (Status.FALLING_BEHIND, "6")
        assert judged(history((0, 5, 10), (10, 15, 20), (20, 25, 30)), 20) == (Status.FALLING_BEHIND, "6")

    def test_7_behind_all_the_time_but_nearer_is_ok(self) -> None:
        assert judged(history((0, 5, 30), (10, 18, 30), (20, 29, 31)), 20) == (Status.OK, "7")

    def test_7_behind_now_but_level_once_in_the_window_is_ok(self) -> None:
        assert judged(history((0, 5, 10), (10, 20, 20), (20, 22, 90)), 20) == (Status.OK, "7")

    def test_7_a_lower_bound_of_0_in_the_window_is_not_level_once(self) -> None:
        samples = [sample(0, 5, 10), sample(10, 8, None, at_least(0)), sample(20, 12, 30)]
        assert judged(samples, 20) == (Status.FALLING_BEHIND, "6")

    def test_a_history_of_any_kind_gets_a_judgement_with_its_rule(self) -> None:
        """The status is the one that the rule stands for, and OK is never said of an unknown lag."""
        stands_for = {
            "1": Status.UNKNOWN, "2": Status.OK, "3": Status.STOPPED, "4": Status.REWOUND,
            "5": Status.STALLED, "6": Status.FALLING_BEHIND, "7": Status.OK,
        }  # fmt: skip
        dice, fired = random.Random(11), set()
        for _ in range(3_000):
            end, samples = 50, []
            for second in range(dice.randint(0, 6)):
                end += dice.choice([0, 0, 3, -5])
                committed = dice.choice([None, end, max(0, end - dice.randint(0, 20)), 40])
                lag = dice.choice([None, UNKNOWN, at_least(dice.randint(0, 2)), at_most(3)])
                samples.append(sample(second, committed, dice.choice([end, None]), lag))
            moved_s = dice.choice([None, -10, 0, len(samples) - 1])
            status, rule = judged(samples, moved_s, dice.choice([0, 2]))
            assert status is stands_for[rule]
            if status is Status.OK:
                assert samples[-1].lag.value is not None
            fired.add(rule)
        assert fired == set(stands_for)

    def test_a_group_is_as_bad_as_its_worst_partition(self) -> None:
        worst_last = [
            Status.OK, Status.UNKNOWN, Status.FALLING_BEHIND, Status.REWOUND, Status.STALLED, Status.STOPPED,
        ]  # fmt: skip
        assert sorted(Status, key=lambda status: status.severity) == worst_last


class TestTimeLag:
    def test_is_interpolated_between_the_samples_around_the_commit(self) -> None:
        """The end passed 15 half way between the seconds 10 and 20."""
        samples = history((0, 0, 5), (10, 5, 10), (20, 8, 20), (30, 15, 30))
        assert time_lag_ms(samples, 32_000) == about(17_000)

    def test_of_a_group_at_the_end_is_0_however_idle_the_stream_is(self) -> None:
        assert time_lag_ms(history((0, 5, 5), (10, 5, 5)), 99_000) == known(0)

    def test_on_an_end_that_no_longer_moves_grows_with_the_clock(self) -> None:
        samples = history((0, 0, 0), (10, 5, 10), (20, 5, 10), (30, 5, 10))
        assert time_lag_ms(samples, 30_000) == about(25_000)
        assert time_lag_ms(samples, 60_000) == about(55_000)

    def test_after_an_idle_time_counts_from_the_next_event_and_not_from_the_last(self) -> None:
        assert time_lag_ms(history((0, 5, 5), (500, 5, 5), (510, 5, 6)), 510_000) == about(10_000)

    def test_just_before_the_oldest_sample_is_extrapolated(self) -> None:
        """10 events a second: 20 events before the first sample were 2 s earlier."""
        lag = time_lag_ms(history((100, 0, 1_000), (110, 980, 1_100)), 110_000)
        assert (lag.kind, lag.value) == (LagKind.APPROXIMATE, 12_000)
        assert "extrapolated" in lag.reason

    def test_is_extrapolated_over_ten_minutes_and_no_further(self) -> None:
        """One event a second."""
        edge = EXTRAPOLATE_AT_MOST_MS // 1000
        at_edge = time_lag_ms(history((0, 0, 5_000), (100, 5_000 - edge, 5_100)), 100_000)
        assert at_edge == Lag(LagKind.APPROXIMATE, 100_000 + EXTRAPOLATE_AT_MOST_MS, at_edge.reason)
        beyond = time_lag_ms(history((0, 0, 5_000), (100, 5_000 - edge - 1, 5_100)), 100_000)
        assert (beyond.kind, beyond.value) == (LagKind.AT_LEAST, 100_000)

    def test_without_growth_to_extrapolate_from_is_a_lower_bound_and_not_infinite(self) -> None:
        lag = time_lag_ms(history((0, 1, 10), (10, 1, 10)), 10_000)
        assert (lag.kind, lag.value, lag.reason) == (
            LagKind.AT_LEAST, 10_000, "older than the oldest sample",
        )  # fmt: skip

    def test_of_an_end_that_fell_is_told_by_what_came_after(self) -> None:
        """At second 0 the end was 8, then it fell to 5 and grew again: 6 was passed at second 15."""
        samples = history((0, 1, 8), (10, 1, 5), (20, 1, 7), (30, 6, 9))
        assert time_lag_ms(samples, 30_000) == about(15_000)

    def test_beyond_the_end_is_unknown_and_not_0(self) -> None:
        assert time_lag_ms(history((0, 5, 9), (10, 12, 9)), 10_000).value is None

    @pytest.mark.parametrize(
        "samples", [[], history((0, None, 5)), history((0, 5, None)), history((0, 5, 9), (10, None, None))]
    )
    def test_without_a_position_or_an_end_is_unknown(self, samples: list[GroupSample]) -> None:
        lag = time_lag_ms(samples, 10_000)
        assert (lag.kind, lag.value) == (LagKind.UNKNOWN, None)
        assert lag.reason

    def test_of_a_stream_that_only_grows_lies_within_the_two_samples_around_the_true_moment(self) -> None:
        dice = random.Random(3)
        for _ in range(500):
            came, samples, end, at_s = [], [], 0, 0
            for _ in range(dice.randint(2, 12)):
                step = dice.randint(1, 20)
                new = dice.choice([0, dice.randint(1, 30)])
                came += sorted(at_s * 1000 + dice.randint(1, step * 1000) for _ in range(new))
                end, at_s = end + new, at_s + step
                samples.append(sample(at_s, 0, end))
            committed = dice.randint(samples[0].end or 0, end)
            samples[-1] = sample(at_s, committed, end)
            now_ms = at_s * 1000 + dice.randint(0, 5_000)
            lag = time_lag_ms(samples, now_ms)
            if committed == end:
                assert lag == known(0)
                continue
            first_unread_ms = came[committed]
            low = max(s.at_ms for s in samples if s.at_ms < first_unread_ms)
            high = min(s.at_ms for s in samples if s.at_ms >= first_unread_ms)
            assert lag.value is not None
            assert now_ms - high <= lag.value <= now_ms - low

    def test_is_never_negative_nor_infinite_whatever_the_history(self) -> None:
        dice = random.Random(5)
        for _ in range(3_000):
            samples = [
                sample(
                    second, dice.choice([None, dice.randint(0, 60)]), dice.choice([None, dice.randint(0, 60)])
                )
                for second in range(dice.randint(0, 6))
            ]
            lag = time_lag_ms(samples, 1_000 * len(samples))
            assert (lag.kind is LagKind.UNKNOWN) == (lag.value is None)
            assert lag.value is None or 0 <= lag.value <= 6_000 + EXTRAPOLATE_AT_MOST_MS


class TestCatchingUp:
    def test_takes_what_is_left_by_the_difference_of_the_rates(self) -> None:
        pace = catch_up(history((0, 0, 1_000), (10, 300, 1_100)))
        assert pace is not None
        assert (pace.drain_per_s, pace.arrival_per_s, pace.eta_s) == (30.0, 10.0, 40.0)

    @pytest.mark.parametrize("drained", [100, 50, 0, -20])
    def test_never_happens_where_it_drains_no_faster_than_events_come(self, drained: int) -> None:
        pace = catch_up(history((0, 500, 1_000), (10, 500 + drained, 1_100)))
        assert pace is not None
        assert pace.eta_s is None

    def test_has_happened_at_the_end_of_the_stream(self) -> None:
        pace = catch_up(history((0, 10, 10), (10, 20, 20)))
        assert pace is not None
        assert pace.eta_s == 0.0

    @pytest.mark.parametrize(
        "samples",
        [[], history((0, 1, 5)), history((0, 1, 5), (10, None, 9)), history((5, 1, 5), (5, 2, 6))],
    )
    def test_cannot_be_told_from_less_than_two_readable_samples(self, samples: list[GroupSample]) -> None:
        assert catch_up(samples) is None

    def test_is_a_finite_time_or_never(self) -> None:
        dice = random.Random(13)
        for _ in range(1_000):
            samples = [sample(s, dice.randint(0, 50), dice.randint(40, 90)) for s in (0, 7, 20)]
            pace = catch_up(samples)
            assert pace is not None
            assert pace.eta_s is None or (pace.eta_s >= 0 and math.isfinite(pace.eta_s))
