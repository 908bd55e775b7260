"""Lag: who is behind, for how long and since when; and the history of one group."""

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import data
from dashboard.components import frame, tables
from dashboard.viewmodels import freshness
from dashboard.viewmodels import lag as view
from dashboard.viewmodels.text import literal
from eventwake.charts import history
from eventwake.clock import now_ms
from eventwake.domain.lag import Status
from eventwake.store.reads import groups, sources
from eventwake.store.reads.groups import GroupRow

ANY = "Any"
ORDER = "lag.order"
TREND_MS = 900_000
TREND_STEP_MS = 30_000
SAMPLES_AT_MOST = 50_000
PENDING_SHOWN = 100


def group_list() -> None:
    frame.title("Lag")
    columns = st.columns([3, 1.5, 1.5, 4], vertical_alignment="bottom")
    text = columns[0].text_input("Find", key="find", bind="query-params", placeholder="group or stream")
    status = columns[1].selectbox("Status", [ANY, *Status], key="status", bind="query-params")
    known = [source.name for source in data.read(sources.all_sources)]
    source = columns[2].selectbox("Source", [ANY, *known], key="source", bind="query-params")
    with columns[3].container(horizontal=True):
        st.button("Worst first", icon=":material/sort:", key="sort", on_click=_sort)
    _figures(text or "", None if status == ANY else status, None if source == ANY else source)


def _sort() -> None:
    st.session_state.pop(ORDER, None)


def _in_order(found: Sequence[GroupRow]) -> list[GroupRow]:
    """Worst first when the page was opened; rows then keep their places under the hand."""
    order: dict[int, int] = st.session_state.get(ORDER, {})
    if not order.keys() >= {group.id for group in found}:
        order = {group.id: place for place, group in enumerate(view.worst_first(found))}
        st.session_state[ORDER] = order
    return sorted(found, key=lambda group: order[group.id])


@frame.live
def _figures(text: str, status: str | None, source: str | None) -> None:
    now = now_ms()
    everything = _in_order(_groups(now))
    found = [group for group in everything if view.fits(group, text, status, source)]
    since = (now - TREND_MS) // TREND_STEP_MS * TREND_STEP_MS
    chosen = tables.show(
        view.group_lines(found, data.read(groups.trends, since, TREND_STEP_MS), now),
        {
            "status": "Status", "group": "Group", "stream": "Stream", "source": "Source",
            "lag": "Lag (events)", "waits": "Longest wait", "pending": "Pending", "idle": "Oldest pending",
            "consumers": "Consumers", "drains": "Handles", "arrives": "Arrives", "caught_up": "Caught up",
            "trend": st.column_config.LineChartColumn("Lag, 15 min", y_min=0), "sampled": "Sampled",
        },
        key=f"groups.{hash(tuple(group.id for group in found))}",
        empty="No group fits." if everything else "No consumer group has been seen yet.",
        select="single-row", shown_rows=20,
    )  # fmt: skip
    if chosen:
        st.query_params.from_dict({"group": found[chosen[0]].name, "in": found[chosen[0]].source})
        st.rerun()


def _groups(now: int) -> list[GroupRow]:
    answering = freshness.answering(data.read(sources.all_sources), now)
    return freshness.of_now(data.read(groups.all_groups), answering)


def group_page(name: str, source: str | None) -> None:
    frame.title(f"Group {literal(name, 80)}")
    with st.container(horizontal=True):
        st.page_link("app_pages/lag.py", label="All groups", icon=":material/arrow_back:")
        st.page_link(
            "app_pages/dead_letters.py", label="Letters it gave up", icon=":material/mail:",
            query_params={"group": name},
        )  # fmt: skip
        st.page_link("app_pages/flow.py", label="Flow", icon=":material/account_tree:")
    window = st.segmented_control(
        "Time window", list(view.WINDOWS_MS), default=view.DEFAULT_WINDOW, key="window", bind="query-params",
        required=True, label_visibility="collapsed",
    )  # fmt: skip
    _group(name, source, view.WINDOWS_MS[window or view.DEFAULT_WINDOW])


@frame.live
def _group(name: str, source: str | None, window_ms: int) -> None:
    now = now_ms()
    own = [g for g in _groups(now) if g.name == name and source in (None, g.source)]
    if not own:
        st.info(f"No group named {literal(name, 80)} is there now. It was deleted, or nothing has read yet.")
        return
    st.markdown("##### Where it stands")
    tables.show(
        view.stand_lines(own),
        {
            "stream": "Stream", "status": "Status", "rule": "Because (rule)", "lag": "Lag (events)",
            "waits": "Longest wait", "position": "Position", "why": "How it is known",
        },
        key="stands", empty="",
    )  # fmt: skip
    left, right = st.columns(2)
    lag, waits = _history(own, window_ms, now)
    with left:
        st.markdown("##### Lag, events")
        st.plotly_chart(history.lines(lag, "events", _zone()), key="lag", config=CHART)
    with right:
        st.markdown("##### Longest wait, seconds")
        st.plotly_chart(history.lines(waits, "s", _zone()), key="waits", config=CHART)
    st.caption("Where a line is broken the figure was not known.")
    _members(own, now)


CHART = {"displaylogo": False, "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d"]}


def _zone() -> ZoneInfo:
    return ZoneInfo(st.context.timezone or "UTC")


def _history(
    own: Sequence[GroupRow], window_ms: int, now: int
) -> tuple[list[history.Line], list[history.Line]]:
    since, until = (now - window_ms) // 1000 * 1000, now // 1000 * 1000
    lag, waits = [], []
    if window_ms <= view.SAMPLED_MS:
        samples = data.read(
            groups.samples_between, tuple(g.id for g in own), since, until, SAMPLES_AT_MOST
        )  # fmt: skip
        for group in own:
            rows = samples.get(group.id, [])
            lag.append(view.sampled_line(group.stream, rows, since, until, "lag"))
            waits.append(view.sampled_line(group.stream, rows, since, until, "time_lag_ms"))
    else:
        for group in own:
            rolled = data.read(groups.rollups, group.id, since, until)
            lag.append(view.rolled_line(group.stream, rolled, since, until, "lag_max"))
            waits.append(view.rolled_line(group.stream, rolled, since, until, "time_lag_max_ms"))
    return lag, [view.in_seconds(line) for line in waits]


def _members(own: Sequence[GroupRow], now: int) -> None:
    members, entries = [], []
    for group in own:
        consumers, pending = data.read(groups.members, group.id)
        members += view.member_lines(group.stream, consumers, now)
        entries += view.pending_lines(group.stream, pending, now)
    left, right = st.columns(2)
    with left:
        st.markdown("##### Consumers")
        tables.show(
            members,
            {
                "stream": "Stream", "consumer": "Consumer", "pending": "Pending", "idle": "Last seen to ask",
                "inactive": "Last got something", "sampled": "Sampled",
            },
            key="consumers", empty="It has no consumers.",
        )  # fmt: skip
    with right:
        st.markdown("##### Oldest pending entries")
        tables.show(
            entries[:PENDING_SHOWN],
            {
                "stream": "Stream", "position": "Position", "consumer": "Consumer", "idle": "Idle",
                "deliveries": "Deliveries", "sampled": "Sampled",
            },
            key="pending", empty="Nothing is pending.",
        )  # fmt: skip


chosen_group = st.query_params.get("group")
with frame.outages():
    if chosen_group:
        group_page(chosen_group, st.query_params.get("in"))
    else:
        group_list()
