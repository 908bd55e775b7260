"""Places in a stream compare as their broker compares them, and what is no place compares with nothing."""

import random

import pytest

from eventwake.domain.positions import has_passed, order_of


@pytest.mark.parametrize(
    "in_order",
    [
        ["0-0", "0-1", "9-0", "10-0", "1795522883279-0", "1795522883279-2", "1795522883279-10"],
        ["3:-1", "3:0", "3:9", "3:10", "3:9223372036854775807"],
        ["0-1", "18446744073709551615-18446744073709551615"],
        ["9", "10", "100"],
    ],
)
def test_they_sort_by_number_and_not_by_text(in_order: list[str]) -> None:
    shuffled = random.Random(4).sample(in_order, len(in_order))
    assert sorted(shuffled, key=lambda position: order_of(position) or ()) == in_order


@pytest.mark.parametrize(
    "text",
    [
        None, "", "-", "-1", "1-", "a-1", "1-a", "1:", ":1", "1:-2", "1 ", " 1", "1\n", "1-0\n", "0:1\n",
        "１-０", "1" * 21, "0:" + "9" * 20, "$", ">",
    ],
)  # fmt: skip
def test_what_is_no_position_has_no_order(text: str | None) -> None:
    assert order_of(text) is None


@pytest.mark.parametrize(
    ("group", "event", "passed"),
    [
        ("5-1", "5-1", True),
        ("5-1", "5-2", False),
        ("10-0", "9-9", True),
        ("0-0", "1-0", False),
        ("0:17,3:42", "3:42", True),
        ("0:17,3:42", "3:43", False),
        ("0:17,3:42", "0:18", False),
        ("0:17,33:42", "3:1", None),  # 33 is not 3
        ("0:-1", "0:0", False),  # nothing of the partition was read yet
        ("0:17", "1:3", None),  # the group has no place in that partition
        (None, "5-1", None),
        ("5-1", None, None),
        ("", "5-1", None),
        ("nonsense", "5-1", None),
    ],
)
def test_a_group_has_passed_what_lies_at_or_before_its_own_place(
    group: str | None, event: str | None, passed: bool | None
) -> None:
    assert has_passed(group, event) is passed
