"""What a queue's table means: its columns, its states, and how a failed job is given to the workers again.

Names that come from settings are quoted before they become SQL; all other SQL is from here. In every
expression the table is `t`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg import sql

from collectors.brokers.postgres_queue.settings import PostgresQueueSettings

NO_TEXT, NO_TIME, NO_NUMBER = "NULL::text", "NULL::timestamptz", "NULL::integer"
IDS = "%(ids)s::text[]"  # the jobs that a statement of `retry` is about


@dataclass(frozen=True, slots=True)
class QueueTable:
    """One table of jobs. Expressions are SQL, and give null where the table does not say.

    `queue`, `kind`, `worker` and `error` are text; `attempts` is a number; `waiting_since`, `created`,
    `started` and `failed_at` are times; `due` says whether a waiting job may be taken now; `mark` is text
    that tells one failure of a job from its next. `retry` are statements over the jobs of `IDS`; `logged`
    tells of such jobs, whose rows are gone, whether each ended well.
    """

    library: str
    schema: str
    name: str
    id: str
    id_type: str
    state: str
    queue: str
    waiting: Sequence[str]
    running: Sequence[str]
    failed: Sequence[str]
    done: Sequence[str]
    mark: str
    retry: Sequence[str]
    payload: str | None = None
    kind: str = NO_TEXT
    due: str = "true"
    waiting_since: str = NO_TIME
    created: str = NO_TIME
    started: str = NO_TIME
    failed_at: str = NO_TIME
    attempts: str = NO_NUMBER
    worker: str = NO_TEXT
    error: str = NO_TEXT
    logged: str | None = None
    deletes_done: bool = False  # a job's row goes when it is done
    forget: Sequence[str] = ()  # columns left null when a row is put back: what they name may be gone
    beside: Sequence[str] = ()  # further tables, which watching reads and acting adds to

    @property
    def full_name(self) -> str:
        return quoted(self.schema, self.name)

    def in_state(self, states: Sequence[str]) -> str:
        values = ", ".join(sql.Literal(state).as_string() for state in states)
        return f"t.{quoted(self.state)} IN ({values or 'NULL'})"

    def say(self, text: str, **more: str) -> sql.Composed:
        """A statement with this table's parts filled in.

        `{position}` is where a failed row lies as a letter: a second failure is another place. `{at_places}`
        are the rows that are still in the failure of `%(positions)s`, with their `%(ids)s`.
        """
        row_id = f"t.{quoted(self.id)}"
        position = f"({row_id}::text || '-' || {self.mark})"
        among = f"{row_id} = ANY({IDS}::{self.id_type}[])"
        failed = self.in_state(self.failed)
        parts = {
            "table": self.full_name,
            "id": row_id,
            "id_type": self.id_type,
            "queue": self.queue,
            "position": position,
            "among": among,
            "at_places": f"{among} AND {failed} AND {position} = ANY(%(positions)s)",
            "waits": self.in_state(self.waiting),
            "runs": self.in_state(self.running),
            "failed": failed,
            "is_done": self.in_state(self.done),
            "due": self.due,
            "created": self.created,
            "attempts": self.attempts,
            "worker": self.worker,
            **more,
        }
        return sql.SQL(text).format(**{name: sql.SQL(part) for name, part in parts.items()})


def quoted(*names: str) -> str:
    return sql.Identifier(*names).as_string()


def microseconds(moment: str) -> str:
    return f"coalesce((extract(epoch FROM {moment}) * 1000000)::bigint, 0)::text"


def procrastinate(schema: str, name: str, id_type: str) -> QueueTable:
    """Versions from 3.4 on. It keeps no error and no time in the row; times come from its events."""
    table, events = quoted(schema, name), quoted(schema, "procrastinate_events")

    def last(*types: str) -> str:
        among = ", ".join(f"'{one}'" for one in types)
        return f"(SELECT max(e.at) FROM {events} e WHERE e.job_id = t.id AND e.type IN ({among}))"

    told = "json_build_object('type', 'job_inserted', 'job_id', t.id)::text"
    return QueueTable(
        "procrastinate", schema, name, "id", id_type, "status", "t.queue_name::text",
        ("todo",), ("doing",), ("failed",), ("succeeded", "cancelled", "aborted"),
        mark="t.attempts::text",
        payload="args",
        kind="t.task_name::text",
        due="coalesce(t.scheduled_at <= now(), true)",
        waiting_since=f"greatest(t.scheduled_at, {last('deferred', 'deferred_for_retry', 'retried')})",
        created=last("deferred"),
        started=last("started"),
        failed_at=last("failed"),
        attempts="t.attempts",
        worker="t.worker_id::text",
        retry=(
            "SELECT procrastinate_retry_job_v2(id::bigint, now(), NULL, NULL, NULL)"
            f" FROM unnest({IDS}) AS chosen (id)",
            # its own trigger tells of new jobs only
            f"SELECT pg_notify('procrastinate_any_queue_v1', {told}),"
            f" pg_notify('procrastinate_queue_v1#' || t.queue_name, {told})"
            f" FROM {table} t WHERE t.id = ANY({IDS}::bigint[])",
        ),
        forget=("worker_id",),
        beside=("procrastinate_events",),
    )  # fmt: skip


def pgqueuer(schema: str, name: str, id_type: str) -> QueueTable:
    """Versions from 1.0 on. Failed jobs stay only where on_failure="hold"; its log has the error."""
    table, log = quoted(schema, name), quoted(schema, f"{name}_log")
    channel = sql.Literal(name.removesuffix("pgqueuer") + "ch_pgqueuer").as_string()
    return QueueTable(
        "pgqueuer", schema, name, "id", id_type, "status", "t.entrypoint",
        ("queued",), ("picked",), ("failed",), (),
        mark=microseconds("t.updated"),
        payload="payload",
        kind="t.entrypoint",
        due="t.execute_after <= now()",
        waiting_since="greatest(t.created, t.execute_after)",
        created="t.created",
        started="t.updated",
        failed_at="t.updated",
        attempts="t.attempts + 1",
        worker="t.queue_manager_id::text",
        error=f"(SELECT l.traceback::text FROM {log} l WHERE l.job_id = t.id AND l.traceback IS NOT NULL"
        " ORDER BY l.created DESC, l.id DESC LIMIT 1)",
        logged=f"SELECT DISTINCT ON (l.job_id) l.job_id::text, l.status = 'successful' FROM {log} l"
        f" WHERE l.job_id = ANY({IDS}::bigint[]) ORDER BY l.job_id, l.created DESC, l.id DESC",
        retry=(
            f"WITH requeued AS (UPDATE {table} SET status = 'queued', execute_after = now(),"
            " updated = now(), attempts = 0, queue_manager_id = NULL"
            f" WHERE id = ANY({IDS}::bigint[]) RETURNING id, entrypoint, priority)"
            f" INSERT INTO {log} (job_id, status, entrypoint, priority)"
            " SELECT id, 'queued', entrypoint, priority FROM requeued",
            # its own trigger, one for each statement, cannot see that an update changed something
            f"SELECT pg_notify({channel}, json_build_object('channel', {channel}, 'operation', 'update',"
            f" 'sent_at', now(), 'table', {sql.Literal(name).as_string()}, 'type', 'table_changed_event')"
            "::text)",
        ),
        deletes_done=True,
        beside=(f"{name}_log",),
    )  # fmt: skip


def chancy(schema: str, name: str, id_type: str) -> QueueTable:
    """Versions from 0.26 on, which fence a worker's update by a claim."""
    table, channel = quoted(schema, name), sql.Literal(name.removesuffix("jobs") + "events").as_string()
    return QueueTable(
        "chancy", schema, name, "id", id_type, "state", "t.queue",
        ("pending", "retrying"), ("running",), ("failed",), ("succeeded",),
        mark=microseconds("t.completed_at"),
        payload="kwargs",
        kind="t.func",
        due="t.scheduled_at <= now()",
        waiting_since="t.scheduled_at",
        created="t.created_at",
        started="t.started_at",
        failed_at="t.completed_at",
        attempts="t.attempts",
        worker="t.taken_by",
        error="t.errors -> -1 ->> 'traceback'",
        retry=(
            f"UPDATE {table} SET state = 'retrying', attempts = 0, taken_by = NULL, claim_id = NULL,"
            " started_at = NULL, completed_at = NULL, scheduled_at = now()"
            f" WHERE id = ANY({IDS}::uuid[])",
            f"SELECT pg_notify({channel}, json_build_object('t', 'queue.pushed', 'q', queue)::text)"
            f" FROM (SELECT DISTINCT queue FROM {table} WHERE id = ANY({IDS}::uuid[])) AS chosen",
        ),
    )  # fmt: skip


def own(schema: str, name: str, id_type: str, settings: PostgresQueueSettings) -> QueueTable:
    """A table that the settings map."""
    columns, states, retry = settings.columns, settings.states, settings.retry
    assert columns and states and retry, "settings are validated"  # noqa: S101

    def column(mapped: str | None, otherwise: str) -> str:
        return otherwise if mapped is None else f"t.{quoted(mapped)}"

    def text(mapped: str | None) -> str:
        return NO_TEXT if mapped is None else f"t.{quoted(mapped)}::text"

    created, run_at = column(columns.created, NO_TIME), column(columns.run_at, NO_TIME)
    failed_at = column(columns.failed, NO_TIME)
    sets = [f"{quoted(columns.state)} = {sql.Literal(retry.state).as_string()}"]
    sets += [f"{quoted(cleared)} = NULL" for cleared in retry.clear]
    sets += [f"{quoted(moved)} = now()" for moved in retry.now]
    if retry.reset_attempts and columns.attempts and columns.failed:
        sets.append(f"{quoted(columns.attempts)} = 0")  # where they are the mark they must go on
    chosen = f"{quoted(columns.id)} = ANY({IDS}::{id_type}[])"
    update = f"UPDATE {quoted(schema, name)} SET {', '.join(sets)} WHERE {chosen}"
    channel = sql.Literal(retry.notify).as_string()
    notify = f"SELECT pg_notify({channel}, id) FROM unnest({IDS}) AS chosen (id)"
    return QueueTable(
        "none", schema, name, columns.id, id_type, columns.state,
        text(columns.queue) if columns.queue else f"{sql.Literal(name).as_string()}::text",
        states.waiting, states.running, states.failed, states.done,
        mark=microseconds(failed_at) if columns.failed else text(columns.attempts),
        payload=columns.payload,
        kind=text(columns.kind),
        due=f"coalesce({run_at} <= now(), true)",
        waiting_since=f"coalesce({run_at}, {created})",
        created=created,
        started=column(columns.started, NO_TIME),
        failed_at=failed_at,
        attempts=column(columns.attempts, NO_NUMBER),
        worker=text(columns.worker),
        error=text(columns.error),
        retry=(update, notify) if retry.notify else (update,),
    )  # fmt: skip


Library = Callable[[str, str, str], QueueTable]
LIBRARIES: dict[str, tuple[str, Library]] = {
    "procrastinate": ("procrastinate_jobs", procrastinate),
    "pgqueuer": ("pgqueuer", pgqueuer),
    "chancy": ("chancy_jobs", chancy),
}
