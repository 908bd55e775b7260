"""One record, event or dead letter: its payload, every field as it lay in the broker, and copies of it."""

from collections.abc import Callable, Mapping, Sequence

import streamlit as st

from dashboard.viewmodels import records, units
from dashboard.viewmodels.text import literal
from eventwake.domain.envelope import Record

TEXT_PX = 320  # a longer text scrolls in itself


def show(
    record: Record,
    *,
    mask: Sequence[str],
    stream: str,
    name: str,
    said: str,
    key: str,
    notes: Sequence[str] = (),
    more: Mapping[str, Callable[[], None]] | None = None,
) -> None:
    """Shows a record, masked, in tabs.

    `name` names the fixture, `said` is its docstring, `key` tells two records on one page apart, `notes` say
    what is not as it was in the broker, and `more` are further tabs, each with what draws it.
    """
    for note in notes:
        st.caption(literal(note))
    views = records.field_views(record, mask)

    def copies() -> None:
        st.caption("As JSON")
        whole = records.as_json(record, mask, stream=stream)
        st.code(whole, language="json", height=TEXT_PX, wrap_lines=True)
        st.caption("As a redis-cli command")
        st.code(records.as_redis_command(record, mask, stream), language="bash", wrap_lines=True)
        st.caption("As a pytest fixture")
        st.code(records.as_pytest_fixture(record, mask, name, said), language="python", wrap_lines=True)

    draws: dict[str, Callable[[], None]] = {
        "Payload": lambda: _payload(views),
        "Fields": lambda: _fields(views),
        **(more or {}),
        "Copy": copies,
    }
    # only the open tab is drawn: what colours code takes a browser as long to load as all of the page
    tabs = st.tabs(list(draws), key=f"{key}.tabs", on_change="rerun")
    for tab, draw in zip(tabs, draws.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def _payload(views: Sequence[records.FieldView]) -> None:
    """The fields that hold JSON, opened; where none does, all of them as text."""
    opened = [view for view in views if view.parsed is not None]
    for view in opened:
        st.caption(f"{literal(view.name, 80)} · {units.size(view.size)}")
        st.json(view.parsed, expanded=3)
    if not opened:
        _fields(views)


def _fields(views: Sequence[records.FieldView]) -> None:
    width = max((len(view.name) for view in views), default=0)
    lines = [f"{view.name:<{width}}  {_text(view)}" for view in views]
    st.code("\n".join(lines) or "(no fields)", language=None, wrap_lines=True, height="content")


def _text(view: records.FieldView) -> str:
    if view.text is None:
        return f"({units.size(view.size)}, not text)" if view.size else "(null)"
    return f"{view.text}… ({units.size(view.size)} in all)" if view.cut else view.text
