"""Sagas kept up at ingest, whose streams are read one after another and not in the order of time."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from eventwake.domain.saga import SagaDefinition
from eventwake.store.migrate import migrate
from eventwake.store.reads import sagas as reads
from eventwake.store.reads.sagas import SagaRow
from eventwake.store.session import Store
from eventwake.store.writes.sagas import SagaEvent, follow

ORDER = SagaDefinition(
    "order", ("placed", "reserved", "paid"), ("released",), ("confirmed",), ("cancelled",), 60.0
)
HEALTHY = [("placed", 10), ("reserved", 20), ("paid", 30), ("confirmed", 40)]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    migrate(opened)
    yield opened
    opened.close()


def see(store: Store, *events: tuple[str, int], correlation: str = "c1") -> None:
    """One batch of the ingest."""
    with store.write() as tx:
        follow(tx, ORDER, [SagaEvent(correlation, event_type, None, at_ms) for event_type, at_ms in events])


def saga(store: Store, correlation: str = "c1") -> SagaRow:
    with store.read() as connection:
        [found] = reads.of_correlation(connection, correlation)
    return found


def test_a_step_that_is_read_late_does_not_turn_back_the_clock(store: Store) -> None:
    """Else a saga that moves would be said to be stuck at a step that it has passed."""
    see(store, ("placed", 10), ("paid", 30_000))
    see(store, ("reserved", 20))
    found = saga(store)
    assert (found.state, found.last_step, found.last_ms, found.started_ms) == ("running", "paid", 30_000, 10)


def test_a_beginning_that_is_read_late_is_the_beginning(store: Store) -> None:
    see(store, ("reserved", 20))
    see(store, ("placed", 10))
    assert (saga(store).started_ms, saga(store).last_step) == (10, "reserved")


def test_an_end_that_is_read_first_is_the_end(store: Store) -> None:
    see(store, ("confirmed", 40))
    see(store, ("placed", 10), ("paid", 30))
    found = saga(store)
    assert (found.state, found.last_step, found.last_ms, found.started_ms) == (
        "completed",
        "confirmed",
        40,
        10,
    )


def test_however_the_batches_fall_it_ends_alike(store: Store) -> None:
    dice = random.Random(19)
    for number in range(40):
        shuffled, correlation = dice.sample(HEALTHY, 4), f"c{number}"
        cut = dice.randint(0, 4)
        for batch in (shuffled[:cut], shuffled[cut:]):
            see(store, *batch, correlation=correlation)
        found = saga(store, correlation)
        assert (found.state, found.started_ms) == ("completed", 10)


def test_while_it_runs_it_stands_at_its_newest_step_however_the_batches_fall(store: Store) -> None:
    dice = random.Random(20)
    for number in range(40):
        correlation = f"c{number}"
        for event in dice.sample(HEALTHY[:3], 3):
            see(store, event, correlation=correlation)
        found = saga(store, correlation)
        assert (found.state, found.last_step, found.last_ms) == ("running", "paid", 30)


def test_sagas_of_one_batch_are_kept_apart(store: Store) -> None:
    with store.write() as tx:
        follow(tx, ORDER, [SagaEvent("a", "placed", "k-a", 1), SagaEvent("b", "released", "k-b", 2)])
    assert (saga(store, "a").state, saga(store, "a").key) == ("running", "k-a")
    assert (saga(store, "b").state, saga(store, "b").key) == ("compensating", "k-b")
