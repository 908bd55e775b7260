"""The store's file: who makes it, what is said of a bad one, and how its layout is brought up."""

import sqlite3
from pathlib import Path

import pytest

from eventwake.domain.errors import SettingsError, StoreDamaged, StoreError, StoreUnavailable
from eventwake.store.migrate import MIGRATIONS, migrate, require_current
from eventwake.store.reads import sources as reads
from eventwake.store.session import Store, refuse_network_file_system
from eventwake.store.writes import sources

REVISION = '''"""A revision of this test's own."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "9999", "{before}"
rewrites_data = {rewrites}
def upgrade() -> None:
    op.execute(sa.text("{statement}"))
'''


def opened(path: Path, *, create: bool = True) -> Store:
    return Store(f"sqlite:///{path}", create=create)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a store with one source in it."""
    path = tmp_path / "store.db"
    store = opened(path)
    migrate(store)
    with store.write() as tx:
        sources.register_source(tx, "shop", "redis_streams", True, "", 0)
    store.close()
    return path


def source_names(path: Path) -> list[str]:
    store = opened(path, create=False)
    with store.read() as connection:
        found = [source.name for source in reads.all_sources(connection)]
    store.close()
    return found


def with_revision(tmp_path: Path, statement: str, *, rewrites: bool) -> Path:
    """The shipped migrations and one more."""
    migrations = tmp_path / "migrations"
    (migrations / "versions").mkdir(parents=True)
    for file in ("env.py", "script.py.mako"):
        (migrations / file).write_bytes((MIGRATIONS / file).read_bytes())
    shipped = sorted((MIGRATIONS / "versions").glob("[0-9]*.py"))
    for file in shipped:
        (migrations / "versions" / file.name).write_bytes(file.read_bytes())
    newest = shipped[-1].name.partition("_")[0]
    text = REVISION.format(before=newest, rewrites=rewrites, statement=statement)
    (migrations / "versions" / "9999_of_this_test.py").write_text(text)
    return migrations


class TestOpening:
    def test_those_who_only_read_do_not_make_a_file_and_say_who_does(self, tmp_path: Path) -> None:
        path = tmp_path / "nothing.db"
        with pytest.raises(StoreUnavailable, match="python -m collectors"), opened(path, create=False).read():
            pass
        assert not path.exists()

    def test_the_collectors_make_it_with_its_folder(self, tmp_path: Path) -> None:
        path = tmp_path / "some" / "where" / "store.db"
        store = opened(path)
        migrate(store)
        store.close()
        assert source_names(path) == []

    def test_a_file_that_is_no_database_is_damaged_and_not_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "notes.db"
        path.write_text("no database " * 1_000)
        with pytest.raises(StoreDamaged, match="restore it from a copy"):
            migrate(opened(path))
        assert path.read_text() == "no database " * 1_000

    def test_a_damaged_page_is_told_as_damage(self, path: Path) -> None:
        with path.open("r+b") as file:
            file.seek(100)
            file.write(b"\xff" * 3_900)
        with pytest.raises(StoreDamaged):
            source_names(path)

    def test_a_file_that_another_process_holds_is_told_as_such(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("eventwake.store.session.BUSY_TIMEOUT_S", 0.1)
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="held the store's lock"), opened(path).write():
            pass
        holder.close()

    def test_a_url_without_a_file_is_refused(self) -> None:
        for url in ("sqlite://", "sqlite:///"):
            with pytest.raises(SettingsError, match="names no file"), Store(url, create=True).read():
                pass

    def test_what_is_no_url_is_refused_with_an_example(self) -> None:
        with pytest.raises(SettingsError, match="an example is sqlite:///"):
            Store("eventwake.db")

    @pytest.mark.parametrize(
        ("kind", "point", "refused"),
        [
            ("ext4", "/", False), ("nfs4", "/", True), ("nfs4", "/srv", False), ("cifs", "{folder}", True),
            ("fuse.sshfs", "{parent}", True), ("tmpfs", "{folder}", False),
        ],
    )  # fmt: skip
    def test_a_network_file_system_is_refused_and_the_innermost_mount_counts(
        self, tmp_path: Path, kind: str, point: str, refused: bool
    ) -> None:
        folder = tmp_path / "my data"
        folder.mkdir()
        mounted = point.format(folder=folder, parent=folder.parent).replace(" ", "\\040")
        mounts = tmp_path / "mounts"
        mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/x {mounted} {kind} rw 0 0\n")
        if point == "/":
            mounts.write_text(f"server:/x / {kind} rw 0 0\n")
        if refused:
            with pytest.raises(SettingsError, match="network file system"):
                refuse_network_file_system(folder / "store.db", mounts)
        else:
            refuse_network_file_system(folder / "store.db", mounts)


class TestTransactions:
    def test_an_error_undoes_all_of_it(self, path: Path) -> None:
        store = opened(path)
        with pytest.raises(ZeroDivisionError), store.write() as tx:
            sources.register_source(tx, "bank", "redis_streams", True, "", 0)
            raise ZeroDivisionError
        store.close()
        assert source_names(path) == ["shop"]

    def test_a_reader_does_not_wait_for_a_writer_nor_see_what_is_not_committed(self, path: Path) -> None:
        writer, reader = opened(path), opened(path, create=False)
        with writer.write() as tx:
            sources.register_source(tx, "bank", "redis_streams", True, "", 0)
            with reader.read() as connection:
                assert [source.name for source in reads.all_sources(connection)] == ["shop"]
        assert source_names(path) == ["bank", "shop"]
        writer.close()
        reader.close()


class TestLayouts:
    def test_migrating_again_changes_nothing(self, path: Path) -> None:
        store = opened(path)
        assert migrate(store) is None
        require_current(store)
        store.close()
        assert source_names(path) == ["shop"]

    def test_an_older_layout_says_who_brings_it_up_to_date(self, path: Path, tmp_path: Path) -> None:
        newer = with_revision(tmp_path, "CREATE TABLE more (id INTEGER)", rewrites=False)
        store = opened(path)
        with pytest.raises(StoreUnavailable, match=r"older layout.*python -m collectors"):
            require_current(store, newer)
        assert migrate(store, newer) is None
        require_current(store, newer)
        store.close()
        assert source_names(path) == ["shop"]

    def test_a_newer_one_is_left_alone(self, path: Path, tmp_path: Path) -> None:
        store = opened(path)
        migrate(store, with_revision(tmp_path, "CREATE TABLE more (id INTEGER)", rewrites=False))
        for act in (migrate, require_current):
            with pytest.raises(StoreError, match=r"newer Eventwake.*Update this installation"):
                act(store)
        store.close()

    def test_a_copy_is_made_before_data_are_rewritten(self, path: Path, tmp_path: Path) -> None:
        store = opened(path)
        copy = migrate(store, with_revision(tmp_path, "DELETE FROM source", rewrites=True))
        store.close()
        assert source_names(path) == []
        assert copy is not None
        assert source_names(copy) == ["shop"]

    def test_one_that_fails_half_way_leaves_everything_as_it_was(self, path: Path, tmp_path: Path) -> None:
        store = opened(path)
        with pytest.raises(StoreError):
            migrate(store, with_revision(tmp_path, "INSERT INTO nowhere VALUES (1)", rewrites=False))
        require_current(store)
        store.close()
        assert source_names(path) == ["shop"]
