"""The report on a period: its days, and that what is not known is never a number in it."""

from datetime import UTC, date
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from dashboard.viewmodels import reports as view
from eventwake.reports.document import Report
from eventwake.store.reads.groups import WorstRow
from eventwake.store.reads.sources import GapRow, Missed

TUESDAY = date(2026, 3, 31)
SINCE = 1_800_000_000_000
UNTIL = SINCE + 86_400_000


@pytest.mark.parametrize(
    ("name", "first", "after"),
    [
        ("Today", date(2026, 3, 31), date(2026, 4, 1)),
        ("Yesterday", date(2026, 3, 30), date(2026, 3, 31)),
        ("This week", date(2026, 3, 30), date(2026, 4, 6)),
        ("Last week", date(2026, 3, 23), date(2026, 3, 30)),
        ("This month", date(2026, 3, 1), date(2026, 4, 1)),
        ("Last month", date(2026, 2, 1), date(2026, 3, 1)),
    ],
)
def test_a_period_is_of_whole_days(name: str, first: date, after: date) -> None:
    assert view.period(name, TUESDAY) == (first, after)


def test_last_month_of_january_is_december() -> None:
    assert view.period("Last month", date(2026, 1, 15)) == (date(2025, 12, 1), date(2026, 1, 1))


def test_a_day_begins_at_the_readers_midnight_also_where_clocks_change() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    first, after = (view.midnight_ms(day, berlin) for day in (date(2026, 3, 29), date(2026, 3, 30)))
    assert after - first == 23 * 3_600_000


def report(**rows: Any) -> Report:
    nothing: dict[str, Any] = {
        "since_ms": SINCE, "until_ms": UNTIL, "now_ms": UNTIL + 1, "known_since_ms": SINCE - 1, "streams": [],
        "flows": [], "series": [], "letter_flows": {}, "mended": {}, "open_by_stream": {}, "causes": [],
        "operations": [], "outcomes": {}, "audit": [], "groups": [], "worst": [], "alerts": [], "gaps": [],
        "missed": Missed(0, 0, 0), "sagas": {},
    }  # fmt: skip
    return view.build(view.Rows(**{**nothing, **rows}), "staging", UTC)


def figure(made: Report, label: str) -> str:
    return next(figure.value for figure in made.figures if figure.label == label)


def gap(missed: int | None) -> GapRow:
    return GapRow("shop", "orders", "1-0", "9-0", missed, "trimmed", SINCE + 5)


@pytest.mark.parametrize(
    ("missed", "said"),
    [
        (Missed(0, 0, 0), "0"), (Missed(2, 2, 7), "7"), (Missed(2, 1, 3), "≥ 3"), (Missed(2, 1, 0), "≥ 0"),
        (Missed(1, 0, 0), "unknown"),
    ],
)  # fmt: skip
def test_gaps_that_cannot_be_counted_make_the_sum_a_bound(missed: Missed, said: str) -> None:
    assert figure(report(missed=missed), "Events never read") == said


def test_letters_are_mended_once_each_in_the_figure_and_in_the_table() -> None:
    made = report(mended={7: 3, 8: 1}, letter_flows={(7, "consumed"): 5, (7, "succeeded"): 3})
    assert figure(made, "Letters mended") == "4"
    [section] = [s for s in made.sections if s.title == "Dead letters in and out"]
    assert [row[section.columns.index("Mended")] for row in section.rows] == [3, 1]


@pytest.mark.parametrize(
    ("waits", "said"), [([], "unknown"), ([None], "unknown"), ([None, 0], "0 ms"), ([4_200, None], "4.2 s")]
)
def test_the_longest_wait_is_of_those_that_are_known(waits: list[int | None], said: str) -> None:
    worst = [WorstRow(number, 10, 10, None, wait, None) for number, wait in enumerate(waits)]
    assert figure(report(worst=worst), "Longest wait") == said


def test_a_report_says_what_it_cannot_know() -> None:
    assert report().caveats == []
    assert report(known_since_ms=None).caveats == ["No event has been read yet."]
    assert report(known_since_ms=SINCE + 3_600_000).caveats == [
        "Nothing is known of the time before 2027-01-15 09:00:00."
    ]
    assert report(now_ms=SINCE + 1).caveats == ["The period is not over: these are its figures up to now."]


@pytest.mark.parametrize(
    ("read", "of"),
    [(view.ROWS_AT_MOST + 5, f"{view.ROWS_AT_MOST + 5}"), (view.READ_AT_MOST, "1,000"),
     (view.READ_AT_MOST + 1, "1,000+")],
)  # fmt: skip
def test_a_long_table_is_cut_and_says_so(read: int, of: str) -> None:
    made = report(gaps=[gap(1)] * read)
    [section] = [s for s in made.sections if s.title == "Events that were never read"]
    assert len(section.rows) == view.ROWS_AT_MOST
    assert section.note == f"The first {view.ROWS_AT_MOST} of {of} rows."
