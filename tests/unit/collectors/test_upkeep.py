"""The store's upkeep goes on, whatever goes wrong in it."""

import logging
from pathlib import Path
from typing import Any

import pytest

from collectors import supervisor
from collectors.process import Stop
from collectors.supervisor import Supervisor
from eventwake.settings import Settings
from eventwake.settings import Store as StoreSettings
from eventwake.store.migrate import migrate
from eventwake.store.session import Store


def test_a_fault_in_retention_is_told_and_ends_neither_it_nor_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    done: list[str] = []
    stop = Stop()

    def checkpoint(_store: Any) -> None:
        done.append("checkpoint")
        if done.count("checkpoint") == 3:
            stop.set()

    def retain(*_: Any) -> None:
        done.append("retain")
        raise RuntimeError("nobody thought of this")

    monkeypatch.setattr(supervisor, "CHECKPOINT_S", 0.01)
    monkeypatch.setattr(supervisor, "RETAIN_S", 0.0)
    monkeypatch.setattr(supervisor.maintenance, "checkpoint", checkpoint)
    monkeypatch.setattr(supervisor.maintenance, "retain", retain)
    settings = Settings(store=StoreSettings(url=f"sqlite:///{tmp_path / 'store.db'}"))
    upkeep = Supervisor(settings)
    migrate(Store(settings.store.url, create=True))
    with caplog.at_level(logging.ERROR):
        upkeep._maintain(stop)
    assert done == ["checkpoint", "retain"] * 3
    assert "nobody thought of this" in caplog.text
