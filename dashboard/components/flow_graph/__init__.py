"""The flow graph in the browser: a component of its own, as no library keeps clicks and zoom when refreshed.

Its data: `nodes` [{id, kind, label, detail, aside, status, title, x, y, width, height}]; `edges` [{id,
source, target, rate (events a second, or None), label, note, status, dashed, title, points, tag_at (where on
its way the label stands, 0 to 1)}]; `selected` (an id or None); `width` and `height` of the layout; `pixels`,
the height of the drawing on the page.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import streamlit as st

_HERE = Path(__file__).parent
LEGEND_PX = 34

_mount = st.components.v2.component(
    "eventwake_flow_graph",
    html=(_HERE / "flow_graph.html").read_text(encoding="utf-8"),
    css=(_HERE / "flow_graph.css").read_text(encoding="utf-8"),
    js=(_HERE / "flow_graph.js").read_text(encoding="utf-8"),
)


def show(data: Mapping[str, Any], *, key: str, on_pick: Callable[[str | None], None]) -> None:
    """Draws the graph; `on_pick` gets the id of what was clicked, None where it was the background."""

    def picked() -> None:
        value = st.session_state[key].get("pick")
        if isinstance(value, str):
            on_pick(value or None)

    _mount(key=key, data=dict(data), height=data["pixels"] + LEGEND_PX, on_pick_change=picked)
