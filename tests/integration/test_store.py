"""One store, two databases: what pages and collectors rely on holds on SQLite and on PostgreSQL alike."""

import random
import string
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from collectors.alerter import evaluate
from eventwake.decoding import original
from eventwake.domain.alert import AlertKind
from eventwake.domain.dead_letter import DeadLetter, LetterState
from eventwake.domain.envelope import Envelope, Record
from eventwake.domain.errors import Conflict, SettingsError, StoreUnavailable
from eventwake.domain.lag import LagKind
from eventwake.domain.operation import Actor, CommandKind
from eventwake.domain.saga import SagaDefinition
from eventwake.settings import AlertRule
from eventwake.settings import Store as StoreSettings
from eventwake.store import command_items, commands, maintenance, schema, segments
from eventwake.store.commands import Order
from eventwake.store.migrate import MIGRATIONS, migrate, require_current
from eventwake.store.reads import alerts as alert_reads
from eventwake.store.reads import events as event_reads
from eventwake.store.reads import flow, groups, letter_counts, letters, operations, rates, sagas
from eventwake.store.reads import followed as follow_reads
from eventwake.store.reads import sources as source_reads
from eventwake.store.reads.events import EventFilter
from eventwake.store.reads.letters import LetterFilter
from eventwake.store.session import Store
from eventwake.store.texts import Text
from eventwake.store.writes import alerts as alert_writes
from eventwake.store.writes import events, sources
from eventwake.store.writes import groups as group_writes
from eventwake.store.writes import letters as letter_writes
from eventwake.store.writes import sagas as saga_writes
from eventwake.store.writes.letters import NewLetter
from eventwake.store.writes.sagas import SagaEvent
from eventwake.store.writes.sources import CursorRow
from tests.store_rigs import PostgresServer, postgres_server

NOW = 1_790_000_000_000
DAY = maintenance.DAY_MS
ORDERS, PAYMENTS, DEAD = 1, 2, 3
BATCH = 100
SEGMENT_ROWS = 250
HOSTILE = "a\0b \ud800 c"
CLEANED = "a\ufffdb \ufffd c"
ANY_STATE = LetterFilter(states=())
HOUR = 3_600_000
GROUP: dict[str, Any] = {
    "stream_id": ORDERS, "name": "billing", "status": "ok", "rule": "", "lag_kind": "known", "lag": 5,
    "time_lag_kind": "known", "time_lag_ms": 5_000, "sampled_ms": NOW,
}  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'store.db'}"
        return
    server: PostgresServer = request.getfixturevalue("server")
    made = server.new_database()
    yield made
    server.drop_database(made)


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    opened = Store(url, create=True)
    set_up(opened)
    yield opened
    opened.close()


@pytest.fixture
def postgres_store(server: PostgresServer) -> Iterator[Store]:
    url = server.new_database()
    opened = Store(url, create=True)
    set_up(opened)
    yield opened
    opened.close()
    server.drop_database(url)


def set_up(store: Store) -> None:
    migrate(store)
    with store.write() as tx:
        sources.register_source(tx, "shop", "redis_streams", True, "{}", NOW)
        sources.source_state(tx, "shop", "up", NOW)
        sources.add_streams(
            tx, "shop", [("orders", "events"), ("payments", "events"), ("orders:dlq", "dead_letters")], NOW
        )


def cursor(read: int) -> CursorRow:
    return CursorRow(f"{read}-0", read, 0, 0, "")


def row(number: int, **facts: Any) -> events.EventRow:
    """Order `number`'s event; every tenth belongs to the trace "c0", the others to one of their own."""
    at_ms = NOW + number
    record = Record(f"{number}-0", at_ms, [b"data", b"{}"])
    said: dict[str, Any] = {
        "event_type": "OrderPlaced", "event_id": f"e{number}", "timestamp_ms": at_ms, "key": f"k{number}",
        "producer": "web", "correlation_id": "c0" if number % 10 == 0 else f"c{number}",
    }  # fmt: skip
    body = original.pack(record)
    return events.event_row(
        ORDERS, "orders", 0, record, Envelope(**said | facts), body, int(events.Flag(0)), len(body)
    )


def ingest(store: Store, start: int, end: int, rows: list[events.EventRow] | None = None) -> None:
    """A batch and its cursor in one transaction, as the sampler writes it."""
    counts = events.Counts(set())
    batch = rows or [row(number) for number in range(start, end)]
    for _ in batch:
        counts.add(ORDERS, Record("", NOW, []), Envelope("OrderPlaced", producer="web"), 10)
    with store.write() as tx:
        events.append(tx, batch, SEGMENT_ROWS, NOW + end)
        events.learn_links(tx, ORDERS, batch, NOW)
        before = cursor(start) if start else None
        sources.save_cursor(tx, ORDERS, before, cursor(end), NOW)
        events.roll_up(tx, [counts])


def ingest_all(store: Store, batches: int = 8) -> None:
    for number in range(batches):
        ingest(store, number * BATCH, (number + 1) * BATCH)


def count_events(store: Store) -> int:
    with store.read() as connection:
        return sum(
            connection.scalar(sa.select(sa.func.count()).select_from(segment.table)) or 0
            for segment in segments.all_newest_first(connection)
        )


def new_letter(number: int, **facts: Any) -> NewLetter:
    record = Record(f"{number}-0", NOW + number, [b"order", str(number).encode(), b"\0", b"\xff\0"])
    said: dict[str, Any] = {
        "origin_stream": "orders", "group": "billing", "error_class": f"Error{number % 2}",
        "error_message": "no money", "failed_ms": NOW + number,
    }  # fmt: skip
    envelope = Envelope("OrderPlaced", f"e{number}", correlation_id=f"c{number}", key=f"k{number}")
    body = original.pack(record)
    return NewLetter(record, envelope, DeadLetter("test", **said | facts), body, len(body))


def take_in(store: Store, *new: NewLetter) -> list[int]:
    with store.write() as tx:
        return letter_writes.add(tx, "shop", DEAD, 0, new, NOW)


def order(kind: CommandKind, *letter_ids: int, version: int = 1, actor: str = "ada") -> Order:
    return Order(kind, "shop", Actor(actor), [(letter_id, version) for letter_id in letter_ids])


class TestLayout:
    def test_the_migrations_make_exactly_the_schema(self, store: Store) -> None:
        with store.read() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": store.path is None})
            assert compare_metadata(context, schema.metadata) == []

    def test_the_second_one_keeps_what_the_first_one_has(self, url: str, tmp_path: Path) -> None:
        first = tmp_path / "first"
        (first / "versions").mkdir(parents=True)
        for file in (MIGRATIONS / "env.py", *(MIGRATIONS / "versions").glob("0001*.py")):
            (first / file.relative_to(MIGRATIONS)).write_bytes(file.read_bytes())
        (first / "script.py.mako").touch()
        store = Store(url, create=True)
        migrate(store, first)
        old = [column for column in schema.letter.columns if column.name != "arrived_ms"]
        texts = {column.name: "" for column in old if isinstance(column.type, Text)}
        numbers = {column.name: 0 for column in old if column.name not in texts}
        with store.write() as tx:
            sources.register_source(tx, "shop", "redis_streams", True, "{}", NOW)
            sources.add_streams(tx, "shop", [("orders:dlq", "dead_letters")], NOW)
            for number, (failed_ms, found_ms) in enumerate(
                ((NOW - 5, NOW), (NOW + 5, NOW), (NOW - 30 * DAY, NOW - 30 * DAY)), 1
            ):
                values = {
                    **texts, **numbers, "id": number, "stream_id": 1, "position": str(number), "body": b"",
                    "failed_ms": failed_ms, "found_ms": found_ms, "group_name": "g" * 5_000,
                }  # fmt: skip
                plain = sa.table("letter", *(sa.column(name) for name in values))
                tx.execute(sa.insert(plain).values(values))
        migrate(store)
        with store.read() as connection:
            letter = schema.letter.c
            rows = connection.execute(
                sa.select(letter.arrived_ms, sa.func.length(letter.group_name)).order_by(letter.id)
            )
            assert [tuple(row) for row in rows] == [(NOW - 5, 512), (NOW, 512), (0, 512)]
        store.close()

    def test_an_empty_database_says_that_the_collectors_are_to_be_started(self, url: str) -> None:
        store = Store(url, create=True)
        with pytest.raises(StoreUnavailable, match="python -m collectors"):
            require_current(store)
        with pytest.raises(StoreUnavailable, match="python -m collectors"), store.read() as connection:
            source_reads.all_sources(connection)
        store.close()

    def test_two_who_migrate_at_once_make_one_layout(self, url: str) -> None:
        stores = [Store(url, create=True) for _ in range(2)]
        with ThreadPoolExecutor() as pool:
            list(pool.map(migrate, stores))
        for store in stores:
            require_current(store)
            store.close()


class TestEvents:
    def test_a_batch_and_its_cursor_are_one(self, store: Store) -> None:
        ingest(store, 0, BATCH)
        with pytest.raises(Conflict):
            ingest(store, 0, BATCH)
        assert count_events(store) == BATCH
        with store.read() as connection:
            [stream] = [s for s in sources.known_streams(connection, "shop") if s.id == ORDERS]
            assert stream.cursors == [cursor(BATCH)]
            assert sum(flow_.events for flow_ in rates.flows(connection, 0, NOW * 2, 10_000)) == BATCH

    def test_one_is_found_by_id_key_and_place_across_segments(self, store: Store) -> None:
        ingest_all(store)
        maintenance.build_filters(store)
        with store.read() as connection:
            found = segments.all_newest_first(connection)
            assert [(s.number, s.sealed, bool(s.filter_blocks)) for s in found] == [
                (3, False, False), (2, True, True), (1, True, True),
            ]  # fmt: skip
            assert [(s.rows, s.low_ms, s.high_ms) for s in found[1:]] == [
                (300, NOW + 300, NOW + 599), (300, NOW, NOW + 299),
            ]  # fmt: skip
            for number in (5, 405, 705):
                for text in (f"e{number}", f"k{number}", f"c{number}"):
                    assert [e.position for e in event_reads.find(connection, text)] == [f"{number}-0"]
            assert event_reads.find(connection, "e800") == []

    def test_a_trace_is_whole_and_in_order(self, store: Store) -> None:
        ingest_all(store)
        maintenance.build_filters(store)
        with store.read() as connection:
            trace = event_reads.trace(connection, "c0")
            assert [e.position for e in trace] == [f"{number}-0" for number in range(0, 800, 10)]
            newest = event_reads.by_ref(connection, trace[-1].ref)
            assert newest == trace[-1]
            body = event_reads.body(connection, trace[-1].ref)
            assert body is not None
            assert original.unpack(body.body, body.checksum).fields == [b"data", b"{}"]

    def test_pages_show_each_event_once_newest_first(self, store: Store) -> None:
        ingest_all(store)
        seen: list[str] = []
        older: str | None = None
        wanted = EventFilter(source="shop", event_type="OrderPlaced", since_ms=NOW + 100)
        with store.read() as connection:
            while page := event_reads.page(connection, wanted, 90, older):
                seen += [event.position for event in page.events]
                older = page.older
                if older is None:
                    break
        assert seen == [f"{number}-0" for number in reversed(range(100, 800))]

    def test_what_text_cannot_hold_is_replaced_and_costs_no_other_row(self, postgres_store: Store) -> None:
        store = postgres_store
        bad = list(row(1))
        bad[events.COLUMNS.index("producer")] = HOSTILE
        ingest(store, 0, 3, [row(0), tuple(bad), row(2)])
        with store.read() as connection:
            page = event_reads.page(connection, EventFilter(producer=HOSTILE), 10)
            assert [event.producer for event in page.events] == [CLEANED]
            assert event_reads.find(connection, "no\0ne") == []
        assert count_events(store) == 3

    def test_pages_of_a_source_are_of_all_its_streams_in_one_order(self, store: Store) -> None:
        rows = [row(number) for number in range(60)]
        mixed = [(PAYMENTS if number % 3 else ORDERS, *each[1:]) for number, each in enumerate(rows)]
        ingest(store, 0, 60, mixed)
        seen: list[str] = []
        older: str | None = None
        with store.read() as connection:
            while page := event_reads.page(connection, EventFilter(source="shop"), 7, older):
                seen += [event.position for event in page.events]
                older = page.older
                if older is None:
                    break
            assert event_reads.page(connection, EventFilter(source="other"), 7).events == []
            of_one = event_reads.page(connection, EventFilter(source="shop", stream_id=ORDERS), 99).events
        assert seen == [f"{number}-0" for number in reversed(range(60))]
        assert [event.position for event in of_one] == [f"{number}-0" for number in reversed(range(0, 60, 3))]

    def test_reactions_are_learnt(self, store: Store) -> None:
        ingest(store, 0, 3, [row(0), row(1), row(2)])
        with store.write() as tx:
            events.learn_links(tx, PAYMENTS, [row(9, causation_id="e1", producer="billing")], NOW)
        with store.read() as connection:
            assert flow.links(connection, 0) == [flow.LinkRow(ORDERS, "billing", PAYMENTS, 1, NOW)]

    def test_two_sources_write_at_once_and_lose_nothing(self, store: Store) -> None:
        batches = 12

        def write(stream_id: int) -> None:
            own = Store(str(store.url.render_as_string(hide_password=False)))
            for number in range(batches):
                rows = [(stream_id, *row(i)[1:]) for i in range(number * BATCH, (number + 1) * BATCH)]
                with own.write() as tx:
                    events.append(tx, rows, SEGMENT_ROWS, NOW)
                    sources.save_cursor(
                        tx, stream_id, cursor(number) if number else None, cursor(number + 1), NOW
                    )
            own.close()

        with ThreadPoolExecutor() as pool:
            list(pool.map(write, (ORDERS, PAYMENTS)))
        assert count_events(store) == 2 * batches * BATCH
        maintenance.build_filters(store)
        with store.read() as connection:
            newest, *others = segments.all_newest_first(connection)
            assert not newest.sealed
            assert others
            assert all(segment.sealed and segment.filter_blocks for segment in others)
            for segment in others:
                kept = connection.scalar(sa.select(sa.func.count()).select_from(segment.table))
                assert segment.rows == kept
            assert len(event_reads.find(connection, "e777")) == 2

    def test_retention_drops_old_segments_whole(self, store: Store) -> None:
        ingest_all(store)
        maintenance.build_filters(store)
        keep = StoreSettings(events_days=1, history_days=1)
        maintenance.retain(store, keep, NOW + 2 * DAY)
        with store.read() as connection:
            assert [s.number for s in segments.all_newest_first(connection)] == [3]
            assert not sa.inspect(connection).has_table("event_000001")
            assert rates.flows(connection, 0, NOW * 2, 600_000) == []
            assert event_reads.find(connection, "e5") == []
            assert len(event_reads.find(connection, "e705")) == 1

    def test_sagas_move_with_their_events(self, store: Store) -> None:
        declared = SagaDefinition("order", ("OrderPlaced", "Paid"), (), ("Paid",), (), 60.0)
        with store.write() as tx:
            saga_writes.follow(tx, declared, [SagaEvent("c1", "OrderPlaced", "k1", NOW)])
            saga_writes.follow(tx, declared, [SagaEvent("c1", "Paid", None, NOW + 5)])
        with store.read() as connection:
            assert [(s.state, s.key, s.last_ms) for s in sagas.of_correlation(connection, "c1")] == [
                ("completed", "k1", NOW + 5)
            ]


class TestLetters:
    def test_each_is_taken_in_once(self, store: Store) -> None:
        first = take_in(store, new_letter(1), new_letter(2))
        assert take_in(store, new_letter(2), new_letter(3)) != first
        with store.read() as connection:
            assert letters.count(connection, LetterFilter()) == 3
            assert letter_counts.totals(connection) == {"open": 3}

    def test_pages_counts_groups_and_sums_agree(self, store: Store) -> None:
        take_in(store, *(new_letter(number) for number in range(25)))
        seen: list[str] = []
        older: str | None = None
        with store.read() as connection:
            while page := letters.page(connection, LetterFilter(group_name="billing"), 10, older):
                seen += [letter.position for letter in page.letters]
                older = page.older
                if older is None:
                    break
            assert seen == [f"{number}-0" for number in reversed(range(25))]
            for wanted in (LetterFilter(), LetterFilter(group_name="billing")):
                found = letters.groups(connection, wanted, 10)
                assert [(g.error_class, g.letters) for g in found] == [("Error0", 13), ("Error1", 12)]
                assert all(type(group.letters) is int for group in found)
                assert letters.count(connection, wanted) == 25
            summary = letters.summary(connection, LetterFilter(), letters.newest_id(connection))
            assert summary.targets == [("shop", "orders", 25)]
            assert type(summary.bytes) is int
            assert (summary.oldest_ms, summary.newest_ms) == (NOW, NOW + 24)
            assert [found.letters for found in letter_counts.arrivals(connection, NOW, NOW + 25)] == [25]
            assert letters.count(connection, LetterFilter(text="k7")) == 1

    def test_the_original_is_kept_to_the_byte_beside_cleaned_texts(self, postgres_store: Store) -> None:
        store = postgres_store
        bad = new_letter(1, error_message="a\0b", stack_trace=HOSTILE, group=HOSTILE)
        first, second = take_in(store, bad, new_letter(2))
        with store.read() as connection:
            [found] = letters.page(connection, LetterFilter(group_name=HOSTILE), 10).letters
            assert (found.id, found.error_message) == (first, "a\ufffdb")
            row_, details = letters.one(connection, first) or pytest.fail("the letter is not there")
            record = original.unpack(details.body, details.checksum)
            assert tuple(record.fields) == tuple(bad.record.fields)
            assert (row_.group_name, details.stack_trace) == (CLEANED, CLEANED)
            assert letters.one(connection, second) is not None

    def test_one_that_fails_again_is_known_as_the_return_of_the_first(self, store: Store) -> None:
        [first] = take_in(store, new_letter(1))
        with store.write() as tx:
            submitted = commands.submit(tx, order(CommandKind.RETRY, first), NOW)
            command_items.intend(tx, submitted.command_id, {first: "{}"}, NOW)
            command_items.sent_items(tx, submitted.command_id, {first: ("9-0", NOW)}, "server", NOW)
            letter_writes.transition(tx, [first], LetterState.SENT, NOW)
        [replay_id] = self._replay_ids(store)
        [again] = take_in(store, new_letter(50, replay_id=replay_id))
        with store.read() as connection:
            assert letters.relatives(connection, first).later == again
            assert letters.history(connection, first)[-1].state == "came_back"
            assert letter_counts.totals(connection) == {"came_back": 1, "open": 1}

    def _replay_ids(self, store: Store) -> list[str]:
        with store.read() as connection:
            return list(connection.scalars(sa.select(schema.command_item.c.replay_id)))

    @pytest.mark.parametrize(
        "wanted",
        [
            LetterFilter(states=("discarded", "gone", "open")),
            LetterFilter(states=(), source="shop"),
            LetterFilter(states=(), group_name="billing"),
            LetterFilter(states=(), stream="orders:dlq", since_ms=NOW),
            ANY_STATE,
        ],
    )
    def test_pages_of_several_states_are_in_one_order(self, store: Store, wanted: LetterFilter) -> None:
        ids = take_in(store, *(new_letter(number) for number in range(30)))
        with store.write() as tx:
            letter_writes.transition(tx, ids[::3], LetterState.GONE, NOW)
            letter_writes.transition(tx, ids[1::3], LetterState.CLAIMED, NOW)
            letter_writes.transition(tx, ids[1::3], LetterState.DISCARDED, NOW)
        seen: list[str] = []
        older: str | None = None
        with store.read() as connection:
            while page := letters.page(connection, wanted, 7, older):
                seen += [letter.position for letter in page.letters]
                older = page.older
                if older is None:
                    break
            assert letters.count(connection, wanted) == 30
        assert seen == [f"{number}-0" for number in reversed(range(30))]

    def test_a_source_without_dead_letter_streams_has_none(self, store: Store) -> None:
        take_in(store, new_letter(1))
        with store.read() as connection:
            for wanted in (LetterFilter(source="other"), LetterFilter(states=(), source="other")):
                assert letters.page(connection, wanted, 10).letters == []
                assert letters.matching(connection, wanted, 99) == []

    def test_one_that_just_came_counts_as_new_whatever_time_it_says(self, store: Store) -> None:
        """A producer's clock may be slow, or its times without their zone."""
        late = new_letter(1, failed_ms=NOW - 5 * HOUR)
        ahead = new_letter(2, failed_ms=NOW + 5 * HOUR)
        with store.write() as tx:
            letter_writes.add(tx, "shop", DEAD, 0, [late, ahead], NOW, just_came=True)
        self._are_new(store, 2)

    def test_those_that_lay_there_before_the_first_contact_are_not_new(self, store: Store) -> None:
        old = new_letter(1, failed_ms=NOW)
        old = replace(old, record=old.record._replace(recorded_ms=NOW - 5 * HOUR))
        take_in(store, old, new_letter(2, failed_ms=NOW - 5 * HOUR))
        self._are_new(store, 1)

    def _are_new(self, store: Store, number: int) -> None:
        with store.read() as connection:
            [subject] = alert_reads.subjects(connection, AlertKind.DEAD_LETTERS, NOW + 1)
            assert subject.value == number
            since, until = NOW - HOUR, NOW + 1
            assert sum(p.value for p in rates.letter_series(connection, since, until, "open")) == number
            assert sum(a.letters for a in letter_counts.arrivals(connection, since, until)) == number

    def test_mended_ones_count_once_and_those_that_came_back_do_not(self, store: Store) -> None:
        ids = take_in(store, *(new_letter(number) for number in range(3)))
        with store.write() as tx:
            for state in (LetterState.CLAIMED, LetterState.SENT, LetterState.CONSUMED):
                letter_writes.transition(tx, ids, state, NOW)
            letter_writes.transition(tx, ids[:2], LetterState.SUCCEEDED, NOW + 1)
            letter_writes.transition(tx, ids[1:2], LetterState.CAME_BACK, NOW + 2)
        with store.read() as connection:
            assert letter_counts.mended(connection, NOW, NOW + 10) == {DEAD: 2}
            assert letter_counts.mended(connection, NOW + 5, NOW + 10) == {}

    def test_a_name_of_any_length_fits_into_the_indexes(self, store: Store) -> None:
        noise = "".join(random.Random(1).choices(string.ascii_letters, k=9_000))
        [letter_id] = take_in(store, new_letter(1, group=noise, replay_id=noise, origin_stream=noise))
        with store.read() as connection:
            found, _ = letters.one(connection, letter_id) or pytest.fail("the letter is not there")
        assert (found.group_name, found.origin_stream) == (noise[:512], noise)

    def test_ended_ones_are_dropped_with_their_history_and_open_ones_kept(self, store: Store) -> None:
        first, second = take_in(store, new_letter(1), new_letter(2))
        with store.write() as tx:
            letter_writes.transition(tx, [first], LetterState.GONE, NOW)
        maintenance.retain(store, StoreSettings(letters_days=1), NOW + 2 * DAY)
        with store.read() as connection:
            assert [letter.id for letter in letters.page(connection, ANY_STATE, 10).letters] == [second]
            assert letters.history(connection, first) == []
            assert letter_counts.totals(connection) == {"open": 1}
            kept = sa.select(schema.letter_count.c.state, schema.fingerprint.c.error_class).join(
                schema.fingerprint, schema.fingerprint.c.id == schema.letter_count.c.fingerprint
            )
            assert [tuple(row) for row in connection.execute(kept)] == [("open", "Error0")]
            causes = connection.scalar(sa.select(sa.func.count()).select_from(schema.fingerprint))
            assert causes == 1


class TestOperations:
    def test_two_operators_at_once_cause_one_operation(self, store: Store) -> None:
        ids = take_in(store, *(new_letter(number) for number in range(20)))
        together = threading.Barrier(2)

        def submit(actor: str) -> str:
            own = Store(str(store.url.render_as_string(hide_password=False)))
            try:
                together.wait()
                with own.write() as tx:
                    done = commands.submit(tx, order(CommandKind.RETRY, *ids, actor=actor), NOW)
                    time.sleep(0.1)
                    return f"took {done.taken}"
            except Conflict as error:
                return str(error)
            finally:
                own.close()

        with ThreadPoolExecutor() as pool:
            said = sorted(pool.map(submit, ("ada", "bob")))
        assert said[1] == "took 20"
        assert "it is claimed now" in said[0]
        with store.read() as connection:
            [operation] = operations.newest(connection, 10)
            assert operations.progress(connection, operation.id) == {"claimed": 20}
            assert len(operations.audit_between(connection, 0, NOW * 2, 10)) == 1

    def test_operators_whose_letters_overlap_share_them_out(self, store: Store) -> None:
        """In opposite orders, many times: no deadlock, and each letter has one operation."""
        ids = take_in(store, *(new_letter(number) for number in range(60)))

        def submit(part: int) -> int:
            own = Store(str(store.url.render_as_string(hide_password=False)))
            taken = 0
            mine = ids if part % 2 else ids[::-1]
            for start in range(0, 60, 10):
                try:
                    with own.write() as tx:
                        chosen = order(CommandKind.DISCARD, *mine[start : start + 15])
                        taken += commands.submit(tx, chosen, NOW).taken
                except Conflict:
                    pass
            own.close()
            return taken

        with ThreadPoolExecutor() as pool:
            assert sum(pool.map(submit, range(4))) == 60
        with store.read() as connection:
            assert letter_counts.totals(connection) == {"claimed": 60}
            items = connection.scalar(sa.select(sa.func.count()).select_from(schema.command_item))
            assert items == 60

    def test_their_outcome_is_of_all_their_letters_also_of_those_that_another_one_has_since(
        self, store: Store
    ) -> None:
        ids = take_in(store, *(new_letter(number) for number in range(5)))
        with store.write() as tx:
            first = commands.submit(tx, order(CommandKind.DISCARD, *ids), NOW).command_id
            letter_writes.transition(tx, ids, LetterState.DISCARDED, NOW)
            second = commands.submit(tx, order(CommandKind.RESTORE, *ids[:2], version=3), NOW).command_id
        with store.read() as connection:
            assert operations.outcomes(connection, first) == {"claimed": 2, "discarded": 3}
            assert operations.outcomes(connection, second) == {"claimed": 2}

    def test_old_ones_are_dropped_unless_a_letter_had_them_last(self, store: Store) -> None:
        ids = take_in(store, *(new_letter(number) for number in range(3)))
        with store.write() as tx:
            gone = commands.submit(tx, order(CommandKind.DISCARD, ids[0]), NOW).command_id
            kept = commands.submit(tx, order(CommandKind.DISCARD, ids[1]), NOW).command_id
            busy = commands.submit(tx, order(CommandKind.RETRY, ids[2]), NOW).command_id
            for command_id, letter_id in ((gone, ids[0]), (kept, ids[1])):
                ends = {letter_id: (command_items.ItemState.DONE, "")}
                command_items.finish_items(tx, command_id, ends, NOW)
                assert command_items.finish_if_ended(tx, command_id, NOW)
                letter_writes.transition(tx, [letter_id], LetterState.DISCARDED, NOW)
            again = commands.submit(tx, order(CommandKind.RESTORE, ids[0], version=3), NOW).command_id
        maintenance.retain(store, StoreSettings(history_days=2), NOW + DAY)
        with store.read() as connection:
            assert len(operations.newest(connection, 10)) == 4
        maintenance.retain(store, StoreSettings(history_days=1), NOW + 2 * DAY)
        with store.read() as connection:
            assert {o.id for o in operations.newest(connection, 10)} == {kept, busy, again}
            assert operations.items(connection, gone, 10) == []
            assert len(operations.items(connection, kept, 10)) == 1
            assert len(operations.audit_between(connection, 0, NOW * 2, 10)) == 4

    @pytest.mark.parametrize("is_read", [False, True])
    def test_letters_sent_where_no_group_reads_are_followed_for_a_day(
        self, store: Store, is_read: bool
    ) -> None:
        [letter_id] = take_in(store, new_letter(1))
        with store.write() as tx:
            command = commands.submit(tx, order(CommandKind.RETRY, letter_id), NOW).command_id
            command_items.intend(tx, command, {letter_id: "{}"}, NOW)
            command_items.sent_items(tx, command, {letter_id: ("9-0", NOW)}, "server", NOW)
            letter_writes.transition(tx, [letter_id], LetterState.SENT, NOW)
            if is_read:
                group_writes.save_group(tx, GROUP)
        with store.read() as connection:
            for after_ms, followed in ((DAY, True), (DAY + 1, is_read)):
                sent = follow_reads.sent_letters(connection, "shop", NOW + after_ms, 0, 10)
                assert bool(sent) is followed

    def test_of_many_letters_each_has_one_operation_though_several_claim_at_once(self, store: Store) -> None:
        """Two people want the same; beside each of them an operator claims as well."""
        few = command_items.CHUNK // 2
        ids = take_in(store, *(new_letter(number) for number in range(3 * command_items.CHUNK + few)))
        with store.write() as tx:
            plans = [
                commands.plan(tx, order(CommandKind.RETRY, *ids[start:], actor=actor), NOW)
                for actor, start in (("ada", 0), ("bob", few))
            ]

        def claim(command: int) -> None:
            own = Store(str(store.url.render_as_string(hide_password=False)))
            more = True
            while more:
                with own.write() as tx:
                    more = commands.go_on(tx, command, NOW)
            own.close()

        with ThreadPoolExecutor() as pool:
            list(pool.map(claim, [*plans, *plans]))
        with store.read() as connection:
            first, second = (operations.progress(connection, command) for command in plans)
            assert first["claimed"] + second.get("claimed", 0) == len(ids)
            assert sum(first.values()) == len(ids)
            assert sum(second.values()) == len(ids) - few
            assert {*first, *second} <= {"claimed", "lost_race"}
            assert letter_counts.totals(connection) == {"claimed": len(ids)}

    def test_only_one_of_two_carries_an_item_out(self, store: Store) -> None:
        ids = take_in(store, new_letter(1), new_letter(2))
        with store.write() as tx:
            command = commands.submit(tx, order(CommandKind.RETRY, *ids), NOW).command_id
        together = threading.Barrier(2)

        def intend(_: int) -> set[int]:
            own = Store(str(store.url.render_as_string(hide_password=False)))
            together.wait()
            with own.write() as tx:
                won = command_items.intend(tx, command, dict.fromkeys(ids, "{}"), NOW)
            own.close()
            return won

        with ThreadPoolExecutor() as pool:
            assert sorted(map(len, pool.map(intend, range(2)))) == [0, 2]

    def test_what_is_cancelled_is_open_again(self, store: Store) -> None:
        ids = take_in(store, new_letter(1), new_letter(2))
        with store.write() as tx:
            command = commands.submit(tx, order(CommandKind.DISCARD, *ids), NOW).command_id
            assert commands.cancel(tx, command, Actor("ada"), NOW) == 2
        with store.read() as connection:
            assert letter_counts.totals(connection) == {"open": 2}
            found = operations.one(connection, command)
            assert found is not None
            assert found.state == "cancelled"


class TestTheRest:
    def test_heartbeats_are_of_the_newest_process(self, store: Store) -> None:
        for at_ms in (NOW, NOW + 2_000):
            with store.write() as tx:
                sources.heartbeat(tx, "shop", "sampler", "running", at_ms)
        with store.read() as connection:
            [worker] = source_reads.workers(connection)
            assert (worker.since_ms, worker.heartbeat_ms) == (NOW, NOW + 2_000)

    def test_alerts_fire_are_acknowledged_and_end(self, store: Store) -> None:
        rule = AlertRule(name="New", kind=AlertKind.DEAD_LETTERS, above=0)
        take_in(store, new_letter(1))
        evaluate(store, [rule], NOW + 1)
        with store.write() as tx:
            [firing] = alert_reads.unresolved(tx)
            assert alert_writes.acknowledge(tx, firing.id, Actor("ada"), "on it", NOW)
        evaluate(store, [rule], NOW + 120_000)
        with store.read() as connection:
            assert alert_reads.unresolved(connection) == []
            [past] = alert_reads.past(connection, 10)
            assert (past.state, past.value, past.acknowledged_by) == ("resolved", 1.0, "ada")

    @pytest.mark.parametrize(
        ("lag_kind", "lag", "fires"),
        [
            (LagKind.KNOWN, 1_500, True), (LagKind.KNOWN, 100, False), (LagKind.APPROXIMATE, 1_500, True),
            (LagKind.AT_LEAST, 1_500, True), (LagKind.AT_LEAST, 100, None),
            (LagKind.AT_MOST, 1_500, None), (LagKind.AT_MOST, 100, False), (LagKind.UNKNOWN, None, None),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("kind", [AlertKind.LAG, AlertKind.TIME_LAG])
    def test_alerts_do_not_take_a_bound_for_the_lag(
        self, store: Store, kind: AlertKind, lag_kind: LagKind, lag: int | None, fires: bool | None
    ) -> None:
        """What cannot be told leaves an alert as it was: firing here, and then not."""
        rule = AlertRule(name="Far", kind=kind, above=1_000)
        seconds = {"time_lag_ms": None if lag is None else lag * 1_000, "time_lag_kind": lag_kind.value}
        said = GROUP | {"lag": lag, "lag_kind": lag_kind.value} | seconds
        far = {"lag": 5_000, "lag_kind": "known", "time_lag_ms": 5_000_000, "time_lag_kind": "known"}
        for before, fired in ((GROUP | far, True), (None, False)):
            with store.write() as tx:
                tx.execute(sa.delete(schema.alert))
            for group in filter(None, (before, said)):
                with store.write() as tx:
                    group_writes.save_group(tx, group)
                evaluate(store, [rule], NOW)
            with store.read() as connection:
                assert bool(alert_reads.unresolved(connection)) is (fired if fires is None else fires)

    @pytest.mark.parametrize("kind", [AlertKind.LAG, AlertKind.DEAD_LETTERS, AlertKind.SOURCE_DOWN])
    def test_alerts_on_a_source_that_the_settings_no_longer_name_end(
        self, store: Store, kind: AlertKind
    ) -> None:
        rule = AlertRule(name="Any", kind=kind, above=0)
        with store.write() as tx:
            group_writes.save_group(tx, GROUP)
            sources.source_state(tx, "shop", "down", NOW - HOUR)
            if kind is AlertKind.DEAD_LETTERS:
                sources.source_state(tx, "shop", "up", NOW)
        take_in(store, new_letter(1))
        evaluate(store, [rule], NOW + 1)
        with store.write() as tx:
            assert len(alert_reads.unresolved(tx)) == 1
            sources.forget_sources(tx, [], NOW + 2)
        evaluate(store, [rule], NOW + 3)
        with store.read() as connection:
            assert alert_reads.unresolved(connection) == []

    @pytest.mark.parametrize("state", ["up", "starting", "down"])
    def test_a_source_whose_worker_is_silent_is_down(self, store: Store, state: str) -> None:
        """Dead, hung, or ending again and again before it connects: the state stays as it was."""
        with store.write() as tx:
            sources.source_state(tx, "shop", state, NOW)
        with store.read() as connection:
            for after_ms, alive in ((10_000, state != "down"), (40_000, False)):
                [subject] = alert_reads.subjects(connection, AlertKind.SOURCE_DOWN, NOW + after_ms)
                assert subject.value == (0 if alive else after_ms / 1000)

    def test_gaps_of_a_period_are_summed_whatever_came_since(self, store: Store) -> None:
        with store.write() as tx:
            for at_ms, missed in ((NOW - DAY, 5_000), (NOW - DAY, None), *((NOW + n, 1) for n in range(30))):
                sources.add_gap(tx, ORDERS, 0, ("1-0", "2-0"), missed, "trimmed", at_ms)
        with store.read() as connection:
            yesterday = (NOW - DAY, NOW)
            assert source_reads.missed_between(connection, *yesterday) == (2, 1, 5_000)
            assert source_reads.missed_between(connection, 0, 1) == (0, 0, 0)
            found = source_reads.gaps_between(connection, *yesterday, 10)
            assert {gap.missed for gap in found} == {5_000, None}
            assert len(source_reads.gaps_between(connection, NOW, NOW + DAY, 10)) == 10

    def test_groups_that_are_gone_for_long_are_dropped_with_all_that_is_theirs(self, store: Store) -> None:
        with store.write() as tx:
            gone, there = (group_writes.save_group(tx, GROUP | {"name": name}) for name in ("a", "b"))
            for group_id in (gone, there):
                sample = {
                    "group_id": group_id, "at_ms": NOW + 2 * DAY, "position": None, "committed": 1, "end": 8,
                    "lag_kind": "known", "lag": 1, "time_lag_ms": None, "pending": 0, "oldest_pending": None,
                }  # fmt: skip
                group_writes.save_samples(tx, [sample])
            group_writes.groups_gone(tx, [gone], NOW)
        maintenance.retain(store, StoreSettings(history_days=1), NOW + 2 * DAY)
        with store.read() as connection:
            assert [group.id for group in groups.all_groups(connection, [gone, there])] == [there]
            for table in (schema.group_sample, schema.group_rollup):
                assert list(connection.scalars(sa.select(table.c.group_id))) == [there]

    def test_groups_have_a_state_a_history_and_members(self, store: Store) -> None:
        group = {
            "stream_id": ORDERS, "name": "billing", "status": "ok", "rule": "", "lag_kind": "known",
            "lag": 5, "time_lag_kind": "known", "sampled_ms": NOW, "drain_per_s": 0.5,
        }  # fmt: skip
        with store.write() as tx:
            group_id = group_writes.save_group(tx, group)
            assert group_writes.save_group(tx, group | {"lag": 7}) == group_id
            for at_ms, lag in ((NOW, 5), (NOW + 1_000, None), (NOW + 2_000, 7)):
                sample = {
                    "group_id": group_id, "at_ms": at_ms, "position": None, "committed": 1, "end": 8,
                    "lag_kind": "known", "lag": lag, "time_lag_ms": None, "pending": 0,
                    "oldest_pending": None,
                }  # fmt: skip
                group_writes.save_samples(tx, [sample])
            group_writes.replace_members(
                tx, [group_id], [{"group_id": group_id, "name": "a\0b",
                "pending": 1, "idle_ms": 5, "inactive_ms": None, "sampled_ms": NOW}], [],
            )  # fmt: skip
        with store.read() as connection:
            [found] = groups.all_groups(connection)
            assert (found.lag, found.drain_per_s) == (7, 0.5)
            [worst] = groups.worst_between(connection, 0, NOW * 2)
            assert (worst.samples, worst.unknown, worst.lag_max) == (3, 1, 7)
            assert groups.trends(connection, NOW, 10_000) == {group_id: [7]}
            assert len(groups.members(connection, group_id)[0]) == 1
            assert flow.stands(connection, NOW + 500)[group_id] == (NOW + 1_000, 1)

    def test_a_read_sees_one_moment(self, store: Store) -> None:
        with store.read() as connection:
            assert letters.count(connection, LetterFilter()) == 0
            take_in(store, new_letter(1))
            assert letters.count(connection, LetterFilter()) == 0
        with store.read() as connection:
            assert letters.count(connection, LetterFilter()) == 1


class TestOutages:
    def test_a_server_that_restarts_is_an_outage_and_then_none(self, server: PostgresServer) -> None:
        store = Store(server.new_database(), create=True)
        set_up(store)
        ingest(store, 0, BATCH)
        server.stop()
        with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{server.port}"):
            ingest(store, BATCH, 2 * BATCH)
        server.start()
        ingest(store, BATCH, 2 * BATCH)
        assert count_events(store) == 2 * BATCH
        store.close()

    def test_a_transaction_whose_server_dies_is_none(self, server: PostgresServer) -> None:
        store = Store(server.new_database(), create=True)
        set_up(store)
        with pytest.raises(StoreUnavailable), store.write() as tx:
            events.append(tx, [row(1)], SEGMENT_ROWS, NOW)
            server.restart()
            events.append(tx, [row(2)], SEGMENT_ROWS, NOW)
        assert count_events(store) == 0
        store.close()

    def test_a_right_that_is_missing_is_said(self, server: PostgresServer) -> None:
        store = Store(server.new_database() + "?options=-c%20default_transaction_read_only%3Don")
        with pytest.raises(StoreUnavailable, match="no writes"):
            migrate(store)
        store.close()

    @pytest.mark.parametrize("url", ["mysql://a@b/c", "oracle://a@b/c"])
    def test_other_databases_are_refused_in_the_settings(self, url: str) -> None:
        with pytest.raises(SettingsError, match="sqlite:///FILE or postgresql"):
            Store(url)

    def test_a_password_is_never_told(self) -> None:
        store = Store("postgresql://eve:hunter2@127.0.0.1:1/nowhere")
        with pytest.raises(StoreUnavailable) as caught, store.read():
            pass
        assert "127.0.0.1:1/nowhere" in str(caught.value)
        assert "hunter2" not in str(caught.value) + str(store.url)
