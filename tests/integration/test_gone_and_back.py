"""Streams that go and come back, servers that go back in time, and kinds that are declared afterwards."""

from dataclasses import replace
from time import sleep
from typing import Any

import pytest
import sqlalchemy as sa

from collectors.follower import LIES_AGAIN, LIES_AGAIN_THOUGH_SENT
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import CommandKind
from eventwake.store import schema
from tests.chaos.rig import JOURNAL, ONE_SLOT, Rig, event_fields

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("settled_at_once")]

RETRY, DISCARD = CommandKind.RETRY, CommandKind.DISCARD


def carry_out(rig: Rig, kind: CommandKind, letter: Any) -> None:
    rig.submit(replace(rig.order(kind), letters=[(letter.id, letter.version)]))
    rig.operate()


class TestAServerThatForgotWhatWasDone:
    @pytest.mark.parametrize("lone_rig", [ONE_SLOT, JOURNAL], indirect=True, ids=lambda way: way.name)
    def test_has_its_letters_open_again_and_they_can_be_sent_anew(self, lone_rig: Rig) -> None:
        rig = lone_rig
        for _ in range(3):
            rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("SAVE")
        _, second, third = rig.letters()
        carry_out(rig, RETRY, second)
        carry_out(rig, DISCARD, third)
        rig.watch()
        assert [letter.state for letter in rig.letters()] == ["open", "settled", "discarded"]
        rig.server.restart()
        rig.watch(times=2)
        assert rig.states() == {"open": 3}
        assert [rig.history(letter.id)[-1] for letter in (second, third)] == [LIES_AGAIN] * 2
        rig.assert_counted()
        rig.ask(RETRY)
        rig.operate()
        assert rig.states() == {"settled": 3}
        assert rig.in_stream(rig.way.dlq) == {}
        ids = [item.replay_id for item in rig.items(1) + rig.items(3) if item.letter_id == second.id]
        assert len({*ids}) == 2, "it is an attempt of its own"

    def test_though_a_consumer_had_handled_them(self, lone_rig: Rig) -> None:
        rig = lone_rig
        rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("SAVE")
        rig.ask(RETRY)
        rig.operate()
        rig.delivered()
        rig.watch()
        assert rig.states() == {"consumed": 1}
        rig.server.restart()
        rig.watch(times=2)
        assert rig.states() == {"open": 1}

    def test_and_the_newest_letters_too_has_each_as_it_lies_there(self, lone_rig: Rig) -> None:
        """As many letters as before lie in the stream, but not the same."""
        rig = lone_rig
        for _ in range(2):
            rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("SAVE")
        carry_out(rig, DISCARD, rig.letters()[0])
        rig.dead_letter()
        rig.watch()
        rig.server.restart()
        rig.watch(times=3)
        assert [letter.state for letter in rig.letters()] == ["open", "open", "gone"]

    @pytest.mark.parametrize("state", ["sent", "consumed"])
    def test_what_the_operator_will_send_again_itself_is_left_to_it(
        self, lone_rig: Rig, monkeypatch: pytest.MonkeyPatch, state: str
    ) -> None:
        rig = lone_rig
        event_id = rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("SAVE")
        monkeypatch.setattr("collectors.operator.SETTLE_AFTER_MS", 600_000)
        rig.ask(RETRY)
        rig.operate(until=lambda: rig.states() == {"sent": 1})
        if state == "consumed":
            rig.delivered()
            rig.watch()
        rig.server.restart()
        rig.watch(times=2)
        assert rig.states() == {state: 1}
        monkeypatch.setattr("collectors.operator.SETTLE_AFTER_MS", 0)
        rig.operate()
        assert rig.in_stream(rig.way.dlq) == {}
        assert rig.states() == {"settled" if state == "sent" else state: 1}
        assert rig.delivered()[event_id] == (1 if state == "sent" else 2)


class TestALetterThatWasPutBack:
    def test_is_open_again_and_it_is_said_that_what_was_sent_of_it_is_there_still(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        [letter] = rig.letters()
        [fields] = rig.in_stream(rig.way.dlq).values()
        carry_out(rig, RETRY, letter)
        rig.redis.execute_command("DEL", rig.way.dlq)
        rig.redis.execute_command("XADD", rig.way.dlq, letter.position, *fields)
        rig.watch(times=2)
        assert rig.states() == {"open": 1}
        assert rig.history(letter.id)[-1] == LIES_AGAIN_THOUGH_SENT.format(rig.way.origin)

    def test_an_unknown_one_that_lies_there_stays_for_a_person_and_is_not_tried_for_ever(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collectors.follower.PRESENT_A_STEP", 1)
        for _ in range(3):
            rig.dead_letter()
        rig.watch()
        for letter in rig.letters()[:2]:
            carry_out(rig, DISCARD, letter)
        with rig.store.write() as tx:
            unknown = sa.update(schema.letter).where(schema.letter.c.id == 3)
            tx.execute(unknown.values(state=LetterState.UNKNOWN))
            tx.execute(
                sa.update(schema.letter_count)
                .where(schema.letter_count.c.state == LetterState.OPEN)
                .values(state=LetterState.UNKNOWN)
            )
        tried: list[object] = []
        present = "collectors.brokers.redis_streams.RedisStreams.present"
        monkeypatch.setattr(present, lambda _, __, positions: tried.extend(positions) or set())
        rig.watch(times=8)
        assert rig.states() == {"discarded": 2, "unknown": 1}
        assert len(tried) == 2


class TestADeadLetterStreamThatGoesAndComesBack:
    def test_has_its_letters_open_again_each_once(self, rig: Rig) -> None:
        for _ in range(3):
            rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("RENAME", rig.way.dlq, "aside")
        rig.watch()
        assert rig.states() == {"gone": 3}
        rig.redis.execute_command("RENAME", "aside", rig.way.dlq)
        rig.dead_letter()
        rig.watch(times=2)
        assert rig.states() == {"open": 4}
        assert {letter.position for letter in rig.letters()} == {*rig.in_stream(rig.way.dlq)}
        rig.assert_counted()

    def test_but_was_made_anew_has_only_what_lies_there_now(self, rig: Rig) -> None:
        for _ in range(2):
            rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("DEL", rig.way.dlq)
        rig.watch()
        rig.dead_letter()
        rig.watch(times=2)
        assert [letter.state for letter in rig.letters()] == ["gone", "gone", "open"]

    def test_but_was_made_anew_has_another_letter_in_the_place_of_one_that_was_done_with(
        self, rig: Rig
    ) -> None:
        rig.dead_letter()
        sleep(0.01)  # so that there is room between the two
        rig.dead_letter()
        rig.watch()
        first = rig.letters()[0]
        carry_out(rig, DISCARD, first)
        rig.redis.execute_command("DEL", rig.way.dlq)
        milliseconds, _, sequence = first.position.partition("-")
        for position in ("5-1", first.position, f"{milliseconds}-{int(sequence) + 1}"):
            rig.redis.execute_command("XADD", rig.way.dlq, position, *event_fields("another"))
        rig.watch(times=3)
        assert [letter.state for letter in rig.letters()] == ["discarded", "gone", "open", "open", "open"]
        rig.assert_counted()


class TestAStreamDeclaredAfterwards:
    def test_to_hold_dead_letters_has_those_taken_in_that_lay_there(self, rig: Rig) -> None:
        for number in range(3):
            rig.redis.execute_command("XADD", "graves", "*", *event_fields(f"e-{number}"), "error", "boom")
        rig.watch()
        assert rig.letters() == []
        rig.configure(dead_letter_streams={"graves": rig.way.origin})
        rig.watch()
        assert rig.states() == {"open": 3}
        assert kind_of(rig, "graves") == "dead_letters"
        rig.redis.execute_command("XADD", "graves", "*", *event_fields("e-4"), "error", "boom")
        rig.watch(times=2)
        assert rig.states() == {"open": 4}

    def test_while_it_was_gone_as_well(self, rig: Rig) -> None:
        rig.redis.execute_command("XADD", "graves", "*", *event_fields("e-1"), "error", "boom")
        rig.watch()
        rig.redis.execute_command("RENAME", "graves", "aside")
        rig.watch()
        rig.redis.execute_command("RENAME", "aside", "graves")
        rig.configure(dead_letter_streams={"graves": rig.way.origin})
        rig.watch()
        assert rig.states() == {"open": 1}
        assert kind_of(rig, "graves") == "dead_letters"

    def test_to_hold_events_is_read_on_from_where_it_was_left(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        rig.configure(dead_letter_patterns=())
        rig.redis.execute_command("XADD", rig.way.dlq, "*", *event_fields("e-2"))
        rig.watch(times=2)
        assert kind_of(rig, rig.way.dlq) == "events"
        assert counted(rig) == 1
        assert len(rig.letters()) == 1


def kind_of(rig: Rig, name: str) -> str:
    with rig.store.read() as connection:
        stream = schema.stream.c
        return str(connection.scalar(sa.select(stream.kind).where(stream.name == name)))


def counted(rig: Rig) -> int:
    """Events by the rollups."""
    rollup = schema.event_rollup.c
    with rig.store.read() as connection:
        total = sa.select(sa.func.sum(rollup.events)).where(rollup.span_ms == 10_000)
        return int(connection.scalar(total) or 0)


def test_a_sampled_stream_that_went_back_in_time_is_not_counted_again(lone_rig: Rig) -> None:
    rig = lone_rig
    rig.configure(sample_rate=1e-9)
    publish(rig, "early", 50)
    rig.watch()
    rig.redis.execute_command("SAVE")
    publish(rig, "forgotten", 5)
    rig.watch()
    assert counted(rig) == 55
    rig.server.restart()
    rig.watch(times=2)
    assert counted(rig) == 55
    publish(rig, "late", 7)
    rig.watch()
    assert counted(rig) == 62


def publish(rig: Rig, name: str, count: int) -> None:
    for number in range(count):
        rig.redis.execute_command("XADD", rig.way.origin, "*", *event_fields(f"{name}-{number}"))
