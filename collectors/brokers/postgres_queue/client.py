"""One connection to the queue's database: text out, errors as ours, and no wait without an end.

A query counts as many commands as a key-value store would carry out in its time, so that the budget of reads,
which a worker keeps to, bounds the time that the server spends on us.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any, Self, TypeVar

import psycopg
from psycopg import errors, sql
from psycopg.abc import PQGen

from collectors.brokers.postgres_queue.settings import PostgresQueueSettings
from eventwake.domain.errors import BrokerError, BrokerRefused, BrokerUnavailable

COMMANDS_A_MS = 10  # 2,000 commands a second are then 200 ms of the server's time in each second
SESSION = {  # what makes the text of a value the same wherever it is read
    "TimeZone": "UTC",
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "extra_float_digits": "1",
    "bytea_output": "hex",
}

Query = sql.SQL | sql.Composed
Row = tuple[Any, ...]
T = TypeVar("T")

_NOT_ALLOWED = ("28", "3D")  # classes of SQLSTATE: invalid authorization, no such database
_BUSY = (errors.QueryCanceled, errors.LockNotAvailable, errors.DeadlockDetected, errors.SerializationFailure)


class _Patient(psycopg.Connection[Row]):
    """A connection that waits for an answer so long and no longer, even of a server that hangs."""

    answer_timeout_s: float = 10.0

    def wait(self, gen: PQGen[T], *arguments: Any, **named: Any) -> T:
        deadline = monotonic() + self.answer_timeout_s
        return super().wait(self._until(gen, deadline), *arguments, **named)

    def _until(self, gen: PQGen[T], deadline: float) -> PQGen[T]:
        try:
            asked = next(gen)
            while True:
                ready = yield asked
                if monotonic() > deadline:
                    self.pgconn.finish()  # whatever comes yet must not be taken for another answer
                    raise psycopg.OperationalError("no answer within answer_timeout_s")
                asked = gen.send(ready)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


class PostgresClient:
    """Made without I/O; `connect` opens it. Statements outside `transaction` are each one of their own."""

    def __init__(self, settings: PostgresQueueSettings, name: str) -> None:
        self._settings = settings
        self._name = name
        self._open: _Patient | None = None
        self.commands_sent = 0

    def connect(self) -> None:
        """Raises `BrokerUnavailable` or `BrokerRefused`."""
        self.close()
        options = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
        timeout_ms = round(1_000 * self._settings.answer_timeout_s)
        with self._translated():
            self._open = _Patient.connect(
                self._settings.url,
                autocommit=True,
                connect_timeout=max(2, round(self._settings.connect_timeout_s)),  # libpq takes no less
                application_name="eventwake",
                client_encoding="UTF8",
                options=f"{options} -c statement_timeout={timeout_ms} -c lock_timeout={timeout_ms}",
            )
            # the server's own time-out comes first, and says more
            self._open.answer_timeout_s = self._settings.answer_timeout_s + 1
            self._open.prepare_threshold = None  # behind a pooler the next statement may meet another server

    def close(self) -> None:
        """Never raises."""
        if self._open is not None:
            with suppress(psycopg.Error, OSError):
                self._open.close()
        self._open = None

    def rows(self, query: Query, **parameters: Any) -> list[Row]:
        """What the query answers, or nothing for one that answers no rows."""
        begun = monotonic()
        try:
            with self._translated(), self._connection().cursor() as cursor:
                cursor.execute(query, parameters)
                return cursor.fetchall() if cursor.description else []
        finally:
            self.commands_sent += 1 + round(COMMANDS_A_MS * 1_000 * (monotonic() - begun))

    def row(self, query: Query, **parameters: Any) -> Row:
        """The one row that the query answers."""
        return self.rows(query, **parameters)[0]

    @contextmanager
    def transaction(self) -> Iterator[Self]:
        """All that is done inside is done or nothing is."""
        with self._translated(), self._connection().transaction():
            yield self

    def _connection(self) -> _Patient:
        if self._open is None:
            raise BrokerUnavailable(f"{self._name}: not connected")
        return self._open

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            raise _as_ours(self._name, error) from error
        except OSError as error:
            raise BrokerUnavailable(f"{self._name}: cannot reach the server: {error}") from error


def _as_ours(name: str, error: psycopg.Error) -> BrokerError:
    state = error.sqlstate or ""
    said = error.diag.message_primary or str(error).strip()
    if isinstance(error, errors.QueryCanceled):
        return BrokerUnavailable(f"{name}: the server did not end a query within answer_timeout_s: {said}")
    if isinstance(error, _BUSY):
        return BrokerUnavailable(f"{name}: the server is busy with someone else's work: {said}")
    if state.startswith(_NOT_ALLOWED) or _is_sign_in(said):
        return BrokerRefused(f"{name}: the server refused the user, the password or the database: {said}")
    if not state and isinstance(error, psycopg.ProgrammingError):
        return BrokerRefused(f"{name}: the url is none that PostgreSQL's library can read")  # it repeats it
    if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError):
        return BrokerUnavailable(f"{name}: cannot reach the server: {said}")
    return BrokerRefused(f"{name}: the server refused: {said}")


def _is_sign_in(said: str) -> bool:
    """While connecting, libpq gives the words but not the SQLSTATE."""
    return "FATAL:" in said and any(
        word in said
        for word in ("authentication failed", "does not exist", "pg_hba.conf", "permission denied")
    )
