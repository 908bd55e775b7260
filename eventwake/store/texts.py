"""Texts as PostgreSQL can hold them. What an event said to the letter is in its body."""

import re
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # NUL, and halves of surrogate pairs


def is_clean(text: str) -> bool:
    return _UNSTORABLE.search(text) is None


def clean(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


class Text(TypeDecorator[str]):
    """Cleans what is written and what is compared alike; on SQLite, which holds NUL, it does nothing."""

    impl = sa.Text
    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> Any:
        return None if dialect.name == "sqlite" else super().bind_processor(dialect)

    def process_bind_param(self, value: str | None, _dialect: Dialect) -> str | None:
        return None if value is None else clean(value)
