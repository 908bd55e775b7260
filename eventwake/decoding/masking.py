"""Replaces configured values before an event is kept, or before a letter is shown.

A path is a field's name, then keys of the JSON in it, parted by dots; `*` is any key or list place. Where no
field has the first name, the whole path is looked for in the payload: `data.card.number`, `items.*.price`.
JSON in a string of JSON is looked into. What cannot be looked into where the path goes on is masked whole.
"""

import re
from collections.abc import Sequence
from typing import Any

import orjson

from eventwake.decoding.envelope import NAMES, normalised
from eventwake.domain.envelope import Record

MASK = "•••"
_HIDDEN = MASK.encode()
_STRUCTURE = re.compile(rb'[\s"\\]*[{\[]')  # JSON's beginning, which a string of JSON may hold


class Masker:
    """Masks the records of one source."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = [path.split(".") for path in paths]

    def masked(self, record: Record) -> tuple[Record, bool]:
        """The record with every configured value replaced, and whether there was any."""
        if not self._paths:
            return record, False
        fields, value, changed = list(record.fields), record.value, False
        for path in self._paths:
            in_fields = path[0].encode() in fields[::2]
            for i in range(0, len(fields), 2):
                fields[i + 1], hit = _mask_field(fields[i] or b"", fields[i + 1], path, in_fields=in_fields)
                changed |= hit
            if not in_fields and value is not None:
                value, hit = _mask_bytes(value, path)
                changed |= hit
        return (record._replace(fields=fields, value=value), True) if changed else (record, False)

    def hidden(self, record: Record) -> tuple[Record, bool]:
        """The record with all its values replaced, if any should be: for one that cannot be looked into."""
        if not self._paths:
            return record, False
        fields = [_HIDDEN if i % 2 and part is not None else part for i, part in enumerate(record.fields)]
        return record._replace(fields=fields, value=None if record.value is None else _HIDDEN), True


def _mask_field(
    name: bytes, value: bytes | None, path: Sequence[str], *, in_fields: bool
) -> tuple[bytes | None, bool]:
    """`in_fields`: some field has the path's first name."""
    if name == path[0].encode():
        masked, hit = _mask_bytes(value, path[1:])
        if hit:
            return masked, True
    elif in_fields:
        return value, False
    return _mask_bytes(value, path) if _may_wrap(name, value) else (value, False)


def _may_wrap(name: bytes, value: bytes | None) -> bool:
    """Whether the field is one in which a letter, or a stream without flat fields, keeps a whole event."""
    is_body = normalised(name.decode("utf-8", "replace")) in NAMES["body"]
    return is_body and value is not None and _STRUCTURE.match(value) is not None


def _mask_bytes(raw: bytes | None, path: Sequence[str]) -> tuple[bytes | None, bool]:
    """A field's bytes with the path masked; what is no JSON, or too deep to be written, is masked whole."""
    if raw is None:
        return None, False
    if not path:
        return _HIDDEN, True
    try:
        found, hit = _replaced(orjson.loads(raw), path)
        if not hit:
            return raw, False
        return _HIDDEN if found == MASK else orjson.dumps(found), True
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _HIDDEN, True


def _replaced(value: Any, path: Sequence[str], *, by_name: bool = True) -> tuple[Any, bool]:
    """The value with what the path leads to masked. Only where a name led here must there be more of it."""
    if not path:
        return MASK, True
    if isinstance(value, dict | list):
        return value, _mask_inside(value, path)
    inner = _json_in(value)
    if inner is not None:
        inner, hit = _replaced(inner, path, by_name=by_name)
        masked = MASK if inner == MASK else orjson.dumps(inner).decode()
        return (masked, True) if hit else (value, False)
    return (MASK, True) if by_name and value is not None else (value, False)


def _mask_inside(node: Any, path: Sequence[str]) -> bool:
    places: list[Any] = []
    if isinstance(node, dict):
        places = list(node) if path[0] == "*" else [path[0]] if path[0] in node else []
    elif path[0] == "*":
        places = list(range(len(node)))
    hits = False
    for place in places:
        node[place], hit = _replaced(node[place], path[1:], by_name=path[0] != "*")
        hits |= hit
    return hits


def _json_in(value: Any) -> Any:
    """The object, list or string that a string holds as JSON."""
    if not isinstance(value, str):
        return None
    try:
        inner = orjson.loads(value)
    except orjson.JSONDecodeError:
        return None
    return inner if isinstance(inner, dict | list | str) else None
