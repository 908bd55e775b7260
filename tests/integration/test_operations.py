"""Operations on dead letters on a real server: never lost, never twice, and what became of each is known.

A consumer that knows nothing of Eventwake counts what it is given. Kills at every named step: tests/chaos.
"""

import signal
import threading

import pytest

from collectors.carry_out import FORGOTTEN, IN_DOUBT
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.errors import Conflict
from eventwake.domain.operation import Actor, CommandKind, CommandState, ItemState
from eventwake.store import commands
from eventwake.store.commands import Order
from eventwake.store.session import Store
from tests.chaos.rig import SOURCE, WAYS, Rig, Step, wait_until

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("settled_at_once")]

RETRY, DISCARD, RESTORE = CommandKind.RETRY, CommandKind.DISCARD, CommandKind.RESTORE
LETTERS = 5

CARRY_OUT = "collectors.carry_out:CarryOut."
every_way = pytest.mark.parametrize("rig", WAYS, indirect=True, ids=lambda way: way.name)
every_way_alone = pytest.mark.parametrize("lone_rig", WAYS, indirect=True, ids=lambda way: way.name)


def with_letters(rig: Rig, count: int = LETTERS) -> list[str]:
    event_ids = [rig.dead_letter() for _ in range(count)]
    rig.watch()
    assert rig.states() == {"open": count}
    return event_ids


class TestTwoAtOnce:
    @every_way
    def test_of_two_people_who_ask_for_the_same_letters_one_gets_them(self, rig: Rig) -> None:
        event_ids = with_letters(rig, 40)
        order, gate = rig.order(RETRY), threading.Barrier(2)
        taken: list[int] = []
        refused: list[str] = []

        def ask() -> None:
            store = Store(str(rig.store.url))
            gate.wait()
            try:
                taken.append(rig.submit(order, store).taken)
            except Conflict as conflict:
                refused.append(str(conflict))
            store.close()

        people = [threading.Thread(target=ask) for _ in range(2)]
        for person in people:
            person.start()
        for person in people:
            person.join()
        assert taken == [40]
        assert len(refused) == 1
        assert "it changed since it was shown: it is claimed now" in refused[0]
        rig.operate()
        assert rig.delivered() == dict.fromkeys(event_ids, 1)
        rig.assert_whole()

    def test_the_second_of_two_gets_what_the_first_left_and_hears_of_the_rest(self, rig: Rig) -> None:
        with_letters(rig, 4)
        everything = rig.order(RETRY)
        first = Order(DISCARD, SOURCE, Actor("first"), everything.letters[:3])
        rig.submit(first)
        second = rig.submit(everything)
        assert second.taken == 1
        assert sorted(second.left_out) == [letter for letter, _ in first.letters]
        rig.operate()
        assert rig.states() == {"discarded": 3, "settled": 1}
        rig.assert_whole()

    @every_way
    def test_two_operators_at_work_deliver_each_letter_once(self, rig: Rig) -> None:
        event_ids = with_letters(rig, 600)
        command = rig.ask(RETRY)
        with rig.running("collectors.operator", SOURCE), rig.running("collectors.operator", SOURCE):
            wait_until(lambda: rig.progress(command).keys() <= {"sent", "done"}, "all are sent")
        rig.operate()
        assert rig.delivered() == dict.fromkeys(event_ids, 1)
        assert {item.state for item in rig.items(command)} == {ItemState.DONE}
        rig.assert_whole()


class TestCancelled:
    @every_way
    def test_midway_what_was_not_begun_is_open_again_and_all_is_accounted_for(self, rig: Rig) -> None:
        event_ids = with_letters(rig, 2_000)
        command = rig.ask(RETRY)
        rig.operate(until=lambda: rig.progress(command)["claimed"] <= 1_300)
        with rig.store.write() as tx:
            freed = commands.cancel(tx, command, Actor(), now_ms())
        assert 0 < freed <= 1_300
        rig.operate()
        assert rig.states() == {"open": freed, "settled": 2_000 - freed}
        rig.assert_whole()
        [row] = rig.command_rows()
        assert (row.state, row.detail) == (
            CommandState.CANCELLED,
            f"{2_000 - freed:,} done, {freed:,} refused",
        )
        rig.ask(RETRY)
        rig.operate()
        assert rig.delivered() == dict.fromkeys(event_ids, 1)
        rig.assert_whole()

    def test_before_it_was_begun_nothing_is_done(self, rig: Rig) -> None:
        with_letters(rig)
        command = rig.ask(DISCARD)
        with rig.store.write() as tx:
            assert commands.cancel(tx, command, Actor(), now_ms()) == LETTERS
        rig.operate()
        assert rig.states() == {"open": LETTERS}
        assert rig.command_rows()[0].state == CommandState.CANCELLED
        rig.assert_whole()

    @pytest.mark.parametrize("kind", [RETRY, DISCARD])
    def test_just_before_the_intent_the_operator_touches_nothing(self, rig: Rig, kind: CommandKind) -> None:
        with_letters(rig)
        command = rig.ask(kind)
        with rig.stopped_at(Step("before", CARRY_OUT + "_intend")) as sleeper:
            with rig.store.write() as tx:
                assert commands.cancel(tx, command, Actor(), now_ms()) == LETTERS
            sleeper.send_signal(signal.SIGCONT)
            sleeper.terminate()
            assert sleeper.wait(timeout=20) == 0
        assert not rig.delivered()
        assert rig.states() == {"open": LETTERS}
        rig.assert_whole()

    def test_after_it_is_over_nothing_changes(self, rig: Rig) -> None:
        with_letters(rig)
        command = rig.ask(RETRY)
        rig.operate()
        before = rig.command_rows()
        with rig.store.write() as tx:
            assert commands.cancel(tx, command, Actor(), now_ms()) == 0
        assert rig.command_rows() == before

    def test_a_cancelled_restore_leaves_the_letters_discarded(self, rig: Rig) -> None:
        with_letters(rig)
        rig.ask(DISCARD)
        rig.operate()
        command = rig.ask(RESTORE, LetterState.DISCARDED)
        with rig.store.write() as tx:
            commands.cancel(tx, command, Actor(), now_ms())
        assert rig.states() == {"discarded": LETTERS}
        rig.assert_whole()


class TestServerThatForgot:
    """The server is killed, and comes back with a snapshot of itself."""

    @every_way_alone
    def test_what_it_had_taken_is_sent_again_and_said(self, lone_rig: Rig) -> None:
        rig = lone_rig
        event_ids = with_letters(rig)
        rig.redis.execute_command("SAVE")
        command = rig.ask(RETRY)
        rig.operate(until=lambda: rig.states() == {"sent": LETTERS})
        rig.server.restart()
        assert not rig.in_stream(rig.way.origin)
        assert len(rig.in_stream(rig.way.dlq)) == LETTERS
        rig.watch()
        rig.operate()
        assert rig.delivered() == dict.fromkeys(event_ids, 1)
        assert {item.detail for item in rig.items(command)} == {FORGOTTEN}
        assert all(FORGOTTEN in rig.history(letter.id) for letter in rig.letters())
        rig.watch()
        assert rig.states() == {"consumed": LETTERS}
        rig.assert_whole()

    @every_way_alone
    def test_what_it_remembers_is_not_sent_again(self, lone_rig: Rig) -> None:
        rig = lone_rig
        event_ids = with_letters(rig)
        command = rig.ask(RETRY)
        rig.operate(until=lambda: rig.states() == {"sent": LETTERS})
        rig.redis.execute_command("SAVE")
        rig.server.restart()
        rig.operate()
        assert rig.delivered() == dict.fromkeys(event_ids, 1)
        assert {item.detail for item in rig.items(command)} == {""}
        rig.assert_whole()

    @every_way_alone
    def test_a_letter_that_it_has_neither_sent_nor_kept_is_for_a_person(self, lone_rig: Rig) -> None:
        rig = lone_rig
        with_letters(rig, 1)
        rig.redis.execute_command("SAVE")
        command = rig.ask(RETRY)
        rig.operate(until=lambda: rig.states() == {"sent": 1})
        rig.server.restart()
        [position] = rig.in_stream(rig.way.dlq)
        rig.redis.execute_command("XDEL", rig.way.dlq, position)
        rig.operate()
        assert rig.states() == {"unknown": 1}
        assert rig.items(command)[0].detail == IN_DOUBT
        assert not rig.delivered()

    def test_letters_keep_their_identity_where_it_forgot_the_newest(self, lone_rig: Rig) -> None:
        rig = lone_rig
        with_letters(rig)
        rig.redis.execute_command("SAVE")
        rig.dead_letter()
        rig.watch()
        rig.server.restart()
        rig.watch(times=2)
        assert rig.states() == {"open": LETTERS, "gone": 1}
        rig.ask(RETRY)
        rig.operate()
        rig.assert_whole()

    def test_settling_waits_until_the_server_has_kept_its_identity_for_a_while(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collectors.operator.SETTLE_AFTER_MS", 1_000)
        with_letters(rig)
        command = rig.ask(RETRY)
        rig.operate(until=lambda: rig.states() == {"sent": LETTERS})
        rig.operate()
        [row] = rig.command_rows()
        assert row.finished_ms - max(item.sent_ms for item in rig.items(command)) >= 1_000
        assert rig.states() == {"settled": LETTERS}
