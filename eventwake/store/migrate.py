"""Brings the store to this program's schema, by the revisions in `migrations/versions`."""

from pathlib import Path

from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.runtime.environment import EnvironmentContext
from alembic.script import ScriptDirectory
from sqlalchemy.engine import Connection

from eventwake.domain.errors import StoreError, StoreUnavailable
from eventwake.store import locks
from eventwake.store.locks import Lock
from eventwake.store.session import Store

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(store: Store, migrations: Path = MIGRATIONS) -> Path | None:
    """Runs what is missing, in one transaction; the path of the copy that was made first, if one was.

    A revision that sets `rewrites_data` has the file copied beside itself before anything is touched.
    Raises `StoreError` where the store was written by a newer version.
    """
    script = _script(migrations)
    with store.read() as connection:
        pending = _pending(script, connection)
    copy = None
    if any(getattr(revision.module, "rewrites_data", False) for revision in pending) and store.path:
        copy = store.path.with_name(f"{store.path.name}.before-{pending[-1].revision}")
        copy.unlink(missing_ok=True)
        with store.bare() as connection:
            connection.exec_driver_sql("VACUUM INTO ?", (str(copy),))
    if pending:
        with store.write() as connection:
            locks.alone(connection, Lock.LAYOUT)
            _upgrade(script, connection)
    return copy


def require_current(store: Store, migrations: Path = MIGRATIONS) -> None:
    """Raises `StoreUnavailable` where the store is older than this program, `StoreError` where newer."""
    with store.read() as connection:
        if _pending(_script(migrations), connection):
            raise StoreUnavailable(
                "the store has an older layout. Start the collectors, which bring it up to date: "
                "python -m collectors"
            )


def _script(migrations: Path) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    return ScriptDirectory.from_config(config)


def _pending(script: ScriptDirectory, connection: Connection) -> list:  # type: ignore[type-arg]
    """The revisions that the store lacks, oldest first."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = {revision.revision for revision in script.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"the store was written by a newer Eventwake (revision {current}). Update this installation"
        )
    return list(script.iterate_revisions("heads", current or "base"))[::-1]


def _upgrade(script: ScriptDirectory, connection: Connection) -> None:
    config = Config()
    config.attributes["connection"] = connection
    with EnvironmentContext(
        config,
        script,
        fn=lambda revision, _context: script._upgrade_revs("heads", revision),
    ):
        script.run_env()
