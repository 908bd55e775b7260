"""Opens the store and gives connections: `read()` and `write()`, each one transaction.

On SQLite: WAL; a writer takes the write lock when it begins, since a read that turns into a write fails at
once under concurrency; and no connection checkpoints by itself, because 3.7.0 to 3.51.2 can damage a file
when two do (see `maintenance.checkpoint`). Source: sqlite.org/wal.html and this project's measurements.

On PostgreSQL: a read sees one snapshot; writers run side by side, and `locks` says what they do in turn.
"""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.engine import Connection as Connection  # for those who may not import SQLAlchemy
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from eventwake.domain.errors import EventwakeError, SettingsError, StoreDamaged, StoreError, StoreUnavailable

BUSY_TIMEOUT_S = 15.0  # ingest transactions last 200 ms at most; a migration's copy may take seconds
BUSY_PAUSE_S = 0.02
POOL_SIZE = 4
NETWORK_FILE_SYSTEMS = ("nfs", "cifs", "smb", "fuse.sshfs", "9p", "afs", "ceph", "glusterfs")
POSTGRESQL = "postgresql"
FIRST_FIXED_SQLITE = (3, 51, 3)  # also 3.50.7 and 3.44.6: the write-ahead log's reset race

Durability = Literal["full", "normal"]

_DAMAGED = ("SQLITE_CORRUPT", "SQLITE_NOTADB")
_REASONS = {
    "SQLITE_FULL": "the disk is full; what was acknowledged is safe. Free some space, work goes on by itself",
    "SQLITE_BUSY": "another process has held the store's lock for too long",
    "SQLITE_READONLY": "the store's file or directory is read-only for this user",
    "SQLITE_CANTOPEN": "the store's file cannot be opened. Start the collectors, which make it: "
    "python -m collectors",
    "SQLITE_IOERR": "the disk reports an error",
}


class Store:
    """The store at `url`. Connections are made on first use; `close` ends them.

    `create` is for the collectors, which own the file: others raise `StoreUnavailable` where there is none.
    """

    def __init__(self, url: str, *, durability: Durability = "full", create: bool = False) -> None:
        try:
            self.url: URL = make_url(url)
        except ArgumentError as error:
            raise SettingsError(
                f"[store] url is not a database URL; an example is sqlite:///eventwake.db ({error})"
            ) from error
        if self.url.get_backend_name() in (POSTGRESQL, "postgres"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        elif self.url.get_backend_name() != "sqlite":
            raise SettingsError(
                f"[store] url names {self.url.get_backend_name()}; the store is sqlite:///FILE or "
                "postgresql+psycopg://USER@HOST/DATABASE"
            )
        self._durability: Durability = durability
        self._create = create
        self._engine: Engine | None = None

    @property
    def is_sqlite(self) -> bool:
        return self.url.get_backend_name() == "sqlite"

    @property
    def path(self) -> Path | None:
        """The file, where the store is one."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    @property
    def engine(self) -> Engine:
        if self._engine is None:
            self._engine = self._open()
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One consistent view. Raises `StoreUnavailable` or `StoreDamaged`."""
        with self._transaction(writes=False) as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction, committed at the end or rolled back by an error. Raises as `read` does."""
        with self._transaction(writes=True) as connection:
            yield connection

    @contextmanager
    def bare(self) -> Iterator[Connection]:
        """A connection without a transaction, for the maintenance statements that refuse one."""
        with self._translated(), self.engine.connect() as connection:
            if self.is_sqlite:
                yield connection.execution_options(eventwake_begin="")
            else:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")

    def close(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    @contextmanager
    def _transaction(self, *, writes: bool) -> Iterator[Connection]:
        with self._translated(), self.engine.connect() as connection:
            if self.is_sqlite:
                connection.execution_options(eventwake_begin="BEGIN IMMEDIATE" if writes else "BEGIN")
            elif not writes:
                connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin():
                yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Turns the database's errors into ours."""
        try:
            yield
        except EventwakeError:
            raise
        except DBAPIError as error:
            raise self._error(error.orig) from error
        except sqlite3.Error as error:
            raise _store_error(error) from error
        except PoolTimeout as error:
            raise StoreUnavailable("every connection to the store is busy; try again") from error

    def _error(self, error: BaseException | None) -> StoreError:
        if self.is_sqlite:
            return _store_error(error)
        told: StoreError = _postgres().store_error(error, self.url)
        return told

    def _open(self) -> Engine:
        if not self.is_sqlite:
            durable = self._durability == "full"
            engine: Engine = _postgres().open_engine(self.url, pool_size=POOL_SIZE, durable=durable)
            return engine
        path = self.path
        if path is None:
            raise SettingsError("[store] url names no file; an example is sqlite:///eventwake.db")
        if not path.exists() and not self._create:
            raise StoreUnavailable(f"there is no store at {path} yet. {_start_collectors()}")
        path.parent.mkdir(parents=True, exist_ok=True)
        refuse_network_file_system(path)
        engine = sa.create_engine(
            self.url,
            pool_size=POOL_SIZE,
            max_overflow=0,
            connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False},
        )
        event.listen(engine, "connect", self._prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by `_begin_sqlite`
        _enter_wal(connection)
        for pragma in (
            f"synchronous={self._durability}",
            "wal_autocheckpoint=0",
            "secure_delete=0",  # a dropped segment of 550 MB: 0.15 s instead of 3.4 s
            "temp_store=MEMORY",
            "cache_size=-32768",  # KiB
            "mmap_size=0",  # a damaged page would end the process instead of raising
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()


def _enter_wal(connection: sqlite3.Connection) -> None:
    """A new file's change to WAL does not wait by itself for another process that changes it, too."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").fetchall()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(BUSY_PAUSE_S)


def _begin_sqlite(connection: Connection) -> None:
    if statement := connection.get_execution_options().get("eventwake_begin", "BEGIN"):
        connection.exec_driver_sql(statement)


def _start_collectors() -> str:
    return "The collectors make it; start them with: python -m collectors"


def _postgres() -> Any:
    """The module that needs psycopg."""
    try:
        from eventwake.store import postgres
    except ImportError as error:
        raise SettingsError(
            f"[store] url names PostgreSQL, which needs psycopg: pip install 'psycopg[binary]' ({error})"
        ) from error
    return postgres


def _store_error(error: BaseException | None) -> StoreError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(_DAMAGED):
        return StoreDamaged("the store's file is damaged. Stop the collectors and restore it from a copy")
    for prefix, reason in _REASONS.items():
        if name.startswith(prefix):
            return StoreUnavailable(f"{reason} ({name})")
    if isinstance(error, sqlite3.OperationalError) and "no such table" in str(error):
        return StoreUnavailable(f"the store is not set up yet. {_start_collectors()}")
    return StoreError(f"the store refused: {error}")


def refuse_network_file_system(path: Path, mounts: Path = Path("/proc/self/mounts")) -> None:
    """Raises `SettingsError` for a file where SQLite's shared memory cannot work (Linux only)."""
    if not mounts.exists():
        return
    target = path.absolute().parent.resolve()
    best: tuple[int, str] = (-1, "")
    for line in mounts.read_text().splitlines():
        _device, point, kind, *_ = line.split(" ")
        if target.is_relative_to(point.replace("\\040", " ")):
            best = max(best, (len(point), kind))
    if best[1].startswith(NETWORK_FILE_SYSTEMS):
        raise SettingsError(
            f"{path} lies on a network file system ({best[1]}), where SQLite can lose data. "
            "Put it on a local disk, or use PostgreSQL"
        )


def sqlite_version_note() -> str | None:
    """What is to be known of this Python's SQLite, or None."""
    version = sqlite3.sqlite_version_info
    if version >= FIRST_FIXED_SQLITE or (3, 50, 7) <= version < (3, 51) or (3, 44, 6) <= version < (3, 45):
        return None
    return (
        f"SQLite {sqlite3.sqlite_version} can damage a file when two processes checkpoint at once; Eventwake "
        "lets only one process do so. Do not open the file with other tools while the collectors run"
    )


def is_sqlite(connection: Connection) -> bool:
    return connection.dialect.name == "sqlite"


def insert_rows(connection: Connection, table: sa.Table, columns: tuple[str, ...], rows: list[Any]) -> None:
    """Inserts tuples in the order of `columns` without building a dict for each."""
    if not rows:
        return
    if is_sqlite(connection):
        connection.exec_driver_sql(_insert_statement(table.name, columns), rows)
    else:
        _postgres().copy_rows(connection, table, columns, rows)


def _insert_statement(table: str, columns: tuple[str, ...]) -> str:
    names = ", ".join(f'"{column}"' for column in columns)
    return f'INSERT INTO "{table}" ({names}) VALUES ({", ".join("?" * len(columns))})'  # noqa: S608
