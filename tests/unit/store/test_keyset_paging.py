"""Pages by keyset: every row once, newest first, whatever its time and whatever arrives meanwhile."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from eventwake.decoding import original
from eventwake.domain.dead_letter import DeadLetter
from eventwake.domain.envelope import Envelope, Record
from eventwake.store.migrate import migrate
from eventwake.store.reads import events as event_reads
from eventwake.store.reads import letters as letter_reads
from eventwake.store.reads.events import EventFilter
from eventwake.store.reads.letters import LetterFilter
from eventwake.store.session import Store
from eventwake.store.writes import events, letters
from eventwake.store.writes.letters import NewLetter
from eventwake.store.writes.sources import add_streams, register_source

NOW = 1_790_000_000_000
ORDERS, DEAD = 1, 2
SEGMENT_ROWS = 40
# what brokers and strangers say: many at once, before 1970, far ahead
TIMES = [NOW, NOW, NOW, NOW + 1, NOW - 60_000, 1, -1, -2_208_988_800_000, 253_402_300_799_000]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path / 'store.db'}", create=True)
    migrate(opened)
    with opened.write() as tx:
        register_source(tx, "shop", "redis_streams", True, "", 0)
        add_streams(tx, "shop", [("orders", "events"), ("orders:dlq", "dead_letters")], 0)
    yield opened
    opened.close()


def add_events(store: Store, first: int, times: list[int]) -> None:
    rows = []
    for number, at_ms in enumerate(times, first):
        record = Record(f"{number}-0", at_ms, [b"data", b"{}"])
        body = original.pack(record)
        rows.append(
            events.event_row(ORDERS, "orders", 0, record, Envelope("t", f"e{number}"), body, 0, len(body))
        )
    with store.write() as tx:
        events.append(tx, rows, SEGMENT_ROWS, NOW)


def add_letters(store: Store, first: int, times: list[int]) -> None:
    new = []
    for number, failed_ms in enumerate(times, first):
        record = Record(f"{number}-0", NOW, [b"data", str(number).encode()])
        body = original.pack(record)
        letter = DeadLetter("r", group="mail", failed_ms=failed_ms)
        new.append(NewLetter(record, Envelope("t", f"e{number}"), letter, body, len(body)))
    with store.write() as tx:
        letters.add(tx, "shop", DEAD, 0, new, NOW)


def event_page(store: Store, limit: int, older: str | None) -> tuple[list[tuple[int, str]], str | None]:
    with store.read() as connection:
        page = event_reads.page(connection, EventFilter(), limit, older)
    return [(event.recorded_ms, event.position) for event in page.events], page.older


def letter_page(store: Store, limit: int, older: str | None) -> tuple[list[tuple[int, str]], str | None]:
    with store.read() as connection:
        page = letter_reads.page(connection, LetterFilter(), limit, older)
    return [(letter.failed_ms, letter.position) for letter in page.letters], page.older


Add = Callable[[Store, int, list[int]], None]
Page = Callable[[Store, int, str | None], tuple[list[tuple[int, str]], str | None]]
KINDS = pytest.mark.parametrize(("add", "page"), [(add_events, event_page), (add_letters, letter_page)])


@KINDS
@pytest.mark.parametrize("limit", [1, 7, 100])
def test_every_row_is_shown_once_and_in_order(store: Store, add: Add, page: Page, limit: int) -> None:
    dice = random.Random(limit)
    times = [dice.choice(TIMES) for _ in range(95)]
    for start in range(0, len(times), 20):
        add(store, start, times[start : start + 20])
    seen: list[tuple[int, str]] = []
    older = None
    for _ in range(len(times)):
        rows, older = page(store, limit, older)
        assert 0 < len(rows) <= limit
        seen += rows
        if older is None:
            break
    said = {f"{number}-0": at_ms for number, at_ms in enumerate(times)}
    shown_ms = [said[position] for _, position in seen]
    assert sorted(position for _, position in seen) == sorted(said)
    assert shown_ms == sorted(times, reverse=True)


@KINDS
def test_what_arrives_while_one_reads_on_moves_no_row_to_another_page(
    store: Store, add: Add, page: Page
) -> None:
    """Rows that sort before the place where one reads are not shown, and none is shown twice for them."""
    add(store, 0, [NOW + number for number in range(60)])
    seen: list[str] = []
    older, number = None, 60
    while True:
        rows, older = page(store, 10, older)
        seen += [position for _, position in rows]
        if older is None:
            break
        add(store, number, [NOW + 1_000 + number, NOW + 1_000 + number])
        number += 2
    assert seen == [f"{number}-0" for number in reversed(range(60))]


@KINDS
@pytest.mark.parametrize(
    "older", ["", "x", "1", "1.", ".1", "1.1-", "9" * 40, "1.2.3", "-", "1.1;DROP", "１.1-1"]
)
def test_a_place_out_of_a_broken_link_shows_the_first_page(
    store: Store, add: Add, page: Page, older: str
) -> None:
    add(store, 0, [NOW, NOW + 1])
    assert page(store, 10, older) == page(store, 10, None)


@KINDS
def test_exactly_a_page_full_has_no_next_page(store: Store, add: Add, page: Page) -> None:
    add(store, 0, [NOW] * 5)
    assert [bool(page(store, limit, None)[1]) for limit in (4, 5, 6)] == [True, False, False]
