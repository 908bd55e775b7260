"""INSERT ... ON CONFLICT on a table of this test's own, in SQLite's file (PostgreSQL: tests/integration)."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventwake.store.session import Store, insert_rows
from eventwake.store.upsert import add_up, upsert

METADATA = sa.MetaData()
COUNT = sa.Table(
    "count",
    METADATA,
    sa.Column("stream", sa.Text, primary_key=True),
    sa.Column("minute", sa.Integer, primary_key=True),
    sa.Column("events", sa.Integer),
    sa.Column("bytes", sa.Integer),
    sa.Column("seen_ms", sa.Integer),
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    with opened.write() as tx:
        METADATA.create_all(tx)
    yield opened
    opened.close()


def row(
    stream: str = "orders", minute: int = 1, events: int = 1, size: int = 10, seen_ms: int = 5
) -> dict[str, object]:
    return {"stream": stream, "minute": minute, "events": events, "bytes": size, "seen_ms": seen_ms}


def rows(store: Store) -> list[tuple[object, ...]]:
    with store.read() as connection:
        return [tuple(found) for found in connection.execute(sa.select(COUNT).order_by(*COUNT.primary_key))]


class TestUpsert:
    def test_inserts_what_is_new_and_overwrites_what_is_there(self, store: Store) -> None:
        for events in (1, 7):
            with store.write() as tx:
                upsert(tx, COUNT, [row(events=events), row("payments", events=events)])
        assert rows(store) == [("orders", 1, 7, 10, 5), ("payments", 1, 7, 10, 5)]

    def test_leaves_alone_what_is_to_be_kept(self, store: Store) -> None:
        for seen_ms, events in ((5, 1), (9, 2)):
            with store.write() as tx:
                upsert(tx, COUNT, [row(events=events, seen_ms=seen_ms)], "seen_ms")
        assert rows(store) == [("orders", 1, 2, 10, 5)]

    def test_of_nothing_does_nothing(self, store: Store) -> None:
        with store.write() as tx:
            upsert(tx, COUNT, [])
            add_up(tx, COUNT, [], "events")
        assert rows(store) == []


class TestAddUp:
    def test_adds_the_sums_and_nothing_else(self, store: Store) -> None:
        for seen_ms in (5, 9):
            with store.write() as tx:
                add_up(tx, COUNT, [row(events=3, size=20, seen_ms=seen_ms)], "events", "bytes")
        assert rows(store) == [("orders", 1, 6, 40, 5)]

    def test_may_set_other_columns_as_well(self, store: Store) -> None:
        for seen_ms in (5, 9):
            with store.write() as tx:
                add_up(tx, COUNT, [row(seen_ms=seen_ms)], "events", seen_ms=seen_ms)
        assert rows(store) == [("orders", 1, 2, 10, 9)]

    def test_takes_away_too_and_repeats_within_one_batch_count(self, store: Store) -> None:
        with store.write() as tx:
            add_up(tx, COUNT, [row(events=5), row(events=-2), row(events=-3)], "events", "bytes")
        assert rows(store) == [("orders", 1, 0, 30, 5)]

    def test_whatever_the_batches_the_sums_are_those_of_all_rows(self, store: Store) -> None:
        dice, expected = random.Random(18), Counter[tuple[str, int]]()
        for _ in range(30):
            batch = [
                row(dice.choice("abc"), dice.randint(0, 2), dice.randint(-5, 5))
                for _ in range(dice.randint(0, 9))
            ]
            for one in batch:
                expected[str(one["stream"]), int(str(one["minute"]))] += int(str(one["events"]))
            with store.write() as tx:
                add_up(tx, COUNT, batch, "events")
        assert {found[:2]: found[2] for found in rows(store)} == expected

    def test_is_undone_with_its_transaction(self, store: Store) -> None:
        with pytest.raises(ZeroDivisionError), store.write() as tx:
            add_up(tx, COUNT, [row()], "events")
            raise ZeroDivisionError
        assert rows(store) == []


def test_rows_are_inserted_in_the_order_of_the_columns_that_were_named(store: Store) -> None:
    with store.write() as tx:
        insert_rows(tx, COUNT, ("events", "stream", "minute"), [(3, "orders", 1), (4, "payments", 2)])
        insert_rows(tx, COUNT, ("events",), [])
    assert rows(store) == [("orders", 1, 3, None, None), ("payments", 2, 4, None, None)]
