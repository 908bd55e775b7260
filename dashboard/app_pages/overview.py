"""Overview: is everything being watched, and does anything need me? Each figure leads to its page."""

import streamlit as st

from dashboard import data
from dashboard.components import frame, tables
from dashboard.viewmodels import freshness, units
from dashboard.viewmodels import overview as view
from dashboard.viewmodels.text import literal, middle
from eventwake.clock import now_ms
from eventwake.store.reads import alerts, flow, groups, letter_counts, letters, rates, sagas, sources

SERIES_MS = 15 * 60_000
NEW_MS = 3_600_000
LISTED = 5
CARD_PX = 196


@frame.live
def figures() -> None:
    now = now_ms()
    since = (now - SERIES_MS) // rates.FINE_MS * rates.FINE_MS
    until = now // rates.FINE_MS * rates.FINE_MS
    events = data.read(rates.event_series, since, until + rates.FINE_MS, rates.FINE_MS)
    arrived = data.read(rates.letter_series, now // 60_000 * 60_000 - NEW_MS, until + 60_000, "open")
    totals = data.read(letter_counts.totals)
    watched = data.read(sources.all_sources)
    answering = freshness.answering(watched, now)
    alive, _ = data.collectors_alive()
    silent = len(watched) - len(answering)
    seen_until = min(until, max((source.checked_ms for source in watched), default=0))
    worst = view.worst_lag(freshness.of_now(data.read(groups.all_groups), answering))
    firing = [alert for alert in data.read(alerts.unresolved) if alert.state == "firing"]
    stuck = data.read(sagas.stuck, [s.definition() for s in data.settings().saga], now // 1000 * 1000, 1000)

    first, second, third, fourth, fifth = st.columns(5)
    with first:
        st.metric(
            "Events, last minute",
            units.rate(view.rate_per_s(events, now) if answering else None),
            f"{silent} of {len(watched)} sources silent" if silent else None,
            border=True,
            height=CARD_PX,
            delta_color="inverse",
            delta_arrow="off",
            chart_data=view.filled(events, since, seen_until, rates.FINE_MS, data.read(flow.known_since_ms)),
            chart_type="area",
            help="Events a second over the last minute; the line shows 15 minutes, 10 s a point",
        )
        st.page_link("app_pages/flow.py", label="Flow", icon=":material/arrow_forward:")
    with second:
        new = sum(point.value for point in arrived)
        st.metric(
            "Dead letters open",
            units.count(totals.get("open", 0)),
            f"{units.count(new)} new in the last hour" if answering else "nobody knows what is new",
            delta_color="inverse" if new else "off",
            delta_arrow="off",
            border=True,
            height=CARD_PX,
        )
        st.page_link("app_pages/dead_letters.py", label="Dead letters", icon=":material/arrow_forward:")
    with third:
        group = worst.group
        unknown = f"{worst.unknown} of {worst.total} groups unknown" if worst.unknown else ""
        st.metric(
            "Longest wait",
            units.time_lag(group.time_lag_kind, group.time_lag_ms)
            if group
            else ("0 s" if worst.total > worst.unknown else units.UNKNOWN),
            literal(middle(f"{group.name} · {units.lag(group.lag_kind, group.lag)} events", 40))
            if group
            else unknown or ("no group is behind" if worst.total else "no group has been seen"),
            delta_color="off",
            delta_arrow="off",
            border=True,
            height=CARD_PX,
            help="The group whose oldest unread event waits longest. " + unknown,
        )
        st.page_link("app_pages/lag.py", label="Lag", icon=":material/arrow_forward:")
    with fourth:
        st.metric(
            "Alerts firing",
            units.count(len(firing) if firing or alive else None),
            literal(firing[0].rule) if firing else "none" if alive else "nobody evaluates the rules",
            delta_color="inverse" if firing else "off",
            delta_arrow="off",
            border=True,
            height=CARD_PX,
        )
        st.page_link("app_pages/alerts.py", label="Alerts", icon=":material/arrow_forward:")
    with fifth:
        declared = bool(data.settings().saga)
        st.metric(
            "Sagas stuck",
            units.count(len(stuck)) if declared else "none declared",
            f"longest silent {units.age(stuck[0].last_ms, now)}" if stuck else "none",
            delta_color="inverse" if stuck else "off",
            delta_arrow="off",
            border=True,
            height=CARD_PX,
            help="Declared sagas that have not ended and have shown nothing for too long",
        )
        st.page_link("app_pages/traces.py", label="Traces", icon=":material/arrow_forward:")

    st.markdown("##### Sources")
    tables.show(
        view.source_lines(
            watched, data.read(sources.workers), data.read(sources.streams), now
        ),
        {
            "source": "Source", "state": "State", "since": "For", "server": "Server", "watching": "Worker",
            "streams": "Streams", "behind": "Unread here (events)", "acts": "Acts allowed", "says": "Says",
        },
        key="sources",
        empty="No source has been watched yet. Name one in the settings and start the collectors.",
    )  # fmt: skip
    causes, alerting, waiting = st.columns(3, gap="medium")
    with causes:
        _causes(now)
    with alerting:
        _alerts(firing, now)
    with waiting:
        _stuck(stuck[:LISTED], now)


def _causes(now: int) -> None:
    st.markdown("##### Why letters are dead")
    rows = data.read(letters.groups, letters.LetterFilter(), LISTED)
    for row in rows:
        text = f"{row.error_class}: {row.message}" if row.message else row.error_class
        st.page_link(
            "app_pages/dead_letters.py",
            label=f"**{units.count(row.letters)}** {literal(text, 46)} · last {units.age(row.last_ms, now)}",
            query_params={"cause": row.fingerprint},
        )
    if not rows:
        st.caption("No dead letter is open.")


def _alerts(firing: list[alerts.AlertRow], now: int) -> None:
    st.markdown("##### Alerts")
    for alert in firing[:LISTED]:
        seen = " · acknowledged" if alert.acknowledged_ms else ""
        st.page_link(
            "app_pages/alerts.py",
            label=f":red[●] {literal(alert.rule)}: {literal(middle(alert.subject, 40))}"
            f" · {units.age(alert.fired_ms, now)}{seen}",
        )
    for alert in data.read(alerts.past, max(0, LISTED - len(firing))):
        what = f"{literal(alert.rule)}: {literal(middle(alert.subject, 40))}"
        st.page_link("app_pages/alerts.py", label=f"○ {what} · over {units.age(alert.resolved_ms, now)}")
    if not firing and not data.read(alerts.past, 1):
        st.caption("No alert has fired yet.")


def _stuck(stuck: list[sagas.SagaRow], now: int) -> None:
    st.markdown("##### Stuck sagas")
    for saga in stuck:
        st.page_link(
            "app_pages/traces.py",
            label=f"{literal(saga.name)} {literal(middle(saga.key or saga.correlation_id, 24))} · after "
            f"{literal(saga.last_step)} · silent {units.age(saga.last_ms, now).removesuffix(' ago')}",
            query_params={"trace": saga.correlation_id},
        )
    if not data.settings().saga:
        st.caption("No saga is declared. Declare one as [[saga]] in the settings to have it followed.")
    elif not stuck:
        st.caption("No saga is stuck.")


frame.title("Overview")
figures()
