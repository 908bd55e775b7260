"""CSV for spreadsheets: what strangers wrote is text in its own cell, and never a formula."""

import csv
import io
import random
from typing import Any, NamedTuple

import pytest

from eventwake.reports.csv_export import BYTE_ORDER_MARK, harmless, report_to_csv, to_csv
from eventwake.reports.document import Figure, Report, Section

HOSTILE = [
    "=1+1", "=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "\n=1", " =1", "\x00=1",
    "\u200b=1", "\ufeff=1", "＝1", "  \u00a0@x", "\x1f\x7f+1",
]  # fmt: skip
PLAIN = [
    "", "orders", "a=1", "1-0", "a@mail.example", "Ünïcödé", "a, b", 'say "hi"', "two\nlines", "cr\r\nlf",
    "a;=1", "nul\0inside", "tab\tinside", "🙂", "'quoted'",
]  # fmt: skip


class Row(NamedTuple):
    name: Any
    number: int | float | None = 1


def read(written: bytes, delimiter: str = ",") -> list[list[str]]:
    assert written.startswith(BYTE_ORDER_MARK)
    return list(csv.reader(io.StringIO(written.decode("utf-8-sig"), newline=""), delimiter=delimiter))


def cells(*texts: str) -> list[str]:
    """The texts as they come back from a file of one column."""
    [_, *rows] = read(to_csv([Row(text) for text in texts], {"name": "Name"}))
    return [cell for row in rows for cell in row]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_formula_becomes_text(text: str) -> None:
    assert cells(text) == [f"'{text}"]


@pytest.mark.parametrize("text", PLAIN)
def test_any_other_text_comes_back_as_it_was_in_one_cell(text: str) -> None:
    assert cells(text, "next row") == [text, "next row"]


def test_numbers_stay_numbers_below_0_too() -> None:
    written = to_csv([Row("a", -5), Row("b", 1.5), Row("c", None)], {"name": "Name", "number": "Number"})
    assert written.decode("utf-8-sig").splitlines() == [
        '"Name","Number"', '"a",-5', '"b",1.5', '"c",""',
    ]  # fmt: skip


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_no_cell_begins_with_a_formula_however_a_spreadsheet_parts_the_cells(delimiter: str) -> None:
    """Where a comma is the decimal sign, a semicolon parts the cells of a CSV file."""
    dice = random.Random(17)
    for _ in range(300):
        texts = ["".join(dice.choices("=+-@;,\"'\t\r\n a\0", k=dice.randint(0, 8))) for _ in range(4)]
        written = to_csv([Row(text) for text in texts], {"name": "Name", "number": "Number"})
        for row in read(written, delimiter):
            assert not any(cell.lstrip(" \0").startswith(("=", "+", "-", "@")) for cell in row)


def test_a_half_character_costs_no_row() -> None:
    assert cells("a\ud800b", "next") == ["a?b", "next"]


def test_columns_are_in_the_order_and_under_the_headings_that_were_asked_for() -> None:
    assert read(to_csv([Row("a", 2)], {"number": "How many", "name": "What"})) == [
        ["How many", "What"],
        ["2", "a"],
    ]


def test_of_no_rows_the_headings_are_left() -> None:
    assert read(to_csv([], {"name": "Name"})) == [["Name"]]


def test_a_report_has_every_table_under_its_title() -> None:
    report = Report(
        "Week 9",
        "1 to 7 March",
        "made on 8 March",
        [Figure("Events", "1,000", "counted")],
        [
            Section("Groups", ["Group", "Lag"], [["mail", 5], ["=evil()", None]]),
            Section("Letters", ["Id"], []),
        ],
        caveats=["@ gap of 3 events"],
    )
    assert read(report_to_csv(report)) == [
        ["Week 9", "1 to 7 March", "made on 8 March"],
        ["'@ gap of 3 events"],
        ["Events", "1,000", "counted"],
        [],
        ["Groups"],
        ["Group", "Lag"],
        ["mail", "5"],
        ["'=evil()", "unknown"],
        [],
        ["Letters"],
        ["Id"],
    ]


@pytest.mark.parametrize("value", [0, -1, 1.5, None, True, b"=1"])
def test_what_is_no_text_is_left_alone(value: Any) -> None:
    assert harmless(value) is value
