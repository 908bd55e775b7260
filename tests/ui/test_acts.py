"""What a person does on the pages: each act is one command for what was shown, or is refused and said."""

import json
from functools import wraps
from typing import Any

import pytest
import sqlalchemy as sa
import streamlit as st

from dashboard import acts
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import Actor, CommandKind
from eventwake.store import commands, schema
from eventwake.store.commands import Order
from eventwake.store.reads import letters, operations
from eventwake.store.reads.letters import LetterRow
from eventwake.store.writes import sources
from eventwake.store.writes.events import Flag
from eventwake.store.writes.letters import transition
from tests.ui.conftest import Found
from tests.ui.dashboard import Tab
from tests.ui.filled_store import Builder, declined, envelope

RETRY, DISCARD, RESTORE = CommandKind.RETRY, CommandKind.DISCARD, CommandKind.RESTORE


def newest_operations(there: Found) -> list[operations.OperationRow]:
    """The operations that were asked for on the pages, the newest first."""
    with there.store.read() as connection:
        known = max(there.filled.operations.values())
        return [o for o in operations.newest(connection, 50) if o.id > known]


def items(there: Found, operation: int) -> list[operations.ItemRow]:
    with there.store.read() as connection:
        return operations.items(connection, operation, 100)


def row(there: Found, letter_id: int) -> LetterRow:
    with there.store.read() as connection:
        return letters.rows_of(connection, [letter_id])[0]


def open_letter(there: Found) -> int:
    return there.filled.letters[LetterState.OPEN]


def of(letter_id: int) -> Tab:
    return Tab("dead_letters", state="All", letter=str(letter_id))


def someone_else_discards(there: Found, letter_id: int) -> None:
    shown = row(there, letter_id)
    with there.store.write() as tx:
        commands.submit(tx, Order(DISCARD, "shop", Actor(), [(letter_id, shown.version)], "mine"), now_ms())


class TestOneLetter:
    def test_a_retry_is_one_click_and_one_command_for_what_was_shown(self, full: Found) -> None:
        letter_id = open_letter(full)
        shown = row(full, letter_id)
        tab = of(letter_id)
        assert "sends it to **payments**, seen again by payment-service (gave it up)" in tab.said()
        tab.click("act.Retry")
        [operation] = newest_operations(full)
        assert (operation.kind, operation.source, operation.actor, operation.items) == (
            "retry", "shop", "local", 1,
        )  # fmt: skip
        [item] = items(full, operation.id)
        assert (item.letter_id, item.attempt, item.target) == (letter_id, shown.attempt + 1, "payments")
        assert (row(full, letter_id).state, row(full, letter_id).version) == ("claimed", shown.version + 1)
        assert "an operation has it" in tab.said()
        assert not tab.has("act.Retry")

    def test_a_letter_that_changed_since_it_was_shown_is_refused_and_said(self, full: Found) -> None:
        letter_id = open_letter(full)
        tab = of(letter_id)
        with full.store.write() as tx:
            transition(tx, [letter_id], LetterState.EXPIRED, now_ms())
        tab.click("act.Retry")
        assert newest_operations(full) == []
        assert any("it changed since it was shown: it is expired now" in said for said in tab.warnings())

    def test_a_letter_that_changed_and_is_open_again_is_refused_as_well(self, full: Found) -> None:
        letter_id = open_letter(full)
        tab = of(letter_id)
        someone_else_discards(full, letter_id)
        [other] = newest_operations(full)
        with full.store.write() as tx:
            commands.cancel(tx, other.id, Actor(), now_ms())
        tab.click("act.Retry")
        assert newest_operations(full) == [operations_of(full, other.id)]
        assert any("it changed since it was shown: it is open now" in said for said in tab.warnings())

    def test_of_two_who_click_at_once_one_wins_and_the_other_is_told(self, full: Found) -> None:
        letter_id = open_letter(full)
        first, second = of(letter_id), of(letter_id)
        first.click("act.Retry")
        second.click("act.Retry")
        assert len(newest_operations(full)) == 1
        assert not any("Nothing was done" in said for said in first.warnings())
        assert (
            "Nothing was done: the letter cannot be had, it changed since it was shown: it is claimed now"
        ) in second.warnings()

    def test_what_was_told_is_forgotten_with_the_next_act(self, full: Found) -> None:
        letter_id = open_letter(full)
        tab = of(letter_id)
        someone_else_discards(full, letter_id)
        tab.click("act.Retry")
        assert tab.warnings()
        tab.app.query_params["letter"] = str(full.filled.return_of)
        tab.run().click("act.Retry")
        assert not any("Nothing was done" in said for said in tab.warnings())

    def test_a_discarded_letter_is_restored_with_one_click(self, full: Found) -> None:
        letter_id = full.filled.letters[LetterState.DISCARDED]
        tab = of(letter_id)
        assert "puts it back at the end of **payments:dlq**" in tab.said()
        tab.click("act.Restore")
        [operation] = newest_operations(full)
        assert (operation.kind, [item.letter_id for item in items(full, operation.id)]) == (
            "restore", [letter_id],
        )  # fmt: skip

    def test_a_letter_that_may_have_been_sent_is_retried_after_a_warning_only(self, full: Found) -> None:
        letter_id = full.filled.letters[LetterState.UNKNOWN]
        tab = of(letter_id).click("act.Retry…")
        assert newest_operations(full) == []
        assert any("1 of them may have been sent already; a retry can deliver" in w for w in tab.warnings())
        tab.click("operation.confirm")
        [operation] = newest_operations(full)
        assert [(item.letter_id, item.attempt) for item in items(full, operation.id)] == [(letter_id, 2)]

    def test_a_letter_without_an_origin_asks_whereto(self, full: Found) -> None:
        letter_id = full.filled.without_target
        tab = of(letter_id).click("act.Retry…")
        assert "None of them says where it came from: choose a stream." in tab.said()
        assert tab.app.button(key="operation.confirm").proto.disabled
        tab.choose("operation.target", "emails").click("operation.confirm")
        [operation] = newest_operations(full)
        assert [(item.letter_id, item.target) for item in items(full, operation.id)] == [
            (letter_id, "emails")
        ]

    @pytest.mark.parametrize(
        "state", [LetterState.CLAIMED, LetterState.SENT, LetterState.CONSUMED, LetterState.GONE]
    )
    def test_a_letter_that_waits_for_nobody_offers_nothing(self, state: LetterState, full: Found) -> None:
        tab = of(full.filled.letters[state])
        assert not [b.key for b in tab.app.button if (b.key or "").startswith(("act.", "discard.one"))]


def operations_of(there: Found, operation: int) -> operations.OperationRow | None:
    with there.store.read() as connection:
        return operations.one(connection, operation)


class TestADiscard:
    def test_needs_a_reason_which_stays_with_it(self, full: Found) -> None:
        letter_id = open_letter(full)
        tab = of(letter_id).click("discard.one")
        assert "Say why: the reason stays with the letters." in tab.said()
        for reason in ("", "   "):
            tab.fill("operation.reason", reason)
            assert tab.app.button(key="operation.confirm").proto.disabled
        tab.fill("operation.reason", " test order ").click("operation.confirm")
        [operation] = newest_operations(full)
        assert (operation.kind, operation.reason) == ("discard", "test order")
        assert [item.letter_id for item in items(full, operation.id)] == [letter_id]
        assert "“test order”" in tab.said()

    def test_of_a_letter_whose_copy_is_masked_is_not_offered_and_said(self, full: Found) -> None:
        letter_id = open_letter(full)
        with full.store.write() as tx:
            tx.execute(
                sa.update(schema.letter).where(schema.letter.c.id == letter_id).values(flags=int(Flag.MASKED))
            )
        tab = of(letter_id)
        assert tab.app.button(key="discard.one").proto.disabled
        assert "its copy here is masked, so it could not be restored; a retry works" in tab.said()
        tab.click("act.Retry")
        assert len(newest_operations(full)) == 1

    def test_of_a_letter_that_may_have_been_sent_is_a_way_out_of_the_doubt(self, full: Found) -> None:
        letter_id = full.filled.letters[LetterState.UNKNOWN]
        tab = of(letter_id).click("discard.one").fill("operation.reason", "the customer has it")
        tab.click("operation.confirm")
        [operation] = newest_operations(full)
        assert [item.letter_id for item in items(full, operation.id)] == [letter_id]

    def test_says_how_many_and_that_they_can_be_restored(self, full: Found) -> None:
        said = of(open_letter(full)).click("discard.one").said()
        assert "**1 letter**" in said
        assert "1 PaymentRequested" in said
        assert "can be restored for 90 days" in said

    def test_that_is_cancelled_does_nothing(self, full: Found) -> None:
        tab = of(open_letter(full)).click("discard.one").fill("operation.reason", "no")
        tab.click("operation.cancel")
        assert newest_operations(full) == []
        assert not tab.has("operation.confirm")


class TestManyLetters:
    def test_the_dialog_says_how_many_whereto_and_who_sees_them(self, full: Found) -> None:
        tab = Tab("dead_letters").click("retry.all")
        assert "**4 letters**" in tab.said()
        assert sorted(tab.rows("letters", "stream", "seen_by")) == [
            (1, "stock", "stock-keeper"),
            (2, "payments", "fraud-check, payment-service"),
        ]
        assert any(said.startswith("1 do not say where they came from") for said in tab.warnings())
        assert any("warehouse is read-only" in said for said in tab.warnings())
        assert tab.app.button(key="operation.confirm").label == "Retry 2"

    def test_the_letters_are_looked_through_once_and_not_with_each_key(
        self, full: Found, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked = []
        summary = letters.summary

        @wraps(summary)
        def counted(*arguments: Any) -> letters.Summary:
            looked.append(arguments)
            return summary(*arguments)

        monkeypatch.setattr(letters, "summary", counted)
        tab = Tab("dead_letters").click("discard.all")
        for reason in ("t", "to", "too old"):
            st.cache_data.clear()
            tab.fill("operation.reason", reason)
        assert len(looked) == 1
        tab.click("operation.cancel").click("discard.all")
        assert len(looked) == 2

    def test_just_those_that_were_told_are_retried(self, full: Found) -> None:
        Tab("dead_letters").click("retry.all").click("operation.confirm")
        [operation] = newest_operations(full)
        assert {item.letter_id for item in items(full, operation.id)} == {
            open_letter(full), full.filled.return_of,
        }  # fmt: skip

    def test_letters_that_come_while_the_dialog_is_open_are_not_touched(self, full: Found) -> None:
        tab = Tab("dead_letters").click("retry.all")
        with full.store.write() as tx:
            build = Builder(tx, now_ms())
            dead = build.stream("shop", "orders:dlq", kind="dead_letters")
            late = build.letter(
                dead, build.ago(1), envelope("OrderPlaced", "order-service", "ord-9", build.ago(2)),
                **declined(9, build, 1),
            )  # fmt: skip
        tab.click("operation.confirm")
        [operation] = newest_operations(full)
        assert late not in {item.letter_id for item in items(full, operation.id)}
        assert row(full, late).state == "open"

    def test_all_can_be_sent_to_another_stream(self, full: Found) -> None:
        tab = Tab("dead_letters", source="shop").click("retry.all").choose("operation.target", "emails")
        assert tab.rows("letters", "stream", "seen_by") == [(3, "emails", "email-service")]
        tab.click("operation.confirm")
        [operation] = newest_operations(full)
        assert {item.target for item in items(full, operation.id)} == {"emails"}

    def test_the_filter_is_what_is_acted_on(self, full: Found) -> None:
        tab = Tab("dead_letters", stream="graveyard").click("discard.all")
        tab.fill("operation.reason", "too old").click("operation.confirm")
        [operation] = newest_operations(full)
        assert [item.letter_id for item in items(full, operation.id)] == [full.filled.without_target]

    def test_more_than_the_settings_allow_want_their_number_typed_in(
        self, full: Found, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("EVENTWAKE_DASHBOARD__CONFIRM_ABOVE", "1")
        tab = Tab("dead_letters").click("retry.all")
        assert tab.app.button(key="operation.confirm").proto.disabled
        tab.fill("operation.typed", "3")
        assert tab.app.button(key="operation.confirm").proto.disabled
        tab.fill("operation.typed", "2").click("operation.confirm")
        assert [operation.items for operation in newest_operations(full)] == [2]

    def test_chosen_letters_are_acted_on_as_they_were_chosen(self, full: Found) -> None:
        tab = Tab("dead_letters", stream="payments:dlq").select(0, 1)
        assert "**2 chosen**" in tab.said()
        tab.click("retry.chosen").click("operation.confirm")
        [operation] = newest_operations(full)
        assert {item.letter_id for item in items(full, operation.id)} == {
            open_letter(full), full.filled.return_of,
        }  # fmt: skip

    def test_a_chosen_letter_that_someone_else_took_is_left_out_and_said(self, full: Found) -> None:
        tab = Tab("dead_letters", stream="payments:dlq").select(0, 1).click("retry.chosen")
        someone_else_discards(full, open_letter(full))
        tab.click("operation.confirm")
        operation, _other = newest_operations(full)
        assert [item.letter_id for item in items(full, operation.id)] == [full.filled.return_of]
        assert any("1 were left out" in said and "claimed" in said for said in tab.warnings())

    def test_where_all_were_taken_by_someone_else_nothing_is_done_and_said(self, full: Found) -> None:
        tab = Tab("dead_letters", stream="payments:dlq").select(0, 1).click("retry.chosen")
        for letter_id in (open_letter(full), full.filled.return_of):
            someone_else_discards(full, letter_id)
        tab.click("operation.confirm")
        assert {operation.kind for operation in newest_operations(full)} == {"discard"}
        assert any("Nothing was done" in said for said in tab.warnings())

    def test_a_source_that_refuses_is_named_though_another_has_its_operation(self, full: Found) -> None:
        with full.store.write() as tx:
            Builder(tx, now_ms()).source("warehouse", writable=True)
        tab = Tab("dead_letters").click("retry.all")
        with full.store.write() as tx:
            Builder(tx, now_ms()).source("warehouse", writable=False)
        tab.click("operation.confirm")
        assert [operation.source for operation in newest_operations(full)] == ["shop"]
        assert any("warehouse is read-only" in said for said in tab.warnings())

    def test_more_than_a_chunk_wait_for_the_operator_where_the_click_did_not_come_to_them(
        self, full: Found, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(acts, "CHUNK", 1)
        monkeypatch.setattr(acts, "SOON_S", 0.0)
        tab = Tab("dead_letters").click("retry.all").click("operation.confirm")
        [operation] = newest_operations(full)
        assert (operation.state, operation.items, items(full, operation.id)) == ("planned", 3, [])
        assert "3 waiting" in tab.said()
        tab.click(f"cancel.{operation.id}")
        assert f"Operation {operation.id} was stopped: 3 letters were not begun with." in tab.warnings()
        assert [o.state for o in newest_operations(full)] == ["cancelled"]


class TestAReadOnlySource:
    def test_offers_no_act_and_says_why(self, full: Found) -> None:
        tab = of(full.filled.read_only)
        greyed = {b.key: b.proto.disabled for b in tab.app.button}
        assert greyed["act.Retry"]
        assert greyed["discard.one"]
        assert (
            "warehouse is read-only. To allow this, set writable = true for it in the settings and restart "
            "the collectors."
        ) in tab.said()

    def test_has_nothing_to_confirm_for_all_of_its_letters(self, full: Found) -> None:
        tab = Tab("dead_letters", source="warehouse").click("discard.all").fill("operation.reason", "old")
        assert tab.app.button(key="operation.confirm").proto.disabled
        assert any("Its letters are left out." in said for said in tab.warnings())


class TestOperations:
    def test_one_under_way_can_be_stopped_and_frees_its_letters(self, full: Found) -> None:
        operation = full.filled.operations["planned"]
        tab = Tab("dead_letters").click(f"cancel.{operation}")
        assert f"Operation {operation} was stopped: 1 letters were not begun with." in tab.warnings()
        assert row(full, full.filled.letters[LetterState.CLAIMED]).state == "open"

    @pytest.mark.parametrize(
        ("state", "ago_s", "said"),
        [
            ("refused", 0, "the operator of shop is refused: a right is missing"),
            ("waiting", 20, "the operator of shop is waiting: a right is missing"),
            ("running", 30, "the operator of shop does not report"),
        ],
    )
    def test_one_that_does_not_move_says_why(self, full: Found, state: str, ago_s: int, said: str) -> None:
        assert not any("operator" in warning for warning in Tab("dead_letters").warnings())
        with full.store.write() as tx:
            at_ms = now_ms() - 1_000 * ago_s
            sources.heartbeat(tx, "shop", "operator", state, at_ms, "a right is missing")
        assert any(said in warning for warning in Tab("dead_letters").warnings())

    def test_one_without_an_operator_says_so(self, full: Found) -> None:
        with full.store.write() as tx:
            tx.execute(sa.delete(schema.worker).where(schema.worker.c.role == "operator"))
        assert any("shop has no operator yet" in warning for warning in Tab("dead_letters").warnings())

    def test_every_act_is_in_the_audit_log(self, full: Found) -> None:
        of(open_letter(full)).click("act.Retry")
        [operation] = newest_operations(full)
        with full.store.read() as connection:
            logged = operations.audit_between(connection, 0, now_ms() + 1, 1_000)[-1]
        assert (logged.actor, logged.act, logged.object) == ("local", "retry", f"operation {operation.id}")
        assert json.loads(logged.detail)["letters"] == [open_letter(full)]

    def test_an_act_on_a_store_that_is_gone_is_told_as_an_outage(self, full: Found) -> None:
        cancel = f"cancel.{full.filled.operations['planned']}"
        for key in ("act.Retry", "discard.one", "retry.chosen", cancel):
            tab = Tab("dead_letters", letter=str(open_letter(full)))
            kept = full.path.rename(full.path.with_suffix(".kept"))
            tab.click(key)
            assert any("there is no store at" in error for error in tab.errors()), key
            kept.rename(full.path)
        assert newest_operations(full) == []


class TestAnAlert:
    def test_is_acknowledged_with_a_note(self, full: Found) -> None:
        alert = full.filled.alerts["firing"]
        tab = Tab("alerts").fill(f"note.{alert}", " I look at the mail server ").click(f"ack.{alert}")
        assert "acknowledged by local 0 s ago: I look at the mail server" in tab.said()
        assert not tab.has(f"ack.{alert}")
        with full.store.read() as connection:
            logged = operations.audit_between(connection, 0, now_ms() + 1, 1_000)[-1]
        assert (logged.act, logged.object) == ("acknowledge", f"alert {alert}")

    def test_that_is_over_by_then_says_so(self, full: Found) -> None:
        alert = full.filled.alerts["firing"]
        tab = Tab("alerts")
        with full.store.write() as tx:
            tx.execute(
                sa.update(schema.alert)
                .where(schema.alert.c.id == alert)
                .values(state="resolved", resolved_ms=now_ms())
            )
        tab.click(f"ack.{alert}")
        assert "That alert is over already." in tab.warnings()
