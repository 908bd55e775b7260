"""The dialog before an operation over many letters: how many, whereto, what it does, and then yes or no.

Which letters it is about is kept in the session as plain values, so that the dialog outlives a rerun of the
page behind it; what it acts on is frozen when it opens, letters that come later are not touched.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import streamlit as st

from dashboard import acts, data
from dashboard.components import tables
from dashboard.viewmodels import letters as view
from dashboard.viewmodels import units
from dashboard.viewmodels.text import literal
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.errors import EventwakeError
from eventwake.domain.operation import Actor, CommandKind
from eventwake.store.reads import groups, letters, sources
from eventwake.store.reads.letters import LetterFilter, LetterRow, Summary

ASKED = "operation.asked"
SAID = "operation.said"
SUMMARY, UNKNOWN = "summary", "unknown"  # what was found when the dialog opened
ORIGIN = "where each came from"
READ_ONLY = (
    "{} is read-only. To allow this, set writable = true for it in the settings and restart the collectors."
)


def ask(kind: CommandKind, wanted: LetterFilter) -> None:
    """Opens the dialog for all letters that match now."""
    try:
        with data.store().read() as connection:
            newest = letters.newest_id(connection)
    except EventwakeError as error:
        st.session_state[SAID] = str(error)
        return
    _open(kind, view.narrowed(wanted, kind), newest, None)


def ask_for(kind: CommandKind, chosen: Sequence[LetterRow]) -> None:
    """Opens the dialog for these letters, as they are shown."""
    shown = {row.id: row.version for row in chosen if view.can(row.state, kind)}
    wanted = LetterFilter(states=(), ids=tuple(shown))
    _open(kind, view.narrowed(wanted, kind), max(shown, default=0), shown)


def is_open() -> bool:
    return ASKED in st.session_state


def show_if_asked() -> None:
    """Draws the dialog while one is open. Call it once on a page, after everything else."""
    if not is_open():
        return
    kind = CommandKind(st.session_state[ASKED]["kind"])
    title = f"{kind.capitalize()} dead letters"
    st.dialog(title, width="medium", on_dismiss=_close)(_body)()


def _open(kind: CommandKind, wanted: LetterFilter, up_to_id: int, shown: dict[int, int] | None) -> None:
    st.session_state.pop(SAID, None)
    st.session_state[ASKED] = {
        "kind": kind.value, "wanted": asdict(wanted), "up_to_id": up_to_id, "shown": shown
    }  # fmt: skip


def _close() -> None:
    st.session_state.pop(ASKED, None)


def _body() -> None:
    asked = st.session_state.get(ASKED)
    if asked is None:  # confirmed or cancelled in this very run
        st.rerun()
    kind, wanted = CommandKind(asked["kind"]), LetterFilter(**asked["wanted"])
    summary = _summary(asked)
    if not summary.letters:
        st.write(f"No letter that could be {_PARTICIPLES[kind]} is among them.")
        st.button("Close", on_click=_close)
        return
    target = _target(wanted) if kind is CommandKind.RETRY else None
    shown = view.preview(summary, data.read(groups.all_groups), target, now_ms())
    own = _writable(shown)
    number = view.taken(shown, own, kind)
    _explain(kind, shown, wanted)
    reason = ""
    if kind is not CommandKind.RESTORE:
        needed = kind is CommandKind.DISCARD
        reason = st.text_input(
            "Reason" if needed else "Reason (optional)", key="operation.reason", max_chars=500, live=True
        ) or ""  # fmt: skip
    sure = _typed(number)
    lacking = kind is CommandKind.DISCARD and not reason.strip()
    with st.container(horizontal=True):
        st.button(
            f"{kind.capitalize()} {units.count(number)}",
            type="primary",
            disabled=not number or not sure or lacking,
            on_click=_carry_out,
            args=(kind, asked, own, target, reason.strip()),
            key="operation.confirm",
        )
        st.button("Cancel", on_click=_close, key="operation.cancel")
    if lacking:
        st.caption("Say why: the reason stays with the letters.")


def _summary(asked: dict[str, Any]) -> Summary:
    """What the letters are, looked up once: each key that is typed into the dialog draws it again."""
    if SUMMARY not in asked:
        asked[SUMMARY] = tuple(data.read(letters.summary, LetterFilter(**asked["wanted"]), asked["up_to_id"]))
    return Summary(*asked[SUMMARY])


_PARTICIPLES = {
    CommandKind.RETRY: "retried", CommandKind.DISCARD: "discarded", CommandKind.RESTORE: "restored"
}  # fmt: skip


def _target(wanted: LetterFilter) -> str | None:
    known = {s.name for s in data.read(sources.streams) if s.kind != "dead_letters" and s.gone_ms is None}
    chosen = st.selectbox(
        "Send to", [ORIGIN, *sorted(known)], key="operation.target",
        help="Where each came from, unless all should go to another stream of their source",
    )  # fmt: skip
    return None if chosen == ORIGIN else chosen


def _writable(shown: view.Preview) -> list[str]:
    """The sources that may be acted on; says which may not."""
    may = {row.name for row in data.read(sources.all_sources) if row.writable}
    for name in sorted(set(shown.sources) - may):
        st.warning(f"{READ_ONLY.format(literal(name))} Its letters are left out.")
    return [name for name in shown.sources if name in may]


def _explain(kind: CommandKind, shown: view.Preview, wanted: LetterFilter) -> None:
    st.markdown(
        f"**{view.number_of_letters(shown.letters)}**, {units.size(shown.bytes)}, failed {shown.ages}: "
        + ", ".join(f"{units.count(number)} {literal(name, 60)}" for name, number in shown.types)
    )
    if kind is CommandKind.RETRY:
        tables.show(
            shown.targets,
            {"letters": "Letters", "stream": "Sent to", "seen_by": "Seen by"},
            key="operation.targets",
            empty="None of them says where it came from: choose a stream.",
            export=False,
        )
        if shown.without_target and shown.targets:
            st.warning(
                f"{units.count(shown.without_target)} do not say where they came from and are left out."
            )
        st.caption(
            "Each is sent once, with its own fields and a replay id, and leaves the dead-letter stream. "
            "Groups that have had it already see it a second time; what each does with it is followed."
        )
        if LetterState.UNKNOWN in wanted.states or not wanted.states:
            _warn_of_unknown(wanted)
    elif kind is CommandKind.DISCARD:
        st.caption(
            "They are taken out of their dead-letter streams. Eventwake keeps its copy, so that they can be "
            f"restored for {data.settings().store.letters_days:g} days."
        )
        if any(source.mask_letters and source.mask for source in data.settings().source):
            st.caption(
                "Letters whose copy is masked are left out: they could not be restored. A retry works."
            )
    else:
        st.caption("Each is put back at the end of the dead-letter stream that it was in.")


def _warn_of_unknown(wanted: LetterFilter) -> None:
    asked = st.session_state[ASKED]
    if UNKNOWN not in asked:
        unknown = LetterFilter(**{**asked["wanted"], "states": (LetterState.UNKNOWN.value,)})
        asked[UNKNOWN] = data.read(letters.summary, unknown, asked["up_to_id"]).letters
    number = asked[UNKNOWN]
    if number:
        st.warning(
            f"{units.count(number)} of them may have been sent already; a retry can deliver them twice."
        )


def _typed(number: int) -> bool:
    """Whether a number this great was typed in, where the settings want that."""
    if number <= data.settings().dashboard.confirm_above:
        return True
    typed = st.text_input(f"Type {number} to confirm", key="operation.typed", live=True)
    return (typed or "").strip().replace(",", "") == str(number)


def _carry_out(
    kind: CommandKind, asked: dict[str, Any], own: list[str], target: str | None, reason: str
) -> None:
    try:
        done, refused = acts.submit_matching(
            data.store(), kind, LetterFilter(**asked["wanted"]), asked["up_to_id"], own, Actor(),
            reason=reason, target=target, shown=asked["shown"],
        )  # fmt: skip
    except EventwakeError as error:
        st.session_state[SAID] = str(error)
    else:
        left_out = {why for each in done for why in each.left_out.values()}
        number = sum(len(each.left_out) for each in done)
        said = [f"{number} were left out: {'; '.join(sorted(left_out))}"] if number else []
        st.session_state[SAID] = "; ".join([*said, *refused]) or None
    _close()
