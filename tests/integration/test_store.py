"""One store, two databases: what pages and collectors rely on holds on SQLite and on PostgreSQL alike."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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
from eventwake.domain.operation import Actor, CommandKind
from eventwake.domain.saga import SagaDefinition
from eventwake.settings import AlertRule
from eventwake.settings import Store as StoreSettings
from eventwake.store import command_items, commands, maintenance, schema, segments
from eventwake.store.commands import Order
from eventwake.store.migrate import migrate, require_current
from eventwake.store.reads import alerts as alert_reads
from eventwake.store.reads import events as event_reads
from eventwake.store.reads import flow, groups, letter_counts, letters, operations, rates, sagas
from eventwake.store.reads import sources as source_reads
from eventwake.store.reads.events import EventFilter
from eventwake.store.reads.letters import LetterFilter
from eventwake.store.session import Store
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

    def test_ended_ones_are_dropped_with_their_history_and_open_ones_kept(self, store: Store) -> None:
        first, second = take_in(store, new_letter(1), new_letter(2))
        with store.write() as tx:
            letter_writes.transition(tx, [first], LetterState.GONE, NOW)
        maintenance.retain(store, StoreSettings(letters_days=1), NOW + 2 * DAY)
        with store.read() as connection:
            assert [letter.id for letter in letters.page(connection, ANY_STATE, 10).letters] == [second]
            assert letters.history(connection, first) == []
            assert letter_counts.totals(connection) == {"open": 1}


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
