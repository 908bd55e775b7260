"""Names of streams and groups, which in Redis are any bytes, as text and back again."""

import re

_NEEDS_ESCAPE = re.compile("[\\x00\\\\\udc80-\udcff]")
_ESCAPED = re.compile(rb"\\(?:\\|x[0-9a-f]{2})")


def text(value: bytes) -> str:
    """A key, group or consumer name as text that any database takes; `raw` brings the bytes back.

    Bytes that are not UTF-8, and NUL, show as \\xNN, and a backslash as two.
    """
    plain = value.decode("utf-8", "surrogateescape")
    if not _NEEDS_ESCAPE.search(plain):
        return plain
    return _NEEDS_ESCAPE.sub(
        lambda match: "\\\\" if match[0] == "\\" else f"\\x{ord(match[0]) & 0xFF:02x}", plain
    )


def raw(name: str) -> bytes:
    """The bytes of a name that `text` made."""
    if "\\" not in name:
        return name.encode()
    return _ESCAPED.sub(
        lambda match: b"\\" if match[0] == b"\\\\" else bytes([int(match[0][2:], 16)]), name.encode()
    )
