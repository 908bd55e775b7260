"""How each queue stands, and its workers as one group: what waits, what runs, what failed.

A queue has no position that its workers have passed; what is shown as theirs changes whenever a job is taken,
so that a queue which stands still is noticed.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from psycopg import sql

from collectors.brokers.base import ConsumerSeen, GroupSeen, GroupView, PendingSeen
from collectors.brokers.postgres_queue.client import PostgresClient, Row
from collectors.brokers.postgres_queue.tables import QueueTable
from eventwake.decoding.dead_letters.postgres_queue import workers_of
from eventwake.domain.lag import Lag, LagKind

RUNNING_AT_MOST = 200  # running jobs listed, the oldest of all queues; their count is exact
NO_NAME = "(not said)"  # of a worker, where the table has no column for it
NO_AGE = "the table does not say since when its jobs wait"


class Depth(NamedTuple):
    """Jobs of one queue by what is to be done with them; `later` wait for their time."""

    waiting: int = 0
    later: int = 0
    running: int = 0
    failed: int = 0


class _Running(NamedTuple):
    queue: str
    id: str
    worker: str | None
    running_ms: int | None
    attempts: int | None


class Workers:
    """Watches one table; only SELECT."""

    def __init__(self, client: PostgresClient, table: QueueTable) -> None:
        self._client = client
        self._table = table

    def queues(self) -> list[str]:
        """Every queue that has a row."""
        rows = self._client.rows(self._table.say("SELECT DISTINCT {queue} FROM {table} t"))
        return sorted(str(row[0]) for row in rows if row[0] is not None)

    def depths(self) -> dict[str, Depth]:
        """Queues with jobs that are not done."""
        rows = self._client.rows(
            self._table.say(
                "SELECT {queue}, count(*) FILTER (WHERE {waits} AND {due}),"
                " count(*) FILTER (WHERE {waits} AND NOT {due}), count(*) FILTER (WHERE {runs}),"
                " count(*) FILTER (WHERE {failed}) FROM {table} t WHERE {active} GROUP BY 1",
                active=self._table.in_state(
                    (*self._table.waiting, *self._table.running, *self._table.failed)
                ),
            )
        )
        return {row[0]: Depth(*row[1:]) for row in rows if row[0] is not None}

    def groups(self, queues: Sequence[str]) -> list[GroupSeen]:
        depths = self.depths()
        oldest = self._oldest_waiting([queue for queue in queues if depths.get(queue, Depth()).waiting])
        running = defaultdict(list)
        for one in self._running():
            running[one.queue].append(one)
        return [
            _group(queue, depths.get(queue, Depth()), oldest.get(queue), running[queue]) for queue in queues
        ]

    def views(self, queue: str, ids: Iterable[str]) -> dict[str, list[GroupView]]:
        """What became of jobs that were given back to the workers; nothing where that cannot be known."""
        asked = list(ids)
        rows = self._client.rows(
            self._table.say(
                "SELECT {id}::text, CASE WHEN {waits} THEN 'waiting' WHEN {runs} THEN 'pending'"
                " WHEN {is_done} THEN 'consumed' END FROM {table} t WHERE {among} AND {queue} = %(queue)s",
            ),
            ids=asked,
            queue=queue,
        )
        seen: dict[str, Any] = dict(rows)
        gone = [row_id for row_id in asked if row_id not in seen]
        if gone and self._table.logged is not None:
            logged = self._client.rows(sql.SQL(self._table.logged), ids=gone)
            seen |= {row_id: "consumed" for row_id, succeeded in logged if succeeded}
        return {
            row_id: [GroupView(workers_of(queue), state)] if (state := seen.get(row_id)) else []
            for row_id in asked
        }

    def _oldest_waiting(self, queues: Sequence[str]) -> dict[str, Row]:
        """queue -> the job that is next by its id, and how long it has waited, in ms."""
        rows = self._client.rows(
            self._table.say(
                "SELECT wanted.queue, oldest.* FROM unnest(%(queues)s::text[]) AS wanted (queue)"
                " CROSS JOIN LATERAL (SELECT {id}::text, {waited} FROM {table} t WHERE {queue} = wanted.queue"
                " AND {waits} AND {due} ORDER BY {id} LIMIT 1) AS oldest",
                waited=_since(self._table.waiting_since),
            ),
            queues=list(queues),
        )
        return {row[0]: row for row in rows}

    def _running(self) -> list[_Running]:
        rows = self._client.rows(
            self._table.say(
                "SELECT {queue}, {id}::text, {worker}, {since}, {attempts} FROM {table} t WHERE {runs}"
                " ORDER BY {id} LIMIT %(at_most)s",
                since=_since(self._table.started),
            ),
            at_most=RUNNING_AT_MOST,
        )
        return [_Running(*row) for row in rows if row[0] is not None]


def _since(moment: str) -> str:
    return f"greatest(0, extract(epoch FROM clock_timestamp() - {moment}) * 1000)::bigint"


def _group(queue: str, depth: Depth, oldest: Row | None, running: Sequence[_Running]) -> GroupSeen:
    longest = max(running, key=lambda one: one.running_ms or 0, default=None)
    return GroupSeen(
        stream=queue,
        name=workers_of(queue),
        position=_progress(oldest, running),
        committed=None,
        end=None,
        lag=Lag(
            LagKind.KNOWN, depth.waiting, f"{depth.later:,} more wait for their time" if depth.later else ""
        ),
        time_lag=_time_lag(depth, oldest),
        pending=depth.running,
        oldest_pending=longest.id if longest else None,
        oldest_pending_idle_ms=longest.running_ms if longest else None,
        most_deliveries=max((one.attempts or 0 for one in running), default=None),
        consumers=_consumers(running),
        entries=[
            PendingSeen(one.id, one.worker or NO_NAME, one.running_ms or 0, one.attempts or 0)
            for one in running
        ],
        entries_complete=depth.running <= len(running),
    )


def _progress(oldest: Row | None, running: Sequence[_Running]) -> str:
    waiting = f"next is {oldest[1]}" if oldest else "none waits"
    return f"{waiting}; last taken that runs: {running[-1].id}" if running else waiting


def _time_lag(depth: Depth, oldest: Row | None) -> Lag:
    if not depth.waiting:
        return Lag.known(0)
    if oldest is None or oldest[2] is None:
        return Lag.unknown(NO_AGE if oldest else "the oldest job was taken while it was looked for")
    return Lag.known(oldest[2])


def _consumers(running: Sequence[_Running]) -> list[ConsumerSeen]:
    """Who holds a job now, since when; an idle worker leaves no sign in the table."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for one in running:
        by_name[one.worker or NO_NAME].append(one.running_ms or 0)
    return [ConsumerSeen(name, len(ages), min(ages), None) for name, ages in sorted(by_name.items())]
