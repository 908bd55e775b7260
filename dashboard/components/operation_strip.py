"""Operations under way and just ended, above the letters that they are about."""

import streamlit as st

from dashboard import acts, data
from dashboard.components import frame, tables
from dashboard.components.operation_dialog import SAID
from dashboard.viewmodels import letters as view
from dashboard.viewmodels import operations as moves
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.domain.errors import EventwakeError
from eventwake.domain.operation import FINISHED, Actor, CommandState
from eventwake.store.reads import operations, sources
from eventwake.store.reads.operations import OperationRow

SHOWN = 3
ENDED_SHOWN_MS = 60_000  # one that ended is shown for this long
ITEMS_SHOWN = 200


def show() -> None:
    """Says what the last act could not do, then the operations."""
    if said := st.session_state.get(SAID):
        st.warning(literal(said, 1_000), icon=":material/info:")
    frame.live(_operations)()


def _operations() -> None:
    now = now_ms()
    recent = data.read(operations.newest, SHOWN)
    shown = [o for o in recent if o.finished_ms is None or now - o.finished_ms < ENDED_SHOWN_MS]
    asked_for = _asked_for()
    if asked_for is not None and asked_for.id not in {o.id for o in shown}:
        shown.append(asked_for)
    if shown and not data.collectors_alive()[0]:
        st.warning("No collector is alive: what you ask for waits until one is.", icon=":material/warning:")
    elif under_way := {o.source for o in shown if CommandState(o.state) not in FINISHED}:
        workers = data.read(sources.workers)
        for why in filter(None, (moves.hindered(source, workers, now) for source in sorted(under_way))):
            st.warning(literal(why, 1_000), icon=":material/warning:")
    with st.container(gap=None):
        for operation in shown:
            _one(operation, now)
    if asked_for is not None:
        tables.show(
            data.read(operations.items, asked_for.id, ITEMS_SHOWN),
            {
                "letter_id": "Letter", "attempt": "Attempt", "state": "State", "target": "Sent to",
                "sent_position": "At", "detail": "Says",
            },
            key=f"items.{asked_for.id}",
            empty="This operation has no letters any more.",
        )  # fmt: skip


def _asked_for() -> OperationRow | None:
    """The operation that the link names."""
    number = st.query_params.get("operation", "")
    return data.read(operations.one, int(number)) if number.isdecimal() and len(number) < 19 else None


def _one(operation: OperationRow, now: int) -> None:
    progress = moves.with_waiting(operation, data.read(operations.progress, operation.id))
    ended = CommandState(operation.state) in FINISHED
    outcomes = data.read(operations.outcomes, operation.id) if ended else {}  # a long look at many letters
    line = view.operation_line(operation, progress, outcomes, now)
    with st.container(horizontal=True, vertical_alignment="center", key=f"operation.{line.id}"):
        if line.under_way:
            st.progress(line.done / max(line.items, 1), f"{literal(line.title)} · {literal(line.says)}")
            st.button("Cancel", key=f"cancel.{line.id}", on_click=_cancel, args=(line.id,))
        else:
            mark = "●" if CommandState(operation.state) is CommandState.DONE else "✕"
            st.caption(f"{mark} {literal(line.title)} · {literal(line.says)}")
            if st.query_params.get("operation") != str(line.id):
                st.button(
                    "Letters", type="tertiary", key=f"items.of.{line.id}", on_click=_name, args=(line.id,)
                )


def _name(command_id: int) -> None:
    st.query_params["operation"] = str(command_id)


def _cancel(command_id: int) -> None:
    try:
        freed = acts.cancel(data.store(), command_id, Actor())
    except EventwakeError as error:
        st.session_state[SAID] = str(error)
    else:
        st.session_state[SAID] = f"Operation {command_id} was stopped: {freed:,} letters were not begun with."
