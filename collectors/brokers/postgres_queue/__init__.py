"""A job queue in a table of PostgreSQL: procrastinate, pgqueuer, chancy, or a table of one's own.

Each queue is a stream of its jobs as they were put in, and beside it, with `dead_letter_suffix` behind its
name, a stream of its failed jobs.
"""

from collections.abc import Callable, Iterator, Sequence

from psycopg import sql

from collectors.brokers.base import (
    Batch,
    Broker,
    Capabilities,
    Check,
    Cursor,
    GroupSeen,
    GroupView,
    LetterToSend,
    Looked,
    Sent,
    Server,
    StreamSeen,
)
from collectors.brokers.postgres_queue import checks, reading
from collectors.brokers.postgres_queue.catalogue import Found, find_table
from collectors.brokers.postgres_queue.client import PostgresClient
from collectors.brokers.postgres_queue.letters import Letters
from collectors.brokers.postgres_queue.reading import Events
from collectors.brokers.postgres_queue.settings import read_settings
from collectors.brokers.postgres_queue.workers import Depth, Workers
from eventwake.decoding.dead_letters.postgres_queue import read_letter
from eventwake.domain.dead_letter import DeadLetter
from eventwake.domain.envelope import Record
from eventwake.domain.errors import BrokerRefused, BrokerUnavailable
from eventwake.settings import Source

_IDENTITY = sql.SQL(
    "SELECT CASE WHEN pg_is_in_recovery() THEN 'standby'"
    " ELSE substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END"  # the timeline: another after a fail-over
    " || ' ' || extract(epoch FROM pg_postmaster_start_time())::text"
)


class PostgresQueue(Broker):
    """One table, watched by SELECT alone."""

    capabilities = Capabilities("queue", groups=True, pending=True, retry=True, discard=True, restore=True)

    def __init__(self, source: Source) -> None:
        self._settings = read_settings(source)
        self._source = source
        self._client = PostgresClient(self._settings, source.name)
        self._parts: _Parts | None = None

    def start(self) -> None:
        self._parts = None
        self._client.connect()
        found = find_table(self._client, self._settings, self._source.name)
        self._parts = _Parts(
            found,
            Events(self._client, found, self._settings.settle_s),
            Letters(self._client, found, self._settings.dispositions),
            Workers(self._client, found.table),
        )

    def stop(self) -> None:
        self._client.close()

    def server(self) -> Server:
        [identity] = self._client.row(_IDENTITY)
        return Server(checks.version_of(self._client), identity)

    @property
    def commands_sent(self) -> int:
        return self._client.commands_sent

    def discover(self, wanted: Callable[[str], bool]) -> Iterator[list[str]]:
        names = [name for queue in self._of.workers.queues() for name in (queue, self._dead(queue))]
        yield [name for name in names if wanted(name)]

    def holds_dead_letters(self, stream: str) -> bool:
        return stream.endswith(self._settings.dead_letter_suffix)

    def look(self, streams: Sequence[str]) -> Looked:
        """A queue is there as long as its table is: one without a job is empty."""
        depths, newest = self._of.workers.depths(), self._of.events.newest()
        self._of.last_taken = self._of.events.last_taken()
        heads: dict[str, Sequence[StreamSeen]] = {}
        for name in streams:
            depth = depths.get(self._queue(name), Depth())
            jobs = depth.waiting + depth.later + depth.running
            length = depth.failed if self.holds_dead_letters(name) else jobs
            heads[name] = [StreamSeen(name, length, None, None, newest, identity=self._of.found.identity)]
        return Looked(heads, {})

    def first_cursor(self, seen: StreamSeen, start: str) -> Cursor:
        position = reading.BEGINNING
        if start == "newest":
            position = seen.last_position
        elif start != "earliest" and not self.holds_dead_letters(seen.name):
            position = self._of.events.before_hours(seen.name, int(start.removesuffix("h")))
        return Cursor(position, None, identity=seen.identity)

    def follow(self, seen: StreamSeen, cursor: Cursor, known: Callable[[str], bool]) -> Cursor:
        return reading.follow(seen, cursor, self._of.last_taken)

    def read(self, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
        events = [one for one in wanted if not self.holds_dead_letters(one[0].name)]
        batches = []
        if events and self._settings.events:
            batches += self._of.events.read(events)
        for seen, cursor, at_most in wanted:
            if self.holds_dead_letters(seen.name):
                batches.append(self._of.letters.read(seen, self._queue(seen.name), cursor, at_most))
        return batches

    def skip_to_newest(self, seen: StreamSeen, cursor: Cursor) -> Batch:
        return self._of.events.skip(seen, cursor)

    def groups(self, streams: Sequence[str]) -> list[GroupSeen]:
        return self._of.workers.groups([name for name in streams if not self.holds_dead_letters(name)])

    def views(
        self, stream: str, groups: Sequence[str], positions: Sequence[str]
    ) -> dict[str, list[GroupView]]:
        views = self._of.workers.views(stream, positions)
        return {position: [v for v in seen if v.group in groups] for position, seen in views.items()}

    def read_letter(self, record: Record, stream: str) -> DeadLetter:
        return read_letter(record, self._of.found.table.library, self._queue(stream))

    def present(self, stream: str, positions: Sequence[str]) -> set[str]:
        return self._of.letters.present(positions)

    def intent(self, origin: str) -> str:
        return ""  # a transaction leaves nothing half done that would have to be looked for

    def retry(self, stream: str, letters: Sequence[LetterToSend], marks: str) -> list[Sent]:
        return self._acting().retry(self._queue(stream), letters)

    def discard(self, stream: str, positions: Sequence[str]) -> set[str]:
        return self._acting().discard(positions)

    def restore(self, stream: str, record: Record, token: str, intent: str) -> str:
        return self._acting().restore(record)

    def checks(self) -> list[Check]:
        queues = [queue for queue in self._of.workers.queues() if self._source.watches(queue)]
        return list(
            checks.all_checks(
                self._client,
                self._of.found,
                queues,
                writable=self._source.writable,
                dispositions=self._settings.dispositions,
            )
        )

    def _acting(self) -> Letters:
        if not self._source.writable:
            raise BrokerRefused(f"{self._source.name} is read-only: its settings do not say writable = true")
        return self._of.letters

    @property
    def _of(self) -> "_Parts":
        if self._parts is None:
            raise BrokerUnavailable(f"{self._source.name}: not connected")
        return self._parts

    def _dead(self, queue: str) -> str:
        return queue + self._settings.dead_letter_suffix

    def _queue(self, stream: str) -> str:
        return stream.removesuffix(self._settings.dead_letter_suffix)


class _Parts:
    """What works over one connection: what it has learned of the table goes with it."""

    def __init__(self, found: Found, events: Events, letters: Letters, workers: Workers) -> None:
        self.found = found
        self.events = events
        self.letters = letters
        self.workers = workers
        self.last_taken: int | None = None  # the last id that was given out at the last look
