"""A queue in PostgreSQL from its failed jobs to their retry, with the collectors as real processes.

Whoever gives a job back to the workers is counted by a trigger in the queue's own database.
"""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from collectors.brokers import broker_for
from collectors.follower import Follower
from collectors.lag_sampler import LagSampler
from collectors.operator import Operator
from collectors.sampler import Sampler
from collectors.streams import Streams
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import FINISHED, Actor, CommandKind, ItemState
from eventwake.settings import CONFIG_VARIABLE
from eventwake.store import commands, schema
from eventwake.store.commands import Order
from eventwake.store.migrate import migrate
from eventwake.store.session import Store
from eventwake.store.writes import sources
from tests.chaos.armed_operator import LETTERS_A_BATCH, ArmedOperator, Step
from tests.contract.rigs.base import wait_until
from tests.contract.rigs.postgres_queue import OwnTable
from tests.contract.rigs.queue_base import QUEUE, fail

ROOT = Path(__file__).resolve().parents[2]
SOURCE, DEAD = "jobs", f"{QUEUE}:failed"
LETTERS = LETTERS_A_BATCH + 2

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("settled_at_once")]

_ITEMS = "eventwake.store.command_items:"
_CARRY_OUT = "collectors.carry_out:CarryOut."
_LETTERS = "collectors.brokers.postgres_queue.letters:Letters."
_COMMIT = "psycopg.transaction:Transaction.__exit__"

STEPS = {
    CommandKind.RETRY: (
        Step("before", _CARRY_OUT + "_intend"),
        Step("after", _ITEMS + "intend", uncommitted=True),
        Step("after", _CARRY_OUT + "_intend"),
        Step("before", _COMMIT),  # of the table of dispositions
        Step("before", _LETTERS + "_dispose"),
        Step("after", _LETTERS + "_dispose"),
        Step("before", _COMMIT, 2),
        Step("after", _COMMIT, 2),
        Step("after", _LETTERS + "retry"),
        Step("after", _ITEMS + "sent_items", uncommitted=True),
        Step("after", _CARRY_OUT + "_save_sent"),
        Step("before", _CARRY_OUT + "settle"),
        Step("after", _CARRY_OUT + "settle"),
    ),
    CommandKind.DISCARD: (
        Step("after", _CARRY_OUT + "_intend"),
        Step("before", _LETTERS + "discard"),
        Step("after", _LETTERS + "discard"),
        Step("after", _ITEMS + "finish_items", uncommitted=True),
        Step("after", _CARRY_OUT + "discard"),
    ),
    CommandKind.RESTORE: (
        Step("before", _LETTERS + "restore", LETTERS // 2),
        Step("before", _COMMIT, LETTERS // 2),
        Step("after", _COMMIT, LETTERS // 2),
        Step("after", _LETTERS + "restore", LETTERS // 2),
        Step("after", _CARRY_OUT + "restore"),
    ),
}


class Shop:
    """A source over the table with its store, and what the collectors do."""

    def __init__(self, queue: OwnTable, directory: Path) -> None:
        self.queue = queue
        self.source = queue.source(name=SOURCE, start="earliest", poll_s=0.2, groups_s=0.5, discovery_s=0.5)
        self.store = Store(f"sqlite:///{directory / 'store.db'}", create=True)
        migrate(self.store)
        with self.store.write() as tx:
            sources.register_source(tx, SOURCE, "postgres_queue", True, "{}", now_ms())
        self.config = directory / "eventwake.toml"
        keys = {**self.source.model_dump(exclude_unset=True), **(self.source.model_extra or {})}
        lines = ["[store]", f"url = {json.dumps(str(self.store.url))}", "[[source]]"]
        self.config.write_text(
            "\n".join([*lines, *(f"{name} = {toml(value)}" for name, value in keys.items())])
        )
        self._count_given_back()

    def _count_given_back(self) -> None:
        admin = self.queue.admin
        admin.execute("DROP TABLE IF EXISTS given_back")
        admin.execute("CREATE TABLE given_back (id bigint)")
        admin.execute(
            "CREATE OR REPLACE FUNCTION count_back() RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN INSERT INTO given_back VALUES (NEW.id); RETURN NEW; END'"
        )
        admin.execute(
            "CREATE OR REPLACE TRIGGER counts AFTER UPDATE ON jobs FOR EACH ROW"
            " WHEN (OLD.state = 'dead' AND NEW.state = 'queued') EXECUTE FUNCTION count_back()"
        )

    def given_back(self) -> Counter[str]:
        return Counter(row[0] for row in self.queue.admin.execute("SELECT id::text FROM given_back"))

    @contextmanager
    def _broker(self) -> Iterator[Any]:
        broker = broker_for(self.source)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()

    def watch(self) -> None:
        """Looks at the broker as the worker of the source does."""
        with self._broker() as broker:
            streams = Streams(self.store, broker, self.source)
            streams.load()
            while not streams.discover():
                pass
            streams.look()
            sampler = Sampler(self.store, broker, self.source, streams, (), 1_000_000)
            while sampler.step():
                pass
            streams.look()
            LagSampler(self.store, broker, self.source, streams).step()
            Follower(self.store, broker, self.source, streams).step()

    def ask(self, kind: CommandKind, state: LetterState = LetterState.OPEN) -> int:
        letters = [(row.id, row.version) for row in self.letters() if row.state == state]
        with self.store.write() as tx:
            return commands.submit(tx, Order(kind, SOURCE, Actor(), letters), now_ms()).command_id

    def operate(self) -> None:
        """Carries commands out in this process, until all are finished."""
        with self._broker() as broker:
            operator = Operator(self.store, broker, self.source)
            wait_until(lambda: not (operator.step() or self.unfinished()), "all is done", 30)

    def killed_at(self, step: Step) -> None:
        process = ArmedOperator(self.config, SOURCE, "SIGKILL", step)
        try:
            code = process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            code = 0
        finally:
            process.kill()
            process.wait(timeout=20)
        assert code == -signal.SIGKILL, f"the operator never came to the step {step}"

    def unfinished(self) -> list[Any]:
        return [row for row in self._rows(sa.select(schema.command)) if row.state not in FINISHED]

    def letters(self) -> list[Any]:
        return self._rows(sa.select(schema.letter).order_by(schema.letter.c.id))

    def states(self) -> Counter[str]:
        return Counter(row.state for row in self.letters())

    def items(self, command_id: int) -> Counter[str]:
        item = schema.command_item
        return Counter(
            row.state for row in self._rows(sa.select(item).where(item.c.command_id == command_id))
        )

    def streams(self) -> dict[str, Any]:
        return {row.name: row for row in self._rows(sa.select(schema.stream))}

    def groups(self) -> list[Any]:
        return self._rows(sa.select(schema.consumer_group))

    def events(self) -> int:
        return sum(row.events for row in self._rows(sa.select(schema.event_rollup)) if row.span_ms == 10_000)

    def _rows(self, query: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query))


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{json.dumps(name)} = {toml(one)}" for name, one in value.items()) + " }"
    return json.dumps(value)


@pytest.fixture(scope="module")
def queue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnTable]:
    rig = OwnTable(tmp_path_factory.mktemp("queue"))
    rig.start()
    yield rig
    rig.stop()


@pytest.fixture
def shop(queue: OwnTable, tmp_path: Path) -> Iterator[Shop]:
    queue.clear()
    made = Shop(queue, tmp_path)
    yield made
    made.store.close()


def test_failed_jobs_are_found_retried_by_a_command_and_followed_to_their_end(
    shop: Shop, tmp_path: Path
) -> None:
    shop.queue.put(QUEUE, {"number": 1})
    [failed] = fail(shop.queue, 1)
    with (tmp_path / "log").open("ab") as log:
        collectors = subprocess.Popen(
            [sys.executable, "-m", "collectors"],
            cwd=ROOT,
            env={**os.environ, CONFIG_VARIABLE: str(shop.config)},
            stderr=log,
        )
    try:
        wait_until(lambda: shop.states() == {"open": 1}, "the letter is found", 60)
        wait_until(lambda: shop.events() == 2, "the jobs are read", 60)
        [letter] = shop.letters()
        assert (letter.origin_stream, letter.origin_position) == (QUEUE, failed)
        assert (letter.error_class, letter.attempts, letter.group_name) == (
            "ValueError",
            1,
            f"{QUEUE} workers",
        )
        wait_until(lambda: shop.streams()[DEAD].length == 1 and shop.groups(), "the queue is shown", 30)
        assert shop.streams()[DEAD].kind == "dead_letters"

        shop.ask(CommandKind.RETRY)
        wait_until(lambda: shop.queue.jobs(QUEUE)[failed] == "waiting", "it is given back", 30)
        wait_until(lambda: [(g.lag, g.pending) for g in shop.groups()] == [(1, 0)], "it is lag", 30)
        shop.queue.work(QUEUE)  # fails again
        wait_until(lambda: shop.states() == {"came_back": 1, "open": 1}, "it came back", 30)

        shop.queue.admin.execute("UPDATE jobs SET payload = '{}'")  # the cause is mended
        shop.ask(CommandKind.RETRY)
        wait_until(lambda: shop.queue.jobs(QUEUE)[failed] == "waiting", "it is given back again", 30)
        shop.queue.work(QUEUE)
        wait_until(lambda: shop.states() == {"came_back": 1, "consumed": 1}, "it is done", 30)
        assert shop.given_back() == {failed: 2}
        assert shop.events() == 2
    finally:
        collectors.terminate()
        assert collectors.wait(30) == 0


def test_a_letter_that_the_library_gave_back_itself_is_gone(shop: Shop) -> None:
    fail(shop.queue, 2)
    shop.watch()
    shop.queue.admin.execute("UPDATE jobs SET state = 'queued' WHERE id = 1")
    shop.watch()
    assert shop.states() == {"gone": 1, "open": 1}


@pytest.mark.parametrize(
    ("kind", "step"),
    [(kind, step) for kind, steps in STEPS.items() for step in steps],
    ids=[f"{kind}: {step}" for kind, steps in STEPS.items() for step in steps],
)
def test_an_operator_killed_at_any_step_has_its_work_done_once_by_the_next(
    shop: Shop, kind: CommandKind, step: Step
) -> None:
    failed = fail(shop.queue, LETTERS)
    shop.watch()
    if kind is CommandKind.RESTORE:
        shop.ask(CommandKind.DISCARD)
        shop.operate()
        assert not shop.queue.jobs(QUEUE)
    command = shop.ask(kind, LetterState.DISCARDED if kind is CommandKind.RESTORE else LetterState.OPEN)
    shop.killed_at(step)
    shop.operate()
    shop.watch()
    assert shop.items(command) == {ItemState.DONE: LETTERS}
    once = dict.fromkeys(failed, 1)
    there, state, given_back = {
        CommandKind.RETRY: (dict.fromkeys(failed, "waiting"), "settled", once),
        CommandKind.DISCARD: ({}, "discarded", {}),
        CommandKind.RESTORE: (dict.fromkeys(failed, "failed"), "open", {}),
    }[kind]
    assert shop.queue.jobs(QUEUE) == there
    assert shop.states() == {state: LETTERS}
    assert shop.given_back() == given_back
