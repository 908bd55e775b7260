"""Consumer groups: how far each is behind, and its history."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dashboard.viewmodels import units
from eventwake.charts.history import Line
from eventwake.domain.lag import Status
from eventwake.store.reads.groups import ConsumerRow, GroupRow, PendingRow, RollupRow, SampleRow

MARKS = {
    Status.OK: "● ok",
    Status.UNKNOWN: "○ unknown",
    Status.FALLING_BEHIND: "▲ falling behind",
    Status.REWOUND: "▲ rewound",
    Status.STALLED: "✕ stalled",
    Status.STOPPED: "✕ stopped",
}
WINDOWS_MS = {"15 min": 900_000, "1 h": 3_600_000, "6 h": 21_600_000, "24 h": 86_400_000, "7 d": 604_800_000}
DEFAULT_WINDOW = "1 h"
POINTS = 240  # of one line
SAMPLED_MS = 21_600_000  # longer windows are drawn from the rollups
ROLLUP_MS = 600_000


class GroupLine(NamedTuple):
    """A group on one stream as the list shows it."""

    status: str
    group: str
    stream: str
    source: str
    lag: str
    waits: str
    pending: str
    idle: str
    consumers: int | None
    drains: str
    arrives: str
    caught_up: str
    trend: list[int]
    sampled: str


class StandLine(NamedTuple):
    """A group on one stream, with the reasons behind its figures."""

    stream: str
    status: str
    rule: str
    lag: str
    waits: str
    position: str
    why: str


class MemberLine(NamedTuple):
    stream: str
    consumer: str
    pending: int
    idle: str
    inactive: str
    sampled: str


class PendingLine(NamedTuple):
    stream: str
    position: str
    consumer: str
    idle: str
    deliveries: int
    sampled: str


def worst_first(groups: Sequence[GroupRow]) -> list[GroupRow]:
    return sorted(
        groups,
        key=lambda g: (-Status(g.status).severity, -(g.time_lag_ms or 0), -(g.lag or 0), g.name, g.stream),
    )


def fits(group: GroupRow, text: str, status: str | None, source: str | None) -> bool:
    named = text.lower() in f"{group.name} {group.stream}".lower()
    return named and status in (None, group.status) and source in (None, group.source)


def group_lines(
    groups: Sequence[GroupRow], trends: Mapping[int, Sequence[int | None]], now_ms: int
) -> list[GroupLine]:
    return [
        GroupLine(
            MARKS[Status(g.status)],
            g.name,
            g.stream,
            g.source,
            units.lag(g.lag_kind, g.lag),
            units.time_lag(g.time_lag_kind, g.time_lag_ms),
            units.count(g.pending),
            units.duration(g.oldest_pending_idle_ms) if g.oldest_pending else "",
            g.consumers,
            units.rate(g.drain_per_s),
            units.rate(g.arrival_per_s),
            caught_up(g),
            since_known(trends.get(g.id, ())),
            units.age(g.sampled_ms, now_ms),
        )
        for g in groups
    ]


def since_known(trend: Sequence[int | None]) -> list[int]:
    """The end of a trend without its last gap of two steps or more, which a table's line can't show."""
    since = next((i for i in range(len(trend), 1, -1) if trend[i - 2 : i] == [None, None]), 0)
    return [value for value in trend[since:] if value is not None]


def caught_up(group: GroupRow) -> str:
    """When it will have caught up at the present pace."""
    if not group.lag:
        return "now" if group.lag == 0 else units.UNKNOWN
    if group.drain_per_s is None or group.arrival_per_s is None:
        return units.UNKNOWN
    gained = group.drain_per_s - group.arrival_per_s
    return f"in {units.duration(1000 * group.lag / gained)}" if gained > 0 else "never at this pace"


def stand_lines(groups: Sequence[GroupRow]) -> list[StandLine]:
    return [
        StandLine(
            g.stream,
            MARKS[Status(g.status)],
            g.rule,
            units.lag(g.lag_kind, g.lag),
            units.time_lag(g.time_lag_kind, g.time_lag_ms),
            g.position or units.UNKNOWN,
            "; ".join(dict.fromkeys(filter(None, (g.lag_reason, g.time_lag_reason)))),
        )
        for g in groups
    ]


def member_lines(stream: str, members: Sequence[ConsumerRow], now_ms: int) -> list[MemberLine]:
    return [
        MemberLine(
            stream,
            m.name,
            m.pending,
            units.duration(m.idle_ms),
            units.duration(m.inactive_ms),
            units.age(m.sampled_ms, now_ms),
        )
        for m in members
    ]


def pending_lines(stream: str, entries: Sequence[PendingRow], now_ms: int) -> list[PendingLine]:
    return [
        PendingLine(
            stream,
            e.position,
            e.consumer,
            units.duration(e.idle_ms),
            e.deliveries,
            units.age(e.sampled_ms, now_ms),
        )
        for e in entries
    ]


def sampled_line(name: str, samples: Sequence[SampleRow], since_ms: int, until_ms: int, field: str) -> Line:
    """The greatest value of each step; None where there was no sample, or none that was known."""
    step = max(1, (until_ms - since_ms) // POINTS)
    if len(samples) > 1:  # a step must not be shorter than the samples are apart
        apart = (samples[-1].at_ms - samples[0].at_ms) / (len(samples) - 1)
        step = max(step, round(apart * 1.5))
    steps: dict[int, float | None] = {}
    for sample in samples:
        at, value = since_ms + (sample.at_ms - since_ms) // step * step, getattr(sample, field)
        before = steps.setdefault(at, value)
        steps[at] = value if before is None else before if value is None else max(before, value)
    return Line(name, [(at, steps.get(at)) for at in range(since_ms, until_ms, step)])


def rolled_line(name: str, rollups: Sequence[RollupRow], since_ms: int, until_ms: int, field: str) -> Line:
    """Ten minutes a point."""
    values = {row.bucket_ms: getattr(row, field) for row in rollups}
    first = since_ms // ROLLUP_MS * ROLLUP_MS
    return Line(name, [(at, values.get(at)) for at in range(first, until_ms, ROLLUP_MS)])


def in_seconds(line: Line) -> Line:
    return Line(line.name, [(at, None if value is None else value / 1000) for at, value in line.points])
