"""What the flow page asks the store beyond rates: where groups stood, and since when events are known."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from eventwake.store import schema
from eventwake.store.migrate import migrate
from eventwake.store.reads import flow
from eventwake.store.reads.flow import Stand
from eventwake.store.session import Store
from eventwake.store.writes.events import SPANS_MS
from eventwake.store.writes.groups import groups_gone, save_group, save_samples
from eventwake.store.writes.sources import add_streams, register_source

FINE, COARSE = SPANS_MS
HOUR = 3_600_000


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'eventwake.db'}", create=True)
    migrate(opened)
    with opened.write() as tx:
        register_source(tx, "shop", "redis_streams", True, "", 0)
        add_streams(tx, "shop", [("orders", "events")], 0)
    yield opened
    opened.close()


def group(store: Store, name: str, samples: dict[int, int | None]) -> int:
    """A group whose samples found it so far at those times."""
    row = {
        "stream_id": 1, "name": name, "status": "ok", "rule": "", "lag_kind": "known",
        "time_lag_kind": "known", "sampled_ms": 0,
    }  # fmt: skip
    with store.write() as tx:
        group_id = save_group(tx, row)
        save_samples(
            tx,
            [
                {
                    "group_id": group_id, "at_ms": at_ms, "position": None, "committed": committed,
                    "end": None, "lag_kind": "known", "lag": 0, "time_lag_ms": 0, "pending": 0,
                    "oldest_pending": None,
                }
                for at_ms, committed in samples.items()
            ],
        )  # fmt: skip
    return group_id


def count(store: Store, buckets: list[tuple[int, int]]) -> None:
    with store.write() as tx:
        for span_ms, bucket_ms in buckets:
            tx.execute(
                sa.insert(schema.event_rollup).values(
                    span_ms=span_ms, bucket_ms=bucket_ms, stream_id=1, event_type="", producer="", events=1,
                    bytes=1, undecodable=0,
                )
            )  # fmt: skip


def known_since(store: Store) -> int | None:
    with store.read() as connection:
        return flow.known_since_ms(connection)


def test_a_group_stood_where_the_first_sample_of_the_window_found_it(store: Store) -> None:
    first = group(store, "early", {1_000: 10, 2_000: 20, 3_000: 30})
    second = group(store, "late", {2_500: None})
    group(store, "before", {500: 5})
    gone = group(store, "gone", {2_000: 1})
    with store.write() as tx:
        groups_gone(tx, [gone], 0)
    with store.read() as connection:
        assert flow.stands(connection, 1_500) == {first: Stand(2_000, 20), second: Stand(2_500, None)}


def test_without_events_nothing_is_known(store: Store) -> None:
    assert known_since(store) is None


def test_events_are_known_since_the_first_fine_bucket_while_that_is_kept(store: Store) -> None:
    count(store, [(COARSE, HOUR), (FINE, HOUR + 7 * FINE), (FINE, HOUR + 9 * FINE)])
    assert known_since(store) == HOUR + 7 * FINE


def test_events_are_known_since_the_first_coarse_bucket_once_fine_ones_are_dropped(store: Store) -> None:
    count(store, [(COARSE, HOUR), (COARSE, 9 * HOUR), (FINE, 9 * HOUR)])
    assert known_since(store) == HOUR
