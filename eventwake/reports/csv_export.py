"""Rows as CSV that a spreadsheet opens without obeying: texts of strangers never start a formula."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from eventwake.reports.document import Report

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # tells a spreadsheet that the text is UTF-8
QUOTING: Final = csv.QUOTE_NONNUMERIC  # every text: in half of the world a semicolon begins the next cell
# what spreadsheets take for a formula, behind what some of them skip. Source: OWASP, CSV injection
_FORMULA = re.compile(r"[\t\r\n]|[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠]")


def to_csv(rows: Iterable[Any], columns: Mapping[str, str]) -> bytes:
    """The columns (attribute -> heading) of rows with those attributes, as UTF-8 with a byte-order mark.

    Texts that a spreadsheet would take for a formula get an apostrophe in front; numbers stay numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text, quoting=QUOTING)
    writer.writerow(columns.values())
    for row in rows:
        writer.writerow([harmless(getattr(row, name)) for name in columns])
    return BYTE_ORDER_MARK + text.getvalue().encode("utf-8", "replace")


def report_to_csv(report: Report) -> bytes:
    """Every table of a report in one file, each under its title, parted by an empty line."""
    text = io.StringIO()
    writer = csv.writer(text, quoting=QUOTING)
    writer.writerow([harmless(report.title), harmless(report.period), harmless(report.made)])
    for caveat in report.caveats:
        writer.writerow([harmless(caveat)])
    writer.writerows(
        [harmless(figure.label), harmless(figure.value), harmless(figure.note)] for figure in report.figures
    )
    for section in report.sections:
        writer.writerow([])
        writer.writerow([harmless(section.title)])
        writer.writerow([harmless(name) for name in section.columns])
        writer.writerows(
            ["unknown" if cell is None else harmless(cell) for cell in row] for row in section.rows
        )
    return BYTE_ORDER_MARK + text.getvalue().encode("utf-8", "replace")


def harmless(value: Any) -> Any:
    """The value as a cell may hold it."""
    if isinstance(value, str) and _FORMULA.match(value):
        return f"'{value}"
    return value
