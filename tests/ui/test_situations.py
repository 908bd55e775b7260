"""Every page in every situation of the store: it stands, and says what is so and what to do."""

from pathlib import Path

import pytest

from dashboard.page_list import PAGES
from eventwake.clock import now_ms
from tests.ui.conftest import Finds, Found
from tests.ui.dashboard import Tab

ALL_PAGES = pytest.mark.parametrize("page", [page.name for page in PAGES])
HOUR = 3_600_000


def shows_nothing_read(tab: Tab) -> None:
    """Neither figures nor tables: an outage must not look like an empty system."""
    assert not tab.app.metric
    assert not tab.app.dataframe
    assert "No " not in tab.said()  # such as "No dead letter is open."


class TestWithoutAStore:
    @ALL_PAGES
    def test_a_page_says_that_the_collectors_must_be_started_first(self, page: str, store_path: Path) -> None:
        tab = Tab(page)
        assert any(
            f"there is no store at {store_path} yet" in error
            and "start them with: python -m collectors" in error
            for error in tab.errors()
        )
        shows_nothing_read(tab)

    def test_a_page_goes_on_by_itself_once_there_is_a_store(self, found: Finds) -> None:
        tab = Tab("overview")
        assert tab.errors()
        found("empty")
        tab.run()
        assert not tab.errors()


class TestInAnEmptyStore:
    @pytest.mark.parametrize(
        ("page", "sentence"),
        [
            ("overview", "No source has been watched yet. Name one in the settings and start"),
            ("flow", "No source is watched yet. Name one in the settings and start the collectors."),
            ("traces", "No event has been read yet. Are the collectors running, and does a source have"),
            ("dead_letters", "No dead letter is open."),
            ("lag", "No consumer group has been seen yet."),
            ("alerts", "Nothing evaluates the rules: no collector is alive."),
            ("reports", "No event has been read yet."),
        ],
    )
    def test_a_page_says_that_nothing_is_there_and_why(self, page: str, sentence: str, empty: Found) -> None:
        tab = Tab(page)
        assert not tab.errors()
        assert "no collector has ever run over this store" in tab.said()
        assert sentence in tab.said()

    def test_what_nobody_measured_is_unknown(self, empty: Found) -> None:
        tab = Tab("overview")
        assert tab.figure("Events, last minute") == "unknown"
        assert tab.figure("Longest wait") == "unknown"
        assert Tab("reports").figure("Longest wait") == "unknown"

    def test_a_link_to_what_is_not_there_says_so(self, empty: Found) -> None:
        assert "Letter 7 is not in this store" in Tab("dead_letters", letter="7").said()
        assert "No event is known by ord-1001." in Tab("traces", text="ord-1001").said()
        assert "No event is known by 9-9." in Tab("traces", event="9-9").said()
        assert "No group named mailer is there now." in Tab("lag", group="mailer").said()

    @pytest.mark.parametrize("text", ["x", "-1", "٣", "9" * 40, "1.2.3", "\x00"])
    def test_a_link_that_makes_no_sense_does_no_harm(self, text: str, empty: Found) -> None:
        for page, names in {
            "flow": ("window", "source", "pick"),
            "traces": ("type", "source", "stream", "within", "since", "until", "before", "row"),
            "dead_letters": ("state", "source", "stream", "group", "letter", "operation", "before", "cause"),
            "lag": ("find", "status", "source"),
            "alerts": ("alert",),
            "reports": ("period", "from", "to"),
        }.items():
            assert not Tab(page, **dict.fromkeys(names, text)).errors()
        assert not Tab("traces", event=text).errors()
        assert not Tab("lag", group=text, window=text).errors()


class TestInAFullStore:
    @ALL_PAGES
    def test_a_page_shows_no_error_and_that_the_collectors_report(self, page: str, full: Found) -> None:
        tab = Tab(page)
        assert not tab.errors()
        assert "collectors reported" in tab.said()

    def test_each_source_says_how_it_is(self, full: Found) -> None:
        rows = {row[0]: row[1:] for row in Tab("overview").rows("source", "state", "behind", "acts", "says")}
        assert rows == {
            "archive": ("✕ down", "0", "retry, discard", "Connection refused"),
            "shop": ("● up", "0", "retry, discard", ""),
            "warehouse": ("● up", "unknown", "read-only", ""),
        }

    def test_the_overview_counts_what_needs_someone(self, full: Found) -> None:
        tab = Tab("overview")
        assert tab.figure("Dead letters open") == "4"
        assert tab.figure("Alerts firing") == "2"
        assert tab.figure("Sagas stuck") == "1"
        assert tab.figure("Longest wait") == "≥ 15 min"
        assert "ord-1003 · after InventoryReserved · silent" in tab.said()

    def test_each_kind_of_lag_says_how_far_it_can_be_trusted(self, full: Found) -> None:
        rows = {row[0]: row[1:] for row in Tab("lag").rows("group", "status", "lag", "waits", "pending")}
        assert rows == {
            "inventory-service": ("● ok", "0", "0 ms", "0"),
            "payment-service": ("▲ falling behind", "210", "≈ 4.2 s", "1"),
            "fraud-check": ("▲ rewound", "≤ 90", "≤ 9.0 s", "0"),
            "email-service": ("✕ stalled", "≥ 1,000", "≥ 15 min", "0"),
            "stock-keeper": ("✕ stopped", "≈ 40", "≈ 1 min 1 s", "0"),
            "bookkeeper": ("○ unknown", "unknown", "unknown", "unknown"),
        }

    def test_a_group_of_a_source_that_is_down_has_no_pace(self, full: Found) -> None:
        [row] = Tab("lag", find="bookkeeper").rows("drains", "arrives", "caught_up")
        assert row == ("unknown", "unknown", "unknown")

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            ("open", "waits for a decision"),
            ("claimed", "an operation has it"),
            ("sent", "sent; the broker has it, nobody is known to have handled it"),
            ("settled", "sent and kept by the broker; nobody is known to have handled it"),
            ("consumed", "consumed by the group that had given it up"),
            ("succeeded", "consumed, and it caused a further event"),
            ("came_back", "failed again: it is back as a new letter"),
            ("unknown", "it may or may not have been sent or handled: look before you retry"),
            ("discarded", "discarded; it can be restored"),
            ("expired", "the broker's retention took it"),
            ("gone", "someone else removed it from the broker"),
        ],
    )
    def test_a_letter_says_how_it_stands(self, state: str, sentence: str, full: Found) -> None:
        letter = {name.value: number for name, number in full.filled.letters.items()}[state]
        tab = Tab("dead_letters", letter=str(letter))
        assert not tab.errors()
        assert sentence in tab.said()

    def test_a_letter_that_came_back_leads_to_the_new_one_and_back(self, full: Found) -> None:
        letters = {state.value: number for state, number in full.filled.letters.items()}
        back = Tab("dead_letters", letter=str(letters["came_back"]))
        assert f"Came back as letter {full.filled.return_of}" in back.said()
        later = Tab("dead_letters", letter=str(full.filled.return_of))
        assert f"Is the return of letter {letters['came_back']}" in later.said()

    def test_what_groups_did_with_a_retried_letter_is_said_for_each(self, full: Found) -> None:
        letters = {state.value: number for state, number in full.filled.letters.items()}
        said = Tab("dead_letters", letter=str(letters["consumed"])).said()
        assert "→ fraud-check: waiting · payment-service: consumed, seen" in said

    @pytest.mark.parametrize(
        ("state", "sentence"),
        [
            ("done", "1 done"),
            ("failed", "1 refused"),
            ("cancelled", "1 refused"),
            ("planned", "1 claimed"),
        ],
    )
    def test_an_operation_says_what_came_of_it(self, state: str, sentence: str, full: Found) -> None:
        operation = full.filled.operations[state]
        tab = Tab("dead_letters", operation=str(operation))
        [line] = [line for line in tab.said().splitlines() if line.lstrip("●✕ ").startswith(f"#{operation} ")]
        assert sentence in line
        [row] = tab.rows("letter_id", "state")
        assert row[1] == sentence.removeprefix("1 ")

    @pytest.mark.parametrize("state", ["running", "completed", "compensated", "stuck"])
    def test_a_trace_shows_its_saga(self, state: str, full: Found) -> None:
        tab = Tab("traces", trace=full.filled.traces[state])
        assert not tab.errors()
        badge = {"stuck": "running"}.get(state, state)
        assert "Saga order" in tab.said()
        assert f"badge[{badge}]" in tab.said()

    def test_a_trace_shows_an_event_that_was_published_twice_as_such(self, full: Found) -> None:
        drawn = Tab("traces", trace=full.filled.traces["completed"]).component("waterfall")
        assert '"again"' in drawn

    def test_alerts_show_who_looks_after_which(self, full: Found) -> None:
        tab = Tab("alerts")
        assert "Firing: 2" in tab.said()
        assert "acknowledged by local" in tab.said()
        assert "disk is being swapped" in tab.said()
        assert "Above their limit, not yet for long enough: 1" in tab.said()
        assert [row[0] for row in tab.rows("rule", "ended")] == ["New dead letters"]


class TestWithoutLiveCollectors:
    @ALL_PAGES
    def test_every_page_says_since_when_nothing_is_watched(self, page: str, found: Finds) -> None:
        found("full").collectors_report(now_ms() - HOUR)
        assert "no collector is alive: the last one reported 1 h ago" in Tab(page).said()

    def test_what_was_last_seen_is_not_told_as_now(self, found: Finds) -> None:
        found("full").collectors_report(now_ms() - HOUR)
        assert Tab("overview").figure("Events, last minute") == "unknown"
        assert all("silent" in row[0] for row in Tab("overview").rows("watching") if "waiting" not in row[0])

    def test_an_act_says_that_it_waits(self, found: Finds) -> None:
        found("full").collectors_report(now_ms() - HOUR)
        assert "No collector is alive: what you ask for waits until one is." in Tab("dead_letters").warnings()

    def test_nothing_firing_is_not_told_as_all_well(self, empty: Found) -> None:
        empty.collectors_report(now_ms() - HOUR)
        assert "Nothing evaluates the rules: no collector is alive." in Tab("alerts").warnings()


class TestWhenTheStoreFailsUnderAnOpenPage:
    @ALL_PAGES
    def test_a_store_that_is_taken_away_is_an_outage(self, page: str, full: Found) -> None:
        tab = Tab(page)
        full.take_away()
        tab.run()
        assert any("there is no store at" in error for error in tab.errors())
        shows_nothing_read(tab)

    @ALL_PAGES
    def test_a_store_that_is_damaged_is_an_outage(self, page: str, full: Found) -> None:
        tab = Tab(page)
        full.take_away()
        full.path.write_bytes(b"not a database any more " * 4_096)
        tab.run()
        assert any("the store's file is damaged" in error for error in tab.errors())
        shows_nothing_read(tab)

    def test_a_store_that_was_put_back_is_read_again(self, full: Found) -> None:
        full.store.close()
        tab = Tab("dead_letters")
        kept = full.path.rename(full.path.with_suffix(".kept"))
        assert tab.run().errors()
        kept.rename(full.path)
        assert not tab.run().errors()

    def test_a_store_that_was_replaced_is_read_anew(self, full: Found, found: Finds) -> None:
        tab = Tab("dead_letters")
        assert len(tab.rows("state")) == 4
        full.take_away()
        found("empty")
        tab.run()
        assert not tab.errors()
        assert "no collector has ever run over this store" in tab.said()
