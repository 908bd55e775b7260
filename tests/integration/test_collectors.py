"""The collectors for real: their processes beside real servers, killed, stopped, cut off and overtaken."""

import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
import sqlalchemy as sa

from collectors.sampler import Sampler
from collectors.streams import Streams
from eventwake.clock import now_ms
from eventwake.decoding import original
from eventwake.decoding.envelope import Decoder
from eventwake.decoding.masking import MASK
from eventwake.domain.envelope import Envelope, Record
from eventwake.store import schema, segments
from eventwake.store.migrate import migrate
from eventwake.store.reads.sources import gaps_between
from eventwake.store.session import Store
from eventwake.store.writes import sources
from eventwake.store.writes.events import Flag
from tests.contract.rigs.base import OTHER, STREAM, event, flat, publish
from tests.contract.rigs.redis_streams import Cluster, RedisRig, TlsAndAcl, Valkey
from tests.integration.collecting import (
    Collectors,
    assert_same,
    assert_whole,
    lying_in,
    wait_until,
)
from tests.integration.test_order_system import FAST, OrderSystem

pytestmark = [pytest.mark.server, pytest.mark.timeout(180)]

KILLS = 10


class World:
    """Servers and collectors of one test."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._rigs: list[RedisRig] = []
        self._collectors: list[Collectors] = []

    def server(self, kind: type[RedisRig] = Valkey, *options: str) -> RedisRig:
        directory = self._directory / f"server-{len(self._rigs)}"
        directory.mkdir()
        rig = kind(directory)
        rig.options = (*rig.options, *options)
        self._rigs.append(rig)
        rig.start()
        return rig

    def collectors(self, *sources: dict[str, Any]) -> Collectors:
        self._collectors.append(Collectors(self._directory, *sources))
        return self._collectors[-1]

    def end(self) -> None:
        for collectors in self._collectors:
            collectors.end()
        for rig in self._rigs:
            rig.stop()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.end()


@pytest.mark.parametrize("kills", [0, KILLS])
def test_the_store_holds_what_the_streams_hold_to_the_last_event(world: World, kills: int) -> None:
    chance, rig = random.Random(), world.server()
    system = OrderSystem(f"redis://default:of-the-rig@127.0.0.1:{rig.port}/0")
    collectors = world.collectors(rig.settings())
    system.start(*FAST, "--poison=0.02")
    try:
        system.command("break", "email-down")
        for _ in range(kills):
            collectors.start()
            time.sleep(chance.uniform(0.1, 3.0))  # while it starts, catches up, or keeps up
            collectors.kill()
        system.command("mend", "all")
        collectors.start()
        wait_until(lambda: collectors.count() > 500, "some events are stored")
    finally:
        system.stop()
    events, dead = lying_in(rig.admin)
    assert len(events) > 500
    assert dead
    wait_until(
        lambda: collectors.count() >= len(events) and len(collectors.letters()) >= len(dead), "it caught up"
    )
    time.sleep(1)  # nothing comes after the last
    assert_whole(collectors, rig.admin)
    assert collectors.rows(sa.text("PRAGMA integrity_check")) == [("ok",)]
    assert collectors.stop() == 0
    assert_whole(collectors, rig.admin)


def test_a_worker_that_slept_while_another_took_over_stores_nothing_twice(world: World) -> None:
    rig = world.server()
    for _ in range(4):
        publish(rig, 5_000)
    collectors = world.collectors(rig.settings())
    supervisor = collectors.start()
    wait_until(lambda: collectors.count() > 1_000, "it is in the midst of it")
    [worker] = [p for p in psutil.Process(supervisor.pid).children() if "collectors.worker" in p.cmdline()]
    suspend_between_transactions(worker, collectors)
    supervisor.kill()  # alone: its other children end by themselves
    supervisor.wait()
    collectors.start()
    wait_until(lambda: collectors.count() == 20_000, "another has read all")
    worker.resume()
    worker.wait(20)
    assert_whole(collectors, rig.admin)
    assert collectors.stop() == 0


def suspend_between_transactions(worker: psutil.Process, collectors: Collectors) -> None:
    """One that sleeps with the store's lock in its hands lets nobody write: that is another matter."""
    lock = sqlite3.connect(str(collectors.store.path), timeout=0, isolation_level=None)
    while True:
        worker.suspend()
        try:
            lock.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            worker.resume()
            time.sleep(0.003)
        else:
            lock.close()
            return


class TestOutages:
    def test_one_source_that_is_down_stops_no_other_and_comes_back(self, world: World) -> None:
        plain, cluster, tls = world.server(), world.server(Cluster), world.server(TlsAndAcl)
        late = world.server(Valkey, "--appendonly", "yes")
        late.stop()
        rigs = (plain, cluster, tls, late)
        collectors = world.collectors(*(rig.settings() for rig in rigs))
        collectors.start()
        for rig in rigs[:3]:
            publish(rig, 50)
        for number in range(3):
            self.wait_for_all(collectors, number, rigs[number])
        wait_until(lambda: collectors.state("source-3") == "down", "it is seen to be down")
        row = collectors.source("source-3")
        assert "cannot reach the server" in row.detail
        assert "p:w/d" not in collectors.log

        late.start_again()
        publish(late, 50)
        self.wait_for_all(collectors, 3, late)
        assert collectors.state("source-3") == "up"

        late.stop()
        wait_until(lambda: collectors.state("source-3") == "down", "it is seen to be down again")
        assert collectors.source("source-3").since_ms > row.since_ms
        for rig in rigs[:3]:
            publish(rig, 50)
        for number in range(3):
            self.wait_for_all(collectors, number, rigs[number])
            assert collectors.state(f"source-{number}") == "up"
        late.start_again()
        wait_until(lambda: len(lying_in(late.admin)[0]) == 50, "it has loaded what it had")
        publish(late, 50)
        self.wait_for_all(collectors, 3, late)
        assert collectors.stop() == 0
        for number, rig in enumerate(rigs):
            assert_same(collectors.events(f"source-{number}"), lying_in(rig.admin)[0], rig.name)
            assert collectors.streams(f"source-{number}")[STREAM].incarnation == 0

    @staticmethod
    def wait_for_all(collectors: Collectors, number: int, rig: RedisRig) -> None:
        events, _ = lying_in(rig.admin)
        wait_until(
            lambda: len(collectors.events(f"source-{number}")) >= len(events), f"all of {rig.name} is stored"
        )
        assert_same(collectors.events(f"source-{number}"), events, rig.name)

    @pytest.mark.parametrize("way", ["emptied", "emptied for a while", "restarted without its data"])
    def test_a_server_that_forgot_everything_is_a_new_incarnation_and_is_read_on(
        self, world: World, way: str
    ) -> None:
        rig = world.server()
        collectors = world.collectors({**rig.settings(), "groups_s": 2.0})  # reads go on between two looks
        collectors.start()
        with Publisher(rig) as before:
            wait_until(lambda: collectors.count() > 100, "some events are stored")
        if way == "restarted without its data":
            rig.stop()
            rig.start_again()
        else:
            rig.admin.execute_command("FLUSHALL")
        if way == "emptied for a while":
            wait_until(lambda: collectors.streams()[STREAM].gone_ms, "it is seen to be gone")
        with Publisher(rig) as after:
            wait_until(lambda: len(after.positions) > 100, "as many again")
            wait_until(lambda: collectors.streams()[STREAM].incarnation == 1, "it is noticed")
        events, _ = lying_in(rig.admin)
        assert [entry.position for entry in events] == after.positions
        wait_until(lambda: {*after.positions} <= {e.position for e in collectors.events()}, "it is read on")
        assert collectors.stop() == 0
        stored = [entry.position for entry in collectors.events()]
        assert len(stored) == len({*stored}), "none is stored twice"
        assert {*stored} - {*after.positions} <= {*before.positions}
        assert collectors.streams()[STREAM].incarnation == 1


class Publisher:
    """Publishes all the while, some hundred events a second."""

    def __init__(self, rig: RedisRig) -> None:
        self.positions: list[str] = []
        self._rig = rig
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._publish)

    def __enter__(self) -> "Publisher":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _publish(self) -> None:
        while not self._ended.wait(0.01):
            self.positions += self._rig.publish(STREAM, event(1), event(2), event(3))


class TestStopping:
    def test_finishes_the_batch_that_was_begun_and_goes_on_from_there(self, world: World) -> None:
        rig = world.server()
        for _ in range(12):
            publish(rig, 5_000)
        collectors = world.collectors(rig.settings())
        collectors.start()
        wait_until(lambda: collectors.count() > 3_000, "it is in the midst of it")
        assert collectors.stop(within_s=10) == 0
        stored = collectors.count()
        assert 3_000 < stored < 60_000
        [cursor] = collectors.rows(sa.select(schema.cursor))
        assert cursor.read_count == stored
        workers = {row.role: row.state for row in collectors.rows(sa.select(schema.worker))}
        assert workers["sampler"] == "stopped"
        assert "Traceback" not in collectors.log
        collectors.start()
        wait_until(lambda: collectors.count() == 60_000, "all is read", 60)
        assert_whole(collectors, rig.admin)

    def test_a_second_one_over_the_same_store_says_so_and_ends(self, world: World) -> None:
        rig = world.server()
        first = world.collectors(rig.settings())
        first.start()
        wait_until(lambda: first.state("source-0") == "up", "it runs")
        second = world.collectors(rig.settings())
        assert second.start().wait(20) == 2
        assert "other collectors already run" in second.log
        assert first.stop() == 0


def test_what_was_trimmed_while_nobody_looked_is_shown_as_a_gap(world: World) -> None:
    rig = world.server()
    published = publish(rig, 100)
    collectors = world.collectors(rig.settings())
    collectors.start()
    wait_until(lambda: collectors.count() == 100, "all is read")
    assert collectors.stop() == 0
    published += publish(rig, 500)
    rig.trim(STREAM, 200)
    collectors.start()
    wait_until(lambda: collectors.count() == 300, "what is left is read")
    with collectors.store.read() as connection:
        [gap] = gaps_between(connection, 0, now_ms() + 1, 10)
    assert (gap.after_position, gap.missed) == (published[99], 300)
    assert "trimmed" in gap.reason
    assert collectors.streams()[STREAM].missed == 300
    assert "300 events trimmed" in collectors.log


def test_a_letter_is_new_where_its_stream_had_been_read_to_the_end_whatever_the_clocks_say(
    world: World,
) -> None:
    """One that lay there before the first contact is as old as the broker says."""
    rig = world.server()
    hour_ms = 3_600_000
    began_ms = now_ms()

    def give_up(at_ms: int) -> None:
        rig.admin.execute_command(
            "XADD", "orders:dlq", f"{at_ms}-0", "event_type", "Paid", "error", "no money"
        )

    give_up(began_ms - 5 * hour_ms)
    collectors = world.collectors(rig.settings())
    collectors.start()
    wait_until(
        lambda: len(collectors.letters()) == 1 if collectors.is_ready() else False, "the old one is read"
    )
    wait_until(lambda: collectors.streams()["orders:dlq"].unread == 0, "its stream is known to be read")
    give_up(began_ms - 4 * hour_ms)
    wait_until(lambda: len(collectors.letters()) == 2, "the one that came is read")
    letter = schema.letter.c
    old, new = collectors.rows(sa.select(letter.failed_ms, letter.arrived_ms).order_by(letter.id))
    assert old == (began_ms - 5 * hour_ms, began_ms - 5 * hour_ms)
    assert new.failed_ms == began_ms - 4 * hour_ms
    assert new.arrived_ms >= began_ms


class TestStartAtTheNewest:
    NEWEST = {"start": "newest"}  # noqa: RUF012

    def test_means_the_newest_of_the_first_contact_whatever_comes_while_they_are_stopped(
        self, world: World
    ) -> None:
        rig = world.server()
        publish(rig, 50)
        collectors = world.collectors({**rig.settings(), **self.NEWEST})
        collectors.start()
        wait_until(
            lambda: collectors.is_ready() and collectors.rows(sa.select(schema.cursor)), "first contact"
        )
        collectors.kill()
        meanwhile = publish(rig, 20)
        collectors.start()
        wait_until(lambda: collectors.count() == 20, "what came meanwhile is read")
        assert [entry.position for entry in collectors.events()] == meanwhile

    def test_is_the_beginning_of_a_stream_that_is_made_while_they_watch(self, world: World) -> None:
        rig = world.server()
        publish(rig, 50)
        collectors = world.collectors({**rig.settings(), **self.NEWEST, "discovery_s": 2.0})
        collectors.start()
        wait_until(lambda: collectors.is_ready() and STREAM in collectors.streams(), "the old one is found")
        publish(rig, 30, OTHER)
        wait_until(lambda: collectors.count() == 30, "the young one is read")
        assert {entry.stream for entry in collectors.events()} == {OTHER}


def test_entries_that_were_made_to_break_them_are_stored_and_what_lies_behind_them_is_read(
    world: World,
) -> None:
    rig = world.server()
    deep = '{"card": 1, "deep": ' + "[" * 300 + "]" * 300 + "}"
    for stream in ("orders", "orders:dlq"):
        rig.publish(stream, event(1, data=deep), event(2))
        for id_ in ("9300000000000000000-1", "18446744073709551000-1"):  # behind all of 63 bits, and of 64
            rig.admin.execute_command("XADD", stream, id_, *flat(event(3)))
        rig.publish(stream, event(4))
    collectors = world.collectors({**rig.settings(), "mask": ["data.card"], "mask_letters": True})
    collectors.start()
    wait_until(lambda: collectors.count() == 5 and len(collectors.letters()) == 5, "all is stored")
    time.sleep(1)  # whatever would break does so now
    assert collectors.state("source-0") == "up"
    assert collectors.stop() == 0
    assert "Traceback" not in collectors.log
    stored = [*collectors.events(), *collectors.letters()]
    assert {entry[:2] for entry in stored} == {entry[:2] for lying in lying_in(rig.admin) for entry in lying}
    assert deep.encode() not in {part for entry in stored for part in entry.fields}


@pytest.mark.parametrize("masked", [False, True])
def test_what_a_fault_of_ours_cannot_read_is_kept_and_marked_and_the_rest_is_read_on(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, masked: bool
) -> None:
    rig, decode = world.server(), Decoder.decode

    def at_fault(decoder: Decoder, record: Record) -> Envelope:
        if b"e-2" in record.fields:
            raise RecursionError("too deep")
        return decode(decoder, record)

    monkeypatch.setattr(Decoder, "decode", at_fault)
    positions = rig.publish("orders", event(1), event(2), event(3))
    dead = rig.publish("orders:dlq", event(1), event(2), event(3))
    source = rig.source(start="earliest", mask=("data.x",) if masked else (), mask_letters=masked)
    store = Store(f"sqlite:///{tmp_path / 'own.db'}", create=True)
    with closing(store), rig.broker() as broker:
        migrate(store)
        with store.write() as tx:
            sources.register_source(tx, source.name, source.kind, False, "{}", now_ms())
        streams = Streams(store, broker, source)
        streams.discover()
        streams.look()
        Sampler(store, broker, source, streams, (), 1_000_000).step()
        with store.read() as connection:
            [segment] = segments.all_newest_first(connection)
            kept = connection.execute(sa.select(segment.table).order_by(segment.table.c.id)).all()
            letters = connection.execute(sa.select(schema.letter).order_by(schema.letter.c.id)).all()
    for rows, lie_there in ((kept, positions), (letters, dead)):
        assert [row.position for row in rows] == lie_there
        unread = Flag.UNDECODABLE | Flag.MASKED if masked else Flag.UNDECODABLE
        assert [row.flags for row in rows] == [0, unread, 0]
        assert [row.event_id for row in rows] == ["e-1", None, "e-3"]
        fields = original.unpack(rows[1].body, rows[1].checksum).fields
        assert fields[::2] == flat(event(2))[::2]
        values = flat(event(2))[1::2]
        assert fields[1::2] == ([MASK.encode()] * len(values) if masked else values)
    assert letters[1].rule == "none: it cannot be read"


def test_a_source_is_asked_no_more_often_than_its_budget_allows(world: World) -> None:
    rig, streams, per_s = world.server(), 60, 100
    for number in range(streams):
        publish(rig, 2, f"stream-{number}")
    collectors = world.collectors({**rig.settings(), "reads_per_s": per_s, "poll_s": 0.05, "groups_s": 0.05})
    collectors.start()
    wait_until(lambda: collectors.count() == 2 * streams, "all is read")
    before, began = commands_of(rig), time.monotonic()
    time.sleep(5)
    spent, seconds = commands_of(rig) - before, time.monotonic() - began
    assert spent <= per_s * seconds + 2 * streams  # what one look or read takes, it takes at once
    assert spent > per_s * seconds / 2


def commands_of(rig: RedisRig) -> int:
    """Those that have read streams."""
    info = rig.admin.execute_command("INFO", "commandstats").decode()
    lines = [line for line in info.splitlines() if line.startswith(("cmdstat_x", "cmdstat_scan"))]
    return sum(int(line.partition("calls=")[2].partition(",")[0]) for line in lines)
