"""The shipped example names every setting, with its default, and can be loaded."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from collectors.brokers.postgres_queue.settings import PostgresQueueSettings
from collectors.brokers.redis_streams.settings import RedisStreamsSettings, read_settings
from eventwake.settings import (
    CONFIG_VARIABLE,
    DEFAULT_ALERTS,
    AlertRule,
    Dashboard,
    Environment,
    Saga,
    Source,
    Store,
    load,
)

EXAMPLE = Path(__file__).resolve().parents[2] / "eventwake.example.toml"
TABLES = tomllib.loads(EXAMPLE.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("table", "models"),
    [
        (TABLES["environment"], [Environment]),
        (TABLES["store"], [Store]),
        (TABLES["dashboard"], [Dashboard]),
        (TABLES["source"][0], [Source, RedisStreamsSettings]),
        (TABLES["saga"][0], [Saga]),
        (TABLES["alert"][0], [AlertRule]),
    ],
)
def test_it_names_every_setting_and_no_other(table: dict[str, Any], models: list[type[BaseModel]]) -> None:
    assert set(table) == {name for model in models for name in model.model_fields}


@pytest.mark.parametrize(
    ("name", "model"), [("environment", Environment), ("store", Store), ("dashboard", Dashboard)]
)
def test_it_shows_the_defaults(name: str, model: type[BaseModel]) -> None:
    assert model(**TABLES[name]) == model()


def test_it_shows_the_defaults_of_a_source() -> None:
    shown = {name: TABLES["source"][0][name] for name in Source.model_fields if name != "dead_letter_streams"}
    plain = Source(name="shop", kind="redis_streams")
    assert Source(**shown) == plain


def test_it_can_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("ca.pem", "client.pem", "client.key"):
        (tmp_path / name).touch()
    monkeypatch.setenv(CONFIG_VARIABLE, str(EXAMPLE))
    monkeypatch.setenv("EVENTWAKE_SHOP_PASSWORD", "x")
    monkeypatch.setenv("EVENTWAKE_SENTINEL_PASSWORD", "x")
    settings = load()
    assert settings.alert == DEFAULT_ALERTS
    assert read_settings(settings.source[0]).url == "redis://eventwake:x@127.0.0.1:6379/0"


def test_it_shows_every_setting_of_a_queue_in_postgresql_with_its_default() -> None:
    [table] = [table for table in TABLES["source"] if table["kind"] == "postgres_queue"]
    own = {name: value for name, value in table.items() if name not in ("name", "kind")}
    settings = PostgresQueueSettings(**own)
    shown = {"": own, "columns": own["columns"], "states": own["states"], "retry": own["retry"]}
    for name, keys in shown.items():
        model = getattr(settings, name) if name else settings
        assert set(keys) == {*type(model).model_fields}
    plain = PostgresQueueSettings(url=own["url"])
    mapped = {"url", "library", "table", "columns", "states", "retry"}
    assert plain.model_dump(exclude=mapped) == settings.model_dump(exclude=mapped)
