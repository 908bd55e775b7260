"""Texts of strangers are shown on every page and obeyed on none."""

import json
import re

import pytest

from tests.ui.conftest import Found
from tests.ui.dashboard import Tab
from tests.ui.filled_store import HOSTILE

UNESCAPED = r"(?<!\\)(?:\\\\)*"
OBEYED = {
    "an image": UNESCAPED + r"!\[",
    "a link": UNESCAPED + r"\]\(",
    "an address": r"(?i)https?://|www\.",
    "HTML": UNESCAPED + r"<(?:img|a|script)",
    "a colour": UNESCAPED + ":violet" + UNESCAPED + r"\[evil",
    "code": UNESCAPED + "`",
    "a formula": UNESCAPED + r"\$",
    "emphasis": UNESCAPED + "__evil",
    "a line of its own": r"\n\s*\\?#",
    "a control character": "[\x00-\x08\x0b-\x1f\x7f-\x9f]",
    "a direction mark": "[\u200e\u200f\u202a-\u202e\u2066-\u2069]",
}
LONGEST = 2_500  # of one slot; the longest hostile text has 4,000 characters

PAGES = {
    "overview": (),
    "flow": ("pick",),
    "traces": ("trace",),
    "dead_letters": ("letter",),
    "lag": ("group",),
    "alerts": (),
    "reports": (),
}
NAMED = [page for page, names in PAGES.items() if names]
NUMBERS = range(len(HOSTILE))


def harmless(tab: Tab) -> bool:
    """Whether no slot that reads markdown obeys; what is in the slots is said where one does."""
    for where, text in tab.markdown_slots():
        for what, pattern in OBEYED.items():
            assert not re.search(pattern, text), f"{what} in {where}: {text!r}"
        assert len(text) <= LONGEST, f"{where} holds {len(text)} characters"
    return True


@pytest.mark.parametrize("page", PAGES)
def test_a_page_over_hostile_texts_obeys_none_of_them(page: str, hostile: Found) -> None:
    tab = Tab(page)
    assert not tab.errors()
    assert harmless(tab)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("page", NAMED)
def test_a_page_about_something_hostile_names_it_and_obeys_nothing(
    page: str, number: int, hostile: Found
) -> None:
    tab = Tab(page, **{name: hostile.filled.hostile[number][name] for name in PAGES[page]})
    assert not tab.errors()
    assert "evil" in tab.said()
    assert harmless(tab)


@pytest.mark.parametrize("opened", ["Payload", "Fields", "Error", "Facts", "History", "Copy"])
def test_no_tab_of_a_hostile_letter_obeys(opened: str, hostile: Found) -> None:
    letter = hostile.filled.hostile[0]["letter"]
    tab = Tab("dead_letters", letter=letter)
    tab.app.session_state[f"letter.{letter}.tabs"] = opened
    tab.run()
    [shown] = [t for t in tab.app.tabs if t.label == opened]
    assert len(shown.children)
    assert harmless(tab)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_dialog_over_hostile_letters_obeys_nothing(number: int, hostile: Found) -> None:
    tab = Tab("dead_letters", group=hostile.filled.hostile[number]["group"], state="All").click("retry.all")
    assert "**1 letter**" in tab.said()
    assert harmless(tab)


@pytest.mark.parametrize("number", NUMBERS)
def test_what_a_person_types_or_follows_is_not_obeyed_either(number: int, empty: Found) -> None:
    text = HOSTILE[number]
    for page, names in {
        "traces": ("text", "trace"), "dead_letters": ("text", "stream"), "lag": ("find", "group"),
        "flow": ("pick", "window"),
    }.items():  # fmt: skip
        for name in names:
            assert harmless(Tab(page, **{name: text}))


def test_names_in_a_chart_hold_no_tags(hostile: Found) -> None:
    tab = Tab("lag", group=hostile.filled.hostile[0]["group"])
    names = [
        line["name"]
        for node in tab.nodes()
        if node.type == "plotly_chart"
        for line in json.loads(node.proto.spec)["data"]
    ]
    assert len(names) == 2
    assert all("evil" in name and "<" not in name for name in names)
