"""Texts of strangers in slots that read markdown."""

import pytest

from dashboard.viewmodels.text import literal, middle, one_line

MARKDOWN = r"\`*_{}[]()#+-.!|<>~$&^=:@"


@pytest.mark.parametrize("mark", MARKDOWN)
def test_every_mark_of_markdown_is_escaped(mark: str) -> None:
    assert literal(f"a{mark}b") == f"a\\{mark}b"


@pytest.mark.parametrize(
    "address",
    [
        "http://evil.example",
        "HTTPS://evil.example",
        "www.evil.example",
        "ftp://evil",
        "mailto:a@evil.example",
    ],
)
def test_an_address_does_not_become_a_link(address: str) -> None:
    shown = literal(address)
    assert shown[1] == "\u2060"
    assert shown.replace("\\", "").replace("\u2060", "") == address


@pytest.mark.parametrize("mark", [*map(chr, range(32)), "\x7f", "\x85", *"\u200e\u200f\u202e\u2066\u2069"])
def test_no_control_character_or_direction_mark_takes_effect(mark: str) -> None:
    shown = literal(f"a{mark}b")
    assert mark not in shown
    assert shown in ("a b", "a\ufffdb")


def test_lines_become_one() -> None:
    assert one_line("a\r\n\tb\n\nc") == "a b c"


def test_a_long_text_is_cut_before_it_is_escaped() -> None:
    assert literal("!" * 20, 10) == "\\!" * 9 + "…"
    assert one_line("abcdef", 6) == "abcdef"


def test_what_is_no_text_is_shown_as_its_words() -> None:
    assert literal(ValueError("no *such* sku")) == "no \\*such\\* sku"


def test_the_middle_is_cut_since_the_ends_tell_names_apart() -> None:
    assert middle("a" * 30 + "b" * 30, 13) == "a" * 8 + "…" + "b" * 4
    assert len(middle("x" * 100, 28)) == 28
    assert middle("short") == "short"
