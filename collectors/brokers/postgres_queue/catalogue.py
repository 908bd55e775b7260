"""Which table the queue is, found in the database's catalogue at each start."""

from typing import NamedTuple

from psycopg import sql

from collectors.brokers.postgres_queue import tables
from collectors.brokers.postgres_queue.client import PostgresClient
from collectors.brokers.postgres_queue.settings import PostgresQueueSettings
from collectors.brokers.postgres_queue.tables import LIBRARIES, QueueTable
from eventwake.domain.errors import BrokerRefused


class ColumnOf(NamedTuple):
    """`fixed`: the server alone gives it its value."""

    name: str
    type: str
    fixed: bool


class Found(NamedTuple):
    """The table with its columns. `identity` changes when it is dropped and made anew; `sequence` is where
    its ids come from, as quoted text, None where that is not known or may not be read.
    """

    table: QueueTable
    columns: list[ColumnOf]
    identity: str
    sequence: str | None


def find_table(client: PostgresClient, settings: PostgresQueueSettings, source: str) -> Found:
    """Raises `BrokerRefused` where there is no such table, or more than one that may be meant."""
    library, oid = _library_and_oid(client, settings, source)
    schema, name, _ = client.row(
        sql.SQL(
            "SELECT n.nspname, c.relname, set_config('search_path', quote_ident(n.nspname) || ', '"
            " || current_setting('search_path'), false)"  # functions and triggers of libraries need it
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %(oid)s"
        ),
        oid=oid,
    )
    columns = [
        ColumnOf(*row)
        for row in client.rows(
            sql.SQL(
                "SELECT attname::text, format_type(atttypid, atttypmod), attgenerated <> ''"
                " FROM pg_attribute WHERE attrelid = %(oid)s AND attnum > 0 AND NOT attisdropped"
                " ORDER BY attnum"
            ),
            oid=oid,
        )
    ]
    types = {column.name: column.type for column in columns}
    id_column = settings.columns.id if settings.columns else "id"
    if id_column not in types:
        raise BrokerRefused(f"{source}: {schema}.{name} has no column {id_column!r}")
    make = LIBRARIES[library][1] if library in LIBRARIES else None
    table = (
        make(schema, name, types[id_column]) if make else tables.own(schema, name, types[id_column], settings)
    )
    return Found(table, columns, str(oid), _sequence(client, table))


def _library_and_oid(client: PostgresClient, settings: PostgresQueueSettings, source: str) -> tuple[str, int]:
    if settings.library == "none":
        wanted = {"none": settings.table}
    elif settings.library == "auto" and not settings.table:
        wanted = {library: usual for library, (usual, _) in LIBRARIES.items()}
    elif settings.library == "auto":
        raise BrokerRefused(f"{source}: say of which library the table {settings.table!r} is: set library")
    else:
        wanted = {settings.library: settings.table or LIBRARIES[settings.library][0]}
    found = {}
    for library, name in wanted.items():
        quoted = tables.quoted(*name.split("."))
        [oid] = client.row(sql.SQL("SELECT to_regclass(%(name)s)::oid::bigint"), name=quoted)
        if oid is not None:
            found[library] = oid
    if not found:
        raise BrokerRefused(
            f"{source}: there is no table {' or '.join(wanted.values())} in this database's search path; set "
            'library and table, or library = "none" with [source.columns] for a table of your own'
        )
    if len(found) > 1:
        raise BrokerRefused(
            f"{source}: there are {' and '.join(wanted[library] for library in found)}: set library, with a "
            "source for each"
        )
    return next(iter(found.items()))


def _sequence(client: PostgresClient, table: QueueTable) -> str | None:
    quoted = sql.Literal(table.full_name)
    [name] = client.row(
        sql.SQL("SELECT pg_get_serial_sequence({}, {})").format(quoted, sql.Literal(table.id))
    )
    if name is None:
        return None
    [readable] = client.row(sql.SQL("SELECT has_sequence_privilege(%(name)s, 'SELECT')"), name=name)
    return str(name) if readable else None
