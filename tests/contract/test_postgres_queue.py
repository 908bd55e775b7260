"""What is PostgreSQL's own: ids that commit out of order, NOTIFY, dispositions, libraries' ways, settings."""

import os
import subprocess
import sys
import threading
import tomllib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pgqueuer.models import AnyEvent

from collectors.brokers import broker_for, kind_of
from collectors.brokers.base import Broker, LetterToSend, SendState
from collectors.brokers.postgres_queue.reading import DONE_UNSEEN, Horizon
from eventwake.domain.errors import BrokerRefused, SettingsError
from eventwake.domain.lag import LagKind
from tests.contract.conftest import Rigs
from tests.contract.reader import Reader
from tests.contract.rigs.base import wait_until
from tests.contract.rigs.postgres_queue import Chancy, OwnTable, PgQueuer, PostgresRig, Procrastinate
from tests.contract.rigs.queue_base import QUEUE, fail

pytestmark = pytest.mark.server

DEAD = f"{QUEUE}:failed"


@pytest.fixture
def own(rigs: Rigs) -> OwnTable:
    return rigs.of(OwnTable)


@contextmanager
def uncommitted(rig: PostgresRig) -> Iterator[psycopg.Connection[Any]]:
    """A client in the midst of a transaction."""
    with psycopg.connect(rig.url()) as connection:
        yield connection


def put_uncommitted(connection: psycopg.Connection[Any], row_id: str | None = None) -> str:
    value = "DEFAULT" if row_id is None else row_id
    row = connection.execute(
        f"INSERT INTO jobs (id, queue, task) VALUES ({value}, '{QUEUE}', 'ship') RETURNING id::text"
    ).fetchone()
    return str(row[0]) if row else ""


def letters(broker: Broker, attempt: str = "1") -> list[LetterToSend]:
    return [
        LetterToSend(number, record.position, f"replay-{record.position}-{attempt}", QUEUE, 100, "")
        for number, record in enumerate(Reader(broker, DEAD).read_all().records)
    ]


class TestIdsThatCommitOutOfOrder:
    def test_are_read_once_no_smaller_one_can_come_any_more(self, own: OwnTable) -> None:
        with own.broker() as broker, uncommitted(own) as slow:
            reader = Reader(broker, QUEUE).read_all()
            first = put_uncommitted(slow)
            second = own.put_raw(QUEUE, b"{}")
            assert not reader.read_all().positions
            slow.commit()
            assert reader.read_all().positions == [first, second]

    def test_a_rolled_back_one_holds_nothing_up(self, own: OwnTable) -> None:
        with own.broker() as broker, uncommitted(own) as slow:
            reader = Reader(broker, QUEUE).read_all()
            put_uncommitted(slow)
            second = own.put_raw(QUEUE, b"{}")
            slow.rollback()
            assert reader.read_all().positions == [second]

    def test_one_that_was_taken_long_before_it_is_written_is_waited_for(self, own: OwnTable) -> None:
        with own.broker(settle_s=0.5) as broker, uncommitted(own) as slow:
            own.put_raw(QUEUE, b"{}")
            reader = Reader(broker, QUEUE, "newest").look()
            [row] = slow.execute("SELECT nextval('jobs_id_seq')::text").fetchall()
            second = own.put_raw(QUEUE, b"{}")
            reader.read_all()
            put_uncommitted(slow, row[0])
            slow.commit()
            wait_until(lambda: len(reader.read_all().positions) == 2, "both are read")
        assert reader.positions == [row[0], second]

    def test_the_horizon_waits_for_the_transactions_of_its_own_time_only(self) -> None:
        horizon = Horizon(settle_s=1.0)
        horizon.advance("5", oldest_running=10, next_number=12, now_s=0.0)
        horizon.advance("9", oldest_running=10, next_number=20, now_s=1.0)
        assert horizon.settled is None  # transactions 10 to 19 may bring ids below 5
        horizon.advance("9", oldest_running=20, next_number=30, now_s=1.5)
        assert horizon.settled == "5"  # 20 on were numbered later
        horizon.advance("9", oldest_running=25, next_number=30, now_s=2.0)
        horizon.advance("9", oldest_running=30, next_number=30, now_s=2.5)
        assert horizon.settled == "9"


class TestTheTable:
    @pytest.mark.parametrize("payload", [bytes(range(256)), b"", b"{broken", None], ids=repr)
    def test_any_payload_is_read_and_put_back_byte_for_byte(
        self, own: OwnTable, payload: bytes | None
    ) -> None:
        row_id = own.put_raw(QUEUE, payload)
        own.admin.execute("UPDATE jobs SET state = 'dead', failed_at = now(), weight = 0.1 + 0.2")
        lay_there = own.admin.execute("SELECT t.*::text FROM jobs t").fetchall()
        with own.broker() as broker:
            [record] = Reader(broker, DEAD).read_all().records
            assert record.value == payload
            assert record.position.startswith(f"{row_id}-")
            broker.discard(DEAD, [record.position])
            broker.restore(DEAD, record, "t-1", "")
        assert own.admin.execute("SELECT t.*::text FROM jobs t").fetchall() == lay_there

    def test_another_job_in_a_discarded_ones_place_is_not_overwritten(self, own: OwnTable) -> None:
        [failed] = fail(own, 1)
        with own.broker() as broker:
            [record] = Reader(broker, DEAD).read_all().records
            broker.discard(DEAD, [record.position])
            own.admin.execute("INSERT INTO jobs (id, queue, task) VALUES (%s, 'other', 'another')", [failed])
            with pytest.raises(BrokerRefused, match="another"):
                broker.restore(DEAD, record, "t-1", "")
        assert own.jobs("other") == {failed: "waiting"}

    def test_made_anew_is_a_new_incarnation_read_from_its_beginning(self, own: OwnTable) -> None:
        first = own.put(QUEUE, *[{}] * 5)
        with own.broker() as broker:
            reader = Reader(broker, QUEUE).read_all()
            own.admin.execute("TRUNCATE jobs RESTART IDENTITY")
            second = own.put(QUEUE, *[{}] * 2)
            reader.read_all()
        assert reader.positions == first + second
        assert reader.incarnation == 1

    def test_a_job_for_later_is_no_lag(self, own: OwnTable) -> None:
        own.put(QUEUE, {}, {})
        own.admin.execute("UPDATE jobs SET run_at = now() + interval '1 hour' WHERE id = 1")
        with own.broker() as broker:
            [head] = broker.look([QUEUE]).heads[QUEUE]
            [group] = broker.groups([QUEUE])
        assert head.length == 2
        assert (group.lag.kind, group.lag.value) == (LagKind.KNOWN, 1)
        assert "1 more" in group.lag.reason

    def test_its_names_may_hold_anything_that_sql_means_something_by(self, own: OwnTable) -> None:
        name = 'my "jobs"; DROP TABLE jobs'
        quoted = '"my ""jobs""; DROP TABLE jobs"'
        own.admin.execute(
            f"CREATE TABLE {quoted} (\"the 'id'\" uuid PRIMARY KEY DEFAULT gen_random_uuid(),"
            " \"select\" text DEFAULT 'it''s bad', tries integer DEFAULT 3)"
        )
        own.admin.execute(f"INSERT INTO {quoted} DEFAULT VALUES")
        keys = {
            "library": "none",
            "table": name,
            "columns": {"id": "the 'id'", "state": "select", "attempts": "tries"},
            "states": {"waiting": ["w'"], "failed": ["it's bad"]},
            "retry": {"state": "w'", "notify": 'a "channel"'},
        }
        try:
            with own.broker(**keys) as broker:
                [record] = Reader(broker, f"{name}:failed").read_all().records
                letter = LetterToSend(1, record.position, "r-1", name, 1, "")
                assert broker.retry(f"{name}:failed", [letter], "7")[0].state is SendState.SENT
                assert broker.look([name]).heads[name][0].length == 1
        finally:
            own.admin.execute(f"DROP TABLE {quoted}")

    def test_without_events_only_depths_and_failed_jobs_are_watched(self, own: OwnTable) -> None:
        fail(own, 2)
        with own.broker(events=False) as broker:
            assert not Reader(broker, QUEUE).read_all().positions
            assert len(letters(broker)) == 2

    def test_doctor_tells_of_ids_that_are_in_no_order(self, own: OwnTable) -> None:
        own.admin.execute(
            "CREATE TABLE loose (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), state text, tries integer,"
            " at timestamptz)"
        )
        own.admin.execute(
            "INSERT INTO loose (state, at)"
            " SELECT 'w', now() + n * interval '1 s' FROM generate_series(1, 100) n"
        )
        keys = {
            "library": "none",
            "table": "loose",
            "columns": {"attempts": "tries", "created": "at"},
            "states": {"waiting": ["w"], "failed": ["f"]},
            "retry": {"state": "w"},
        }
        try:
            with own.broker(**keys) as broker:
                [check] = [check for check in broker.checks() if check.name == "ids"]
        finally:
            own.admin.execute("DROP TABLE loose")
        assert check.state == "fault"
        assert "events = false" in check.do


class TestDispositions:
    def test_two_who_send_the_same_at_once_send_each_job_once(self, own: OwnTable) -> None:
        fail(own, 200)
        own.admin.execute("DROP TABLE IF EXISTS given_back")
        own.admin.execute("CREATE TABLE given_back (id bigint)")
        own.admin.execute(
            "CREATE OR REPLACE FUNCTION count_back() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO given_back VALUES (NEW.id); RETURN NEW; END'"
        )
        own.admin.execute(
            "CREATE TRIGGER counts AFTER UPDATE ON jobs FOR EACH ROW"
            " WHEN (OLD.state = 'dead' AND NEW.state = 'queued') EXECUTE FUNCTION count_back()"
        )
        states: Counter[SendState] = Counter()
        with own.broker() as broker:
            those = letters(broker)

        def send(first: int) -> None:
            with own.broker() as sender:
                for start in [*range(first, 200, 10), *range(0, first, 10)]:
                    sent = sender.retry(DEAD, those[start : start + 10], "7")
                    states.update(one.state for one in sent)

        try:
            senders = [threading.Thread(target=send, args=(first,)) for first in (0, 0, 100)]
            for sender in senders:
                sender.start()
            for sender in senders:
                sender.join(60)
            counted = own.admin.execute("SELECT count(*), count(DISTINCT id) FROM given_back").fetchone()
        finally:
            own.admin.execute("DROP TRIGGER counts ON jobs; DROP TABLE given_back")
        assert counted == (200, 200)
        assert states == {SendState.SENT: 200, SendState.ALREADY: 400}

    def test_are_left_out_where_no_table_may_be_made(self, own: OwnTable) -> None:
        own.admin.execute("DROP ROLE IF EXISTS worker")
        own.admin.execute("CREATE ROLE worker LOGIN")
        own.admin.execute("GRANT ALL ON jobs TO worker")
        try:
            fail(own, 1)
            with own.broker(url=own.url("worker")) as broker:
                those = letters(broker)
                [check] = [check for check in broker.checks() if check.name == "dispositions"]
                assert broker.retry(DEAD, those, "7")[0].state is SendState.SENT
                again = broker.retry(DEAD, [replace(those[0], may_be_sent=True)], "7")
        finally:
            own.admin.execute("DROP OWNED BY worker; DROP ROLE worker")
        assert check.state == "warning"
        assert again[0].state is SendState.UNKNOWN


class TestLibraries:
    @pytest.mark.parametrize(
        ("kind", "channel"),
        [
            (OwnTable, "jobs"),
            (Procrastinate, f"procrastinate_queue_v1#{QUEUE}"),
            (Procrastinate, "procrastinate_any_queue_v1"),
            (PgQueuer, "ch_pgqueuer"),
            (Chancy, "chancy_events"),
        ],
    )
    def test_a_retry_wakes_the_workers(self, rigs: Rigs, kind: type[PostgresRig], channel: str) -> None:
        rig = rigs.of(kind)
        fail(rig, 1)
        with psycopg.connect(rig.url(), autocommit=True) as listener, rig.broker() as broker:
            those = letters(broker)
            listener.execute(f'LISTEN "{channel}"')
            broker.retry(DEAD, those, "7")
            [told] = listener.notifies(timeout=10, stop_after=1)
        if kind is PgQueuer:
            assert AnyEvent.model_validate_json(told.payload).root.type == "table_changed_event"

    def test_pgqueuer_says_in_its_log_that_a_job_succeeded_whose_row_is_gone(self, rigs: Rigs) -> None:
        rig = rigs.of(PgQueuer)
        [done] = rig.put(QUEUE, {})
        rig.work(QUEUE)
        assert not rig.jobs(QUEUE)
        with rig.broker() as broker:
            workers = f"{QUEUE} workers"
            views = broker.views(QUEUE, [workers], [done, "4711"])
        assert views == {done: [(workers, "consumed")], "4711": []}

    def test_jobs_that_pgqueuer_did_before_they_could_be_read_are_a_gap(self, rigs: Rigs) -> None:
        rig = rigs.of(PgQueuer)
        rig.put(QUEUE, {})
        with rig.broker() as broker:
            reader = Reader(broker, QUEUE).read_all()
            rig.put(QUEUE, *[{}] * 3)
            rig.work(QUEUE)
            rig.put(QUEUE, {})
            reader.read_all()
        [gap] = reader.gaps
        assert (gap.missed, gap.reason) == (None, DONE_UNSEEN)

    def test_of_procrastinates_jobs_with_one_lock_only_one_can_wait(self, rigs: Rigs) -> None:
        rig = rigs.of(Procrastinate)
        fail(rig, 3)
        rig.admin.execute("UPDATE procrastinate_jobs SET queueing_lock = 'one' WHERE id IN (1, 2)")
        with rig.broker() as broker:
            sent = broker.retry(DEAD, letters(broker), "7")
        assert [one.state for one in sent] == [SendState.SENT, SendState.REFUSED, SendState.SENT]
        assert "procrastinate_jobs_queueing_lock_idx" in sent[1].detail

    def test_a_restored_procrastinate_job_forgets_the_worker_that_is_gone(self, rigs: Rigs) -> None:
        rig = rigs.of(Procrastinate)
        fail(rig, 1)
        worker = rig.admin.execute(
            "INSERT INTO procrastinate_workers DEFAULT VALUES RETURNING id"
        ).fetchall()[0][0]
        rig.admin.execute("UPDATE procrastinate_jobs SET worker_id = %s", [worker])
        with rig.broker() as broker:
            [record] = Reader(broker, DEAD).read_all().records
            broker.discard(DEAD, [record.position])
            rig.admin.execute("DELETE FROM procrastinate_workers")
            broker.restore(DEAD, record, "t-1", "")
        assert [*rig.jobs(QUEUE).values()] == ["failed"]

    def test_are_known_by_their_tables(self, rigs: Rigs) -> None:
        own, other = rigs.of(OwnTable), rigs.of(Chancy)
        with other.broker() as broker:
            assert [c.found for c in broker.checks() if c.name == "table"] == [
                "public.chancy_jobs, a table of chancy"
            ]
        plain = own.source().model_dump() | {"library": "auto", "table": ""}
        nothing = {name: value for name, value in plain.items() if name not in ("columns", "states", "retry")}
        broker = broker_for(own.source().__class__(**nothing))
        with pytest.raises(BrokerRefused, match="procrastinate_jobs or pgqueuer or chancy_jobs"):
            broker.start()
        broker.stop()


class TestCommands:
    def test_init_writes_settings_that_watch_it_and_doctor_finds_no_fault(
        self, rigs: Rigs, tmp_path: Path
    ) -> None:
        rig = rigs.of(PgQueuer)
        fail(rig, 1)
        environment = {**os.environ, "EVENTWAKE_MAIN_PASSWORD": "of-the-tests"}

        def run(*arguments: str) -> str:
            command = [sys.executable, "-m", "eventwake", *arguments]
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=60, env=environment, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
            return done.stdout

        config = tmp_path / "eventwake.toml"
        assert f"{DEAD}: 1 events" in run("init", rig.url(), "--output", str(config))
        [source] = tomllib.loads(config.read_text())["source"]
        assert (source["kind"], source.get("dead_letter_streams")) == ("postgres_queue", None)
        assert "of-the-tests" not in config.read_text()
        assert f"dead letters: {DEAD}" in run("doctor", "--config", str(config))


class TestSettings:
    def test_its_urls_are_known(self) -> None:
        assert {kind_of("postgresql://h/d"), kind_of("postgres://h/d")} == {"postgres_queue"}

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"url": "redis://h"}, "postgresql://"),
            ({"columns": None}, "needs `table`"),
            ({"columns": {"id": "id"}}, "second failure"),
            ({"library": "chancy"}, 'library = "none"'),
            ({"states": {"waiting": ["w"], "failed": []}}, "failed"),
            ({"table": "jobs%s"}, "percent"),
            ({"librar": "x"}, "not a known setting"),
        ],
    )
    def test_a_fault_in_them_is_named_with_what_to_do(
        self, own: OwnTable, changes: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(SettingsError, match=said):
            broker_for(own.source(**changes))

    def test_a_url_that_cannot_be_read_is_not_repeated(self, own: OwnTable) -> None:
        with pytest.raises(BrokerRefused) as refused, own.broker(url="postgresql://u:secret@h/d?nonsense=1"):
            pass
        assert "secret" not in str(refused.value)
