"""Stores in every situation that a page may find, and the settings that name them."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from dashboard import data
from eventwake.clock import now_ms
from eventwake.settings import CONFIG_VARIABLE
from eventwake.store.migrate import migrate
from eventwake.store.session import Store
from tests.ui import filled_store
from tests.ui.filled_store import Builder, Filled


@dataclass(frozen=True, slots=True)
class Found:
    """A store that the dashboard finds, and what was written into it."""

    store: Store
    path: Path
    filled: Filled

    def take_away(self) -> None:
        self.store.close()
        for path in self.path.parent.glob(f"{self.path.name}*"):
            path.unlink()

    def collectors_report(self, heartbeat_ms: int | None = None) -> None:
        """The collectors' signs of life, of now or of then."""
        at_ms = now_ms() if heartbeat_ms is None else heartbeat_ms
        with self.store.write() as tx:
            build = Builder(tx, at_ms)
            build.collectors(at_ms)
            build.source("shop", writable=True)
            build.source("warehouse", writable=False)


Finds = Callable[[str], Found]


@pytest.fixture(autouse=True)
def store_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the dashboard's settings say that the store is."""
    path = tmp_path / "store.db"
    config = tmp_path / "eventwake.toml"
    config.write_text(filled_store.SETTINGS % f"sqlite:///{path}")
    monkeypatch.setenv(CONFIG_VARIABLE, str(config))
    forget()
    yield path
    forget()


def forget() -> None:
    """The dashboard as it is when it has just been started."""
    for cached in (data.settings, data._opened, data._read):
        cached.clear()


@pytest.fixture(scope="session")
def templates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Filled]]:
    """Stores to copy: "empty", "full", and "hostile", which is full and holds hostile texts as well."""
    folder = tmp_path_factory.mktemp("templates")
    made = {}
    for name in ("empty", "full", "hostile"):
        store = Store(f"sqlite:///{folder / name}", create=True)
        migrate(store)
        filled = Filled() if name == "empty" else filled_store.fill(store, now_ms())
        if name == "hostile":
            filled_store.add_hostile(store, filled, now_ms())
        store.close()  # which leaves nothing in the write-ahead log
        made[name] = store.path or folder, filled
    return made


@pytest.fixture
def found(store_path: Path, templates: dict[str, tuple[Path, Filled]]) -> Iterator[Finds]:
    """Puts the store of that name where the dashboard looks for it."""
    opened: list[Store] = []

    def copy(name: str) -> Found:
        template, filled = templates[name]
        shutil.copy(template, store_path)
        opened.append(Store(f"sqlite:///{store_path}"))
        return Found(opened[-1], store_path, filled)

    yield copy
    for store in opened:
        store.close()


@pytest.fixture
def empty(found: Finds) -> Found:
    """Migrated, nothing in it."""
    return found("empty")


@pytest.fixture
def full(found: Finds) -> Found:
    """Something of everything, and collectors that report."""
    there = found("full")
    there.collectors_report()
    return there


@pytest.fixture
def hostile(found: Finds) -> Found:
    """The full store, with hostile texts in every slot."""
    there = found("hostile")
    there.collectors_report()
    return there
