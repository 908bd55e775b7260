"""Comparing places in a stream: "1795522883279-0" of Redis, "42" of Kafka."""

import re

_NUMBERS = re.compile(r"[0-9]{1,20}(?:-[0-9]{1,20})*")


def order_of(position: str | None) -> tuple[int, ...] | None:
    """A key that sorts positions as their broker does; None for what is no position."""
    if position is None or not _NUMBERS.fullmatch(position):
        return None
    return tuple(int(part) for part in position.split("-"))


def has_passed(group_position: str | None, position: str | None) -> bool | None:
    """Whether a group at one position has been given what lies at the other; None where it cannot be told."""
    group, event = order_of(group_position), order_of(position)
    return None if group is None or event is None else group >= event
