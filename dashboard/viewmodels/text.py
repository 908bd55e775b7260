"""Texts of strangers in slots that read markdown: shown, never obeyed."""

import re

_PUNCTUATION = re.compile(r"([\\`*_{}\[\]()#+\-.!|<>~$&^=:@])")
_LINK = re.compile(r"(?i)(https?|ftp|mailto|www)")
_LINES = re.compile(r"[\r\n\t]+")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def literal(text: object, at_most: int = 300) -> str:
    """Text for a slot that reads markdown: no emphasis, image, link, code or direction mark takes effect."""
    plain = one_line(str(text), at_most)
    return _LINK.sub(lambda m: m[0][0] + "\u2060" + m[0][1:], _PUNCTUATION.sub(r"\\\1", plain))


def one_line(text: str, at_most: int = 300) -> str:
    """One line without control characters or direction marks, cut with an ellipsis."""
    plain = _CONTROL.sub("\ufffd", _LINES.sub(" ", text))
    return plain if len(plain) <= at_most else plain[: at_most - 1] + "…"


def middle(text: str, at_most: int = 28) -> str:
    """Cut in the middle, since the ends of ids and stream names tell them apart."""
    plain = one_line(text, 10_000)
    if len(plain) <= at_most:
        return plain
    head = (at_most - 1) * 2 // 3
    return f"{plain[:head]}…{plain[-(at_most - 1 - head) :]}"
