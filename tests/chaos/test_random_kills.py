"""Kills at random moments: of the operator, and of the server under it; and a server that stands still.

EVENTWAKE_CHAOS_KILLS sets how many (20), EVENTWAKE_CHAOS_SEED repeats a run; the seed is printed.
"""

import os
import random
import signal
import time

import pytest
import sqlalchemy as sa

from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import CommandKind
from eventwake.store import schema
from tests.chaos.rig import SOURCE, WAYS, Rig, wait_until

KILLS = int(os.environ.get("EVENTWAKE_CHAOS_KILLS", "20"))
SEED = int(os.environ.get("EVENTWAKE_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
OPERATOR = ("tests.chaos.armed_operator", SOURCE)
LETTERS_AN_OPERATION = 200
WITHIN_S = 0.15  # an operation of so many letters takes about this long

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(60 + 5 * KILLS),
    pytest.mark.usefixtures("settled_at_once"),
]


class People:
    """They ask for operations without end: retries, discards, and restores of what was discarded."""

    def __init__(self, rig: Rig, chance: random.Random) -> None:
        self._rig = rig
        self._chance = chance

    def keep_busy(self) -> None:
        """Asks for a new operation once the one before is finished."""
        if self._rig.unfinished():
            return
        if self._rig.states()["open"] < LETTERS_AN_OPERATION:
            for _ in range(LETTERS_AN_OPERATION):
                self._rig.dead_letter()
        self._rig.watch()
        kind = self._chance.choice([CommandKind.RETRY, CommandKind.RETRY, CommandKind.DISCARD])
        if self._rig.states()["discarded"] > LETTERS_AN_OPERATION:
            kind = CommandKind.RESTORE
        takes = LetterState.DISCARDED if kind is CommandKind.RESTORE else LetterState.OPEN
        self._rig.ask(kind, takes)

    def see_some_work(self) -> None:
        """Until an operator has gone on with at least one letter, or has nothing to do."""
        left = self._not_begun()
        wait_until(lambda: self._not_begun() < left or not left, "an operator is at work")

    def _not_begun(self) -> int:
        return sum(self._rig.progress(row.id)["claimed"] for row in self._rig.unfinished())


def heard_of(rig: Rig, pid: int) -> bool:
    """Whether the operator with that process id has begun its work."""
    with rig.store.read() as connection:
        found = sa.select(schema.worker.c.pid).where(schema.worker.c.role == "operator")
        return connection.scalar(found) == pid


@pytest.fixture
def chance() -> random.Random:
    print(f"EVENTWAKE_CHAOS_SEED={SEED}")  # noqa: T201
    return random.Random(SEED)


@pytest.mark.parametrize("rig", WAYS, indirect=True, ids=lambda way: way.name)
def test_an_operator_that_is_killed_again_and_again_loses_nothing_and_sends_nothing_twice(
    rig: Rig, chance: random.Random
) -> None:
    people = People(rig, chance)
    at_work = 0
    for _ in range(KILLS):
        people.keep_busy()
        with rig.running(*OPERATOR) as operator:
            wait_until(lambda pid=operator.pid: heard_of(rig, pid), "the operator is at work")
            time.sleep(chance.uniform(0, WITHIN_S))
        at_work += bool(rig.unfinished())
        rig.delivered()
        if chance.random() < 0.5:
            rig.watch()
    rig.operate()
    rig.watch()
    assert at_work > KILLS // 4, "the kills came while there was something to do"
    assert set(rig.delivered().values()) == {1}
    rig.assert_whole()


@pytest.mark.parametrize("lone_rig", WAYS, indirect=True, ids=lambda way: way.name)
def test_a_server_that_is_killed_again_and_again_has_each_letter_once(
    lone_rig: Rig, chance: random.Random
) -> None:
    rig = lone_rig
    rig.server.keep_everything()
    people = People(rig, chance)
    with rig.running(*OPERATOR):
        for _ in range(max(1, KILLS // 4)):
            people.keep_busy()
            people.see_some_work()
            time.sleep(chance.uniform(0, WITHIN_S / 2))
            rig.server.restart()
            rig.delivered()
        wait_until(lambda: not rig.unfinished(), "all is finished", 30)
    rig.watch()
    assert set(rig.delivered().values()) == {1}
    rig.assert_whole()


@pytest.mark.parametrize("lone_rig", WAYS, indirect=True, ids=lambda way: way.name)
def test_a_server_that_stands_still_until_nobody_waits_for_its_answer_has_each_letter_once(
    lone_rig: Rig, chance: random.Random
) -> None:
    rig = lone_rig
    rig.configure(answer_timeout_s=0.2)
    people = People(rig, chance)
    with rig.running(*OPERATOR):
        for _ in range(max(1, KILLS // 4)):
            people.keep_busy()
            people.see_some_work()
            time.sleep(chance.uniform(0, WITHIN_S / 2))
            rig.server.process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.2, 0.8))
            rig.server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: not rig.unfinished(), "all is finished", 30)
    rig.watch()
    assert set(rig.delivered().values()) == {1}
    rig.assert_whole()
