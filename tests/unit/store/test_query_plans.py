"""How SQLite answers what pages ask: out of an index, without sorting, and without the wide rows."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema, segments
from eventwake.store.migrate import migrate
from eventwake.store.reads import events, letter_counts, letters, operations
from eventwake.store.reads.events import EventFilter
from eventwake.store.reads.letters import LetterFilter
from eventwake.store.session import Store
from eventwake.store.writes.sources import add_streams, register_source

Query = Callable[[Connection], Any]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    migrate(opened)
    with opened.write() as tx:
        register_source(tx, "shop", "redis_streams", True, "", 0)
        add_streams(tx, "shop", [("orders:dlq", "dead_letters"), ("payments:dlq", "dead_letters")], 0)
        counts = [{"stream_id": i, "fingerprint": "f", "state": "open", "letters": 1} for i in (1, 2)]
        tx.execute(sa.insert(schema.letter_count), counts)
    yield opened
    opened.close()


def plans(store: Store, query: Query) -> list[str]:
    """The steps of every statement of a query, as the planner has them."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    sa.event.listen(store.engine, "before_cursor_execute", note)
    with store.read() as connection:
        query(connection)
    sa.event.remove(store.engine, "before_cursor_execute", note)
    with store.read() as connection:
        return [
            row.detail
            for statement, parameters in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


@pytest.mark.parametrize(
    "wanted",
    [
        LetterFilter(),
        LetterFilter(states=()),
        LetterFilter(states=("consumed", "succeeded")),
        LetterFilter(event_type="OrderPlaced"),
        LetterFilter(states=(), event_type="OrderPlaced"),
        LetterFilter(states=("claimed", "sent", "settled"), group_name="billing"),
        LetterFilter(states=(), fingerprint="f"),
        LetterFilter(source="shop"),
        LetterFilter(states=(), stream="orders:dlq"),
    ],
)
def test_a_page_is_read_in_the_order_of_an_index(store: Store, wanted: LetterFilter) -> None:
    steps = plans(store, lambda connection: letters.page(connection, wanted, 100))
    assert any("letter USING INDEX" in step for step in steps)
    assert not [step for step in steps if "ORDER BY" in step]


def test_a_text_is_looked_up_by_what_it_may_be(store: Store) -> None:
    steps = plans(store, lambda connection: letters.page(connection, LetterFilter(text="k7"), 100))
    assert {"event", "correlation", "key"} <= {
        name
        for name in ("event", "correlation", "key")
        if any(f"INDEX ix_letter_{name} " in s for s in steps)
    }
    assert "SEARCH letter USING INTEGER PRIMARY KEY (rowid=?)" in steps


@pytest.mark.parametrize(
    "query",
    [
        lambda c: letters.count(c, LetterFilter(group_name="billing")),
        lambda c: letters.groups(c, LetterFilter(group_name="billing"), 8),
        lambda c: letters.groups(c, LetterFilter(event_type="OrderPlaced"), 8),
        lambda c: letters.groups(c, LetterFilter((), since_ms=1, until_ms=2), 8),
        lambda c: letters.matching(c, LetterFilter(source="shop"), 99),
        lambda c: letter_counts.mended(c, 1, 2),
        lambda c: operations.outcomes(c, 1),
    ],
)
def test_counting_does_not_touch_the_letters(store: Store, query: Query) -> None:
    """Each of them is wide, with its body and its stack trace."""
    steps = [step for step in plans(store, query) if " letter " in step]
    assert steps
    assert not [step for step in steps if "COVERING INDEX" not in step]


def test_the_summary_goes_through_the_letters_once(store: Store) -> None:
    steps = plans(store, lambda connection: letters.summary(connection, LetterFilter(), 99))
    assert len([step for step in steps if " letter" in step]) == 1


def test_events_of_a_source_are_read_stream_by_stream(store: Store) -> None:
    """A quiet source among busy ones has few, and those of the others are not gone through."""
    with store.write() as tx:
        segments.open_for_writing(tx, 100, 0)
        add_streams(tx, "shop", [("orders", "events")], 0)
    steps = plans(store, lambda connection: events.page(connection, EventFilter(source="shop"), 50))
    walked = [step for step in steps if "event_000001" in step]
    assert walked
    assert {step.partition(" USING ")[2] for step in walked} == {"INDEX event_000001_stream (stream_id=?)"}
    assert not [step for step in steps if "ORDER BY" in step]
