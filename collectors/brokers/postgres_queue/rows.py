"""A row of the table as a record: its columns' text as the server gives it, its payload's own bytes.

What the row does not hold itself, but is known of it, is added in fields of our own, so that a row can be put
back as it lay there.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from psycopg import sql

from collectors.brokers.postgres_queue.catalogue import Found
from collectors.brokers.postgres_queue.client import Row
from collectors.brokers.postgres_queue.tables import quoted
from eventwake.decoding.dead_letters.postgres_queue import ATTEMPTS, ERROR, FAILED_AT
from eventwake.domain.envelope import Record, pairs

EVENT_ID, EVENT_TYPE = b"event_id", b"event_type"


class Rows:
    """SELECTs whole rows of one table, and makes records of them."""

    def __init__(self, found: Found) -> None:
        self._table = found.table
        self._columns = found.columns
        self._shown = [column for column in found.columns if column.name != found.table.id]
        self._names = {column.name.encode() for column in found.columns}

    def select(self, where: str) -> sql.Composed:
        """`id, position, now, created, failed_at, kind, attempts, error` and then each column but the id."""
        table = self._table
        columns = "".join(
            f", t.{quoted(column.name)}" + ("" if column.type == "bytea" else "::text")
            for column in self._shown
        )
        return table.say(
            "SELECT {id}::text, {position}, {now}, {created_ms}, {failed_ms}, {kind}, {attempts}, {error}"
            "{columns} FROM {table} t {where}",
            now=_milliseconds("clock_timestamp()"),
            created_ms=_milliseconds(table.created),
            failed_ms=_milliseconds(table.failed_at),
            kind=table.kind,
            error=table.error,
            columns=columns,
            where=table.say(where).as_string(),
        )

    def event(self, row: Row) -> Record:
        """As it was put in; of its state only what it is now can be shown."""
        row_id, _, now_ms, created_ms, _, kind = row[:6]
        fields, payload = self._fields(row_id, kind, row[8:])
        return Record(row_id, now_ms if created_ms is None else created_ms, fields, None, payload)

    def letter(self, row: Row) -> Record:
        row_id, position, now_ms, _, failed_ms, kind, attempts, error = row[:8]
        fields, payload = self._fields(row_id, kind, row[8:])
        known = ((FAILED_AT, failed_ms), (ATTEMPTS, attempts), (ERROR, error))
        for name, value in known:
            if value is not None:
                fields += (name, str(value).encode())
        return Record(position, now_ms if failed_ms is None else failed_ms, fields, None, payload)

    def values(self, record: Record, row_id: str) -> dict[str, str | bytes | None]:
        """Column -> value of the row that a letter was made of, to put it back."""
        held: dict[bytes, bytes | None] = dict(pairs(record.fields))
        values: dict[str, str | bytes | None] = {self._table.id: row_id}
        for column in self._shown:
            if column.fixed or (column.name != self._table.payload and column.name.encode() not in held):
                continue
            value = record.value if column.name == self._table.payload else held[column.name.encode()]
            if column.name in self._table.forget:
                value = None
            values[column.name] = value if value is None or column.type == "bytea" else value.decode()
        return values

    def _fields(
        self, row_id: str, kind: str | None, values: Sequence[Any]
    ) -> tuple[list[bytes | None], bytes | None]:
        payload: bytes | None = None
        fields: list[bytes | None] = []
        for column, value in zip(self._shown, values, strict=True):
            held = value.encode() if isinstance(value, str) else value
            if column.name == self._table.payload:
                payload = held
            else:
                fields += (column.name.encode(), held)
        for name, text in self._facts(row_id, kind, payload):
            fields += (name, text)
        return fields, payload

    def _facts(self, row_id: str, kind: str | None, payload: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        """The job's id and kind, unless it carries an event that has its own."""
        if _is_event(payload):
            return
        for name, text in ((EVENT_ID, row_id), (EVENT_TYPE, kind)):
            if text is not None and name not in self._names:
                yield name, text.encode()


def _is_event(payload: bytes | None) -> bool:
    if payload is None or b'"event_id"' not in payload:
        return False
    try:
        body = orjson.loads(payload)
    except orjson.JSONDecodeError:
        return False
    return isinstance(body, dict) and isinstance(body.get("event_id"), str)


def _milliseconds(moment: str) -> str:
    return f"(extract(epoch FROM {moment}) * 1000)::bigint"
