"""The operator is killed, or stopped and woken, at every named step from the intent to the removal.

Then another operator takes over. Whatever the operation was, at the end all letters are retried, and a
consumer that knows nothing of Eventwake counts what it is given.
"""

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Timer

import pytest
import redis

from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import CommandKind, ItemState
from tests.chaos.armed_operator import Step
from tests.chaos.fixtures import Servers
from tests.chaos.named_steps import (
    DISCARD,
    EVERY_WAY,
    EXCHANGES,
    KINDS,
    LETTERS,
    RESTORE,
    RETRY,
    steps,
)
from tests.chaos.rig import SENT, Rig, Server, Way

NAMED_STEPS = [(way, kind, step) for way in EVERY_WAY for kind in KINDS for step in steps(kind, way)]
FULL = 15 * LETTERS  # what is asserted of all letters takes its time, too
SLEEPS_S = 0.3  # with the store's lock; others wait for it

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("settled_at_once")]
at_every_step = pytest.mark.parametrize(
    ("rig", "kind", "step"),
    NAMED_STEPS,
    indirect=["rig"],
    ids=[f"{way.name}: {kind}: {step}" for way, kind, step in NAMED_STEPS],
)


@pytest.fixture(scope="module")
def kept() -> Iterator[dict[Way, Rig]]:
    rigs: dict[Way, Rig] = {}
    yield rigs
    for rig in rigs.values():
        rig.store.close()


@pytest.fixture
def rig(
    request: pytest.FixtureRequest,
    servers: Servers,
    kept: dict[Way, Rig],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Rig]:
    """Kept from step to step, since a warm store is quicker, until it is full or letters were left behind."""
    way = request.param
    rig = kept.pop(way, None) or Rig(servers.of(way), tmp_path_factory.mktemp("rig"))
    rig.redis.execute_command("SCRIPT", "FLUSH")
    yield rig
    is_clean = not rig.unfinished() and rig.states().keys() <= SENT
    if is_clean and rig.states().total() < FULL:
        kept[way] = rig
    else:
        rig.store.close()


def asked(rig: Rig, kind: CommandKind) -> tuple[list[str], int]:
    """Letters in the state that the operation takes; their event ids, and the operation."""
    event_ids = [rig.dead_letter() for _ in range(LETTERS)]
    rig.watch()
    if kind is RESTORE:
        rig.ask(DISCARD)
        rig.operate()
    return event_ids, rig.ask(kind, LetterState.DISCARDED if kind is RESTORE else LetterState.OPEN)


def assert_done_once(rig: Rig, kind: CommandKind, command: int, event_ids: list[str]) -> None:
    assert {item.state for item in rig.items(command)} == {ItemState.DONE}
    rig.delivered()
    rig.watch()  # meets what has been delivered, and what the operator has put back
    ended = {RETRY: LetterState.CONSUMED, DISCARD: LetterState.DISCARDED, RESTORE: LetterState.OPEN}[kind]
    assert Counter(row.state for row in rig.letters() if row.event_id in event_ids) == {ended: LETTERS}
    rig.assert_whole()


def assert_each_is_delivered_once(rig: Rig, event_ids: list[str]) -> None:
    rig.send_the_rest()
    assert {event_id: rig.delivered()[event_id] for event_id in event_ids} == dict.fromkeys(event_ids, 1)
    rig.assert_whole()


@at_every_step
def test_an_operator_that_is_killed_loses_nothing_and_sends_nothing_twice(
    rig: Rig, kind: CommandKind, step: Step
) -> None:
    event_ids, command = asked(rig, kind)
    rig.killed_at(step)
    rig.watch()  # other workers live on
    rig.operate()
    assert_done_once(rig, kind, command, event_ids)
    assert_each_is_delivered_once(rig, event_ids)


@at_every_step
def test_an_operator_that_sleeps_while_another_takes_over_sends_nothing_twice(
    rig: Rig, kind: CommandKind, step: Step
) -> None:
    event_ids, command = asked(rig, kind)
    with rig.stopped_at(step) as sleeper:
        if step.uncommitted:
            Timer(SLEEPS_S, sleeper.send_signal, [signal.SIGCONT]).start()
        rig.operate()
        if not step.uncommitted:
            rig.watch()
            sleeper.send_signal(signal.SIGCONT)
        sleeper.terminate()  # it finishes what it has begun
        assert sleeper.wait(timeout=20) == 0
    assert_done_once(rig, kind, command, event_ids)
    assert_each_is_delivered_once(rig, event_ids)


@contextmanager
def overheard(server: Server) -> Iterator[set[str]]:
    """The commands that clients give the server meanwhile and that change something."""
    heard: set[str] = set()
    with redis.Redis(port=server.port).monitor() as monitor:
        yield heard
        server.redis.execute_command("ECHO", "the end")
        names = set()
        for command in monitor.listen():
            name = command["command"].partition(" ")[0].upper()
            if name == "ECHO":
                break
            if command["client_type"] != "lua":
                names.add(name)
    flags = {name: server.redis.execute_command("COMMAND", "INFO", name)[0][2] for name in names}
    heard |= {name for name in names if b"write" in flags[name] or name.startswith("EVAL")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rig", EVERY_WAY, indirect=True, ids=lambda way: way.name)
def test_no_command_that_changes_the_broker_is_without_its_steps(rig: Rig, kind: CommandKind) -> None:
    asked(rig, kind)
    with overheard(rig.server) as commands:
        rig.operate()
    rig.send_the_rest()
    assert commands == frozenset().union(*(exchange.commands for exchange in EXCHANGES[kind, rig.way]))
