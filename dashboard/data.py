"""Cached reads of the store, for every page and session.

The engine is cached; each read opens a connection. What a read raises, `StoreUnavailable` above all, is shown
by the page as the outage that it is.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import streamlit as st

from dashboard.viewmodels.freshness import SILENT_MS
from eventwake.clock import now_ms
from eventwake.settings import Settings, load
from eventwake.store.migrate import require_current
from eventwake.store.reads import sources
from eventwake.store.session import Connection, Store

P = ParamSpec("P")
R = TypeVar("R")

TTL_S = 1.0  # pages refresh every few seconds, so that sessions share their reads
MAX_ENTRIES = 512


@st.cache_resource(show_spinner=False)
def settings() -> Settings:
    return load()


class _Opened(NamedTuple):
    store: Store
    file: tuple[int, int] | None


def _file_of(opened: Store) -> tuple[int, int] | None:
    """Device and inode of the store's file; None where there is no file."""
    try:
        found = opened.path.stat() if opened.path else None
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found else None


# A connection goes on reading a file that was deleted or replaced, as if nothing had happened
@st.cache_resource(show_spinner=False, validate=lambda opened: opened.file == _file_of(opened.store))
def _opened() -> _Opened:
    opened = Store(settings().store.url)
    require_current(opened)
    return _Opened(opened, _file_of(opened))


def store() -> Store:
    """The store, once it exists in this program's layout. Raises `StoreUnavailable` until then."""
    return _opened().store


def reopen() -> None:
    """Has the store opened anew by who asks for it next."""
    _opened.clear()


@st.cache_data(
    ttl=TTL_S,
    max_entries=MAX_ENTRIES,
    show_spinner=False,
    hash_funcs={FunctionType: lambda function: f"{function.__module__}.{function.__qualname__}"},
)
def _read(query: Callable[..., Any], arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
    with store().read() as connection:
        return query(connection, *arguments, **options)


def read(query: Callable[Concatenate[Connection, P], R], *arguments: P.args, **options: P.kwargs) -> R:
    """The answer of one of `eventwake.store.reads`, shared by all sessions for a second."""
    answer: R = _read(query, arguments, options)
    return answer


def collectors_alive() -> tuple[bool, int | None]:
    """Whether the collectors report, and when they last did (ms; None: never)."""
    last = read(sources.heartbeats).get(("", "supervisor"))
    return last is not None and now_ms() - last < SILENT_MS, last
