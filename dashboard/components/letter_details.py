"""One dead letter: what failed and why, what a retry would do, its bytes and its history."""

from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from dashboard import acts, data
from dashboard.components import operation_dialog, record, tables
from dashboard.components.operation_dialog import READ_ONLY, SAID
from dashboard.viewmodels import letters as view
from dashboard.viewmodels import units
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.decoding import original
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.envelope import Record
from eventwake.domain.errors import EventwakeError, SettingsError, StoreDamaged
from eventwake.domain.operation import Actor, CommandKind
from eventwake.store.commands import MASKED, Order
from eventwake.store.reads import groups, letters, sources
from eventwake.store.reads.letters import LetterDetails, LetterRow
from eventwake.store.writes.events import Flag

TRACE_PX = 260


def show(letter_id: int) -> None:
    found = data.read(letters.one, letter_id)
    if found is None:
        st.info(f"Letter {letter_id} is not in this store: retention took it, or the link is of another one.")
        return
    letter, details = found
    now = now_ms()
    _head(letter, now)
    _acts(letter, details)
    _outcome(letter, now)
    _record(letter, details)


def _head(letter: LetterRow, now: int) -> None:
    state = LetterState(letter.state)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{literal(letter.event_type or 'Event of unknown type', 80)}** · letter {letter.id}")
        st.badge(state.replace("_", " "), color=view.STATE_COLOURS[state])  # type: ignore[arg-type]
        st.caption(f"{view.SAYS[state]}, {units.age(letter.changed_ms, now)}")
    with st.container(border=True):
        st.text(view.error_text(letter))


def _acts(letter: LetterRow, details: LetterDetails) -> None:
    writable = {row.name: row.writable for row in data.read(sources.all_sources)}.get(letter.source, False)
    if view.can(letter.state, CommandKind.RETRY):
        _retry(letter, details, writable)
    if view.can(letter.state, CommandKind.RESTORE):
        does = f"puts it back at the end of **{literal(letter.stream, 80)}**"
        _button("Restore", does, writable, _submit, letter, CommandKind.RESTORE)
    with st.container(horizontal=True, vertical_alignment="center"):
        if view.can(letter.state, CommandKind.DISCARD):
            masked = bool(details.flags & Flag.MASKED)
            st.button(
                "Discard…", key="discard.one", disabled=not writable or masked,
                on_click=operation_dialog.ask_for, args=(CommandKind.DISCARD, [letter]),
            )  # fmt: skip
            if masked:
                st.caption(MASKED[CommandKind.DISCARD])
        _links(letter)
    if not writable:
        st.caption(READ_ONLY.format(literal(letter.source)))


def _retry(letter: LetterRow, details: LetterDetails, writable: bool) -> None:
    """One click where it is plain whereto; a dialog where a person has something to decide first."""
    target = letter.origin_stream
    if not target or letter.state != LetterState.OPEN:
        why = "it does not say where it came from" if not target else "it may have been sent already"
        _button("Retry…", why, writable, operation_dialog.ask_for, CommandKind.RETRY, [letter])
        return
    readers = view.readers(letter, details.origin_position, target, data.read(groups.all_groups))
    seen = " · ".join(f"{literal(reader.group, 60)} ({reader.stands})" for reader in readers)
    does = (
        f"sends it to **{literal(target, 80)}**, seen again by {seen or 'no group: none reads there now'}"
        f" · leaves away {literal(view.left_away(details), 300)}"
    )
    _button("Retry", does, writable, _submit, letter, CommandKind.RETRY)


def _button(label: str, does: str, writable: bool, act: Callable[..., None], *arguments: Any) -> None:
    """An act, and beside it what it will do."""
    left, right = st.columns([1, 5], vertical_alignment="center")
    left.button(
        label, key=f"act.{label}", type="primary", disabled=not writable, on_click=act, args=arguments
    )  # fmt: skip
    right.caption(does)


def _links(letter: LetterRow) -> None:
    trace = letter.correlation_id or letter.event_id
    if trace:
        st.page_link(
            "app_pages/traces.py", label="Trace", icon=":material/timeline:",
            query_params={"trace": letter.correlation_id} if letter.correlation_id else {"text": trace},
        )  # fmt: skip
    relatives = data.read(letters.relatives, letter.id)
    for text, other in (
        ("Came back as letter", relatives.later),
        ("Is the return of letter", relatives.earlier),
    ):
        if other is not None:
            st.page_link(
                "app_pages/dead_letters.py", label=f"{text} {other}", icon=":material/undo:",
                query_params={"state": "All", "letter": str(other)},
            )  # fmt: skip


def _submit(letter: LetterRow, kind: CommandKind) -> None:
    st.session_state.pop(SAID, None)
    try:
        acts.submit(data.store(), Order(kind, letter.source, Actor(), [(letter.id, letter.version)]))
    except EventwakeError as error:
        st.session_state[SAID] = str(error)


def _outcome(letter: LetterRow, now: int) -> None:
    if line := view.outcome_line(data.read(letters.outcomes, letter.id), now):
        st.caption(f"→ {literal(line, 1_000)}")


def _record(letter: LetterRow, details: LetterDetails) -> None:
    try:
        mask = data.settings().source_named(letter.source).mask
    except SettingsError:
        st.info("Its source is not in the settings any more, so what to mask in it is unknown: not shown.")
        return
    try:
        kept = original.unpack(details.body, details.checksum, position=letter.position)
    except StoreDamaged as error:
        st.error(literal(error, 500))
        return
    _show(letter, details, kept, mask)


def _show(letter: LetterRow, details: LetterDetails, kept: Record, mask: Sequence[str]) -> None:
    record.show(
        kept,
        mask=mask,
        stream=letter.stream,
        name=letter.event_type or "letter",
        said=f"Dead letter {letter.id}: {view.error_text(letter)}",
        key=f"letter.{letter.id}",
        more={
            "Error": lambda: _error(letter, details),
            "Facts": lambda: _facts(letter, details),
            "History": lambda: _history(letter),
        },
    )


def _error(letter: LetterRow, details: LetterDetails) -> None:
    if details.stack_trace:
        st.code(details.stack_trace, language="python", height=TRACE_PX)
    else:
        st.caption("The letter holds no stack trace.")
    st.page_link(
        "app_pages/dead_letters.py",
        label="All letters of this cause",
        icon=":material/filter_alt:",
        query_params={"cause": letter.fingerprint},
    )


def _facts(letter: LetterRow, details: LetterDetails) -> None:
    tables.show(
        view.facts(letter, details, now_ms()),
        {"name": "Fact", "text": "What is known"},
        key=f"facts.{letter.id}",
        empty="Nothing is known.",
        export=False,
    )


def _history(letter: LetterRow) -> None:
    tables.show(
        view.history_lines(data.read(letters.history, letter.id), now_ms()),
        {"at": "When", "state": "State", "operation": "Operation", "says": "Says"},
        key=f"history.{letter.id}",
        empty="Nothing has happened to it yet.",
        export=False,
    )
