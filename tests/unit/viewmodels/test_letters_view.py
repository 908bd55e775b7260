"""Dead letters: what a retry would do, what an operation covers, and what came of it."""

import json
from typing import Any

import pytest

from dashboard.viewmodels import letters as view
from dashboard.viewmodels.letters import Reader, TargetLine
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import CommandKind
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letters import GroupRow as CauseRow
from eventwake.store.reads.letters import (
    HistoryRow,
    LetterDetails,
    LetterFilter,
    LetterRow,
    OutcomeRow,
    Summary,
)
from eventwake.store.reads.operations import OperationRow

NOW = 1_800_000_000_000
RETRY, DISCARD, RESTORE = CommandKind.RETRY, CommandKind.DISCARD, CommandKind.RESTORE


def letter(**more: Any) -> LetterRow:
    values: dict[str, Any] = {
        **dict.fromkeys(LetterRow._fields), "id": 7, "version": 1, "source": "shop", "stream": "orders:dlq",
        "position": "9-0", "state": "open", "attempt": 0, "origin_stream": "orders", "group_name": "mailer",
        "error_class": "", "error_message": "", "failed_ms": NOW - 60_000, "size": 100, "changed_ms": NOW,
    }  # fmt: skip
    return LetterRow(**{**values, **more})


def details(**more: Any) -> LetterDetails:
    values: dict[str, Any] = {
        **dict.fromkeys(LetterDetails._fields), "rule": "Redis field names: error", "how": "{}",
        "own_fields": "[]",
    }  # fmt: skip
    return LetterDetails(**{**values, **more})


def group(name: str, position: str | None, stream: str = "orders", source: str = "shop") -> GroupRow:
    values = dict.fromkeys(GroupRow._fields)
    return GroupRow(**{**values, "source": source, "stream": stream, "name": name, "position": position})  # type: ignore[arg-type]


class TestReaders:
    def test_each_group_of_the_target_says_whether_it_had_the_event(self) -> None:
        groups = [
            group("late", "3-0"), group("early", "8-0"), group("strange", None), group("mailer", "8-0"),
            group("elsewhere", "8-0", stream="payments"), group("mailer", "8-0", source="other"),
        ]  # fmt: skip
        assert view.readers(letter(), "5-0", "orders", groups) == [
            Reader("mailer", "gave it up"),
            Reader("early", "has had it already"),
            Reader("late", "has yet to reach it"),
            Reader("strange", "unknown whether it had it"),
        ]

    def test_without_the_events_place_nobody_knows(self) -> None:
        [reader] = view.readers(letter(), None, "orders", [group("early", "8-0")])
        assert reader.stands == "unknown whether it had it"

    def test_in_another_stream_it_is_new_to_everyone(self) -> None:
        [reader] = view.readers(letter(), "5-0", "payments", [group("mailer", "8-0", stream="payments")])
        assert reader.stands == "has not seen it"


class TestOperations:
    @pytest.mark.parametrize(
        ("kind", "states"),
        [(RETRY, {"open", "unknown"}), (DISCARD, {"open", "unknown"}), (RESTORE, {"discarded"})],
    )
    def test_each_takes_the_states_that_it_can(self, kind: CommandKind, states: set[str]) -> None:
        assert {state.value for state in LetterState if view.can(state, kind)} == states
        assert set(view.narrowed(LetterFilter(states=()), kind).states) == states
        assert view.narrowed(LetterFilter(("sent",)), kind).states == ()

    def test_a_preview_counts_by_target_and_says_who_reads_there(self) -> None:
        summary = Summary(
            10, [("shop", "orders", 6), ("shop", None, 3), ("other", "orders", 1)], [("A", 9), (None, 1)],
            2_048, NOW - 7_200_000, NOW - 60_000,
        )  # fmt: skip
        shown = view.preview(summary, [group("mailer", "8-0"), group("audit", None)], None, NOW)
        assert shown.targets == (
            TargetLine("shop", "orders", 6, "mailer, audit"),
            TargetLine("other", "orders", 1, "no group reads it now"),
        )
        assert (shown.without_target, shown.sources) == (3, {"shop": 9, "other": 1})
        assert shown.types == (("A", 9), ("unknown", 1))
        assert shown.ages == "from 2 h ago to 1 min ago"

    def test_a_chosen_target_takes_all_of_them(self) -> None:
        summary = Summary(9, [("shop", "orders", 6), ("shop", None, 3)], [], 0, NOW, NOW)
        shown = view.preview(summary, [], "payments", NOW)
        assert [(line.stream, line.letters) for line in shown.targets] == [("payments", 9)]
        assert (shown.without_target, shown.ages) == (0, "0 s ago")

    def test_only_letters_that_have_a_target_and_a_writable_source_are_taken(self) -> None:
        summary = Summary(10, [("shop", "orders", 6), ("shop", None, 3), ("other", "x", 1)], [], 0, NOW, NOW)
        shown = view.preview(summary, [], None, NOW)
        assert view.taken(shown, ["shop"], RETRY) == 6
        assert view.taken(shown, ["shop"], DISCARD) == 9
        assert view.taken(shown, ["shop", "other"], RETRY) == 7
        assert view.taken(shown, [], DISCARD) == 0

    def test_a_line_says_how_far_it_is_and_then_what_came_of_it(self) -> None:
        running = OperationRow(3, "retry", "shop", "local", "", "running", 5, NOW - 60_000, NOW, None, "")
        line = view.operation_line(running, {"done": 2, "refused": 1, "sent": 2}, {}, NOW)
        assert line.title == "#3 Retry of 5 letters by local, begun 1 min ago"
        assert (line.done, line.items, line.under_way) == (3, 5, True)
        ended = running._replace(state="done", finished_ms=NOW - 5_000, items=1, reason="mail server is back")
        line = view.operation_line(ended, {"done": 1}, {"came_back": 1}, NOW)
        assert line.title == "#3 Retry of 1 letter by local, done 5 s ago · “mail server is back”"
        assert (line.under_way, line.says) == (False, "1 came back")

    def test_sent_is_never_said_to_be_resolved(self) -> None:
        assert "nobody is known to have handled it" in view.SAYS[LetterState.SENT]
        assert "nobody is known to have handled it" in view.SAYS[LetterState.SETTLED]
        assert view.STATE_COLOURS[LetterState.SENT] != view.STATE_COLOURS[LetterState.CONSUMED]

    def test_every_state_has_words_a_colour_and_a_place_in_the_filter(self) -> None:
        offered = [state for states in view.STATE_CHOICES.values() for state in states]
        assert sorted(offered) == sorted(LetterState)
        assert view.SAYS.keys() == view.STATE_COLOURS.keys() == set(LetterState)


class TestWords:
    def test_a_line_says_what_is_not_known(self) -> None:
        [line] = view.letter_lines([letter(group_name=None, origin_stream=None, attempts=None)], NOW)
        assert (line.event_type, line.group, line.origin) == ("unknown", "unknown", "unknown")
        assert (line.error, line.tries, line.failed) == ("(it does not say why)", None, "1 min ago")

    def test_facts_say_how_they_are_known_where_the_letter_does_not_say_them(self) -> None:
        how = json.dumps({"origin_stream": "stream's name", "failed": "broker's time"})
        facts = dict(view.facts(letter(), details(how=how, origin_position="5-0"), NOW))
        assert facts["Came from"] == "orders (by stream's name) @ 5-0"
        assert facts["Failed"] == "1 min ago (by broker's time)"
        assert (facts["Attempts"], facts["First failed"]) == ("unknown", "unknown")

    def test_what_a_retry_leaves_away_is_said(self) -> None:
        assert view.left_away(details(own_fields='["error", "reason"]')) == "error, reason"
        assert view.left_away(details()) == "nothing"

    def test_a_cause_is_harmless_in_a_button(self) -> None:
        [line] = view.cause_lines([CauseRow("f", "![x](y)", "<b>", "`m`", 1_234, NOW, NOW)], NOW)
        assert line.label == "**1,234** \\!\\[x\\]\\(y\\)\\: \\`m\\` · last 0 s ago"
        assert line.help.startswith("\\<b\\>, first")

    def test_history_is_told_from_its_end(self) -> None:
        history = [HistoryRow(NOW - 5_000, "open", None, "found"), HistoryRow(NOW, "came_back", 3, "again")]
        assert [line.state for line in view.history_lines(history, NOW)] == ["came back", "open"]

    def test_outcomes_name_each_group_and_when_it_was_looked_at(self) -> None:
        assert view.outcome_line([], NOW) == ""
        seen = [
            OutcomeRow(1, "audit", "waiting", NOW - 9_000),
            OutcomeRow(1, "mailer", "consumed", NOW - 4_000),
        ]
        assert view.outcome_line(seen, NOW) == "audit: waiting · mailer: consumed, seen 4 s ago"
