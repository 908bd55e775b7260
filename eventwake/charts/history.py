"""History of one figure for several things, as a Plotly figure: unknown stretches are gaps, never zeros."""

from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from html import escape
from typing import NamedTuple

import plotly.graph_objects as go

HEIGHT_PX = 240
PALETTE = ("#3d7be0", "#d9822b", "#2f9e6e", "#a05fd0", "#c94f6d", "#6f8a2b", "#3aa3b8", "#8a6d5c")


class Line(NamedTuple):
    """One line: (time in ms, value or None where it was not known), oldest first."""

    name: str
    points: Sequence[tuple[int, float | None]]


def lines(shown: Sequence[Line], unit: str, zone: tzinfo = UTC) -> go.Figure:
    """The lines over time; `unit` stands on the axis and behind each value."""
    figure = go.Figure()
    for i, line in enumerate(shown):
        figure.add_scatter(
            x=[datetime.fromtimestamp(at / 1000, zone) for at, _ in line.points],
            y=[value for _, value in line.points],
            name=escape(line.name),  # Plotly takes tags in a name, links among them
            mode="lines",
            connectgaps=False,
            line={"color": PALETTE[i % len(PALETTE)], "width": 1.6, "shape": "hv"},
            hovertemplate=f"%{{y:,.6~g}} {unit}<br>%{{x|%H:%M:%S}}",
        )
    figure.update_layout(
        height=HEIGHT_PX,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        showlegend=len(shown) > 1,
        legend={"orientation": "h", "y": 1.0, "yanchor": "bottom"},
        hovermode="x unified",
        uirevision="kept",  # zoom survives new data
    )
    figure.update_yaxes(title_text=unit, rangemode="tozero", zeroline=False)
    return figure
