"""What became of each letter is found out and said: consumed by whom, came back, gone, refused, unknown."""

import signal
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa

from collectors.brokers.redis_streams.letters import NO_STREAM
from collectors.carry_out import MAY_BE_DONE, NO_LONGER_THERE
from collectors.operator import READ_ONLY
from dashboard.viewmodels.letters import SAYS
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.errors import Conflict
from eventwake.domain.operation import CommandKind, CommandState, ItemState
from eventwake.store import schema
from eventwake.store.writes import letters
from eventwake.store.writes.events import Flag
from tests.chaos.rig import (
    JOURNAL,
    ONE_SLOT,
    OWN_SLOTS,
    REPLAY_ID,
    USER,
    Rig,
    Step,
    event_fields,
    wait_until,
)

pytestmark = [pytest.mark.server, pytest.mark.usefixtures("settled_at_once")]

RETRY, DISCARD, RESTORE = CommandKind.RETRY, CommandKind.DISCARD, CommandKind.RESTORE
SENT_NOT_NOTED = Step("before", "collectors.carry_out:CarryOut._save_sent")
LETTERS_OF_REDIS = "collectors.brokers.redis_streams.letters:Letters."
INTENDED = Step("before", LETTERS_OF_REDIS + "retry")
SENT_NOT_REMOVED = Step("before", LETTERS_OF_REDIS + "_remove_sent")


class Payments:
    """A consumer of the origin, written as people write them."""

    def __init__(self, rig: Rig, *, keeps_all_fields: bool = True, producer: str = "payments") -> None:
        self._rig = rig
        self._keeps_all_fields = keeps_all_fields
        self._producer = producer
        rig.group("payments")

    def read(self) -> list[tuple[bytes, list[bytes]]]:
        answer = self._rig.redis.execute_command(
            "XREADGROUP", "GROUP", "payments", "c", "STREAMS", self._rig.way.origin, ">"
        )
        return [tuple(entry) for entry in answer[0][1]] if answer else []

    def done(self, entry_id: bytes) -> None:
        self._rig.redis.execute_command("XACK", self._rig.way.origin, "payments", entry_id)

    def pays(self, entry_id: bytes, fields: list[bytes]) -> None:
        self.reacts(fields)
        self.done(entry_id)

    def reacts(self, fields: list[bytes]) -> None:
        said = dict(zip(fields[::2], fields[1::2], strict=True))
        caused = [
            *(b"event_type", b"PaymentCharged", b"event_id", b"p-" + said[b"event_id"]),
            *(b"correlation_id", said[b"correlation_id"], b"causation_id", said[b"event_id"]),
            *((b"producer", self._producer.encode()) if self._producer else ()),
        ]
        self._rig.redis.execute_command("XADD", self._rig.way.origin, "*", *caused)

    def gives_up(self, entry_id: bytes, fields: list[bytes]) -> None:
        kept = (
            fields if self._keeps_all_fields else event_fields(fields[fields.index(b"event_id") + 1].decode())
        )
        why = [
            *(b"original_stream", self._rig.way.origin.encode(), b"original_id", entry_id),
            *(b"consumer_group", b"payments", b"error", b"the card is declined still"),
        ]
        self._rig.redis.execute_command("XADD", self._rig.way.dlq, "*", *kept, *why)
        self.done(entry_id)


@pytest.fixture
def payments(rig: Rig) -> Payments:
    return Payments(rig)


def retried(rig: Rig, count: int = 1) -> int:
    """The operation, carried out, over so many new letters."""
    for _ in range(count):
        rig.dead_letter()
    rig.watch()
    command = rig.ask(RETRY)
    rig.operate()
    return command


class TestConsumed:
    def test_by_the_group_that_had_given_up_whatever_others_do(self, rig: Rig, payments: Payments) -> None:
        retried(rig)
        rig.watch()
        [letter] = rig.letters()
        assert letter.state == "settled"
        assert rig.outcomes() == {(letter.id, "counter"): "waiting", (letter.id, "payments"): "waiting"}
        [(entry_id, _)] = payments.read()
        rig.watch()
        assert rig.states() == {"settled": 1}
        assert rig.outcomes()[letter.id, "payments"] == "pending"
        payments.done(entry_id)
        rig.watch()
        assert rig.states() == {"consumed": 1}
        assert rig.outcomes() == {(letter.id, "counter"): "waiting", (letter.id, "payments"): "consumed"}
        assert rig.history(letter.id)[-1] == "consumed by payments"

    def test_by_all_groups_where_none_of_them_had_given_up(self, rig: Rig) -> None:
        rig.group("audit")
        retried(rig)
        rig.delivered()
        rig.watch()
        assert rig.states() == {"settled": 1}
        rig.redis.execute_command(
            "XREADGROUP", "GROUP", "audit", "c", "NOACK", "STREAMS", rig.way.origin, ">"
        )
        rig.watch()
        assert rig.states() == {"consumed": 1}
        assert rig.history(rig.letters()[0].id)[-1] == "consumed by audit, counter"

    def test_and_succeeded_once_it_caused_an_event(self, rig: Rig, payments: Payments) -> None:
        retried(rig)
        payments.pays(*payments.read()[0])
        rig.watch()
        [letter] = rig.letters()
        assert letter.state == "succeeded"
        assert rig.history(letter.id)[-1] == f"it caused PaymentCharged p-{letter.event_id}"

    def test_and_succeeded_where_its_service_is_named_a_little_otherwise(self, rig: Rig) -> None:
        payments = Payments(rig, producer="payments-service")
        retried(rig)
        payments.pays(*payments.read()[0])
        rig.watch()
        assert rig.states() == {"succeeded": 1}

    @pytest.mark.parametrize("producer", ["analytics", ""])
    def test_what_another_or_an_unnamed_one_made_of_it_is_no_success(self, rig: Rig, producer: str) -> None:
        payments = Payments(rig, producer=producer)
        retried(rig)
        payments.pays(*payments.read()[0])
        rig.watch(times=2)
        assert rig.states() == {"consumed": 1}

    def test_and_succeeded_only_once_its_group_is_done_with_it(self, rig: Rig, payments: Payments) -> None:
        retried(rig)
        [(entry_id, fields)] = payments.read()
        payments.reacts(fields)
        rig.watch(times=2)
        assert rig.states() == {"settled": 1}
        payments.done(entry_id)
        rig.watch()
        assert rig.states() == {"succeeded": 1}

    def test_where_nobody_is_known_to_have_given_up_an_effect_counts_once_all_have_passed_it(
        self, rig: Rig
    ) -> None:
        analytics = Payments(rig, producer="analytics")
        rig.dead_letter(drop=(b"consumer_group",))
        rig.watch()
        rig.ask(RETRY)
        rig.operate()
        [(entry_id, fields)] = analytics.read()
        analytics.pays(entry_id, fields)
        rig.watch(times=2)
        assert rig.states() == {"settled": 1}, "the group `counter` has it ahead still"
        rig.delivered()
        rig.watch(times=2)
        assert rig.states() == {"succeeded": 1}

    def test_and_succeeded_however_soon_after_the_send_that_event_came(
        self, rig: Rig, payments: Payments
    ) -> None:
        rig.dead_letter()
        rig.watch()
        rig.ask(RETRY)
        rig.killed_at(SENT_NOT_NOTED)
        payments.pays(*payments.read()[0])
        rig.watch()
        rig.operate()
        rig.watch()
        assert rig.states() == {"succeeded": 1}

    def test_an_event_that_it_had_caused_before_it_failed_is_no_success(
        self, rig: Rig, payments: Payments
    ) -> None:
        event_id = rig.dead_letter()
        payments.pays(b"0-1", event_fields(event_id))
        rig.watch()
        rig.ask(RETRY)
        rig.operate()
        rig.watch()
        assert rig.states() == {"settled": 1}

    def test_without_any_group_it_stays_settled_and_nobody_is_said_to_have_handled_it(self, rig: Rig) -> None:
        rig.redis.execute_command("XGROUP", "DESTROY", rig.way.origin, "counter")
        retried(rig)
        rig.watch(times=2)
        [letter] = rig.letters()
        assert letter.state == LetterState.SETTLED
        assert rig.outcomes() == {}
        assert SAYS[LetterState.SETTLED] == (
            "sent and kept by the broker; nobody is known to have handled it"
        )

    def test_letters_that_nobody_handles_do_not_keep_others_from_being_followed(
        self, rig: Rig, payments: Payments, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("collectors.follower.SENT_A_STEP", 2)
        retried(rig, 5)
        payments.done(payments.read()[-1][0])
        rig.watch(times=3)
        assert [letter.state for letter in rig.letters()] == [*["settled"] * 4, "consumed"]


class TestTrimmed:
    @pytest.mark.parametrize("passes_it", [True, False])
    def test_before_its_group_got_it_nobody_is_said_to_have_consumed_it(
        self, rig: Rig, payments: Payments, passes_it: bool
    ) -> None:
        retried(rig)
        rig.watch()
        rig.redis.execute_command("XTRIM", rig.way.origin, "MAXLEN", 0)
        if passes_it:
            rig.redis.execute_command("XADD", rig.way.origin, "*", *event_fields("later"))
            [(entry_id, _)] = payments.read()
            payments.done(entry_id)
        rig.watch()
        [letter] = rig.letters()
        assert letter.state == "unknown"
        assert rig.history(letter.id)[-1] == "trimmed or deleted before payments was seen to read it"

    def test_after_its_group_was_seen_to_hold_it_it_is_consumed_once_that_is_done(
        self, rig: Rig, payments: Payments
    ) -> None:
        retried(rig)
        [(entry_id, _)] = payments.read()
        rig.watch()
        payments.done(entry_id)
        rig.redis.execute_command("XDEL", rig.way.origin, entry_id)
        rig.watch()
        assert rig.states() == {"consumed": 1}

    def test_it_is_known_to_have_succeeded_once_its_group_caused_an_event(
        self, rig: Rig, payments: Payments
    ) -> None:
        retried(rig)
        [(entry_id, fields)] = payments.read()
        payments.pays(entry_id, fields)
        rig.redis.execute_command("XDEL", rig.way.origin, entry_id)
        rig.watch(times=2)
        assert rig.states() == {"succeeded": 1}


class TestCameBack:
    @pytest.mark.parametrize(
        ("keeps_all_fields", "how"),
        [(True, "its replay id is in it"), (False, "the same event failed again after the retry")],
    )
    def test_where_its_fault_persists_it_is_linked_to_the_new_letter(
        self, rig: Rig, keeps_all_fields: bool, how: str
    ) -> None:
        payments = Payments(rig, keeps_all_fields=keeps_all_fields)
        retried(rig)
        payments.gives_up(*payments.read()[0])
        rig.watch()
        first, second = rig.letters()
        assert (first.state, second.state) == ("came_back", "open")
        assert rig.history(first.id)[-1] == f"came back as letter {second.id}: {how}"

    @pytest.mark.parametrize("keeps_all_fields", [True, False])
    def test_it_is_linked_even_where_it_came_back_before_the_send_was_noted(
        self, rig: Rig, keeps_all_fields: bool
    ) -> None:
        payments = Payments(rig, keeps_all_fields=keeps_all_fields)
        rig.dead_letter()
        rig.watch()
        rig.ask(RETRY)
        rig.killed_at(SENT_NOT_NOTED)
        payments.gives_up(*payments.read()[0])
        rig.watch()
        rig.operate()
        rig.watch()
        first, second = rig.letters()
        assert (first.state, second.state) == ("came_back", "open")
        assert f"came back as letter {second.id}" in rig.history(first.id)[-1]

    def test_the_new_letter_is_retried_under_an_id_of_its_own(self, rig: Rig, payments: Payments) -> None:
        retried(rig)
        payments.gives_up(*payments.read()[0])
        rig.watch()
        rig.ask(RETRY)
        rig.operate()
        [(_, fields)] = payments.read()
        assert fields.count(REPLAY_ID) == 1
        assert fields[-1].decode() == rig.items(2)[0].replay_id

    def test_another_group_that_fails_on_it_has_a_letter_of_its_own(
        self, rig: Rig, payments: Payments
    ) -> None:
        retried(rig)
        [(entry_id, fields)] = payments.read()
        payments.done(entry_id)
        of_audit = [
            b"original_stream",
            rig.way.origin.encode(),
            b"consumer_group",
            b"audit",
            b"error",
            b"full",
        ]
        rig.redis.execute_command("XADD", rig.way.dlq, "*", *fields, *of_audit)
        rig.watch()
        assert [letter.state for letter in rig.letters()] == ["consumed", "open"]


class TestRemovedBySomeoneElse:
    @pytest.mark.parametrize("kind", [RETRY, DISCARD])
    @pytest.mark.parametrize("rig", [ONE_SLOT, OWN_SLOTS, JOURNAL], indirect=True, ids=lambda way: way.name)
    def test_a_letter_is_gone_and_the_others_go_their_way(self, rig: Rig, kind: CommandKind) -> None:
        for _ in range(3):
            rig.dead_letter()
        rig.watch()
        command = rig.ask(kind)
        taken = rig.letters()[1]
        rig.redis.execute_command("XDEL", rig.way.dlq, taken.position)
        rig.operate()
        done = {RETRY: "settled", DISCARD: "discarded"}[kind]
        assert [letter.state for letter in rig.letters()] == [done, "gone", done]
        item = rig.items(command)[1]
        assert (item.state, item.detail) == (ItemState.GONE, NO_LONGER_THERE)
        rig.assert_whole()

    def test_an_open_letter_is_found_to_be_gone_without_any_operation(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("XDEL", rig.way.dlq, rig.letters()[0].position)
        rig.watch()
        assert [letter.state for letter in rig.letters()] == ["gone", "open"]
        rig.assert_whole()

    def test_an_open_letter_is_found_to_be_gone_beside_others_that_an_operation_has(self, rig: Rig) -> None:
        for _ in range(4):
            rig.dead_letter()
        rig.watch()
        claimed, unknown, taken, _ = rig.letters()
        rig.submit(of_letter(rig, RETRY, claimed))
        with rig.store.write() as tx:
            for state in (LetterState.CLAIMED, LetterState.UNKNOWN):
                letters.transition(tx, [unknown.id], state, now_ms())
        rig.redis.execute_command("XDEL", rig.way.dlq, taken.position)
        rig.watch()
        assert [letter.state for letter in rig.letters()] == ["claimed", "unknown", "gone", "open"]


class TestRefused:
    def test_a_retry_to_a_stream_that_does_not_exist_leaves_the_letter_open_and_says_why(
        self, rig: Rig
    ) -> None:
        rig.dead_letter()
        rig.watch()
        rig.redis.execute_command("DEL", rig.way.origin)
        command = rig.ask(RETRY)
        rig.operate()
        assert rig.states() == {"open": 1}
        assert rig.items(command)[0].detail == NO_STREAM
        assert rig.command_rows()[0].state == CommandState.FAILED
        assert len(rig.in_stream(rig.way.dlq)) == 1

    def test_one_target_that_is_refused_does_not_hide_what_was_sent_to_another(self, rig: Rig) -> None:
        sent = rig.dead_letter()
        rig.redis.execute_command("SET", "no-stream", "of another type")
        elsewhere = [b"original_stream", b"no-stream"]
        rig.dead_letter(drop=(b"original_stream",), more=elsewhere)
        rig.watch()
        command = rig.ask(RETRY)
        rig.operate()
        assert [letter.state for letter in rig.letters()] == ["settled", "open"]
        assert "WRONGTYPE" in rig.items(command)[1].detail
        assert rig.delivered() == {sent: 1}

    def test_a_target_without_rights_does_not_hide_what_was_sent_to_another(self, rig: Rig) -> None:
        keys = ("~orders", "~orders:dlq", "~eventwake:*")
        rig.redis.execute_command("ACL", "SETUSER", "narrow", "on", "nopass", "+@all", *keys)
        sent = rig.dead_letter()
        rig.redis.execute_command("XADD", "payouts", "*", "event_type", "PayoutMade")
        rig.dead_letter(drop=(b"original_stream",), more=[b"original_stream", b"payouts"])
        rig.watch()
        rig.configure(url=rig.server.url.replace("//", "//narrow:any@"))
        command = rig.ask(RETRY)
        rig.operate()
        assert [letter.state for letter in rig.letters()] == ["settled", "open"]
        assert "the server refused" in rig.items(command)[1].detail
        assert rig.delivered() == {sent: 1}

    @pytest.mark.parametrize("rig", [JOURNAL], indirect=True, ids=lambda way: way.name)
    def test_a_missing_right_to_send_leaves_every_letter_open(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        with_less = rig.redis.execute_command("ACL", "SETUSER", USER, "-xadd")
        assert with_less == b"OK"
        try:
            command = rig.ask(RETRY)
            rig.operate()
        finally:
            rig.redis.execute_command("ACL", "SETUSER", USER, "+xadd")
        assert rig.states() == {"open": 1}
        assert "xadd" in rig.items(command)[0].detail
        rig.assert_whole()

    @pytest.mark.parametrize("rig", [JOURNAL], indirect=True, ids=lambda way: way.name)
    @pytest.mark.parametrize("right", ["xdel", "xrange"])
    def test_what_may_have_been_sent_before_the_right_was_taken_is_for_a_person(
        self, rig: Rig, right: str
    ) -> None:
        event_id = rig.dead_letter()
        rig.watch()
        command = rig.ask(RETRY)
        rig.killed_at(SENT_NOT_REMOVED)
        rig.redis.execute_command("ACL", "SETUSER", USER, f"-{right}")
        try:
            rig.operate()
        finally:
            rig.redis.execute_command("ACL", "SETUSER", USER, f"+{right}")
        assert rig.states() == {"unknown": 1}
        assert "may have been sent before" in rig.items(command)[0].detail
        assert rig.delivered() == {event_id: 1}

    def test_a_discard_that_may_have_been_done_is_for_a_person(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        command = rig.ask(DISCARD)
        rig.killed_at(Step("after", LETTERS_OF_REDIS + "discard"))
        rig.redis.execute_command("DEL", rig.way.dlq)
        rig.redis.execute_command("SET", rig.way.dlq, "of another type")
        rig.operate()
        assert rig.states() == {"unknown": 1}
        assert MAY_BE_DONE in rig.items(command)[0].detail

    def test_where_the_source_is_read_only_nothing_is_begun(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        command = rig.ask(RETRY)
        rig.configure(writable=False)
        rig.operate()
        assert rig.states() == {"open": 1}
        assert rig.items(command)[0].detail == READ_ONLY
        rig.assert_whole()


class TestJournal:
    @pytest.mark.parametrize("rig", [JOURNAL], indirect=True, ids=lambda way: way.name)
    @pytest.mark.parametrize("how", ["deleted by its consumer", "trimmed"])
    def test_what_cannot_be_looked_for_any_more_is_never_sent_again(self, rig: Rig, how: str) -> None:
        event_id = rig.dead_letter()
        rig.redis.execute_command("XADD", rig.way.origin, "*", *event_fields("earlier"))
        rig.watch()
        command = rig.ask(RETRY)
        rig.killed_at(SENT_NOT_REMOVED)
        assert rig.delivered() == {"earlier": 1, event_id: 1}
        [_, sent] = rig.in_stream(rig.way.origin)
        later = rig.redis.execute_command("XADD", rig.way.origin, "*", *event_fields("later"))
        if how == "trimmed":
            rig.redis.execute_command("XTRIM", rig.way.origin, "MINID", later)
        else:
            rig.redis.execute_command("XDEL", rig.way.origin, sent)
        rig.operate()
        assert rig.states() == {"unknown": 1}
        assert "whether it was sent cannot be seen any more" in rig.items(command)[0].detail
        assert rig.delivered() == {"earlier": 1, event_id: 1, "later": 1}

    @pytest.mark.parametrize("rig", [JOURNAL], indirect=True, ids=lambda way: way.name)
    def test_an_operator_that_looked_before_another_sent_looks_again(self, rig: Rig) -> None:
        event_id = rig.dead_letter()
        rig.watch()
        rig.ask(RETRY)
        rig.killed_at(INTENDED)
        with rig.stopped_at(Step("before", LETTERS_OF_REDIS + "_entries")) as sleeper:
            rig.killed_at(SENT_NOT_NOTED)
            sleeper.send_signal(signal.SIGCONT)
            wait_until(lambda: not rig.unfinished(), "the sleeper finishes")
        assert rig.states() == {"settled": 1}
        assert rig.delivered() == {event_id: 1}
        rig.assert_whole()

    @pytest.mark.parametrize("rig", [JOURNAL], indirect=True, ids=lambda way: way.name)
    def test_a_person_may_send_again_what_is_unknown(self, rig: Rig) -> None:
        event_id = rig.dead_letter()
        rig.watch()
        rig.ask(RETRY)
        rig.killed_at(SENT_NOT_REMOVED)
        [sent] = rig.in_stream(rig.way.origin)
        rig.redis.execute_command("XDEL", rig.way.origin, sent)  # before anyone read it
        rig.operate()
        rig.ask(RETRY, LetterState.UNKNOWN)
        rig.operate()
        assert rig.delivered() == {event_id: 1}
        rig.assert_whole()


class TestCopies:
    def test_a_letter_whose_copy_is_damaged_is_not_removed_from_the_broker(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.dead_letter()
        rig.watch()
        damaged = rig.letters()[0]
        with rig.store.write() as tx:
            wrong = sa.update(schema.letter).where(schema.letter.c.id == damaged.id)
            tx.execute(wrong.values(body=damaged.body[:-1] + b"!"))
        command = rig.ask(DISCARD)
        rig.operate()
        assert [letter.state for letter in rig.letters()] == ["open", "discarded"]
        assert list(rig.in_stream(rig.way.dlq)) == [damaged.position]
        assert "is damaged" in rig.items(command)[0].detail

    def test_what_could_not_be_put_back_is_never_taken_away(self, rig: Rig) -> None:
        rig.configure(mask=("data.order_id",), mask_letters=True)
        event_id = rig.dead_letter()
        rig.watch()
        with pytest.raises(Conflict, match="its copy here is masked"):
            rig.ask(DISCARD)
        rig.assert_whole()
        rig.ask(RETRY)
        rig.operate()
        assert rig.delivered() == {event_id: 1}
        rig.assert_whole()

    def test_a_masked_copy_is_never_put_back(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        rig.ask(DISCARD)
        rig.operate()
        with rig.store.write() as tx:
            tx.execute(sa.update(schema.letter).values(flags=int(Flag.MASKED)))
        with pytest.raises(Conflict, match="its copy here is masked"):
            rig.ask(RESTORE, LetterState.DISCARDED)
        assert rig.states() == {"discarded": 1}

    @pytest.mark.parametrize("rig", [ONE_SLOT, JOURNAL], indirect=True, ids=lambda way: way.name)
    def test_a_letter_is_restored_though_its_stream_was_deleted(self, rig: Rig) -> None:
        rig.dead_letter()
        rig.watch()
        rig.ask(DISCARD)
        rig.operate()
        rig.redis.execute_command("DEL", rig.way.dlq)
        rig.watch()
        rig.ask(RESTORE, LetterState.DISCARDED)
        rig.operate()
        rig.watch(times=2)
        assert rig.states() == {"open": 1}
        rig.ask(RETRY)
        rig.operate()
        rig.assert_whole()


def test_the_collectors_carry_operations_out_beside_everything_else_they_do(rig: Rig) -> None:
    payments = Payments(rig)
    with rig.running("collectors"):
        for _ in range(3):
            rig.dead_letter()
        wait_until(lambda: rig.states() == {"open": 3}, "the letters are found")
        first, second, _ = rig.letters()
        for kind, letter in ((RETRY, first), (DISCARD, second)):
            rig.submit(of_letter(rig, kind, letter))
        wait_until(
            lambda: rig.states()["discarded"] and rig.in_stream(rig.way.origin), "both are carried out"
        )
        payments.pays(*payments.read()[0])
        wait_until(lambda: rig.states() == {"succeeded": 1, "discarded": 1, "open": 1}, "its effect is seen")
        rig.submit(of_letter(rig, RESTORE, rig.letters()[1]))
        wait_until(lambda: not rig.unfinished(), "all is finished")
        assert rig.states() == {"succeeded": 1, "open": 2}
    assert [row.state for row in rig.command_rows()] == [CommandState.DONE] * 3
    assert len(rig.in_stream(rig.way.dlq)) == 2
    assert rig.delivered()[first.event_id] == 1
    assert "the broker has kept it" not in rig.history(second.id)
    rig.assert_counted()


def of_letter(rig: Rig, kind: CommandKind, letter: Any) -> Any:
    return replace(rig.order(kind), letters=[(letter.id, letter.version)])
