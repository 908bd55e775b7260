"""Reports: how a period went, to read here and to take away."""

from collections.abc import Sequence
from datetime import date, datetime
from zoneinfo import ZoneInfo

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from dashboard import data
from dashboard.components import frame
from dashboard.viewmodels import reports as view
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.reports.csv_export import report_to_csv
from eventwake.reports.document import FEWEST_BARS, Bars, Cell, Report, Section
from eventwake.reports.html import to_html
from eventwake.store.reads import (
    alerts,
    flow,
    groups,
    letter_counts,
    letters,
    operations,
    rates,
    sagas,
    sources,
)
from eventwake.store.reads.letters import LetterFilter

ROWS = view.READ_AT_MOST + 1
CHART_PX = 160
FIGURE_PX = 176  # they go on in the next line where a window is narrow


def zone() -> ZoneInfo:
    return ZoneInfo(st.context.timezone or "UTC")


def chosen() -> tuple[date, date] | None:
    """The period's first day and the day after its last."""
    left, middle, right = st.columns([5, 1.5, 1.5], vertical_alignment="bottom")
    name = left.segmented_control(
        "Period", view.PERIODS, default="Today", key="period", bind="query-params", required=True
    )
    today = datetime.now(zone()).date()
    if name != "Custom":
        return view.period(name or "Today", today)
    first = middle.date_input("From", today, key="from", bind="query-params")
    last = right.date_input("To and with", today, key="to", bind="query-params")
    if not isinstance(first, date) or not isinstance(last, date) or last < first:
        st.info("Choose a first day, and a last one that is not before it.")
        return None
    return first, last + view.DAY


def report(first: date, after: date) -> Report:
    since, until, now = view.midnight_ms(first, zone()), view.midnight_ms(after, zone()), now_ms()
    done = data.read(operations.between, since, until, ROWS)
    rows = view.Rows(
        since_ms=since,
        until_ms=until,
        now_ms=now,
        known_since_ms=data.read(flow.known_since_ms),
        streams=data.read(sources.streams),
        flows=data.read(rates.flows, since, until, rates.COARSE_MS),
        series=data.read(rates.event_series, since, until, rates.COARSE_MS),
        letter_flows=data.read(rates.letter_flows, since, until),
        mended=data.read(letter_counts.mended, since, until),
        open_by_stream=data.read(letter_counts.open_by_stream),
        causes=data.read(letters.groups, LetterFilter((), since_ms=since, until_ms=until), ROWS),
        operations=done,
        outcomes={o.id: data.read(operations.outcomes, o.id) for o in done[: view.ROWS_AT_MOST]},
        audit=data.read(operations.audit_between, since, until, ROWS),
        groups=data.read(groups.all_groups),
        worst=data.read(groups.worst_between, since, until),
        alerts=data.read(alerts.fired_between, since, until, ROWS),
        gaps=data.read(sources.gaps_between, since, until, ROWS),
        missed=data.read(sources.missed_between, since, until),
        sagas=data.read(sagas.counts, since, until),
    )
    return view.build(rows, data.settings().environment.name, zone())


def show(made: Report, name: str) -> None:
    with st.container(horizontal=True, vertical_alignment="center"):
        st.download_button(
            "HTML", lambda: to_html(made), f"{name}.html", "text/html", icon=":material/download:",
            on_click="ignore", key="html",
        )  # fmt: skip
        st.download_button(
            "CSV", lambda: report_to_csv(made), f"{name}.csv", "text/csv", icon=":material/download:",
            on_click="ignore", key="csv",
        )  # fmt: skip
        st.caption(literal(f"{made.period}. {made.made}. {' '.join(made.caveats)}", 600), width="content")
    with st.container(horizontal=True):
        for figure in made.figures:
            st.metric(
                figure.label, literal(figure.value), border=True, width=FIGURE_PX, help=figure.note or None
            )
    for section in made.sections:
        _section(section)


def _section(section: Section) -> None:
    st.markdown(f"##### {literal(section.title)}")
    if section.note:
        st.caption(literal(section.note))
    if section.bars and any(section.bars.values):
        _bars(section.bars)
    if section.rows:
        columns = [_cells(column) for column in zip(*section.rows, strict=True)]
        table = pd.DataFrame(dict(zip(section.columns, columns, strict=True)))
        st.dataframe(table, hide_index=True, key=section.title)
    else:
        st.caption(literal(section.empty))


def _cells(column: Sequence[Cell]) -> list[Cell]:
    """A column of a table: numbers where all are known, else texts, as a table's column has one type."""
    if None not in column:
        return list(column)
    return ["unknown" if cell is None else f"{cell:,}" if isinstance(cell, int) else cell for cell in column]


def _bars(bars: Bars) -> None:
    figure = go.Figure(go.Bar(x=list(bars.labels), y=list(bars.values), marker_color="#3d7be0"))
    figure.update_layout(height=CHART_PX, margin={"l": 8, "r": 8, "t": 4, "b": 4}, bargap=0.15)
    shown = max(len(bars.values), FEWEST_BARS)  # so that one bar is not as wide as the page
    figure.update_xaxes(type="category", range=[-0.5, shown - 0.5], nticks=8)
    figure.update_yaxes(title_text=bars.unit)
    st.plotly_chart(figure, key="bars", config={"displaylogo": False})


frame.title("Reports")
with frame.outages():
    days = chosen()
    if days:
        show(report(*days), f"eventwake-{days[0]}-to-{days[1] - view.DAY}")
