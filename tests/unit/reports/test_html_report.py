"""A report as HTML: whatever strangers wrote is text, nothing is fetched, and it opens in a browser."""

from html.parser import HTMLParser
from itertools import product

import pytest

from eventwake.reports.document import Bars, Cell, Figure, Report, Section
from eventwake.reports.html import POLICY, to_html

HOSTILE = [
    "<script>alert(1)</script>", "</title><script>x</script>", "'><img src=x onerror=alert(1)>",
    '" onload="x', "' onload='x", "</style><b>", "<!--", "]]>", "&lt;b&gt;", "&#x3c;b>",
    "</svg><a href='//mail.example'>",
    "javascript:alert(1)", "a\0b", "a\ud800b", "\u202egnp.exe",
]  # fmt: skip
PLACES = [
    "title", "period", "made", "caveat", "figure", "value", "note", "section", "column", "cell", "empty",
    "label", "unit",
]  # fmt: skip
TAGS = {
    "html", "head", "meta", "title", "style", "body", "h1", "h2", "div", "span", "b", "p", "table", "thead",
    "tbody", "tr", "th", "td", "svg", "rect",
}  # fmt: skip
ATTRIBUTES = {
    "lang", "charset", "http-equiv", "content", "class", "viewbox", "preserveaspectratio", "role",
    "aria-label", "x", "y", "width", "height",
}  # fmt: skip


class Seen(HTMLParser):
    """What a browser makes of a page: its tags, attributes and texts."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.comments = 0
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.comments += 1


def report(place: str = "", text: str = "", rows: list[list[Cell]] | None = None, bars: int = 3) -> Report:
    def said(name: str) -> str:
        return text if name == place else name

    charted = Bars([said("label"), *map(str, range(1, bars))], list(range(1, bars + 1)), said("unit"))
    filled = Section(
        said("section"), [said("column"), "n"], rows or [[said("cell"), 1]], said("note"), bars=charted
    )
    return Report(
        said("title"),
        said("period"),
        said("made"),
        [Figure(said("figure"), said("value"), said("note"))],
        [filled, Section("Nothing", ["n"], [], empty=said("empty"))],
        [said("caveat")],
    )


@pytest.mark.parametrize(("place", "text"), list(product(PLACES, HOSTILE)))
def test_no_text_in_any_place_becomes_markup(place: str, text: str) -> None:
    plain, seen = Seen(to_html(report())), Seen(to_html(report(place, text)))
    assert seen.tags == plain.tags
    assert [name for name, _ in seen.attributes] == [name for name, _ in plain.attributes]
    assert seen.comments == 0
    attributes = "".join(value or "" for _, value in seen.attributes)
    assert text.replace("\ud800", "?").replace("\0", "\ufffd") in (seen.text + attributes).replace(
        "\0", "\ufffd"
    )


def test_there_are_only_the_tags_and_attributes_that_we_wrote() -> None:
    seen = Seen(to_html(report()))
    assert set(seen.tags) <= TAGS
    assert {name for name, _ in seen.attributes} <= ATTRIBUTES


def test_nothing_is_fetched_and_no_script_runs_even_if_one_got_in() -> None:
    assert POLICY.startswith("default-src 'none'")
    assert "script" not in POLICY
    assert ("content", POLICY) in Seen(to_html(report())).attributes


def test_a_cell_that_is_not_known_says_so_and_is_not_0() -> None:
    page = to_html(
        report(rows=[["orders", None], ["payments", 0], ["mail", 1234567], ["rate", 0.5]])
    ).decode()
    assert "<td class='faint'>unknown</td>" in page
    for number in ("0", "1,234,567", "0.5"):
        assert f"<td class='number'>{number}</td>" in page


def test_a_table_without_rows_says_what_that_means() -> None:
    assert "<p>None.</p>" in to_html(Report("t", "p", "m", [], [Section("Letters", ["Id"], [])])).decode()


@pytest.mark.parametrize("bars", [1, 24, 300])
def test_every_bar_is_drawn_within_the_picture(bars: int) -> None:
    page = to_html(report(bars=bars))
    assert page.count(b"<rect") == bars
    drawn = [value for name, value in Seen(page).attributes if name in ("x", "y", "width", "height")]
    assert all(0 <= float(value or "-1") <= 1000 for value in drawn)


@pytest.mark.parametrize("values", [[], [0, 0]])
def test_bars_of_nothing_are_left_out(values: list[int]) -> None:
    section = Section("s", ["n"], [[1]], bars=Bars([str(v) for v in values], values, "events"))
    assert b"<svg" not in to_html(Report("t", "p", "m", [], [section]))
