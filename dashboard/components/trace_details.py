"""What one row of a trace holds: an event, what a group did with one, or a dead letter."""

from collections.abc import Mapping
from datetime import tzinfo

import streamlit as st

from dashboard import data
from dashboard.components import record, tables
from dashboard.viewmodels import trace as view
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.decoding import original
from eventwake.domain.errors import SettingsError, StoreDamaged
from eventwake.domain.trace import Delivery, Node, TracedLetter
from eventwake.store.reads import events
from eventwake.store.reads.events import EventRow


def show(node: Node, found: Mapping[str, EventRow], zone: tzinfo) -> None:
    if node.event:
        _event(node, found[node.event.ref], zone)
    elif node.delivery:
        _delivery(node, node.delivery, zone)
    elif node.letter:
        _letter(node.letter)
    else:
        st.markdown("**Not here**")
        st.text(node.caused_by)
        st.caption(
            "Events of this trace say that this event caused them. It is not in the store: it was trimmed "
            "before it was read, dropped by retention, or lies in a source that is not watched."
        )


def _event(node: Node, event: EventRow, zone: tzinfo) -> None:
    st.markdown(
        f"**{literal(event.event_type or 'Event of unknown type', 80)}** in {literal(event.stream, 80)}"
    )
    lines = view.group_lines(node, zone)
    tables.show(
        lines,
        {
            "group": "Group", "state": "State", "waited": "Waited", "worked": "Worked",
            "given": "Given to it", "done": "Done", "deliveries": "Deliveries", "consumer": "Consumer",
        },
        key=f"groups.{event.ref}", empty="No consumer group reads this stream.", export=False,
    )  # fmt: skip
    kept = data.read(events.body, event.ref)
    if kept is None:
        st.info("Its bytes are gone: retention dropped them.")
        return
    try:
        mask = data.settings().source_named(event.source).mask
        whole = original.unpack(
            kept.body, kept.checksum, position=event.position, recorded_ms=event.recorded_ms,
            partition=kept.partition,
        )  # fmt: skip
    except SettingsError:
        st.info("Its source is not in the settings any more, so what to mask in it is unknown: not shown.")
    except StoreDamaged as error:
        st.error(literal(error, 500))
    else:
        record.show(
            whole,
            mask=mask,
            stream=event.stream,
            name=event.event_type or "event",
            said=f"{event.event_type} of {event.stream} at {event.position}",
            key=f"event.{event.ref}",
            notes=view.notes(event),
            more={"Facts": lambda: _facts(event, zone)},
        )


def _facts(event: EventRow, zone: tzinfo) -> None:
    tables.show(
        view.event_facts(event, now_ms(), zone),
        {"name": "Fact", "text": "What is known"},
        key=f"facts.{event.ref}",
        empty="Nothing is known.",
        export=False,
    )


def _delivery(node: Node, delivery: Delivery, zone: tzinfo) -> None:
    st.markdown(f"**{literal(delivery.group, 80)}**: {delivery.state.value}")
    parent = Node("", "event", node.at_ms, children=[node])
    for line in view.group_lines(parent, zone):
        facts = [
            view.Fact("Waited", line.waited),
            view.Fact("Given to it", line.given),
            view.Fact("Worked", line.worked),
            view.Fact("Done", line.done),
            view.Fact("Deliveries", str(line.deliveries) if line.deliveries else "not counted any more"),
            view.Fact("Consumer", line.consumer or "not known any more"),
        ]
        columns = {"name": "Fact", "text": "What is known"}
        tables.show(facts, columns, key=f"delivery.{node.id}", empty="", export=False)
    st.caption(
        "A broker does not keep when a group handled an event; two samples of its position bound it, and an "
        "event that it caused tells more."
    )
    st.page_link(
        "app_pages/lag.py", label="The group's lag", icon=":material/hourglass_bottom:",
        query_params={"group": delivery.group},
    )  # fmt: skip


def _letter(letter: TracedLetter) -> None:
    st.markdown(f"**Dead letter {letter.letter_id}**: {literal(letter.state.replace('_', ' '))}")
    with st.container(border=True):
        st.text(letter.error or "(it does not say why)")
    by = letter.group or "a group that it does not name"
    tries = f" after {letter.attempts} tries" if letter.attempts else ""
    st.caption(literal(f"Given up by {by}{tries}."))
    st.page_link(
        "app_pages/dead_letters.py", label="Open the letter", icon=":material/arrow_forward:",
        query_params={"state": "All", "letter": str(letter.letter_id)},
    )  # fmt: skip
