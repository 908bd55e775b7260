"""A record's own bytes as a page shows them, and as a person copies them."""

import base64
import json
from collections.abc import Sequence
from keyword import iskeyword
from typing import Any, NamedTuple

import orjson

from eventwake.decoding.masking import Masker
from eventwake.domain.envelope import Record, pairs

SHOWN_BYTES = 65_536  # of one value; the copies hold all of it


class FieldView(NamedTuple):
    """One field: its text (None: it is not text), the JSON in it if it is an object or list, and its size."""

    name: str
    text: str | None
    parsed: Any
    size: int
    cut: bool


def field_views(record: Record, mask: Sequence[str]) -> list[FieldView]:
    """Every field of the record and its value, masked, in the broker's order."""
    masked, _ = Masker(mask).masked(record)
    views = [_view(name.decode("utf-8", "backslashreplace"), value) for name, value in pairs(masked.fields)]
    if masked.value is not None:
        views.append(_view("(value)", masked.value))
    return views


def _view(name: str, value: bytes | None) -> FieldView:
    if value is None:
        return FieldView(name, None, None, 0, False)
    cut = len(value) > SHOWN_BYTES
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        return FieldView(name, None, None, len(value), cut)
    return FieldView(name, text[:SHOWN_BYTES], None if cut else _parsed(value), len(value), cut)


def _parsed(value: bytes) -> Any:
    if value.lstrip()[:1] not in (b"{", b"["):
        return None
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return None


def as_json(record: Record, mask: Sequence[str], **place: Any) -> str:
    """The record as JSON: what is not UTF-8 as {"base64": ...}."""
    masked, _ = Masker(mask).masked(record)
    fields = [[_text(name), _json_value(value)] for name, value in pairs(masked.fields)]
    whole: dict[str, Any] = {**place, "position": record.position, "fields": fields}
    if masked.value is not None:
        whole |= {"key": _json_value(masked.key), "value": _json_value(masked.value)}
    return json.dumps(whole, indent=2, ensure_ascii=False)


def as_redis_command(record: Record, mask: Sequence[str], stream: str) -> str:
    """A shell command that adds the same entry to the stream again.

    Bytes that do not print go through redis-cli's own input: a shell's arguments cannot hold a NUL.
    """
    masked, _ = Masker(mask).masked(record)
    words = [stream.encode(), *(part or b"" for pair in pairs(masked.fields) for part in pair)]
    if all(map(_is_printable, words)):
        target, *rest = map(_shell, words)
        return f"redis-cli XADD {target} '*' {' '.join(rest)}"
    target, *rest = map(_redis_cli, words)
    return f"redis-cli <<'END'\nXADD {target} * {' '.join(rest)}\nEND"


def as_pytest_fixture(record: Record, mask: Sequence[str], name: str, said: str) -> str:
    """A pytest fixture that gives the entry's fields."""
    masked, _ = Masker(mask).masked(record)
    names = [field for field, _ in pairs(masked.fields)]
    whole = len(set(names)) == len(names)
    opening, closing, kind = (
        ("{", "}", "dict[bytes, bytes]") if whole else ("[", "]", "list[tuple[bytes, bytes]]")
    )
    lines = [
        f"        {field!r}: {value!r}," if whole else f"        ({field!r}, {value!r}),"
        for field, value in pairs(masked.fields)
    ]
    return "\n".join(
        [
            "import pytest",
            "",
            "",
            "@pytest.fixture",
            f"def {_identifier(name)}() -> {kind}:",
            f"    {said!r}",
            f"    return {opening}",
            *lines,
            f"    {closing}",
        ]
    )


def _json_value(value: bytes | None) -> Any:
    if value is None:
        return None
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _is_printable(value: bytes) -> bool:
    try:
        return value.decode("utf-8").isprintable()
    except UnicodeDecodeError:
        return False


def _shell(value: bytes) -> str:
    """Printable text as one word for a POSIX shell."""
    return "'" + value.decode("utf-8").replace("'", "'\\''") + "'"


def _redis_cli(value: bytes) -> str:
    """Any bytes as one word for redis-cli's input."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in value) + '"'


def _identifier(name: str) -> str:
    """OrderPlaced -> order_placed; neither a keyword nor what pytest keeps for itself."""
    spaced = "".join(
        f"_{c.lower()}" if c.isupper() else c if c.isalnum() and c.isascii() else "_" for c in name
    )
    plain = spaced.strip("_") or "event"
    return plain if plain[0].isalpha() and not iskeyword(plain) and plain != "request" else f"event_{plain}"
