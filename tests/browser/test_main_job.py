"""What an operator does in a real browser over the demo: follow, mend, retry, discard, restore, report."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from dashboard.page_list import PAGES, PATHS
from tests.browser.conftest import Demo, watched_page

pytestmark = [pytest.mark.server, pytest.mark.browser, pytest.mark.timeout(240)]

ROW_PX, HEAD_PX = 32, 36  # of a table, as dashboard/components/tables.py draws it


def stable(page: Page) -> None:
    page.wait_for_selector('.stApp[data-test-script-state="notRunning"]')


def choose_row(page: Page, row: int) -> None:
    """Ticks a row of the page's first table, which Streamlit paints on a canvas."""
    table = page.get_by_test_id("stDataFrame").first
    expect(table).to_be_visible()
    box = table.bounding_box()
    assert box
    page.mouse.click(box["x"] + 16, box["y"] + HEAD_PX + ROW_PX * row + ROW_PX / 2)
    stable(page)


def until(condition: Callable[[], bool], what: str, within_s: float = 45) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.5)


def badge(page: Page, text: str) -> Locator:
    return page.get_by_test_id("stMarkdownContainer").get_by_text(re.compile(f"^{text}$"))


@pytest.fixture
def letters(demo: Demo, page: Page) -> Iterator[Page]:
    """Letters of a mail server that is down, which then works again."""
    demo.command("break", "email-down")
    page.goto("/dead_letters?type=OrderConfirmed")
    try:
        until(lambda: _matching(page) >= 4, "letters arrive")
    finally:
        demo.command("mend", "email-down")
    yield page


def _matching(page: Page) -> int:
    page.reload()
    stable(page)
    said = re.search(r"([\d,]+)\s+match", page.locator("body").inner_text())
    return int(said[1].replace(",", "")) if said else 0


@pytest.mark.parametrize("path", PATHS, ids=[entry.name for entry in PAGES])
def test_every_page_opens_in_light_and_dark_without_a_complaint(
    path: str, scheme: str, demo: Demo, chromium: Browser
) -> None:
    for page in watched_page(demo, chromium, scheme):
        page.goto(path)
        stable(page)
        expect(page.get_by_role("heading").first).to_be_visible()
        expect(page.get_by_test_id("stException")).to_have_count(0)
        expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)


def test_an_orders_trace_can_be_followed(page: Page) -> None:
    page.goto("/traces?type=OrderConfirmed")
    stable(page)
    choose_row(page, 3)
    expect(page.get_by_role("heading", name=re.compile("^Trace "))).to_be_visible()
    rows = page.get_by_role("treeitem")
    expect(rows.filter(has_text="OrderPlaced").first).to_be_visible()
    expect(page.get_by_text("Saga order")).to_be_visible()
    rows.filter(has_text="PaymentCharged").first.click()
    expect(page.get_by_text("PaymentCharged in payments")).to_be_visible()
    assert "row=" in page.url
    page.reload()  # the link holds all of it
    stable(page)
    expect(page.get_by_text("PaymentCharged in payments")).to_be_visible()


def test_a_letter_is_retried_once_its_fault_is_mended_and_seen_consumed(letters: Page) -> None:
    choose_row(letters, 0)
    expect(letters.get_by_text(re.compile("sends it to orders"))).to_be_visible()
    letters.get_by_role("button", name="Retry", exact=True).click()
    expect(badge(letters, "(consumed|succeeded)")).to_be_visible(timeout=45_000)


def test_a_letter_is_discarded_with_a_reason_and_restored(letters: Page) -> None:
    choose_row(letters, 1)
    letters.get_by_role("button", name="Discard…", exact=True).click()
    dialog = letters.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Discard 1")).to_be_disabled()
    dialog.get_by_label("Reason").fill("nobody waits for this mail")
    dialog.get_by_role("button", name="Discard 1").click()
    expect(badge(letters, "discarded")).to_be_visible(timeout=30_000)
    letters.get_by_role("button", name="Restore", exact=True).click()
    expect(badge(letters, "open")).to_be_visible(timeout=30_000)


def test_a_report_is_exported(page: Page) -> None:
    page.goto("/reports")
    stable(page)
    for name, holds in (("HTML", b"<h2>Volumes</h2>"), ("CSV", b"OrderPlaced")):
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).click()
        path = download.value.path()
        assert holds in path.read_bytes()


def test_a_pick_in_the_graph_and_its_zoom_outlive_the_live_refresh(page: Page) -> None:
    page.goto("/flow")
    page.locator(".node").first.wait_for()
    page.locator(".node", has_text="order-service").first.click()
    expect(page.get_by_role("heading", name=re.compile("order-service"))).to_be_visible()
    page.locator("button[data-zoom=in]").click()
    zoom = page.locator(".world").get_attribute("style")
    time.sleep(7)  # three refreshes of the demo
    assert page.locator(".world").get_attribute("style") == zoom
    expect(page.locator(".picked")).to_have_count(1)
    expect(page.get_by_role("heading", name=re.compile("order-service"))).to_be_visible()
