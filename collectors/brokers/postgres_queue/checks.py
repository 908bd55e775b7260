"""What doctor says about a queue's table: version, clock, rights, indexes, ids, dispositions."""

from collections.abc import Iterator, Sequence

from psycopg import sql

from collectors.brokers.base import Check
from collectors.brokers.postgres_queue.catalogue import Found
from collectors.brokers.postgres_queue.client import PostgresClient
from collectors.brokers.postgres_queue.tables import QueueTable, quoted
from eventwake.clock import now_ms

OLDEST_VERSION = 130_000  # 13: pg_current_snapshot
SKEW_AT_MOST_MS = 2_000
DISORDERED_AT_MOST = 20  # of the newest 100 ids: clients whose clocks differ a little are no fault
ROWS_THAT_MATTER = 100_000  # fewer are read through in some 20 ms


def version_of(client: PostgresClient) -> str:
    return f"PostgreSQL {client.row(sql.SQL('SHOW server_version'))[0]}"


def all_checks(
    client: PostgresClient, found: Found, queues: Sequence[str], *, writable: bool, dispositions: str
) -> Iterator[Check]:
    yield _version(client)
    yield _clock(client)
    table = found.table
    yield Check("table", "ok", f"{table.schema}.{table.name}, {_library(table)}")
    yield _rights(client, table, "rights to watch", "SELECT", (table.name, *table.beside))
    yield _index(client, table)
    yield from _ids(client, found)
    if writable:
        yield _rights(
            client, table, "rights to act", "SELECT, INSERT, UPDATE, DELETE", (table.name,), table.beside
        )
        yield _dispositions(client, table, dispositions)
    yield Check(
        "streams",
        "ok" if queues else "warning",
        f"{len(queues)} queues match the settings",
        "" if queues else "none has a row yet; else widen `include`",
    )


def _library(table: QueueTable) -> str:
    return f"a table of {table.library}" if table.library != "none" else "mapped by the settings"


def _version(client: PostgresClient) -> Check:
    [number] = client.row(sql.SQL("SELECT current_setting('server_version_num')::integer"))
    if number < OLDEST_VERSION:
        return Check("version", "fault", version_of(client), "update the server to 13 or later")
    return Check("version", "ok", version_of(client))


def _clock(client: PostgresClient) -> Check:
    [server_ms] = client.row(sql.SQL("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint"))
    skew = server_ms - now_ms()
    if abs(skew) > SKEW_AT_MOST_MS:
        return Check(
            "clock",
            "warning",
            f"the server's clock is {skew / 1000:+.1f} s from this machine's",
            "run a time service (NTP) on both; until then ages on the pages are off by as much",
        )
    return Check("clock", "ok", f"within {SKEW_AT_MOST_MS / 1000:.0f} s of this machine's ({skew:+d} ms)")


def _rights(
    client: PostgresClient,
    table: QueueTable,
    topic: str,
    privileges: str,
    names: Sequence[str],
    inserts_into: Sequence[str] = (),
) -> Check:
    wanted = [(name, right) for name in names for right in privileges.split(", ")]
    wanted += [(name, "INSERT") for name in inserts_into]
    missing: dict[str, list[str]] = {}
    for name, right in wanted:
        full = quoted(table.schema, name)
        [has] = client.row(
            sql.SQL("SELECT has_table_privilege(to_regclass(%(name)s), %(right)s)"), name=full, right=right
        )
        if not has:
            missing.setdefault(full, []).append(right)
    [user] = client.row(sql.SQL("SELECT current_user::text"))
    if not missing:
        return Check(topic, "ok", f"user {user!r} may do all that is needed")
    return Check(
        topic,
        "fault",
        f"user {user!r} may not "
        + "; ".join(f"{', '.join(rights)} on {name}" for name, rights in missing.items()),
        "; ".join(
            f"GRANT {', '.join(rights)} ON {name} TO {quoted(user)}" for name, rights in missing.items()
        ),
    )


def _index(client: PostgresClient, table: QueueTable) -> Check:
    """Counting reads the whole table where no index has the state."""
    [rows, indexed] = client.row(
        sql.SQL(
            "SELECT c.reltuples::bigint, EXISTS (SELECT FROM pg_index i JOIN pg_attribute a ON"
            " a.attrelid = c.oid AND a.attname = %(state)s WHERE i.indrelid = c.oid AND i.indisvalid AND"
            " i.indpred IS NULL AND a.attnum = ANY(i.indkey))"
            " FROM pg_class c WHERE c.oid = to_regclass(%(name)s)"
        ),
        state=table.state,
        name=table.full_name,
    )
    if indexed or rows < ROWS_THAT_MATTER:
        return Check("index", "ok", "counting jobs by their state is cheap")
    active = ", ".join(f"'{state}'" for state in (*table.waiting, *table.running, *table.failed))
    return Check(
        "index",
        "warning",
        f"about {rows:,} rows and no index on {table.state}: each count reads the whole table",
        f"CREATE INDEX CONCURRENTLY ON {table.full_name} ({table.state}), or let the library delete "
        f"done jobs (counted are {active})",
    )


def _ids(client: PostgresClient, found: Found) -> Iterator[Check]:
    """Events are read in the order of ids."""
    table = found.table
    if found.sequence is None:
        [disordered] = client.row(
            table.say(
                "SELECT count(*) FILTER (WHERE later < created) FROM (SELECT {created} AS created,"
                " lag({created}) OVER (ORDER BY {id} DESC) AS later FROM {table} t ORDER BY {id} DESC"
                " LIMIT 100) AS newest"
            )
        )
        if disordered > DISORDERED_AT_MOST:
            yield Check(
                "ids",
                "fault",
                "ids are not in the order of time, so new jobs cannot be told from old ones",
                "set events = false: depths and failed jobs are watched all the same",
            )
    if found.sequence is not None:
        [cached] = client.row(
            sql.SQL("SELECT seqcache FROM pg_sequence WHERE seqrelid = to_regclass(%(name)s)"),
            name=found.sequence,
        )
        if cached > 1:
            yield Check(
                "ids",
                "warning",
                f"each connection takes {cached} ids at once and may use them late: those can be missed",
                f"ALTER SEQUENCE {found.sequence} CACHE 1, or raise settle_s",
            )


def _dispositions(client: PostgresClient, table: QueueTable, name: str) -> Check:
    full = quoted(table.schema, name)
    there, may_make = client.row(
        sql.SQL(
            "SELECT coalesce(has_table_privilege(to_regclass(%(name)s), 'SELECT')"
            " AND has_table_privilege(to_regclass(%(name)s), 'INSERT'), false),"
            " to_regclass(%(name)s) IS NULL AND has_schema_privilege(%(schema)s, 'CREATE')"
        ),
        name=full,
        schema=table.schema,
    )
    if name and (there or may_make):
        return Check("dispositions", "ok", f"retries are written to {full}")
    return Check(
        "dispositions",
        "warning",
        "retries leave no trace in this database: after a crash a job may show as unknown for a person",
        f"CREATE TABLE {full} as ARCHITECTURE.md has it, with SELECT, INSERT and DELETE, or allow CREATE in "
        f"schema {table.schema}",
    )
