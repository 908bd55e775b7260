"""The class of an error, where only its text is told."""

import re

_LEADING = re.compile(r"([A-Za-z_][\w.]{0,120}(?:Error|Exception|Timeout|Failure|Fault))\b")


def leading_class(text: str | None) -> str | None:
    """`ValueError: no such sku` names its class in front."""
    match = _LEADING.match(text or "")
    return match[1] if match else None
