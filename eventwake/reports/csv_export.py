"""Rows as CSV that a spreadsheet opens without obeying: texts of strangers never start a formula."""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")  # source: OWASP, CSV injection


def to_csv(rows: Iterable[Any], columns: Mapping[str, str]) -> bytes:
    """The columns (attribute -> heading) of rows with those attributes, as UTF-8 with a byte-order mark.

    Texts that a spreadsheet would take for a formula get an apostrophe in front; numbers stay numbers.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(columns.values())
    for row in rows:
        writer.writerow([harmless(getattr(row, name)) for name in columns])
    return b"\xef\xbb\xbf" + text.getvalue().encode("utf-8", "replace")


def sections(parts: Sequence[tuple[str, bytes]]) -> bytes:
    """Several tables in one file, each under its heading."""
    body = b"\r\n".join(csv_heading(title) + table.removeprefix(b"\xef\xbb\xbf") for title, table in parts)
    return b"\xef\xbb\xbf" + body


def csv_heading(title: str) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerow([harmless(title)])
    return text.getvalue().encode("utf-8", "replace")


def harmless(value: Any) -> Any:
    """The value as a cell may hold it."""
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
