"""The first page: is everything being watched, and does anything need me?"""

from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.viewmodels import units
from dashboard.viewmodels.freshness import SILENT_MS, answering
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.rates import FINE_MS, Point
from eventwake.store.reads.sources import SourceRow, StreamRow, WorkerRow

RATE_WINDOW_MS = 60_000
STATE_MARKS = {"up": "● up", "starting": "○ starting", "down": "✕ down", "refused": "✕ refused"}


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One source as the table shows it."""

    source: str
    state: str
    since: str
    server: str
    watching: str
    streams: int
    behind: str
    acts: str
    says: str


@dataclass(frozen=True, slots=True)
class WorstLag:
    """The group that makes events wait longest; `unknown` counts groups whose lag cannot be told."""

    group: GroupRow | None
    unknown: int
    total: int


def rate_per_s(series: Sequence[Point], now_ms: int) -> float:
    """Events a second over the last minute, the present bucket with it: what comes moves the figure."""
    since = now_ms // FINE_MS * FINE_MS - RATE_WINDOW_MS
    return sum(p.value for p in series if p.at_ms >= since) / ((now_ms - since) / 1000)


def filled(
    series: Sequence[Point], since_ms: int, until_ms: int, step_ms: int, known_since_ms: int | None
) -> list[int]:
    """The series with a 0 for each bucket in which the collectors saw nothing; none before they knew."""
    if known_since_ms is None:
        return []
    values = {point.at_ms: point.value for point in series}
    start = -(-max(since_ms, known_since_ms) // step_ms) * step_ms
    return [values.get(at, 0) for at in range(start, until_ms - step_ms + 1, step_ms)]


def worst_lag(groups: Sequence[GroupRow]) -> WorstLag:
    known = [group for group in groups if group.lag]
    worst = max(known, key=lambda g: (g.time_lag_ms or 0, g.lag or 0), default=None)
    unknown = sum(group.lag is None for group in groups)
    return WorstLag(worst, unknown, len(groups))


def source_lines(
    sources: Sequence[SourceRow], workers: Sequence[WorkerRow], streams: Sequence[StreamRow], now_ms: int
) -> list[SourceLine]:
    samplers = {worker.source: worker for worker in workers if worker.role == "sampler"}
    lines = []
    for source in sources:
        own = [stream for stream in streams if stream.source == source.name and stream.gone_ms is None]
        unread = [stream.unread for stream in own]
        behind = units.UNKNOWN if None in unread else units.count(sum(n or 0 for n in unread))
        lines.append(
            SourceLine(
                source.name,
                _state(source, now_ms),
                units.age(source.since_ms, now_ms).removesuffix(" ago"),
                source.server or units.UNKNOWN,
                watching(samplers.get(source.name), now_ms),
                len(own),
                behind,
                "retry, discard" if source.writable else "read-only",
                source.detail,
            )
        )
    return lines


def _state(source: SourceRow, now_ms: int) -> str:
    if source.state == "up" and not answering([source], now_ms):
        return f"✕ not watched, last seen up {units.age(source.checked_ms, now_ms)}"
    return STATE_MARKS.get(source.state, source.state)


def watching(worker: WorkerRow | None, now_ms: int) -> str:
    """What the source's worker does, and how long ago it said so."""
    if worker is None:
        return "✕ no worker"
    told = units.age(worker.heartbeat_ms, now_ms)
    if now_ms - worker.heartbeat_ms > SILENT_MS and worker.state != "waiting":
        return f"✕ silent, {told}"
    mark = "●" if worker.state == "running" else "○"
    return f"{mark} {worker.state}, {told}"
