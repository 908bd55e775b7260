"""Alerts: what fires now, what fired, and the rules."""

import streamlit as st

from dashboard import acts, data
from dashboard.components import frame, tables
from dashboard.viewmodels import alerts as view
from dashboard.viewmodels import units
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.domain.errors import EventwakeError
from eventwake.domain.operation import Actor
from eventwake.settings import config_file
from eventwake.store.reads import alerts
from eventwake.store.reads.alerts import AlertRow

SHOWN = 50
PAST = 200
SAID = "alerts.said"


@frame.live
def now_firing() -> None:
    now = now_ms()
    if said := st.session_state.get(SAID):
        st.warning(literal(said), icon=":material/info:")
    found = data.read(alerts.unresolved)
    firing = [alert for alert in found if alert.state == "firing"]
    waiting = [alert for alert in found if alert.state != "firing"]
    st.markdown(f"##### Firing: {len(firing)}")
    for alert in firing[:SHOWN]:
        _one(alert, now)
    if len(firing) > SHOWN:
        st.caption(f"and {len(firing) - SHOWN:,} more")
    if not firing:
        evaluated = max((alert.evaluated_ms for alert in found), default=None)
        alive, last = data.collectors_alive()
        if alive:
            st.caption(f"No alert fires; rules were looked at {units.age(evaluated or last, now)}.")
        else:
            st.warning("Nothing evaluates the rules: no collector is alive.", icon=":material/warning:")
    if waiting:
        st.markdown(f"##### Above their limit, not yet for long enough: {len(waiting)}")
        for alert in waiting[:SHOWN]:
            st.caption(f"○ {literal(alert.rule)} · {literal(view.headline(alert, now))}")
    st.markdown("##### Past")
    tables.show(
        view.past_lines(data.read(alerts.past, PAST), now),
        {
            "rule": "Rule", "subject": "About", "fired": "Fired", "lasted": "Lasted", "ended": "Ended",
            "acknowledged": "Acknowledged", "note": "Note",
        },
        key="past-alerts", empty="No alert has ended yet.",
    )  # fmt: skip


def _one(alert: AlertRow, now: int) -> None:
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"alert.{alert.id}"):
        linked = st.query_params.get("alert") == str(alert.id)
        st.markdown(f":red[●] **{literal(alert.rule)}**{' ◀' if linked else ''}", width="content")
        st.caption(literal(view.headline(alert, now)), width="content")
        link = view.link(alert)
        st.page_link(f"app_pages/{link.page}.py", label=link.label, query_params=link.parameters or None)
        if alert.acknowledged_ms is not None:
            by = f"{alert.acknowledged_by} {units.age(alert.acknowledged_ms, now)}"
            note = f": {alert.note}" if alert.note else ""
            st.caption(literal(f"acknowledged by {by}{note}"), width="content")
            return
        with st.popover("Acknowledge"):
            st.caption("Says that someone looks after it. It goes on firing until it is over.")
            st.text_input("Note (optional)", key=f"note.{alert.id}", max_chars=500)
            st.button("Acknowledge", key=f"ack.{alert.id}", on_click=_acknowledge, args=(alert.id,))


def _acknowledge(alert_id: int) -> None:
    note = st.session_state.get(f"note.{alert_id}") or ""
    try:
        done = acts.acknowledge(data.store(), alert_id, Actor(), note.strip())
    except EventwakeError as error:
        st.session_state[SAID] = str(error)
    else:
        st.session_state[SAID] = None if done else "That alert is over already."


@frame.live
def rules() -> None:
    declared = data.settings().alert
    now = now_ms() // 1000 * 1000
    subjects = {kind: data.read(alerts.subjects, kind, now) for kind in {rule.kind for rule in declared}}
    st.markdown("##### Rules")
    tables.show(
        view.rule_lines(declared, subjects),
        {
            "rule": "Rule", "fires": "Fires when", "lasting": "For", "matches": "Looks at (source / what)",
            "looks_at": "Matching now", "above": "Above limit", "unknown": "Not measurable",
        },
        key="rules", empty="No rule is set.",
    )  # fmt: skip
    st.caption(
        f"Rules are the \\[\\[alert\\]\\] tables of {literal(config_file().name)}; "
        "restart the collectors after a change."
    )


frame.title("Alerts")
now_firing()
rules()
