"""A trace in the browser: rows in a tree over one axis of time; keeps folds and scroll when refreshed.

Its data: `rows` [{id, depth, last, kind, status, label, sub, at_ms, duration, title, badges, bars [{kind,
start_ms, end_ms (or None), sure}]}], `start_ms` and `end_ms` of the axis, and `selected` (an id or None).
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
HIGHEST_PX = 620  # a longer trace scrolls in itself
ROW_PX = 24  # as in waterfall.css
HEAD_PX = 34

_mount = st.components.v2.component(
    "eventwake_waterfall",
    html=(_HERE / "waterfall.html").read_text(encoding="utf-8"),
    css=(_HERE / "waterfall.css").read_text(encoding="utf-8"),
    js=(_HERE / "waterfall.js").read_text(encoding="utf-8"),
)


def show(data: Mapping[str, Any], *, key: str, on_pick: Callable[[str], None]) -> None:
    """Draws the trace; `on_pick` gets the id of the row that was chosen."""

    def picked() -> None:
        value = st.session_state[key].get("pick")
        if isinstance(value, str) and value:
            on_pick(value)

    height = min(HIGHEST_PX, HEAD_PX + ROW_PX * len(data["rows"]) + 2)
    _mount(key=key, data=dict(data), height=height, on_pick_change=picked)
