"""Queues in PostgreSQL on a real server: a table of one's own, and three libraries with their workers."""

import asyncio
import json
import logging
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar
from uuid import uuid4

import psutil
import psycopg

from tests.contract.rigs.queue_base import MESSAGE, JobState, QueueRig
from tests.store_rigs import USER as ADMIN
from tests.store_rigs import PostgresServer

WATCHER, ACTOR, LIMITED = "watcher", "actor", "limited"
TIMEOUT_S = 60


class PostgresRig(QueueRig):
    """`ways`: with a table for dispositions, or with the row's state as the only guard."""

    kind = "postgres_queue"
    ways = ("dispositions", "state alone")
    table: ClassVar[str]
    states: ClassVar[dict[str, JobState]]
    columns: ClassVar[tuple[str, str]]  # of the queue and the state

    def settings(self) -> dict[str, Any]:
        return {"url": self.url(), "settle_s": 0}

    def able_to(self, way: str) -> dict[str, Any]:
        return {**self.settings(), "dispositions": "eventwake_dispositions" if way == "dispositions" else ""}

    def without_right_to(self, act: str) -> dict[str, Any]:
        user = {"watch": LIMITED, "act": WATCHER, "any": "nobody"}[act]
        return {**self.settings(), "url": self.url(user)}

    def impatient(self) -> dict[str, Any]:
        return {"answer_timeout_s": 0.2}

    def url(self, user: str = ADMIN) -> str:
        return f"postgresql://{user}:of-the-tests@127.0.0.1:{self.server.port}/{self.database}"

    def dead(self, queue: str) -> str:
        return f"{queue}:failed"

    def start(self) -> None:
        self.server = PostgresServer()
        self.database = self.server.new_database().rpartition("/")[2]
        self.connect()
        for user in (WATCHER, LIMITED):
            self.admin.execute(f"CREATE ROLE {user} LOGIN")
        self.make()
        self.admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {WATCHER}")

    def connect(self) -> None:
        self.admin = psycopg.connect(self.url(), autocommit=True)

    def start_again(self) -> None:
        self.server.start()
        self.connect()

    def stop(self) -> None:
        self.admin.close()
        self.server.stop()

    def make(self) -> None:
        """The tables."""

    def clear(self) -> None:
        if self.admin.closed:
            self.start_again()
        self.admin.execute("DROP TABLE IF EXISTS eventwake_dispositions")
        self.admin.execute(f"TRUNCATE {self.table} RESTART IDENTITY CASCADE")

    @contextmanager
    def hanging(self) -> Iterator[None]:
        pid = int((self.server._data / "postmaster.pid").read_text().split()[0])
        stopped = [process.pid for process in psutil.Process(pid).children()] + [pid]
        for process in stopped:
            os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in stopped:
                os.kill(process, signal.SIGCONT)

    def jobs(self, queue: str) -> dict[str, JobState]:
        of_queue, state = self.columns
        rows = self.admin.execute(
            f"SELECT id::text, {state}::text FROM {self.table} WHERE {of_queue} = %s ORDER BY id", [queue]
        )
        return {row[0]: self.states[row[1]] for row in rows}

    def remove(self, ids: Sequence[str]) -> None:
        self.admin.execute(f"DELETE FROM {self.table} WHERE id::text = ANY(%s)", [list(ids)])

    def footprint(self) -> Any:
        """With the transaction that wrote each row, so that even an update to the same is seen."""
        rows = self.admin.execute(f"SELECT xmin::text, t.*::text FROM {self.table} t ORDER BY id").fetchall()
        tables = self.admin.execute(
            "SELECT relname, n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables ORDER BY relname"
        ).fetchall()
        return rows, [name for name, *_ in tables]


class OwnTable(PostgresRig):
    """A table as people write it, worked by FOR UPDATE SKIP LOCKED."""

    name = "own table"
    table = "jobs"
    columns = ("queue", "state")
    states: ClassVar[dict[str, JobState]] = {
        "queued": "waiting", "working": "running", "dead": "failed", "ok": "done"
    }  # fmt: skip

    def settings(self) -> dict[str, Any]:
        return {
            **super().settings(),
            "library": "none",
            "table": "jobs",
            "columns": {
                "queue": "queue", "kind": "task", "payload": "payload", "attempts": "attempts",
                "error": "last_error", "created": "created_at", "run_at": "run_at", "started": "started_at",
                "failed": "failed_at", "worker": "worker",
            },
            "states": {"waiting": ["queued"], "running": ["working"], "failed": ["dead"], "done": ["ok"]},
            "retry": {"state": "queued", "clear": ["worker"], "now": ["run_at"], "notify": "jobs"},
        }  # fmt: skip

    def make(self) -> None:
        self.admin.execute(
            "CREATE TABLE jobs (id bigserial PRIMARY KEY, queue text NOT NULL, task text NOT NULL,"
            " payload bytea,"
            " state text NOT NULL DEFAULT 'queued', attempts integer NOT NULL DEFAULT 0, last_error text,"
            " created_at timestamptz NOT NULL DEFAULT now(), run_at timestamptz, started_at timestamptz,"
            " failed_at timestamptz, worker text, weight double precision DEFAULT 0.1)"
        )
        self.admin.execute("CREATE INDEX ON jobs (queue, state)")

    def put(self, queue: str, *payloads: dict[str, Any]) -> list[str]:
        return [self.put_raw(queue, json.dumps(payload).encode()) for payload in payloads]

    def put_raw(self, queue: str, payload: bytes | None) -> str:
        [row_id] = self.admin.execute(
            "INSERT INTO jobs (queue, task, payload) VALUES (%s, 'ship', %s) RETURNING id::text",
            [queue, payload],
        ).fetchone() or [""]
        return str(row_id)

    def take(self, queue: str, count: int) -> list[str]:
        rows = self.admin.execute(
            "UPDATE jobs SET state = 'working', worker = 'w-1', started_at = now(), attempts = attempts + 1"
            " WHERE id IN (SELECT id FROM jobs WHERE queue = %s AND state = 'queued'"
            " AND coalesce(run_at <= now(), true) ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED)"
            " RETURNING id::text",
            [queue, count],
        )
        return sorted((row[0] for row in rows), key=int)

    def work(self, queue: str) -> None:
        taken = self.take(queue, 100_000)
        self.admin.execute(
            "UPDATE jobs SET state = 'dead', failed_at = clock_timestamp(), last_error = %s"
            " WHERE id::text = ANY(%s) AND convert_from(payload, 'UTF8')::jsonb ? 'fails'",
            [f"ValueError: {MESSAGE}", taken],
        )
        self.admin.execute(
            "UPDATE jobs SET state = 'ok' WHERE id::text = ANY(%s) AND state = 'working'", [taken]
        )


class Procrastinate(PostgresRig):
    name = "procrastinate"
    table = "procrastinate_jobs"
    columns = ("queue_name", "status")
    keeps_error = False
    states: ClassVar[dict[str, JobState]] = {
        "todo": "waiting", "doing": "running", "failed": "failed", "succeeded": "done"
    }  # fmt: skip

    def make(self) -> None:
        asyncio.run(self._with_app(lambda app: app.schema_manager.apply_schema_async()))

    def put(self, queue: str, *payloads: dict[str, Any]) -> list[str]:
        async def put(app: Any) -> list[str]:
            task = app.configure_task("ship", queue=queue)
            return [str(await task.defer_async(payload=payload)) for payload in payloads]

        return asyncio.run(self._with_app(put))

    def take(self, queue: str, count: int) -> list[str]:
        async def take(app: Any) -> list[str]:
            worker = await app.job_manager.register_worker()
            jobs = [await app.job_manager.fetch_job([queue], worker) for _ in range(count)]
            return [str(job.id) for job in jobs if job]

        return asyncio.run(self._with_app(take))

    def work(self, queue: str) -> None:
        async def work(app: Any) -> None:
            await app.run_worker_async(
                queues=[queue], wait=False, install_signal_handlers=False, concurrency=10
            )

        asyncio.run(self._with_app(work))

    async def _with_app(self, act: Any) -> Any:
        import procrastinate

        app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=self.url(), max_size=4))

        @app.task(name="ship")
        async def ship(payload: dict[str, Any]) -> None:
            do(payload)

        async with app.open_async():
            return await asyncio.wait_for(act(app), TIMEOUT_S)


class PgQueuer(PostgresRig):
    name = "pgqueuer"
    table = "pgqueuer"
    columns = ("entrypoint", "status")
    keeps_done = False
    states: ClassVar[dict[str, JobState]] = {"queued": "waiting", "picked": "running", "failed": "failed"}

    def make(self) -> None:
        asyncio.run(self._with_driver(lambda queries: queries.install()))

    def clear(self) -> None:
        super().clear()
        self.admin.execute("TRUNCATE pgqueuer_log")

    def put(self, queue: str, *payloads: dict[str, Any]) -> list[str]:
        async def put(queries: Any) -> list[str]:
            return [str(*await queries.enqueue(queue, json.dumps(payload).encode())) for payload in payloads]

        return asyncio.run(self._with_driver(put))

    def take(self, queue: str, count: int) -> list[str]:
        from pgqueuer.ports.repository import EntrypointExecutionParameter

        async def take(queries: Any) -> list[str]:
            entrypoints = {queue: EntrypointExecutionParameter(concurrency_limit=0)}
            jobs = await queries.dequeue(count, entrypoints, uuid4(), None, timedelta(seconds=60))
            return [str(job.id) for job in jobs]

        return asyncio.run(self._with_driver(take))

    def work(self, queue: str) -> None:
        from pgqueuer import PgQueuer as Worker
        from pgqueuer.types import QueueExecutionMode

        async def work(queries: Any) -> None:
            worker = Worker(queries.driver)

            @worker.entrypoint(queue, on_failure="hold")
            async def ship(job: Any) -> None:
                do(json.loads(job.payload))

            await worker.qm.run(mode=QueueExecutionMode.drain, dequeue_timeout=timedelta(seconds=0.1))

        asyncio.run(self._with_driver(work))

    async def _with_driver(self, act: Any) -> Any:
        from pgqueuer.adapters.drivers.psycopg import PsycopgDriver
        from pgqueuer.queries import Queries

        connecting = psycopg.AsyncConnection.connect(self.url(), autocommit=True)
        async with await connecting as connection, PsycopgDriver(connection) as driver:
            return await asyncio.wait_for(act(Queries(driver)), TIMEOUT_S)


class Chancy(PostgresRig):
    name = "chancy"
    table = "chancy_jobs"
    columns = ("queue", "state")
    states: ClassVar[dict[str, JobState]] = {
        "pending": "waiting", "retrying": "waiting", "running": "running", "failed": "failed",
        "succeeded": "done",
    }  # fmt: skip

    def make(self) -> None:
        asyncio.run(self._with_app(lambda app: app.migrate()))

    def put(self, queue: str, *payloads: dict[str, Any]) -> list[str]:
        from chancy import Job

        async def put(app: Any) -> list[str]:
            jobs = [
                Job.from_func(do_chancy, queue=queue, kwargs={"payload": payload}) for payload in payloads
            ]
            return [str(reference.identifier) for reference in [await app.push(job) for job in jobs]]

        return asyncio.run(self._with_app(put))

    def take(self, queue: str, count: int) -> list[str]:
        from chancy import Queue, Worker

        async def take(app: Any) -> list[str]:
            worker = Worker(app, register_signal_handlers=False)
            async with app.pool.connection() as connection:
                jobs = await worker.fetch_jobs(Queue(queue), connection, up_to=count)
            return sorted(str(job.id) for job in jobs)

        return asyncio.run(self._with_app(take))

    def work(self, queue: str) -> None:
        from chancy import Queue, Worker

        async def work(app: Any) -> None:
            executor = "chancy.executors.asyncex.AsyncExecutor"
            for name in ("default", queue):  # it declares the first itself, with processes
                await app.declare(Queue(name, concurrency=200, executor=executor), upsert=True)
            async with Worker(app, register_signal_handlers=False) as worker:
                worker.send_outgoing_interval = 0.05
                while {"waiting", "running"} & {*(self.jobs(queue).values())}:
                    await asyncio.sleep(0.05)

        asyncio.run(self._with_app(work))

    async def _with_app(self, act: Any) -> Any:
        from chancy import Chancy as App

        async with App(self.url(), log=logging.getLogger("chancy"), no_default_plugins=True) as app:
            return await asyncio.wait_for(act(app), TIMEOUT_S)


def do(payload: dict[str, Any]) -> None:
    """The work of every queue."""
    if payload.get("fails"):
        raise ValueError(MESSAGE)


async def do_chancy(payload: dict[str, Any]) -> None:
    do(payload)


RIGS: tuple[type[PostgresRig], ...] = (OwnTable, Procrastinate, PgQueuer, Chancy)
