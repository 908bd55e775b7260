"""Overview: is everything being watched, and does anything need me? Each figure leads to its page."""

from collections.abc import Sequence

import streamlit as st

from dashboard import data
from dashboard.components import frame, tables
from dashboard.page_list import PAGES
from dashboard.viewmodels import freshness, units
from dashboard.viewmodels import overview as view
from dashboard.viewmodels.text import literal, middle
from eventwake.clock import now_ms
from eventwake.store.reads import alerts, flow, groups, letter_counts, letters, rates, sagas, sources
from eventwake.store.reads.sources import SourceRow

SERIES_MS = 15 * 60_000
NEW_MS = 3_600_000
LISTED = 5
CARD_PX = 196


@frame.live
def figures() -> None:
    now = now_ms()
    watched = data.read(sources.all_sources)
    answering = freshness.answering(watched, now)
    firing = [alert for alert in data.read(alerts.unresolved) if alert.state == "firing"]
    stuck = data.read(sagas.stuck, [s.definition() for s in data.settings().saga], now // 1000 * 1000, 1000)

    first, second, third, fourth, fifth = st.columns(5)
    with first:
        _rate_card(watched, answering, now)
    with second:
        _letters_card(answering, now)
    with third:
        _wait_card(answering)
    with fourth:
        _alerts_card(firing)
    with fifth:
        _sagas_card(stuck, now)

    st.markdown("##### Sources")
    tables.show(
        view.source_lines(watched, data.read(sources.workers), data.read(sources.streams), now),
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


def _card(
    title: str,
    value: str,
    note: str | None,
    leads_to: str,
    *,
    bad: bool = False,
    about: str | None = None,
    line: Sequence[float] | None = None,
) -> None:
    """One figure with a note, red where it is bad, and the page that has the details."""
    st.metric(
        title,
        value,
        note,
        delta_color="inverse" if bad else "off",
        delta_arrow="off",
        border=True,
        height=CARD_PX,
        help=about,
        chart_data=line,
        chart_type="area",
    )
    entry = next(page for page in PAGES if page.name == leads_to)
    st.page_link(f"app_pages/{entry.name}.py", label=entry.title, icon=":material/arrow_forward:")


def _rate_card(watched: Sequence[SourceRow], answering: set[str], now: int) -> None:
    since, until = ((at // rates.FINE_MS) * rates.FINE_MS for at in (now - SERIES_MS, now))
    events = data.read(rates.event_series, since, until + rates.FINE_MS, rates.FINE_MS)
    seen_until = min(until, max((source.checked_ms for source in watched), default=0))
    silent = len(watched) - len(answering)
    _card(
        "Events, last minute",
        units.rate(view.rate_per_s(events, now) if answering else None),
        f"{silent} of {len(watched)} sources silent" if silent else None,
        "flow",
        bad=bool(silent),
        about="Events a second over the last minute; the line shows 15 minutes, 10 s a point",
        line=view.filled(events, since, seen_until, rates.FINE_MS, data.read(flow.known_since_ms)) or None,
    )


def _letters_card(answering: set[str], now: int) -> None:
    minute = now // 60_000 * 60_000
    arrived = data.read(rates.letter_series, minute - NEW_MS, minute + 60_000, "open")
    new = sum(point.value for point in arrived)
    open_now = data.read(letter_counts.totals).get("open", 0)
    note = f"{units.count(new)} new in the last hour" if answering else "nobody knows what is new"
    _card("Dead letters open", units.count(open_now), note, "dead_letters", bad=bool(new))


def _wait_card(answering: set[str]) -> None:
    worst = view.worst_lag(freshness.of_now(data.read(groups.all_groups), answering))
    group = worst.group
    unknown = f"{worst.unknown} of {worst.total} groups unknown" if worst.unknown else ""
    if group:
        value = units.time_lag(group.time_lag_kind, group.time_lag_ms)
        note = literal(middle(f"{group.name} · {units.lag(group.lag_kind, group.lag)} events", 40))
    else:
        value = "0 s" if worst.total > worst.unknown else units.UNKNOWN
        note = unknown or ("no group is behind" if worst.total else "no group has been seen")
    help_text = f"The group whose oldest unread event waits longest. {unknown}"
    _card("Longest wait", value, note, "lag", about=help_text)


def _alerts_card(firing: Sequence[alerts.AlertRow]) -> None:
    if firing:
        _card("Alerts firing", units.count(len(firing)), literal(firing[0].rule), "alerts", bad=True)
        return
    alive, _ = data.collectors_alive()
    note = "none" if alive else "nobody evaluates the rules"
    _card("Alerts firing", units.count(0 if alive else None), note, "alerts")


def _sagas_card(stuck: Sequence[sagas.SagaRow], now: int) -> None:
    declared = bool(data.settings().saga)
    note = f"longest silent {units.age(stuck[0].last_ms, now)}" if stuck else "none"
    help_text = "Declared sagas that have not ended and have shown nothing for too long"
    value = units.count(len(stuck)) if declared else "none declared"
    _card("Sagas stuck", value, note if declared else None, "traces", bad=bool(stuck), about=help_text)


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
