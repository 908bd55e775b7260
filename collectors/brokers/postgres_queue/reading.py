"""Reads jobs as events, by id; only SELECT.

Ids are taken before their rows are committed, so a smaller one may come after a greater one. An id is read
only once every transaction has ended that could still bring a smaller one: see `Horizon`. A job whose row is
deleted before that is not seen; a table of a library that deletes what is done says so by a gap.
"""

from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import NamedTuple

from psycopg import sql

from collectors.brokers.base import Batch, Cursor, Gap, StreamSeen
from collectors.brokers.postgres_queue.catalogue import Found
from collectors.brokers.postgres_queue.client import PostgresClient
from collectors.brokers.postgres_queue.rows import Rows
from eventwake.domain.envelope import Record

BEGINNING = ""  # the position before every row
DONE_UNSEEN = (
    "jobs of this table are deleted once done: some were before they could be read, or were never kept"
)
SKIPPED = "skipped: the collector was too far behind"
CANDIDATES_AT_MOST = 60  # as many looks' newest ids wait to be settled; then the looks between are left out


class _Candidate(NamedTuple):
    newest: str
    at_s: float
    fence: int | None  # the first transaction that had no number when the wait was over


class Horizon:
    """The id up to which nothing new can come any more, of one table.

    An id that was the newest at some moment is settled once every transaction has ended that had a number
    `settle_s` later. The wait is for those that had taken a smaller id but no number yet: PostgreSQL numbers
    a transaction at its first write. For ids made by clients it must be longer than their clocks differ.
    """

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._candidates: deque[_Candidate] = deque()
        self.settled: str | None = None

    def advance(self, newest: str | None, oldest_running: int, next_number: int, now_s: float) -> None:
        """`newest` id, and of the same snapshot the oldest transaction still running and the next number."""
        candidates = self._candidates
        last = candidates[-1].newest if candidates else self.settled
        if newest is not None and newest != last and len(candidates) < CANDIDATES_AT_MOST:
            candidates.append(_Candidate(newest, now_s, None))
        for _ in range(len(candidates)):
            candidate = candidates.popleft()
            if candidate.fence is None and now_s - candidate.at_s >= self._settle_s:
                candidate = candidate._replace(fence=next_number)
            if candidate.fence is not None and oldest_running >= candidate.fence:
                self.settled = candidate.newest
            else:
                candidates.append(candidate)


class Events:
    """The jobs of one table as they were put in, each queue a stream."""

    def __init__(self, client: PostgresClient, found: Found, settle_s: float) -> None:
        self._client = client
        self._found = found
        self._table = found.table
        self._rows = Rows(found)
        self._horizon = Horizon(settle_s)

    def newest(self) -> str:
        """The greatest id there is; `BEGINNING` where there is none."""
        rows = self._client.rows(
            self._table.say("SELECT {id}::text FROM {table} t ORDER BY {id} DESC LIMIT 1")
        )
        return str(rows[0][0]) if rows else BEGINNING

    def last_taken(self) -> int | None:
        """The last id that was given out, whether or not its row is there."""
        if self._found.sequence is None:
            return None
        return int(self._client.row(sql.SQL("SELECT last_value FROM " + self._found.sequence))[0])

    def before_hours(self, queue: str, hours: int) -> str:
        """The id of the last job that is older; those of unknown age are not."""
        rows = self._client.rows(
            self._table.say(
                "SELECT {id}::text FROM {table} t WHERE {queue} = %(queue)s"
                " AND {created} < now() - make_interval(hours => %(hours)s) ORDER BY {id} DESC LIMIT 1",
            ),
            queue=queue,
            hours=hours,
        )
        return str(rows[0][0]) if rows else BEGINNING

    def read(self, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
        self._look_at_horizon()
        return [self._read(*one) for one in wanted]

    def skip(self, seen: StreamSeen, cursor: Cursor) -> Batch:
        gap = Gap(cursor.position, seen.last_position, None, SKIPPED)
        return Batch(seen.name, [], cursor._replace(position=seen.last_position), gap, 0)

    def _look_at_horizon(self) -> None:
        newest, oldest, next_number = self._client.row(
            self._table.say(
                "SELECT (SELECT {id}::text FROM {table} t ORDER BY {id} DESC LIMIT 1),"
                " pg_snapshot_xmin(s)::text::bigint, pg_snapshot_xmax(s)::text::bigint"
                " FROM pg_current_snapshot() s"
            )
        )
        self._horizon.advance(newest, oldest, next_number, monotonic())

    def _read(self, seen: StreamSeen, cursor: Cursor, at_most: int) -> Batch:
        until = self._horizon.settled
        if until is None or _later(cursor.position, until) == cursor.position:
            return Batch(seen.name, [], cursor, unread=0)
        rows = self._client.rows(
            self._rows.select(
                "WHERE {queue} = %(queue)s AND (%(after)s = '' OR {id} > nullif(%(after)s, '')::{id_type})"
                " AND {id} <= %(until)s::{id_type} ORDER BY {id} LIMIT %(at_most)s"
            ),
            queue=seen.name,
            after=cursor.position,
            until=until,
            at_most=at_most,
        )
        records = [self._rows.event(row) for row in rows]
        more = len(records) == at_most
        position = records[-1].position if more else until
        gap = self._gap(cursor.position, position, records) if self._table.deletes_done else None
        return Batch(seen.name, records, cursor._replace(position=position), gap, None if more else 0, more)

    def _gap(self, after: str, until: str, records: Sequence[Record]) -> Gap | None:
        """Ids that were taken and have no row, of which nobody can say whose queue they were in."""
        if not after.isdecimal() or not until.isdecimal():
            return None
        taken = int(until) - int(after)
        if taken <= len(records):
            return None
        [there] = self._client.row(
            self._table.say(
                "SELECT count(*) FROM {table} t WHERE {id} > %(after)s::bigint AND {id} <= %(until)s::bigint"
            ),
            after=after,
            until=until,
        )
        return Gap(after, until, None, DONE_UNSEEN) if there < taken else None


def follow(seen: StreamSeen, cursor: Cursor, last_taken: int | None) -> Cursor:
    """The cursor to go on from; that of a new incarnation where the table was made anew, or its ids were."""
    read = cursor.position.partition("-")[0]
    went_back = last_taken is not None and read.isdecimal() and last_taken < int(read)
    if seen.identity == cursor.identity and not went_back:
        return cursor
    return Cursor(BEGINNING, None, cursor.incarnation + 1, cursor.partition, seen.identity)


def _later(one: str, other: str) -> str:
    """A cursor never goes back, although the newest rows may have been deleted since."""
    if one.isdecimal() and other.isdecimal():
        return max(one, other, key=int)
    return max(one, other)
