"""Samples the consumer groups of one source: lag, time lag, pending entries, and a judgement on each."""

import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from collectors.brokers.base import Broker, GroupSeen
from collectors.streams import Streams
from eventwake.clock import now_ms
from eventwake.domain.lag import GroupSample, Lag, LagKind, catch_up, judge, time_lag_ms
from eventwake.settings import Source
from eventwake.store.reads.groups import samples_since
from eventwake.store.session import Store
from eventwake.store.writes import groups as writes

log = logging.getLogger(__name__)

WINDOW_MS = 300_000  # the history that a judgement rests on
SHORTEST_WINDOW_S = 30  # with less history nothing is said of a group
SAMPLES_AT_LEAST = 3
GROUPS_A_TRANSACTION = 200


class LagSampler:
    """Keeps the recent history of every group in memory; the store has it for the next start."""

    def __init__(self, store: Store, broker: Broker, source: Source, streams: Streams) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._streams = streams
        self._min_samples = max(SAMPLES_AT_LEAST, round(SHORTEST_WINDOW_S / source.groups_s))
        self._history: dict[int, deque[GroupSample]] = {}

    def step(self) -> None:
        """Samples every group of the streams that were last looked at."""
        watched = {name: w for name, w in self._streams.watched.items() if w.parts}
        seen = self._broker.groups(list(watched))
        at_ms = now_ms()
        with self._store.read() as connection:
            known = writes.known_groups(connection, self._source.name)
        placed = [(watched[group.stream].id, group) for group in seen]
        for start in range(0, len(placed), GROUPS_A_TRANSACTION):
            self._write(placed[start : start + GROUPS_A_TRANSACTION], known, at_ms)
        still = {(stream_id, group.name) for stream_id, group in placed}
        gone = [row.id for place, row in known.items() if place not in still]
        if gone:
            with self._store.write() as tx:
                writes.groups_gone(tx, gone, at_ms)
            for group_id in gone:
                self._history.pop(group_id, None)

    def _write(
        self, placed: Sequence[tuple[int, GroupSeen]], known: dict[tuple[int, str], Any], at_ms: int
    ) -> None:
        samples, consumers, pending, ids = [], [], [], []
        with self._store.write() as tx:
            for stream_id, looked in placed:
                before = known.get((stream_id, looked.name))
                moved_ms = _moved_ms(before, looked, at_ms)
                history = self._history_of(before.id if before else None, at_ms)
                history.append(GroupSample(at_ms, looked.committed, looked.end, looked.lag))
                group = _timed(looked, history, at_ms)
                group_id = writes.save_group(
                    tx,
                    _group_row(
                        stream_id,
                        group,
                        history,
                        moved_ms,
                        at_ms,
                        self._min_samples,
                        self._source.allowed_lag,
                    ),
                )
                self._history[group_id] = history
                ids.append(group_id)
                samples.append(_sample_row(group_id, group, at_ms))
                consumers += [
                    {"group_id": group_id, "sampled_ms": at_ms, **c._asdict()} for c in group.consumers
                ]
                pending += [{"group_id": group_id, "sampled_ms": at_ms, **p._asdict()} for p in group.entries]
            writes.save_samples(tx, samples)
            writes.replace_members(tx, ids, consumers, pending)

    def _history_of(self, group_id: int | None, at_ms: int) -> deque[GroupSample]:
        history = self._history.get(group_id) if group_id is not None else None
        if history is None:
            history = deque()
            if group_id is not None:
                with self._store.read() as connection:
                    rows = samples_since(connection, group_id, at_ms - WINDOW_MS)
                history.extend(
                    GroupSample(row.at_ms, row.committed, row.end, Lag(LagKind(row.lag_kind), row.lag))
                    for row in rows
                )
        while history and history[0].at_ms < at_ms - WINDOW_MS:
            history.popleft()
        return history


def _timed(group: GroupSeen, history: Sequence[GroupSample], at_ms: int) -> GroupSeen:
    """The group with a time lag from its samples, where its broker's positions carry no time."""
    if group.time_lag.value is not None or group.committed is None or group.end is None:
        return group
    return replace(group, time_lag=time_lag_ms(list(history), at_ms))


def _moved_ms(before: Any, group: GroupSeen, at_ms: int) -> int | None:
    """When the position was last seen to change; None while it never was."""
    if before is None:
        return None
    return at_ms if before.position != group.position else before.moved_ms


def _group_row(
    stream_id: int,
    group: GroupSeen,
    history: Sequence[GroupSample],
    moved_ms: int | None,
    at_ms: int,
    min_samples: int,
    allowed_lag: int,
) -> dict[str, Any]:
    samples = list(history)
    judgement = judge(samples, moved_ms, allowed_lag=allowed_lag, min_samples=min_samples)
    pace = catch_up(samples)
    return {
        "stream_id": stream_id,
        "name": group.name,
        "status": judgement.status.value,
        "rule": judgement.rule,
        "position": group.position,
        "committed": group.committed,
        "end": group.end,
        "lag_kind": group.lag.kind.value,
        "lag": group.lag.value,
        "lag_reason": group.lag.reason,
        "time_lag_kind": group.time_lag.kind.value,
        "time_lag_ms": group.time_lag.value,
        "time_lag_reason": group.time_lag.reason,
        "pending": group.pending,
        "oldest_pending": group.oldest_pending,
        "oldest_pending_idle_ms": group.oldest_pending_idle_ms,
        "most_deliveries": group.most_deliveries,
        "consumers": len(group.consumers),
        "moved_ms": moved_ms,
        "drain_per_s": pace.drain_per_s if pace else None,
        "arrival_per_s": pace.arrival_per_s if pace else None,
        "skipped": group.skipped,
        "sampled_ms": at_ms,
    }


def _sample_row(group_id: int, group: GroupSeen, at_ms: int) -> dict[str, Any]:
    return {
        "group_id": group_id,
        "at_ms": at_ms,
        "position": group.position,
        "committed": group.committed,
        "end": group.end,
        "lag_kind": group.lag.kind.value,
        "lag": group.lag.value,
        "time_lag_ms": group.time_lag.value,
        "pending": group.pending,
        "oldest_pending": group.oldest_pending,
    }
