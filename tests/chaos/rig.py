"""A real server, a store, the collectors' parts over both, and a consumer that knows nothing of Eventwake."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import redis
import sqlalchemy as sa

from collectors.brokers import broker_for
from collectors.follower import Follower
from collectors.lag_sampler import LagSampler
from collectors.operator import Operator
from collectors.sampler import Sampler
from collectors.streams import Streams
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import FINISHED, Actor, CommandKind
from eventwake.settings import CONFIG_VARIABLE, Source
from eventwake.store import commands, schema
from eventwake.store.commands import Order, Submitted
from eventwake.store.migrate import migrate
from eventwake.store.reads import operations
from eventwake.store.session import Store
from eventwake.store.writes import sources
from examples.redis_server import free_port, start_server
from tests.chaos.armed_operator import ArmedOperator, Step
from tests.chaos.letters import Flat, Tally, event_fields, event_id_of

ROOT = Path(__file__).resolve().parents[2]
REPLAY_ID = b"eventwake_replay_id"
SOURCE = "orders"
USER, PASSWORD = "journal", "of-the-tests"
IN_THE_BROKER = {LetterState.OPEN, LetterState.CLAIMED}
SENT = {LetterState.SENT, LetterState.SETTLED, LetterState.CONSUMED, LetterState.SUCCEEDED}


@dataclass(frozen=True)
class Way:
    """How a server lets letters be sent; each takes its own path through the code."""

    name: str
    origin: str
    dlq: str
    scheme: str = "redis"
    scripts: bool = True
    options: tuple[str, ...] = ()

    @property
    def is_cluster(self) -> bool:
        return self.scheme == "redis+cluster"


ONE_SLOT = Way("one slot", "orders", "orders:dlq")
OWN_SLOTS = Way(
    "own slots", "{a}orders", "{b}orders:dlq", "redis+cluster", options=("--cluster-enabled", "yes")
)
JOURNAL = Way("journal", "orders", "orders:dlq", scripts=False)
JOURNAL_OF_A_CLUSTER = Way(
    "journal over slots", "{a}orders", "{b}orders:dlq", "redis+cluster", False, ("--cluster-enabled", "yes")
)
WAYS = (ONE_SLOT, OWN_SLOTS, JOURNAL)


def wait_until(condition: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.02)


class Server:
    """One server process of a way, and an administrator's connection to it."""

    def __init__(self, way: Way, directory: Path, *options: str) -> None:
        self.way = way
        self.port = free_port()
        self._directory = directory
        self.options = (*way.options, *options)
        self.start()

    def start(self) -> None:
        self.process = start_server(self.port, self._directory, *self.options)
        self.redis: Any = redis.Redis(port=self.port, protocol=2)
        self.redis.response_callbacks.clear()  # raw replies: repeated fields are kept
        wait_until(self._is_loaded, "the server has loaded its data", 10)
        if self.way.is_cluster:
            if b"cluster_slots_assigned:0" in self.redis.execute_command("CLUSTER INFO"):
                self.redis.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            wait_until(
                lambda: b"cluster_state:ok" in self.redis.execute_command("CLUSTER INFO"), "the cluster is up"
            )
        if not self.way.scripts:
            self.redis.execute_command(
                "ACL", "SETUSER", USER, "on", f">{PASSWORD}", "~*", "+@all", "-@scripting"
            )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def keep_everything(self) -> None:
        """From now on what it has answered survives that it is killed.

        Without fsync: a write that waits for one (everysec) is answered before the file has it.
        """
        self.options += ("--appendonly", "yes", "--appendfsync", "no")
        self.redis.execute_command("CONFIG", "SET", "appendfsync", "no", "appendonly", "yes")
        wait_until(
            lambda: b"aof_rewrite_in_progress:0" in self.redis.execute_command("INFO", "persistence"),
            "the append-only file is complete",
        )

    def restart(self) -> None:
        """Kills it; it comes back with its newest snapshot, or with its append-only file."""
        self.kill()
        self.start()

    @property
    def url(self) -> str:
        user = "" if self.way.scripts else f"{USER}:{PASSWORD}@"
        return f"{self.way.scheme}://{user}127.0.0.1:{self.port}"

    def _is_loaded(self) -> bool:
        try:
            return bool(self.redis.execute_command("PING") == b"PONG")
        except redis.RedisError:
            return False


@dataclass
class Rig:
    """One source with its store; made anew for each test over an emptied server."""

    server: Server
    directory: Path

    def __post_init__(self) -> None:
        self.way = self.server.way
        self.redis.execute_command("FLUSHALL")
        self.source = Source(
            name=SOURCE, kind="redis_streams", writable=True, start="earliest", url=self.server.url,
            scripts=self.way.scripts, poll_s=0.1, groups_s=0.3, discovery_s=0.5,
        )  # fmt: skip
        (self.directory / "store.db").write_bytes(_empty_store())
        self.store = Store(f"sqlite:///{self.directory / 'store.db'}")
        with self.store.write() as tx:
            sources.register_source(tx, SOURCE, "redis_streams", True, "{}", now_ms())
        self.config = self.directory / "eventwake.toml"
        self.configure()
        self._delivered: Counter[str] = Counter()
        self._made: list[str] = []
        self.group("counter")

    def configure(self, **changes: Any) -> None:
        """Changes settings of the source, for what is done here and for processes that start from now on."""
        self.source = self.source.model_copy(update=changes)
        self.config.write_text(self._toml())

    @property
    def redis(self) -> Any:
        return self.server.redis

    def _toml(self) -> str:
        keys = {**self.source.model_dump(exclude_unset=True), **(self.source.model_extra or {})}
        lines = [f"{name} = {json.dumps(value)}" for name, value in keys.items()]
        return "\n".join(["[store]", f"url = {json.dumps(str(self.store.url))}", "[[source]]", *lines])

    # The world outside Eventwake

    def group(self, name: str, start: str = "0") -> None:
        self.redis.execute_command("XGROUP", "CREATE", self.way.origin, name, start, "MKSTREAM")

    def dead_letter(self, *, event: str | None = None, drop: tuple[bytes, ...] = (), more: Flat = []) -> str:  # noqa: B006
        """A consumer gave up on an event that holds repeated fields and bytes of every kind; its event id."""
        number = len(self._made) + 1
        event_id = event or f"e-{number}"
        self._made.append(event_id)
        own = {
            b"original_stream": self.way.origin.encode(),
            b"original_id": f"{number}-1".encode(),
            b"consumer_group": b"payments",
            b"error_type": b"CardDeclined",
            b"error": b"no answer from the bank",
            b"retry_count": b"3",
        }
        added = [part for name, value in own.items() if name not in drop for part in (name, value)]
        fields = [*event_fields(event_id), *more, *added]
        self.redis.execute_command("XADD", self.way.dlq, "*", *fields)
        return event_id

    def delivered(self) -> Counter[str]:
        """How often the counting consumer has been given each event, since the test began."""
        while answer := self.redis.execute_command(
            "XREADGROUP", "GROUP", "counter", "c", "COUNT", 1000, "STREAMS", self.way.origin, ">"
        ):
            for _, fields in answer[0][1]:
                self._delivered[event_id_of(fields)] += 1
            read = [entry_id for entry_id, _ in answer[0][1]]
            self.redis.execute_command("XACK", self.way.origin, "counter", *read)
        return self._delivered

    def in_stream(self, stream: str) -> dict[str, Flat]:
        reply = self.redis.execute_command("XRANGE", stream, "-", "+")
        return {entry_id.decode(): fields for entry_id, fields in reply}

    # What the collectors do

    def watch(self, times: int = 1) -> None:
        """Looks at the broker as the worker of the source does."""
        with self._broker() as broker:
            streams = Streams(self.store, broker, self.source)
            streams.load()
            sampler = Sampler(self.store, broker, self.source, streams, (), 1_000_000)
            lag_sampler = LagSampler(self.store, broker, self.source, streams)
            follower = Follower(self.store, broker, self.source, streams)
            for _ in range(times):
                while not streams.discover():
                    pass
                streams.look()
                while sampler.step():
                    pass
                streams.look()
                lag_sampler.step()
                follower.step()

    def operate(self, *, until: Callable[[], bool] | None = None, within_s: float = 20.0) -> None:
        """Carries commands out in this process, until all are finished."""
        ended = until or (lambda: not self.unfinished())
        with self._broker() as broker:
            operator = Operator(self.store, broker, self.source)
            deadline = time.monotonic() + within_s
            while not ended():
                assert time.monotonic() < deadline, f"not within {within_s} s: {self.command_rows()}"
                if not operator.step():
                    time.sleep(0.01)

    def send_the_rest(self) -> None:
        """What a person has still to do until all letters are sent."""
        left = (CommandKind.RESTORE, LetterState.DISCARDED), (CommandKind.RETRY, LetterState.OPEN)
        for kind, state in left:
            if self.states()[state]:
                self.ask(kind, state)
                self.operate()

    def start(self, *command: str) -> subprocess.Popen[bytes]:
        """A process over this source: `start("collectors")`, `start("collectors.operator", SOURCE)`."""
        environment = {**os.environ, CONFIG_VARIABLE: str(self.config)}
        return subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, env=environment, stdin=subprocess.PIPE
        )

    @contextmanager
    def running(self, *command: str) -> Iterator[subprocess.Popen[bytes]]:
        process = self.start(*command)
        try:
            yield process
        finally:
            process.kill() if command[0] != "collectors" else process.terminate()
            process.wait(timeout=20)

    @contextmanager
    def operating(self, signal_name: str = "", step: Step | None = None) -> Iterator[ArmedOperator]:
        """An operator in a process of its own, armed where a step is given; it is killed at the end."""
        process = ArmedOperator(self.config, SOURCE, signal_name, step)
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=20)

    def killed_at(self, step: Step) -> None:
        """An operator that is killed at the step; fails where it never comes there."""
        with self.operating("SIGKILL", step) as process:
            try:
                code = process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                code = 0
        assert code == -signal.SIGKILL, f"the operator never came to the step {step}"

    @contextmanager
    def stopped_at(self, step: Step) -> Iterator[ArmedOperator]:
        """An operator that stopped itself (SIGSTOP) at the step."""
        with self.operating("SIGSTOP", step) as process:
            status = psutil.Process(process.pid).status
            wait_until(lambda: status() == psutil.STATUS_STOPPED, f"the operator comes to the step {step}")
            yield process

    @contextmanager
    def _broker(self) -> Iterator[Any]:
        broker = broker_for(self.source)
        broker.start()
        try:
            yield broker
        finally:
            broker.stop()

    # What a person asks for and sees

    def order(
        self, kind: CommandKind, states: tuple[LetterState, ...] = (LetterState.OPEN,), **more: Any
    ) -> Order:
        """An order over all letters in those states, as they are now."""
        letters = [(row.id, row.version) for row in self.letters() if row.state in states]
        return Order(kind, SOURCE, Actor(), letters, **more)

    def submit(self, order: Order, store: Store | None = None) -> Submitted:
        with (store or self.store).write() as tx:
            return commands.submit(tx, order, now_ms())

    def ask(self, kind: CommandKind, *states: LetterState, **more: Any) -> int:
        return self.submit(self.order(kind, states or (LetterState.OPEN,), **more)).command_id

    def letters(self) -> list[Any]:
        return self._rows(sa.select(schema.letter).order_by(schema.letter.c.id))

    def states(self) -> Counter[str]:
        state = schema.letter.c.state
        return Counter(dict(map(tuple, self._rows(sa.select(state, sa.func.count()).group_by(state)))))

    def progress(self, command_id: int) -> Counter[str]:
        """How many of the operation's items are in each state."""
        with self.store.read() as connection:
            return Counter(operations.progress(connection, command_id))

    def items(self, command_id: int) -> list[Any]:
        item = schema.command_item
        return self._rows(sa.select(item).where(item.c.command_id == command_id).order_by(item.c.letter_id))

    def command_rows(self) -> list[Any]:
        return self._rows(sa.select(schema.command).order_by(schema.command.c.id))

    def unfinished(self) -> list[Any]:
        return [row for row in self.command_rows() if row.state not in FINISHED]

    def history(self, letter_id: int) -> list[str]:
        table = schema.letter_history.c
        rows = self._rows(sa.select(table.detail).where(table.letter_id == letter_id).order_by(table.id))
        return [row.detail for row in rows]

    def outcomes(self) -> dict[tuple[int, str], str]:
        rows = self._rows(sa.select(schema.outcome))
        return {(row.letter_id, row.group_name): row.state for row in rows}

    def _rows(self, query: Any) -> list[Any]:
        with self.store.read() as connection:
            return list(connection.execute(query))

    # What must always hold

    def tally(self) -> Tally:
        """How the letters came off that were ever made, once all should be sent."""
        delivered = self.delivered()
        lost = len({*self._made} - {*delivered})
        return Tally(len(self._made), lost, twice=sum(times > 1 for times in delivered.values()))

    def assert_whole(self) -> None:
        """Every letter is in exactly one place, the store says which, and its counts add up."""
        there, sent, delivered = (
            self.in_stream(self.way.dlq),
            self.in_stream(self.way.origin),
            self.delivered(),
        )
        for row in self.letters():
            state = LetterState(row.state)
            assert (row.position in there) == (state in IN_THE_BROKER), f"letter {row.id} is {state}"
            assert delivered[row.event_id] == (state in SENT), f"letter {row.id} is {state}"
        assert len(there) == sum(row.state in IN_THE_BROKER for row in self.letters())
        for fields in sent.values():
            event_id = event_id_of(fields)
            assert fields[:-2] == event_fields(event_id), "what was sent is the event, byte for byte"
            assert fields[-2] == REPLAY_ID
        self.assert_counted()

    def assert_counted(self) -> None:
        counted = self._rows(sa.select(schema.letter_count))
        by_state: Counter[str] = Counter()
        for row in counted:
            by_state[row.state] += row.letters
        assert +by_state == self.states()


@cache
def _empty_store() -> bytes:
    with TemporaryDirectory() as directory:
        store = Store(f"sqlite:///{directory}/store.db", create=True)
        migrate(store)
        store.close()
        return Path(directory, "store.db").read_bytes()
