"""Consumer lag as a typed value, time lag, and a group's status by numbered rules.

The rules and the faults they mend are those of Burrow's evaluator; the order of the rules is the order
in which they are tried, and `Judgement.rule` says which one fired.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

EXTRAPOLATE_AT_MOST_MS = 10 * 60_000  # further back than this a straight line through two samples is a guess


class LagKind(StrEnum):
    KNOWN = "known"
    AT_MOST = "at most"
    AT_LEAST = "at least"
    APPROXIMATE = "about"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Lag:
    """A number of events (or of milliseconds, for time lag), and how far it can be trusted."""

    kind: LagKind
    value: int | None = None
    reason: str = ""

    @classmethod
    def known(cls, value: int) -> "Lag":
        return cls(LagKind.KNOWN, value)

    @classmethod
    def at_most(cls, value: int, reason: str = "") -> "Lag":
        return cls(LagKind.AT_MOST, value, reason)

    @classmethod
    def at_least(cls, value: int, reason: str = "") -> "Lag":
        return cls(LagKind.AT_LEAST, value, reason)

    @classmethod
    def approximate(cls, value: int, reason: str = "") -> "Lag":
        return cls(LagKind.APPROXIMATE, value, reason)

    @classmethod
    def unknown(cls, reason: str) -> "Lag":
        return cls(LagKind.UNKNOWN, None, reason)

    def __str__(self) -> str:
        if self.value is None:
            return "unknown"
        return f"{self.value:,}" if self.kind is LagKind.KNOWN else f"{self.kind} {self.value:,}"


def total(lags: Iterable[Lag]) -> Lag:
    """The sum; a part that is not known makes the sum a bound or unknown, and the reason says so."""
    parts = list(lags)
    missing = [part for part in parts if part.value is None]
    value = sum(part.value for part in parts if part.value is not None)
    kinds = {part.kind for part in parts}
    if missing:
        if len(missing) == len(parts):
            return Lag.unknown(missing[0].reason)
        if LagKind.AT_MOST in kinds or LagKind.APPROXIMATE in kinds:
            return Lag.unknown(f"{len(missing)} of {len(parts)} parts unknown: {missing[0].reason}")
        return Lag.at_least(value, f"{len(missing)} of {len(parts)} parts unknown: {missing[0].reason}")
    if LagKind.APPROXIMATE in kinds or {LagKind.AT_MOST, LagKind.AT_LEAST} <= kinds:
        return Lag.approximate(value)
    for bound in (LagKind.AT_MOST, LagKind.AT_LEAST):
        if bound in kinds:
            return Lag(bound, value)
    return Lag.known(value)


@dataclass(frozen=True, slots=True)
class GroupSample:
    """One look at a group's partition: `committed` and `end` count events from the stream's beginning.

    `committed` is exact, or None where the group has no readable position or only bounds of it are known;
    `end` is None where the broker keeps no count.
    """

    at_ms: int
    committed: int | None
    end: int | None
    lag: Lag


class Status(StrEnum):
    """A group's state, best first; a group is as bad as its worst partition."""

    OK = "ok"
    UNKNOWN = "unknown"
    FALLING_BEHIND = "falling behind"
    REWOUND = "rewound"
    STALLED = "stalled"
    STOPPED = "stopped"

    @property
    def severity(self) -> int:
        return list(Status).index(self)


@dataclass(frozen=True, slots=True)
class Judgement:
    """A status with the rule that fired, in words a person can check against the samples."""

    status: Status
    rule: str


def judge(
    samples: Sequence[GroupSample],
    last_moved_ms: int | None,
    *,
    allowed_lag: int = 0,
    min_samples: int = 3,
) -> Judgement:
    """The status of one group's partition from its stored history, oldest sample first.

    `last_moved_ms` is when the group's position was last seen to change (None: never seen to change, which
    then counts as longer ago than the window spans).
    """
    # 1 too little known to say anything
    if len(samples) < min_samples:
        return Judgement(Status.UNKNOWN, f"1: only {len(samples)} of the {min_samples} samples needed")
    newest, oldest = samples[-1], samples[0]
    if newest.lag.value is None:
        return Judgement(Status.UNKNOWN, f"1: lag unknown, {newest.lag.reason or 'no reason given'}")
    if _may_be_either(newest.lag, allowed_lag):
        return Judgement(Status.UNKNOWN, f"1: lag {newest.lag}, which may be more than {allowed_lag:,}")
    # 2 it has caught up
    if newest.lag.value <= allowed_lag:
        return Judgement(Status.OK, f"2: lag {newest.lag} is within the allowed {allowed_lag:,}")
    # 3 nothing committed for the whole window while the stream grew
    span_ms = newest.at_ms - oldest.at_ms
    quiet = last_moved_ms is None or newest.at_ms - last_moved_ms > span_ms
    ends = [sample.end for sample in samples if sample.end is not None]
    if quiet and len(ends) > 1 and ends[-1] > ends[0]:
        return Judgement(
            Status.STOPPED, f"3: position unmoved for over {span_ms // 1000} s while events came"
        )
    # 4 the position went back and stayed back
    commits = [sample.committed for sample in samples if sample.committed is not None]
    if commits and commits[-1] < max(commits):
        return Judgement(Status.REWOUND, f"4: position fell by {max(commits) - commits[-1]:,} events")
    telling = [sample.lag for sample in samples if not _may_be_either(sample.lag, allowed_lag)]
    lags = [lag.value for lag in telling if lag.value is not None]
    if min(lags) > allowed_lag:
        # 5 behind for the whole window without moving
        if quiet or (len(commits) > 1 and min(commits) == max(commits)):
            return Judgement(Status.STALLED, f"5: behind and unmoved for {span_ms // 1000} s")
        # 6 behind for the whole window and not getting nearer
        if lags[-1] >= lags[0]:
            return Judgement(
                Status.FALLING_BEHIND, f"6: lag {lags[0]:,} -> {lags[-1]:,} in {span_ms // 1000} s"
            )
    # 7 behind, and either it was well within this window or it is catching up
    well_ms = [s.at_ms for s in samples if s.lag.value is not None and s.lag.value <= allowed_lag]
    if well_ms:
        ago_s, span_s = (newest.at_ms - well_ms[-1]) // 1000, span_ms // 1000
        return Judgement(Status.OK, f"7: lag {newest.lag}, for {ago_s} s of the last {span_s} s")
    return Judgement(Status.OK, f"7: lag {newest.lag}, and shrinking: it was {lags[0]:,}")


def _may_be_either(lag: Lag, allowed: int) -> bool:
    """A lower bound within what is allowed says neither that the lag is within it nor that it is not."""
    return lag.kind is LagKind.AT_LEAST and lag.value is not None and lag.value <= allowed


def time_lag_ms(samples: Sequence[GroupSample], now_ms: int) -> Lag:
    """How old the oldest event is that the group has not passed, in ms, from samples oldest first.

    The moment at which the stream's end passed the committed position is interpolated between the two
    samples around it. Source: kafka-lag-exporter's look-up table, with its infinities taken out.
    """
    if not samples or samples[-1].committed is None or samples[-1].end is None:
        return Lag.unknown("no readable position or end")
    committed, end = samples[-1].committed, samples[-1].end
    if committed > end:
        return Lag.unknown("the position lies beyond the stream's end")
    if committed == end:
        return Lag.known(0)
    # an end that later fell (truncation) says nothing about when today's events came
    points: list[tuple[int, int]] = []
    for sample in reversed(samples):
        if sample.end is not None and (not points or sample.end <= points[-1][1]):
            points.append((sample.at_ms, sample.end))
    points.reverse()
    for (t0, e0), (t1, e1) in pairwise(points):
        if e0 <= committed < e1:
            passed = t0 + (t1 - t0) * (committed - e0) // (e1 - e0)
            return Lag.approximate(max(0, now_ms - passed))
    first_at, first_end = points[0]
    grown = end - first_end
    if committed < first_end and grown > 0:
        back = (first_end - committed) * (points[-1][0] - first_at) // grown
        if back <= EXTRAPOLATE_AT_MOST_MS:
            return Lag.approximate(now_ms - first_at + back, "extrapolated before the oldest sample")
    return Lag.at_least(now_ms - first_at, "older than the oldest sample")


@dataclass(frozen=True, slots=True)
class CatchUp:
    """Rates in events per second over the window; `eta_s` is None when it never catches up at this pace."""

    drain_per_s: float
    arrival_per_s: float
    eta_s: float | None


def catch_up(samples: Sequence[GroupSample]) -> CatchUp | None:
    """When the group will have caught up; None where the samples cannot tell."""
    known = [s for s in samples if s.committed is not None and s.end is not None]
    if len(known) < 2 or known[-1].at_ms <= known[0].at_ms:
        return None
    first, last = known[0], known[-1]
    seconds = (last.at_ms - first.at_ms) / 1000
    drain = ((last.committed or 0) - (first.committed or 0)) / seconds
    arrival = ((last.end or 0) - (first.end or 0)) / seconds
    behind = max(0, (last.end or 0) - (last.committed or 0))
    if behind == 0:
        return CatchUp(drain, arrival, 0.0)
    return CatchUp(drain, arrival, behind / (drain - arrival) if drain > arrival else None)
