"""The pages, in the order of the navigation."""

from typing import NamedTuple


class PageEntry(NamedTuple):
    name: str  # of the file in app_pages, and of the path, but for the first page
    title: str
    icon: str


PAGES = (
    PageEntry("overview", "Overview", ":material/space_dashboard:"),
    PageEntry("flow", "Flow", ":material/account_tree:"),
    PageEntry("traces", "Traces", ":material/timeline:"),
    PageEntry("dead_letters", "Dead letters", ":material/mark_email_unread:"),
    PageEntry("lag", "Lag", ":material/hourglass_bottom:"),
    PageEntry("alerts", "Alerts", ":material/notifications:"),
    PageEntry("reports", "Reports", ":material/summarize:"),
)
FIRST = PAGES[0].name
PATHS = ("/", *(f"/{page.name}" for page in PAGES[1:]))
