"""What is taken away from the pages: the report as HTML and CSV, and the tables."""

import csv
import io
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from streamlit.runtime.media_file_manager import MediaFileManager

from tests.ui.conftest import Found
from tests.ui.dashboard import Tab


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> dict[str, Callable[[], bytes]]:
    """What each download button gives, by the id that the button has for it."""
    given: dict[str, Callable[[], bytes]] = {}
    add = MediaFileManager.add_deferred

    def kept(self: MediaFileManager, data: Callable[[], bytes], *arguments: object, **options: object) -> str:
        file_id: str = add(self, data, *arguments, **options)  # type: ignore[arg-type]
        given[file_id] = data
        return file_id

    monkeypatch.setattr(MediaFileManager, "add_deferred", kept)
    return given


def download(tab: Tab, given: dict[str, Callable[[], bytes]], key: str) -> bytes:
    return given[tab.app.download_button(key=key).proto.deferred_file_id]()


class Cells(HTMLParser):
    """The rows of every table, and every tag that was seen."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: set[str] = set()
        self._open = False
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._open = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._open = False

    def handle_data(self, data: str) -> None:
        if self._open:
            self.rows[-1][-1] += data


def table_rows(page: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(page.decode("utf-8-sig"))))


def test_the_page_the_html_and_the_csv_say_the_same(
    full: Found, downloads: dict[str, Callable[[], bytes]]
) -> None:
    tab = Tab("reports", period="This month")
    html = Cells(download(tab, downloads, "html"))
    sheet = table_rows(download(tab, downloads, "csv"))
    lags = tab.rows("Group", "Stream", "Greatest lag (events)")
    [shown] = [row for row in lags if row[0] == "payment-service"]
    assert shown == ("payment-service", "payments", "210")
    assert any(row[:3] == list(shown) for row in html.rows)
    assert any(row[:3] == list(shown) for row in sheet)


def test_a_report_says_what_operators_did_and_why(
    full: Found, downloads: dict[str, Callable[[], bytes]]
) -> None:
    sheet = table_rows(download(Tab("reports", period="This month"), downloads, "csv"))
    operation = str(full.filled.operations["done"])
    [row] = [row for row in sheet if row[:1] == [operation]]
    assert row[2:] == ["local", "discard", "1", "done", "test order", "1 discarded"]


def test_what_is_not_known_is_no_zero_in_a_report(
    full: Found, downloads: dict[str, Callable[[], bytes]]
) -> None:
    tab = Tab("reports", period="This month")
    assert tab.figure("Events never read") == "≥ 17"
    sheet = table_rows(download(tab, downloads, "csv"))
    assert ["Events never read", "≥ 17", "gaps"] in sheet
    [flushed] = [row for row in sheet if "the stream was flushed" in row]
    assert flushed[2] == "unknown"
    [bookkeeper] = [row for row in sheet if row[:1] == ["bookkeeper"]]
    assert bookkeeper[2:] == ["unknown", "unknown", "unknown", "100.0 %"]
    assert {row[:2] for row in tab.rows("Stream", "Events", "Noticed")} == {
        ("shop / emails", "unknown"), ("shop / payments", "17"),
    }  # fmt: skip


def test_a_report_counts_each_state_that_letters_entered(full: Found) -> None:
    tab = Tab("reports", period="This month")
    assert tab.figure("Dead letters in") == "14"
    assert tab.figure("Open now") == "4"
    rows = {row[0]: row[1:] for row in tab.rows("Dead-letter stream", "In", "Came back", "Unknown", "Gone")}
    assert rows["shop / payments:dlq"] == (12, 1, 1, 2)


def test_a_report_over_hostile_texts_holds_no_tag_and_no_formula_of_theirs(
    hostile: Found, downloads: dict[str, Callable[[], bytes]]
) -> None:
    tab = Tab("reports", period="This month")
    html = download(tab, downloads, "html")
    assert "evil" in html.decode()
    assert not {"img", "a", "script"} & Cells(html).tags
    cells = [cell for row in table_rows(download(tab, downloads, "csv")) for cell in row]
    assert any("HYPERLINK" in cell for cell in cells)
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]


@pytest.mark.parametrize(
    ("page", "key"), [("overview", "sources.csv"), ("alerts", "past-alerts.csv"), ("alerts", "rules.csv")]
)
def test_tables_are_taken_away_as_they_are_shown(
    page: str, key: str, hostile: Found, downloads: dict[str, Callable[[], bytes]]
) -> None:
    tab = Tab(page)
    head, *rows = table_rows(download(tab, downloads, key))
    assert len(rows) in {len(frame.value) for frame in tab.app.dataframe}
    assert "" not in head
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]
