"""Kills at random moments: of the operator, and of the server under it; and a server that stands still.

EVENTWAKE_CHAOS_KILLS sets how many (20), EVENTWAKE_CHAOS_SEED repeats a run. Each test's seed and figures are
in the summary at the end of the run.
"""

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from itertools import cycle

import pytest
import sqlalchemy as sa

from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import CommandKind
from eventwake.store import schema
from tests.chaos.fixtures import FIGURES
from tests.chaos.letters import Tally
from tests.chaos.rig import WAYS, Rig, wait_until

KILLS = int(os.environ.get("EVENTWAKE_CHAOS_KILLS", "20"))
SEED = int(os.environ.get("EVENTWAKE_CHAOS_SEED", random.SystemRandom().randrange(2**32)))
TIMES = max(1, KILLS // 2)  # for what is done to the server
LETTERS_AN_OPERATION = 15  # new ones
WITHIN_S = 0.05  # some batches are carried out within this

pytestmark = [
    pytest.mark.server,
    pytest.mark.timeout(120 + 10 * KILLS),
    pytest.mark.usefixtures("settled_at_once"),
]
Figures = Callable[[Rig, str], Tally]


class People:
    """They ask for operations without end: letters are discarded, restored, and retried beside new ones."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._kinds = cycle([CommandKind.DISCARD, CommandKind.RESTORE, CommandKind.RETRY])

    def keep_busy(self) -> None:
        """Asks for a new operation once the one before is finished."""
        if self._rig.unfinished():
            return
        for _ in range(LETTERS_AN_OPERATION):
            self._rig.dead_letter()
        self._rig.watch()
        kind = next(self._kinds)
        takes = LetterState.DISCARDED if kind is CommandKind.RESTORE else LetterState.OPEN
        self._rig.ask(kind, takes)

    def see_some_work(self) -> None:
        """Until an operator has come a step further, or has nothing to do."""
        before = self._so_far()
        wait_until(lambda: self._so_far() != before or not before, "an operator is at work", 60)

    def _so_far(self) -> list[Counter[str]]:
        return [self._rig.progress(row.id) for row in self._rig.unfinished()]


def heard_of(rig: Rig, pid: int) -> bool:
    """Whether the operator with that process id has begun its work."""
    with rig.store.read() as connection:
        found = sa.select(schema.worker.c.pid).where(schema.worker.c.role == "operator")
        return connection.scalar(found) == pid


@pytest.fixture
def chance() -> random.Random:
    return random.Random(SEED)


@pytest.fixture
def figures(record_property: Callable[[str, object], None]) -> Figures:
    """Has all letters sent in the end; the summary says how they came off, and `what` was done meanwhile."""

    def record(rig: Rig, what: str) -> Tally:
        rig.watch()
        rig.send_the_rest()
        tally = rig.tally()
        kinds = Counter(row.kind for row in rig.command_rows())
        asked = ", ".join(f"{count} x {kind}" for kind, count in sorted(kinds.items()))
        record_property(FIGURES, f"{rig.way.name}: {what} (seed {SEED}) during {asked}: {tally}")
        return tally

    return record


@pytest.mark.parametrize("rig", WAYS, indirect=True, ids=lambda way: way.name)
def test_an_operator_that_is_killed_again_and_again_loses_nothing_and_sends_nothing_twice(
    rig: Rig, chance: random.Random, figures: Figures
) -> None:
    people = People(rig)
    at_work = 0
    for _ in range(KILLS):
        people.keep_busy()
        with rig.operating() as operator:
            wait_until(lambda pid=operator.pid: heard_of(rig, pid), "the operator is at work")
            if chance.random() < 0.5:  # others are killed at their first steps
                people.see_some_work()
            time.sleep(chance.uniform(0, WITHIN_S))
        at_work += bool(rig.unfinished())
        rig.delivered()
        if chance.random() < 0.5:
            rig.watch()
    rig.operate()
    assert at_work > KILLS // 4, "the kills came while there was something to do"
    tally = figures(rig, f"{KILLS} kills of the operator")
    assert (tally.lost, tally.twice) == (0, 0), rig.states()
    rig.assert_whole()


@pytest.mark.parametrize("lone_rig", WAYS, indirect=True, ids=lambda way: way.name)
def test_a_server_that_is_killed_again_and_again_has_each_letter_once(
    lone_rig: Rig, chance: random.Random, figures: Figures
) -> None:
    rig = lone_rig
    rig.server.keep_everything()
    people = People(rig)
    with rig.operating():
        for _ in range(TIMES):
            people.keep_busy()
            people.see_some_work()
            time.sleep(chance.uniform(0, WITHIN_S))
            rig.server.restart()
            rig.delivered()
        wait_until(lambda: not rig.unfinished(), "all is finished", 60)
    tally = figures(rig, f"{TIMES} kills of the server")
    assert (tally.lost, tally.twice) == (0, 0), rig.states()
    rig.assert_whole()


@pytest.mark.parametrize("lone_rig", WAYS, indirect=True, ids=lambda way: way.name)
def test_a_server_that_stands_still_until_nobody_waits_for_its_answer_has_each_letter_once(
    lone_rig: Rig, chance: random.Random, figures: Figures
) -> None:
    rig = lone_rig
    rig.configure(answer_timeout_s=0.2)
    people = People(rig)
    with rig.operating():
        for _ in range(TIMES):
            people.keep_busy()
            people.see_some_work()
            time.sleep(chance.uniform(0, WITHIN_S))
            rig.server.process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(0.2, 0.8))
            rig.server.process.send_signal(signal.SIGCONT)
        wait_until(lambda: not rig.unfinished(), "all is finished", 60)
    tally = figures(rig, f"{TIMES} halts of the server")
    assert (tally.lost, tally.twice) == (0, 0), rig.states()
    rig.assert_whole()
