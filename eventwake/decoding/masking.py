"""Replaces configured values before an event is kept, or before a letter is shown.

A path is a field's name, then keys of the JSON in it, parted by dots; `*` is any key or list place. Where no
field has the first name, the whole path is looked for in the payload: `data.card.number`, `items.*.price`.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from eventwake.domain.envelope import Record

MASK = "•••"


class Masker:
    """Masks the records of one source."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = [path.split(".") for path in paths]

    def masked(self, record: Record) -> tuple[Record, bool]:
        """The record with every configured value replaced, and whether there was any."""
        if not self._paths:
            return record, False
        fields = list(record.fields)
        value = record.value
        changed = False
        for path in self._paths:
            in_fields = False
            for i in range(0, len(fields), 2):
                if (fields[i] or b"") == path[0].encode():
                    in_fields = True
                    fields[i + 1], hit = _mask_bytes(fields[i + 1], path[1:])
                    changed |= hit
            if not in_fields and value is not None:
                value, hit = _mask_bytes(value, path)
                changed |= hit
        return (record._replace(fields=fields, value=value), True) if changed else (record, False)


def _mask_bytes(raw: bytes | None, path: Sequence[str]) -> tuple[bytes | None, bool]:
    """A field's bytes with the path masked; a field that should be JSON and is not is masked whole."""
    if raw is None:
        return None, False
    if not path:
        return MASK.encode(), True
    try:
        parsed = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return MASK.encode(), True
    return (orjson.dumps(parsed), True) if _mask_inside(parsed, path) else (raw, False)


def _mask_inside(node: Any, path: Sequence[str]) -> bool:
    places: list[Any] = []
    if isinstance(node, dict):
        places = list(node) if path[0] == "*" else [path[0]] if path[0] in node else []
    elif isinstance(node, list):
        places = list(range(len(node))) if path[0] == "*" else []
    for place in places:
        if len(path) == 1:
            node[place] = MASK
    if len(path) == 1:
        return bool(places)
    hits = [_mask_inside(node[place], path[1:]) for place in places]  # every one, not only the first
    return any(hits)
