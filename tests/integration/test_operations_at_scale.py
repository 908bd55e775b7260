"""Operations over many letters hold nobody up, and none waits for ever for what never comes."""

import subprocess
import time
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy as sa

from collectors import sampler
from collectors.brokers.base import IN_DOUBT
from collectors.brokers.redis_streams.letters import LIES_THERE, LOOK_PAGE
from collectors.brokers.redis_streams.reading import ZERO
from collectors.carry_out import NOT_NOTED
from collectors.operator import READ_ONLY, Operator
from collectors.process import Stop
from collectors.sampler import Sampler
from collectors.streams import Streams
from collectors.supervisor import LEFT, WATCHDOG_MS, Child, Supervisor, end_commands_of_others
from dashboard import acts
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.errors import Conflict
from eventwake.domain.operation import Actor, CommandKind, CommandState, ItemState
from eventwake.settings import CONFIG_VARIABLE, load
from eventwake.store import commands, schema
from eventwake.store.command_items import CHUNK, intend
from eventwake.store.writes import letters, sources
from tests.chaos.rig import JOURNAL, ONE_SLOT, OWN_SLOTS, SOURCE, Rig, Step, event_fields

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("settled_at_once")]

RETRY, DISCARD, RESTORE = CommandKind.RETRY, CommandKind.DISCARD, CommandKind.RESTORE
MANY = 2 * CHUNK + 50
LETTERS_OF_REDIS = "collectors.brokers.redis_streams.letters:"
CARRY_OUT = "collectors.carry_out:CarryOut."
by_journal = pytest.mark.parametrize("rig", [JOURNAL], indirect=True, ids=lambda way: way.name)


def with_letters(rig: Rig, count: int) -> list[str]:
    event_ids = [rig.dead_letter() for _ in range(count)]
    rig.watch()
    assert rig.states() == {"open": count}
    return event_ids


def planned(rig: Rig, kind: CommandKind = RETRY) -> int:
    with rig.store.write() as tx:
        return commands.plan(tx, rig.order(kind), now_ms())


def gone_on(rig: Rig, command: int) -> bool:
    with rig.store.write() as tx:
        return commands.go_on(tx, command, now_ms())


class TestManyLetters:
    def test_are_claimed_a_chunk_a_transaction(self, rig: Rig) -> None:
        with_letters(rig, MANY)
        command = planned(rig)
        assert (rig.command_rows()[0].items, rig.states()) == (MANY, {"open": MANY})
        assert gone_on(rig, command)
        assert rig.progress(command) == {"claimed": CHUNK}
        assert rig.states() == {"claimed": CHUNK, "open": MANY - CHUNK}
        while gone_on(rig, command):
            pass
        assert rig.progress(command) == {"claimed": MANY}
        rig.assert_counted()

    def test_that_nobody_claims_any_more_are_claimed_and_sent_by_the_operator(self, rig: Rig) -> None:
        event_ids = with_letters(rig, MANY)
        command = planned(rig)
        gone_on(rig, command)  # and then the dashboard crashed
        late = rig.dead_letter()
        rig.watch()
        rig.operate(within_s=60)
        assert rig.delivered() == dict.fromkeys(event_ids, 1)
        assert rig.progress(command) == {"done": MANY}
        assert rig.command_rows()[0].state == CommandState.DONE
        assert rig.states() == {"settled": MANY, "open": 1}, f"{late} came after the click"
        rig.assert_whole()

    def test_that_changed_before_they_were_claimed_are_left_to_whoever_has_them(self, rig: Rig) -> None:
        with_letters(rig, MANY)
        command = planned(rig)
        theirs = rig.submit(commands.Order(DISCARD, SOURCE, Actor("other"), [(1, 1), (MANY, 1)]))
        rig.operate(within_s=60)
        assert rig.progress(command) == {"done": MANY - 2, "lost_race": 2}
        assert rig.progress(theirs.command_id) == {"done": 2}
        assert rig.items(command)[0].detail == "it changed since it was shown: it is claimed now"
        rig.assert_whole()

    def test_are_freed_by_the_operator_where_whoever_cancelled_did_not_come_to_it(self, rig: Rig) -> None:
        with_letters(rig, MANY)
        command = planned(rig)
        while gone_on(rig, command):
            pass
        with rig.store.write() as tx:
            assert commands.cancel(tx, command, Actor(), now_ms()) == MANY
        assert rig.states() == {"open": CHUNK, "claimed": MANY - CHUNK}
        with rig.store.write() as tx:
            assert intend(tx, command, {MANY: ""}, now_ms()) == set(), "an operator that was about to send it"
        rig.operate(within_s=60)
        assert rig.states() == {"open": MANY}
        assert rig.command_rows()[0].state == CommandState.CANCELLED
        assert not rig.delivered()
        rig.assert_whole()

    def test_that_were_not_claimed_when_it_was_cancelled_never_are(self, rig: Rig) -> None:
        with_letters(rig, MANY)
        command = planned(rig)
        gone_on(rig, command)
        with rig.store.write() as tx:
            assert commands.cancel(tx, command, Actor(), now_ms()) == MANY
        assert not gone_on(rig, command)
        rig.operate()
        assert rig.states() == {"open": MANY}
        [row] = rig.command_rows()
        assert (row.state, row.detail) == ("cancelled", f"{CHUNK} refused, {MANY - CHUNK} untouched")

    def test_of_a_click_are_claimed_within_a_moment_and_the_rest_by_the_operator(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        event_ids = with_letters(rig, MANY)
        monkeypatch.setattr(acts, "SOON_S", 0.0)
        submitted = acts.submit(rig.store, rig.order(RETRY))
        assert (submitted.taken, rig.states()) == (MANY, {"open": MANY})
        rig.operate(within_s=60)
        assert rig.delivered() == dict.fromkeys(event_ids, 1)

    def test_asked_of_a_source_that_is_read_only_are_refused(self, rig: Rig) -> None:
        with_letters(rig, 2)
        with rig.store.write() as tx:
            sources.register_source(tx, SOURCE, "redis_streams", False, "{}", now_ms())
        for ask in (planned, lambda rig: rig.ask(RETRY)):
            with pytest.raises(Conflict, match="orders is read-only"):
                ask(rig)
        assert rig.command_rows() == []


class TestMarksThatWereLost:
    @pytest.mark.parametrize("rig", [ONE_SLOT, OWN_SLOTS], indirect=True, ids=lambda way: way.name)
    def test_leave_a_letter_that_may_have_been_sent_in_doubt(self, rig: Rig) -> None:
        [event_id] = with_letters(rig, 1)
        command = rig.ask(RETRY)
        rig.killed_at(Step("before", CARRY_OUT + "_save_sent"))
        rig.redis.execute_command("DEL", *rig.redis.execute_command("KEYS", "eventwake:*"))
        rig.operate()
        assert (rig.states(), rig.items(command)[0].detail) == ({"unknown": 1}, IN_DOUBT)
        assert rig.delivered() == {event_id: 1}


@by_journal
class TestTheJournal:
    def test_is_looked_through_once_for_all_letters_of_a_batch(self, rig: Rig) -> None:
        count, pages = 20, 5
        event_ids = with_letters(rig, count)
        command = rig.ask(RETRY)
        with rig.store.write() as tx:  # and then the operator crashed
            intend(tx, command, dict.fromkeys(range(1, count + 1), ZERO), now_ms())
        for number in range(pages * LOOK_PAGE):
            rig.redis.execute_command("XADD", rig.way.origin, "*", *event_fields(f"later-{number}"))
        rig.redis.execute_command("CONFIG", "RESETSTAT")
        rig.operate()
        stats = rig.redis.execute_command("INFO", "commandstats").decode()
        [looks] = [line for line in stats.splitlines() if line.startswith("cmdstat_xrange:")]
        assert int(looks.partition("calls=")[2].partition(",")[0]) < pages + 3 * count
        delivered = rig.delivered()
        assert {event_id: delivered[event_id] for event_id in event_ids} == dict.fromkeys(event_ids, 1)

    def test_tells_that_it_is_alive_while_it_looks(self, rig: Rig) -> None:
        with_letters(rig, 1)
        rig.ask(RETRY)
        rig.killed_at(Step("after", CARRY_OUT + "_intend"))
        for number in range(2 * LOOK_PAGE):
            rig.redis.execute_command("XADD", rig.way.origin, "*", *event_fields(f"later-{number}"))
        told = []
        with rig._broker() as broker:
            broker.alive = lambda: told.append(broker.commands_sent)
            operator = Operator(rig.store, broker, rig.source)
            operator.step()
        assert len(set(told)) > 3

    def test_restores_a_letter_once_though_two_operators_look_at_once(self, rig: Rig) -> None:
        with_letters(rig, 1)
        rig.ask(DISCARD)
        rig.operate()
        rig.ask(RESTORE, LetterState.DISCARDED)
        with rig.stopped_at(Step("before", "redis.client:Pipeline.multi")) as sleeper:
            rig.operate()
            sleeper.send_signal(18)
            sleeper.terminate()
            assert sleeper.wait(timeout=60) == 0
        rig.watch()
        rig.assert_whole()
        assert rig.states() == {"open": 1}

    def test_does_not_take_another_letter_that_looks_the_same_for_the_one_it_put_back(self, rig: Rig) -> None:
        with_letters(rig, 1)
        [lay_there] = rig.in_stream(rig.way.dlq).values()
        rig.ask(DISCARD)
        rig.operate()
        command = rig.ask(RESTORE, LetterState.DISCARDED)
        rig.killed_at(Step("before", LETTERS_OF_REDIS + "Letters.restore"))
        rig.redis.execute_command("XADD", rig.way.dlq, "*", *lay_there)
        rig.operate()
        assert len(rig.in_stream(rig.way.dlq)) == 1
        [item] = rig.items(command)
        assert item.state == ItemState.UNKNOWN
        assert LIES_THERE in item.detail

    def test_finds_what_it_put_back_though_another_that_looks_the_same_came_since(self, rig: Rig) -> None:
        with_letters(rig, 1)
        [lay_there] = rig.in_stream(rig.way.dlq).values()
        rig.ask(DISCARD)
        rig.operate()
        rig.ask(RESTORE, LetterState.DISCARDED)
        rig.killed_at(Step("after", LETTERS_OF_REDIS + "Letters.restore"))
        rig.redis.execute_command("XADD", rig.way.dlq, "*", *lay_there)
        own, _ = rig.in_stream(rig.way.dlq)
        rig.operate()
        assert [letter.position for letter in rig.letters()] == [own]


class TestARestoreThatCannotBeNoted:
    def test_is_for_a_person_and_holds_up_no_other(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        with_letters(rig, 2)
        rig.ask(DISCARD)
        rig.operate()
        command = rig.ask(RESTORE, LetterState.DISCARDED)
        real, taken = letters.move_to, rig.letters()[1].position

        def to_a_place_that_another_has(tx: Any, letter_id: int, incarnation: int, position: str) -> None:
            real(tx, letter_id, incarnation, taken if letter_id == 1 else position)

        monkeypatch.setattr(letters, "move_to", to_a_place_that_another_has)
        rig.operate()
        first, second = rig.items(command)
        assert (first.state, second.state) == (ItemState.UNKNOWN, ItemState.DONE)
        assert NOT_NOTED in first.detail
        assert rig.states() == {"unknown": 1, "open": 1}


class TestASourceThatBecameReadOnly:
    def killed_in_the_midst(self, rig: Rig, step: Step) -> int:
        with_letters(rig, 7)  # more than the armed operator's batch
        command = rig.ask(RETRY)
        rig.killed_at(step)
        rig.configure(writable=False)
        return command

    def test_ends_what_was_begun_for_a_person_and_frees_the_rest(self, rig: Rig) -> None:
        command = self.killed_in_the_midst(rig, Step("after", CARRY_OUT + "_intend"))
        rig.operate()
        assert rig.progress(command) == {"unknown": 5, "refused": 2}
        assert rig.states() == {"unknown": 5, "open": 2}
        assert all(READ_ONLY in item.detail for item in rig.items(command))
        assert not rig.delivered()

    def test_settles_what_was_sent(self, rig: Rig) -> None:
        command = self.killed_in_the_midst(rig, Step("after", CARRY_OUT + "_save_sent"))
        rig.operate()
        assert rig.progress(command) == {"done": 5, "refused": 2}
        assert rig.states() == {"settled": 5, "open": 2}

    def test_says_of_what_was_sent_that_another_server_cannot_be_asked(self, lone_rig: Rig) -> None:
        command = self.killed_in_the_midst(lone_rig, Step("after", CARRY_OUT + "_save_sent"))
        lone_rig.redis.execute_command("SAVE")
        lone_rig.server.restart()
        lone_rig.operate()
        assert lone_rig.progress(command) == {"unknown": 5, "refused": 2}

    def test_never_claims_what_was_only_planned(self, rig: Rig) -> None:
        with_letters(rig, MANY)
        command = planned(rig)
        gone_on(rig, command)
        rig.configure(writable=False)
        rig.operate()
        assert rig.states() == {"open": MANY}
        assert rig.command_rows()[0].state == CommandState.FAILED
        assert rig.progress(command) == {"refused": CHUNK}

    def test_has_an_operator_as_long_as_there_is_something_to_end(self, rig: Rig) -> None:
        with_letters(rig, 1)
        command = rig.ask(RETRY)
        rig.configure(writable=False)
        with rig.running("collectors"):
            deadline = time.monotonic() + 60
            while rig.unfinished() and time.monotonic() < deadline:
                time.sleep(0.1)
        assert rig.progress(command) == {"refused": 1}


def test_operations_on_a_source_that_left_the_settings_are_ended(rig: Rig) -> None:
    with_letters(rig, 12)
    command = rig.ask(RETRY)
    rig.operate(until=lambda: rig.states()["sent"] > 0 or rig.states()["settled"] > 0)
    other = [row.letter_id for row in rig.items(command) if row.state == ItemState.CLAIMED]
    with rig.store.write() as tx:
        sources.register_source(tx, "another", "redis_streams", True, "{}", now_ms())
    end_commands_of_others(rig.store, ["another"], Stop())
    assert rig.unfinished() == []
    assert other == [] or rig.states()["open"] == len(other)


def test_what_is_begun_on_a_source_that_left_the_settings_is_for_a_person(rig: Rig) -> None:
    with_letters(rig, 7)
    command = rig.ask(RETRY)
    rig.killed_at(Step("after", CARRY_OUT + "_intend"))
    end_commands_of_others(rig.store, [SOURCE], Stop())
    assert rig.progress(command) == {"intended": 5, "claimed": 2}, "its operator looks after it"
    end_commands_of_others(rig.store, [], Stop())
    assert rig.states() == {"unknown": 5, "open": 2}
    assert all(LEFT in item.detail for item in rig.items(command))
    assert rig.unfinished() == []


def test_a_letter_that_may_have_been_sent_can_be_discarded_though_it_lies_there_no_more(rig: Rig) -> None:
    with_letters(rig, 2)
    with rig.store.write() as tx:
        for state in (LetterState.CLAIMED, LetterState.UNKNOWN):
            letters.transition(tx, [1, 2], state, now_ms())
    position = rig.letters()[0].position
    rig.redis.execute_command("XDEL", rig.way.dlq, position)
    rig.ask(DISCARD, LetterState.UNKNOWN, reason="the customer has it")
    rig.operate()
    assert rig.states() == {"discarded": 2}
    rig.assert_whole()


class TestTheWatchdog:
    @pytest.fixture
    def watched(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Supervisor, Child]]:
        monkeypatch.setenv(CONFIG_VARIABLE, str(rig.config))
        made = Supervisor(load())
        [child] = [child for child in made._children if child.role == "operator"]
        child.process = subprocess.Popen(["sleep", "600"])
        child.started = time.monotonic() - 10_000
        yield made, child
        child.process.kill()
        child.process.wait()

    def test_ends_a_worker_that_is_silent_while_others_can_write(
        self, watched: tuple[Supervisor, Child]
    ) -> None:
        supervisor, child = watched
        assert child.process
        for at_ms in range(0, WATCHDOG_MS + 1_001, 500):
            supervisor._wrote(at_ms)
            supervisor._end_what_hangs({(SOURCE, "operator"): 0})
        assert child.process.wait(timeout=20) != 0

    def test_spares_all_after_the_store_was_locked_or_the_machine_slept(
        self, watched: tuple[Supervisor, Child]
    ) -> None:
        supervisor, child = watched
        assert child.process
        for at_ms in (0, 500, 10 * WATCHDOG_MS, 10 * WATCHDOG_MS + 500, 11 * WATCHDOG_MS - 1):
            supervisor._wrote(at_ms)
            supervisor._end_what_hangs({(SOURCE, "operator"): 0})
        assert child.process.poll() is None


def test_a_step_of_the_sampler_is_bounded_and_the_next_one_goes_on_from_there(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "STEP_S", 0.0)
    monkeypatch.setattr(sampler, "BYTES_A_READ", 1)  # one stream an exchange
    for number in range(4):
        for _ in range(2):
            rig.redis.execute_command("XADD", f"s{number}", "*", *event_fields("an event"))
    told: list[int] = []
    with rig._broker() as broker:
        broker.alive = lambda: told.append(1)
        streams = Streams(rig.store, broker, rig.source)
        while not streams.discover():
            pass
        streams.look()
        reader = Sampler(rig.store, broker, rig.source, streams, (), 1_000_000)
        steps = 0
        while reader.step():
            steps += 1
            assert steps < 50, "it comes to an end"
    with rig.store.read() as connection:
        events = connection.scalar(
            sa.select(sa.func.sum(schema.event_rollup.c.events)).where(
                schema.event_rollup.c.span_ms
                == sa.select(sa.func.min(schema.event_rollup.c.span_ms)).scalar_subquery()
            )
        )
    assert events == 8
    assert len(told) == steps + 1, "an exchange a step"
