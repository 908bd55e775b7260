"""Flow: who publishes what, who reads it, where it fails; what was seen, not what was configured."""

from collections.abc import Sequence
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import data
from dashboard.components import flow_graph, frame, tables
from dashboard.viewmodels import flow as view
from dashboard.viewmodels import flow_details, flow_drawing, flow_lines
from dashboard.viewmodels.flow_details import Details
from dashboard.viewmodels.text import literal, middle
from eventwake.clock import now_ms
from eventwake.store.reads import events, flow, groups, letter_counts, rates, sources

ANY = "Any"
NEWEST = 8  # events under the details
LISTED = 6  # rows of the other tables; the rest scrolls
FIGURES = 6  # side by side; nothing that can be picked has more
PUBLISHED = {
    "stream": "Stream",
    "event_type": "Event type",
    "producer": "Producer",
    "rate": "Rate",
    "events": st.column_config.NumberColumn("Events", format="localized"),
    "undecodable": "Undecodable",
    "size": "Mean size",
}
READING = {
    "group": "Group",
    "stream": "Stream",
    "status": "Status",
    "rate": "Rate",
    "lag": "Lag (events)",
    "waits": "Longest wait",
    "pending": "Pending",
    "consumers": "Consumers",
    "rule": "Rule",
}
FAILED = {
    "group": "Given up by",
    "origin": "From",
    "into": "Into",
    "letters": st.column_config.NumberColumn("Letters", format="localized"),
    "rate": "Rate",
}
EVENTS = {
    "trace": st.column_config.LinkColumn("Trace", display_text=":material/timeline:", width="small"),
    "at": st.column_config.DatetimeColumn("Recorded", format="YYYY-MM-DD HH:mm:ss.SSS"),
    "event_type": "Event type",
    "stream": "Stream",
    "producer": "Producer",
    "key": "Key",
    "event_id": "Event id",
}


def choices() -> tuple[int, str | None]:
    """The window in ms and the source, both in the link."""
    known = [source.name for source in data.read(sources.all_sources)]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        window = st.segmented_control(
            "Time window",
            list(view.WINDOWS_MS),
            default=view.DEFAULT_WINDOW,
            required=True,
            key="window",
            bind="query-params",
            label_visibility="collapsed",
        )
        source = ANY
        if len(known) > 1:
            source = st.selectbox(
                "Source",
                [ANY, *known],
                key="source",
                bind="query-params",
                label_visibility="collapsed",
                width=220,
            )
    return view.WINDOWS_MS[window or view.DEFAULT_WINDOW], None if source == ANY else source


def seen(window_ms: int, source: str | None) -> view.Seen:
    now = now_ms()
    window = view.window(window_ms, data.read(flow.known_since_ms), now)
    since, until = window.since_ms, window.until_ms
    return view.Seen(
        window,
        now,
        data.read(sources.all_sources),
        data.read(sources.streams),
        data.read(rates.flows, window.first_bucket_ms, until, window.span_ms),
        data.read(groups.all_groups),
        data.read(flow.stands, since),
        data.read(letter_counts.arrivals, since, until),
        data.read(letter_counts.open_by_stream),
        data.read(flow.links, since),
    ).of_source(source)


def pick(chosen: str | None) -> None:
    if chosen is None:
        st.query_params.pop("pick", None)
    else:
        st.query_params["pick"] = chosen


@frame.live
def flow_of(window_ms: int, source: str | None) -> None:
    rows = seen(window_ms, source)
    graph = view.build(rows)
    if not graph.nodes:
        st.info(view.nothing_seen(rows), icon=":material/info:")
        return
    chosen = st.query_params.get("pick")
    st.caption(literal(view.summary(rows, graph)))
    flow_graph.show(flow_drawing.drawn(rows, graph, chosen), key="flow_graph", on_pick=pick)
    if not chosen:
        st.caption("Choose a service, stream, group or line for its figures and events.")
    elif (picked := flow_details.details(rows, graph, chosen)) is None:
        st.caption(f"{literal(middle(chosen, 60))} was not seen in this window.")
    else:
        _details(picked)


def _details(picked: Details) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        title = " → ".join(literal(name) for name in picked.names)
        st.markdown(f"##### {title}", width="content")
        st.caption(f"{picked.kind} · {flow_details.MARKS[picked.health]}", width="content")
        st.space("stretch")
        for link in picked.links:
            st.page_link(
                f"app_pages/{link.page}.py",
                label=literal(middle(link.label, 40)),
                icon=":material/arrow_forward:",
                query_params=link.parameters or None,
            )
        st.button(
            "Close", icon=":material/close:", type="tertiary", key="unpick", on_click=pick, args=(None,)
        )
    for sentence in picked.says:
        st.caption(literal(sentence))
    for column, figure in zip(st.columns(FIGURES), picked.figures, strict=False):
        column.markdown(
            f":gray[:small[{figure.label}]]  \n**{literal(figure.value)}**", help=literal(figure.help) or None
        )
    _tables(picked)


def _tables(picked: Details) -> None:
    both = picked.published and picked.reading
    published, reading = st.columns(2, gap="medium") if both else [st.container()] * 2
    if picked.published:
        with published:
            st.markdown("###### Published in this window")
            _table(picked, "published", picked.published, PUBLISHED)
    if picked.reading:
        with reading:
            st.markdown("###### Read by groups")
            _table(picked, "reading", picked.reading, READING)
    if picked.events:
        _newest(picked)
    if picked.failed:
        st.markdown("###### Given up in this window")
        _table(picked, "failed", picked.failed, FAILED)


def _table(
    picked: Details, name: str, rows: Sequence[Any], columns: tables.Columns, most: int = LISTED
) -> None:
    """Rows without the columns that would but repeat what was picked."""
    told = {column for column in columns if {getattr(row, column) for row in rows} <= set(picked.names)}
    shown = {column: heading for column, heading in columns.items() if column not in told}
    tables.show(rows, shown, key=f"flow-{name}", empty="", shown_rows=most)


def _newest(picked: Details) -> None:
    st.markdown("###### Newest events")
    zone = ZoneInfo(st.context.timezone or "UTC")
    pages = [data.read(events.page, wanted, NEWEST).events for wanted in picked.events]
    lines = flow_lines.event_lines(pages, NEWEST, zone)
    if lines:
        _table(picked, "events", lines, EVENTS, NEWEST)
    else:
        st.caption("None of the events of this window is kept.")


frame.title("Flow")
with frame.outages():
    flow_of(*choices())
