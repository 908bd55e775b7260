"""Comparing places in a stream: "1795522883279-0" of Redis, "3:42" (partition and offset) of Kafka.

A group on a stream with partitions has a place in each: "0:17,3:42".
"""

import re

_NUMBERS = re.compile(r"[0-9]{1,20}(?:-[0-9]{1,20})*")
_OFFSET = re.compile(r"(?P<partition>[0-9]{1,9}):(?P<offset>-1|[0-9]{1,19})")


def order_of(position: str | None) -> tuple[int, ...] | None:
    """A key that sorts positions of one partition as their broker does; None for what is no position."""
    if position is None:
        return None
    if match := _OFFSET.fullmatch(position):
        return (int(match["offset"]),)
    if not _NUMBERS.fullmatch(position):
        return None
    return tuple(int(part) for part in position.split("-"))


def has_passed(group_position: str | None, position: str | None) -> bool | None:
    """Whether a group at one position has been given what lies at the other; None where it cannot be told."""
    if group_position and position and (match := _OFFSET.fullmatch(position)):
        own = f"{match['partition']}:"
        group_position = next((p for p in group_position.split(",") if p.startswith(own)), None)
    group, event = order_of(group_position), order_of(position)
    return None if group is None or event is None else group >= event
