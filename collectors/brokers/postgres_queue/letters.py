"""Failed rows as dead letters: found, retried, discarded and put back.

A retry is one transaction: the rows are locked where they still are in the very failure that was shown, a
disposition of the attempt is written, and the library's own statements give the jobs back to its workers. A
commit does all of it or nothing; a second sender waits for the lock and then finds the disposition. Without
a table for dispositions the row's state alone is the guard: nothing is done twice, but whether it was we who
did it cannot be known after a crash.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

from psycopg import sql

from collectors.brokers.base import Batch, Cursor, LetterToSend, SendState, Sent, StreamSeen
from collectors.brokers.postgres_queue.catalogue import Found
from collectors.brokers.postgres_queue.client import PostgresClient
from collectors.brokers.postgres_queue.rows import Rows
from collectors.brokers.postgres_queue.tables import quoted
from eventwake.domain.envelope import Record
from eventwake.domain.errors import BrokerRefused

KEYS_A_PAGE = 10_000  # failed rows of a queue whose places are looked at in one read
DISPOSITIONS_LIVE_DAYS = 30  # far longer than an operation is left unfinished
OTHER_QUEUE = "a job can be retried in its own queue only: its kind of work is done there"
EDITED = "a job of this queue cannot be edited before it is retried"
NOT_KNOWN = (
    "its row is no longer failed. As there is no table for dispositions, whether an earlier try of ours did "
    "that or someone else cannot be known"
)

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Sweep:
    """A way through the failed rows of a queue, again and again: they come in no order.

    `given` are places that were read since the connection was made; `met` those of this turn.
    """

    after: str = ""
    given: set[str] = field(default_factory=set)
    met: set[str] = field(default_factory=set)


class Letters:
    """The failed rows of one table."""

    def __init__(self, client: PostgresClient, found: Found, dispositions: str) -> None:
        self._client = client
        self._found = found
        self._table = found.table
        self._rows = Rows(found)
        self._sweeps: dict[tuple[str, str], _Sweep] = {}
        self._dispositions = quoted(found.table.schema, dispositions) if dispositions else ""
        self._keeps_dispositions: bool | None = None

    def read(self, seen: StreamSeen, queue: str, cursor: Cursor, at_most: int) -> Batch:
        """Failed rows that this connection has not given yet."""
        sweep = self._sweeps.setdefault((queue, cursor.identity), _Sweep())
        keys = self._client.rows(
            self._table.say(
                "SELECT {id}::text, {position} FROM {table} t WHERE {queue} = %(queue)s AND {failed}"
                " AND (%(after)s = '' OR {id} > nullif(%(after)s, '')::{id_type})"
                " ORDER BY {id} LIMIT %(keys)s"
            ),
            queue=queue,
            after=sweep.after,
            keys=KEYS_A_PAGE,
        )
        new = [(row_id, position) for row_id, position in keys if position not in sweep.given]
        chosen = new[:at_most]
        records = self._failed(dict(chosen))
        more = len(new) > at_most
        if more:
            sweep.after = chosen[-1][0]
            keys = keys[: keys.index(chosen[-1]) + 1]
        sweep.met.update(position for _, position in keys)
        sweep.given.update(position for _, position in chosen)
        if not more:
            self._turn(sweep, last=keys[-1][0] if len(keys) == KEYS_A_PAGE else "")
        position = records[-1].position if records else cursor.position
        return Batch(
            seen.name, records, cursor._replace(position=position), unread=None if more else 0, more=more
        )

    def _turn(self, sweep: _Sweep, *, last: str) -> None:
        sweep.after = last
        if not last:  # at the end: what was not met on the way is no longer there
            sweep.given, sweep.met = sweep.met, set()

    def _failed(self, places: dict[str, str]) -> list[Record]:
        if not places:
            return []
        rows = self._client.rows(
            self._rows.select("WHERE {at_places} ORDER BY {id}"),
            ids=list(places),
            positions=list(places.values()),
        )
        return [self._rows.letter(row) for row in rows]

    def present(self, positions: Sequence[str]) -> set[str]:
        """Those of the places that still hold a letter."""
        rows = self._client.rows(
            self._table.say("SELECT {position} FROM {table} t WHERE {at_places}"), **_places(positions)
        )
        return {str(row[0]) for row in rows}

    def retry(self, queue: str, letters: Sequence[LetterToSend]) -> list[Sent]:
        """All in one transaction; where the server refuses that, each in one of its own, to find which."""
        outcomes, possible = [], []
        for letter in letters:
            reason = OTHER_QUEUE if letter.origin != queue else EDITED if letter.fields is not None else ""
            if reason:
                outcomes.append(Sent(letter.letter_id, SendState.REFUSED, detail=reason))
            else:
                possible.append(letter)
        try:
            return outcomes + self._retry(possible)
        except BrokerRefused as error:
            log.info("a retry of %d jobs was refused, so each is tried alone: %s", len(possible), error)
        for letter in possible:
            try:
                outcomes += self._retry([letter])
            except BrokerRefused as error:
                outcomes.append(Sent(letter.letter_id, SendState.REFUSED, detail=str(error)))
        return outcomes

    def discard(self, positions: Sequence[str]) -> set[str]:
        """Deletes failed rows; the places of those that were there."""
        rows = self._client.rows(
            self._table.say("DELETE FROM {table} t WHERE {at_places} RETURNING {position}"),
            **_places(positions),
        )
        return {str(row[0]) for row in rows}

    def restore(self, record: Record) -> str:
        """Puts a row back as it lay there, in the place where it lay; once, since a row's id is unique."""
        row_id = record.position.rpartition("-")[0]
        values = self._rows.values(record, row_id)
        with self._client.transaction():
            self._client.rows(
                self._table.say(
                    "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE VALUES ({values})"
                    " ON CONFLICT DO NOTHING",
                    columns=", ".join(map(quoted, values)),
                    values=", ".join(f"%(v{number})s" for number in range(len(values))),
                ),
                **{f"v{number}": value for number, value in enumerate(values.values())},
            )
            if not self.present([record.position]):
                raise BrokerRefused(
                    f"job {row_id} is there in another state, or another job has what must be unique of it"
                )
        return record.position

    def _try_dispositions(self) -> None:
        """Makes their table where that is allowed, and drops the oldest."""
        if self._keeps_dispositions is None:
            self._keeps_dispositions = bool(self._dispositions) and self._make_dispositions()

    def _make_dispositions(self) -> bool:
        try:
            with self._client.transaction():
                # one operator at a time: IF NOT EXISTS is no guard against two that look at once
                self._client.rows(sql.SQL("SELECT pg_advisory_xact_lock(hashtext('eventwake_dispositions'))"))
                [there] = self._client.row(
                    sql.SQL("SELECT to_regclass(%(name)s) IS NOT NULL"), name=self._dispositions
                )
                if not there:
                    self._client.rows(
                        self._say(
                            "CREATE TABLE {dispositions} (replay_id text PRIMARY KEY, job_id text NOT NULL,"
                            " queue_table text NOT NULL, sent_at timestamptz NOT NULL DEFAULT now())"
                        )
                    )
                self._client.rows(
                    self._say(
                        "DELETE FROM {dispositions} WHERE sent_at < now() - make_interval(days => %(days)s)"
                    ),
                    days=DISPOSITIONS_LIVE_DAYS,
                )
        except BrokerRefused as error:
            log.warning("no dispositions are kept: %s", error)
            return False
        return True

    def _retry(self, letters: Sequence[LetterToSend]) -> list[Sent]:
        if not letters:
            return []
        self._try_dispositions()
        with self._client.transaction():
            self._must_outlive_a_crash()
            locked = {
                str(row[0])
                for row in self._client.rows(
                    self._table.say(
                        "SELECT {position} FROM {table} t WHERE {at_places} ORDER BY {id} FOR UPDATE"
                    ),
                    **_places([letter.position for letter in letters]),
                )
            }
            known = self._sent_before(letters)  # after the lock: whoever held it has told by now
            [now_ms] = self._client.row(sql.SQL("SELECT (extract(epoch FROM now()) * 1000)::bigint"))
            outcomes = [self._outcome(letter, locked, known, now_ms) for letter in letters]
            to_send = [
                letter
                for letter, outcome in zip(letters, outcomes, strict=True)
                if outcome.state is SendState.SENT
            ]
            if to_send:
                self._dispose(to_send)
                for statement in self._table.retry:
                    self._client.rows(sql.SQL(statement), ids=[_row_id(letter) for letter in to_send])
        return outcomes

    def _outcome(self, letter: LetterToSend, locked: set[str], known: dict[str, int], now_ms: int) -> Sent:
        if letter.replay_id in known:
            place, sent_ms = _row_id(letter), known[letter.replay_id]
            return Sent(letter.letter_id, SendState.ALREADY, place, sent_ms=sent_ms)
        if letter.position in locked:
            return Sent(letter.letter_id, SendState.SENT, _row_id(letter), sent_ms=now_ms)
        if letter.may_be_sent and not self._keeps_dispositions:
            return Sent(letter.letter_id, SendState.UNKNOWN, detail=NOT_KNOWN)
        return Sent(letter.letter_id, SendState.GONE)

    def _sent_before(self, letters: Sequence[LetterToSend]) -> dict[str, int]:
        """replay id -> when, in ms, of those that have a disposition."""
        if not self._keeps_dispositions:
            return {}
        rows = self._client.rows(
            self._say(
                "SELECT replay_id, (extract(epoch FROM sent_at) * 1000)::bigint FROM {dispositions}"
                " WHERE replay_id = ANY(%(replay_ids)s)"
            ),
            replay_ids=[letter.replay_id for letter in letters],
        )
        return dict(rows)

    def _dispose(self, letters: Sequence[LetterToSend]) -> None:
        if self._keeps_dispositions:
            self._client.rows(
                self._say(
                    "INSERT INTO {dispositions} (replay_id, job_id, queue_table)"
                    " SELECT replay_id, job_id, %(table)s"
                    " FROM unnest(%(replay_ids)s::text[], %(ids)s::text[]) AS chosen (replay_id, job_id)"
                ),
                table=self._table.name,
                replay_ids=[letter.replay_id for letter in letters],
                ids=[_row_id(letter) for letter in letters],
            )

    def _say(self, text: str) -> sql.Composed:
        return sql.SQL(text).format(dispositions=sql.SQL(self._dispositions))

    def _must_outlive_a_crash(self) -> None:
        """What we note as sent must not be forgotten by a server that answers before it has written."""
        self._client.rows(
            sql.SQL(
                "SELECT set_config('synchronous_commit', 'on', true)"
                " WHERE current_setting('synchronous_commit') = 'off'"
            )
        )


def _places(positions: Sequence[str]) -> dict[str, list[str]]:
    return {"positions": list(positions), "ids": [position.rpartition("-")[0] for position in positions]}


def _row_id(letter: LetterToSend) -> str:
    return letter.position.rpartition("-")[0]
