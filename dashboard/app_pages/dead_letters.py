"""Dead letters: by cause, one by one, and what can be done about them.

The page of letters is frozen when it is first shown, so that a row never becomes another letter under the
pointer; their states are read again, and letters that came since are counted above the list.
"""

from hashlib import blake2b
from typing import Any

import streamlit as st

from dashboard import data
from dashboard.components import frame, letter_details, operation_dialog, operation_strip, tables
from dashboard.viewmodels import letters as view
from dashboard.viewmodels import units
from eventwake.clock import now_ms
from eventwake.domain.operation import CommandKind
from eventwake.store.reads import letters, rates, sources
from eventwake.store.reads.letters import LetterFilter, LetterRow

LISTED = 100  # letters a page
CAUSES = 8
NEW_AT_MOST = 999
WEEK_MS = 7 * 86_400_000
WATCH_S = 2.0  # how soon the outcome of an act is seen
STALE_MS = 30_000  # ages on the page are never older than this
FROZEN = "letters.frozen"
CURSORS = "letters.cursors"
CHOSEN = "letters.chosen"
NAMED = "letters.named"  # the letter that the link named when the page was last drawn
TABLE = "letters.table"  # grows when a link is followed, so that the selection of before does not outlive it
ANY = "Any"


def filters() -> LetterFilter:
    """What the reader looks at, all of it in the link."""
    offered = data.read(letters.choices)
    known = [source.name for source in data.read(sources.all_sources)]
    types = data.read(rates.event_types, now_ms() // 3_600_000 * 3_600_000 - WEEK_MS)
    columns = st.columns([1.1, 1.1, 1.5, 1.5, 1.5, 2.2])
    state = _choice(columns[0], "State", "state", list(view.STATE_CHOICES), first="Open")
    source = _choice(columns[1], "Source", "source", known)
    stream = _choice(columns[2], "Dead-letter stream", "stream", offered["stream"])
    group = _choice(columns[3], "Given up by", "group", offered["group"])
    event_type = _choice(columns[4], "Event type", "type", types)
    text = columns[5].text_input(
        "Find", key="text", bind="query-params", type="search", placeholder="event id, correlation id or key"
    )
    return LetterFilter(
        tuple(s.value for s in view.STATE_CHOICES.get(state or "Open", ())),
        source, stream, st.query_params.get("cause"), group, event_type, text=(text or "").strip() or None,
    )  # fmt: skip


def _choice(column: Any, label: str, key: str, options: list[str], first: str | None = None) -> str | None:
    offered = options if first else [ANY, *options]
    chosen: str = column.selectbox(
        label, offered, key=key, bind="query-params", accept_new_options=first is None
    )
    return None if chosen == ANY else chosen


def causes(wanted: LetterFilter) -> None:
    """Why letters are dead, the commonest first; a click filters by one."""
    rows = data.read(letters.groups, wanted, CAUSES)
    with st.container(key="causes", gap=None):
        for row, line in zip(rows, view.cause_lines(rows, now_ms()), strict=True):
            chosen = row.fingerprint == wanted.fingerprint
            st.button(
                line.label,
                key=f"cause.{row.fingerprint}",
                type="secondary" if chosen else "tertiary",
                icon=":material/close:" if chosen else None,
                help="Show all causes" if chosen else line.help,
                width="stretch",
                on_click=_set,
                args=("cause", None if chosen else row.fingerprint),
            )
        if wanted.fingerprint and not rows:
            st.button(
                "Show all causes", type="tertiary", key="cause.none", on_click=_set, args=("cause", None)
            )


def _set(name: str, value: str | None) -> None:
    if value is None:
        st.query_params.pop(name, None)
    else:
        st.query_params[name] = value


def frozen(wanted: LetterFilter) -> dict[str, Any]:
    """The letters that the list holds: ids, where the next page begins, and the newest letter known then."""
    before = st.query_params.get("before")
    of = f"{wanted}{before}"
    kept: dict[str, Any] = st.session_state.get(FROZEN, {})
    if kept.get("of") != of:
        if kept.get("filter") not in (None, str(wanted)):  # another filter begins at its first page
            st.query_params.pop("before", None)
            st.session_state.pop(CURSORS, None)
            before, of = None, f"{wanted}{None}"
        with data.store().read() as connection:
            newest = letters.newest_id(connection)
            page = letters.page(connection, wanted, LISTED, before)
        kept = {
            "of": of, "filter": str(wanted), "ids": [row.id for row in page.letters],
            "older": page.older, "newest": newest,
        }  # fmt: skip
        st.session_state[FROZEN] = kept
    return kept


def letter_list(wanted: LetterFilter, page: dict[str, Any]) -> list[LetterRow]:
    """The list, and the letters chosen in it."""
    rows = data.read(letters.rows_of, tuple(page["ids"]))
    named = st.query_params.get("letter", "")
    if named != st.session_state.get(NAMED, named):
        st.session_state[TABLE] = st.session_state.get(TABLE, 0) + 1
        st.session_state.pop(CHOSEN, None)
    places = [place for place, row in enumerate(rows) if str(row.id) == named]
    chosen = tables.show(
        view.letter_lines(rows, now_ms()),
        {
            "state": st.column_config.TextColumn("State", width=80),
            "failed": st.column_config.TextColumn("Failed", width=80),
            "event_type": st.column_config.TextColumn("Event", width=120),
            "key": st.column_config.TextColumn("Key", width=90),
            "group": st.column_config.TextColumn("Given up by", width=110),
            "error": st.column_config.TextColumn("Error", width=260),
            "tries": st.column_config.NumberColumn("Tries", width=50),
            "origin": st.column_config.TextColumn("Came from", width=90),
        },
        key=f"letters.{_hash(page['ids'])}.{st.session_state.get(TABLE, 0)}",
        empty=_nothing(wanted),
        select="multi-row",
        chosen=places,
        shown_rows=14,
    )
    return [rows[place] for place in chosen if place < len(rows)]


def _hash(ids: list[int]) -> str:
    return blake2b(repr(ids).encode(), digest_size=6).hexdigest()


def _nothing(wanted: LetterFilter) -> str:
    if wanted == LetterFilter():
        return "No dead letter is open."
    return "No dead letter matches these filters."


def follow_selection(chosen: list[LetterRow]) -> int | None:
    """The letter to show: the one that is chosen, or that the link names."""
    before: list[int] = st.session_state.get(CHOSEN, [])
    ids = [row.id for row in chosen]
    st.session_state[CHOSEN] = ids
    if len(ids) == 1:
        st.query_params["letter"] = str(ids[0])
    elif ids or before:
        st.query_params.pop("letter", None)
    named = st.session_state[NAMED] = st.query_params.get("letter", "")
    return int(named) if named.isdecimal() and len(named) < 19 else None


def pager(page: dict[str, Any]) -> None:
    cursors: list[str | None] = st.session_state.setdefault(CURSORS, [])
    with st.container(horizontal=True):
        if st.query_params.get("before"):
            st.button("Newer", icon=":material/chevron_left:", key="newer", on_click=_newer, args=(cursors,))
        if page["older"]:
            st.button(
                "Older", icon=":material/chevron_right:", icon_position="right", key="older",
                on_click=_older, args=(cursors, page["older"]),
            )  # fmt: skip


def _newer(cursors: list[str | None]) -> None:
    _set("before", cursors.pop() if cursors else None)


def _older(cursors: list[str | None], older: str) -> None:
    cursors.append(st.query_params.get("before"))
    _set("before", older)


def heading(wanted: LetterFilter, page: dict[str, Any], chosen: list[LetterRow]) -> None:
    """How many match, and what can be done with all of them or with the chosen ones."""
    number = data.read(letters.count, wanted)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        if chosen:
            st.markdown(f"**{units.count(len(chosen))} chosen**")
        else:
            st.markdown(f"**{units.count(number, at_most=letters.COUNT_AT_MOST)}** match")
        for kind in CommandKind:
            if chosen:
                if any(view.can(row.state, kind) for row in chosen):
                    label, ask, about = f"{kind.capitalize()} chosen…", operation_dialog.ask_for, chosen
                    st.button(label, key=f"{kind}.chosen", on_click=ask, args=(kind, about))
            elif number and view.narrowed(wanted, kind).states:
                st.button(
                    f"{kind.capitalize()} all…",
                    key=f"{kind}.all",
                    on_click=operation_dialog.ask,
                    args=(kind, wanted),
                )
        watch(wanted, page)


def watch(wanted: LetterFilter, page: dict[str, Any]) -> None:
    """Counts what came since; draws the page again where something on it has changed."""
    shown = _signature(page), now_ms()

    def look() -> None:
        new = data.read(
            letters.count, LetterFilter(**{**_sides(wanted), "after_id": page["newest"]}), NEW_AT_MOST
        )
        if new:
            label = f"{units.count(new, at_most=NEW_AT_MOST)} new: show"
            st.button(label, icon=":material/refresh:", key="show.new", type="tertiary", on_click=_thaw)
        busy = operation_dialog.is_open()
        if not busy and (_signature(page) != shown[0] or now_ms() - shown[1] > STALE_MS):
            st.rerun()

    frame.live(look, every_s=WATCH_S)()


def _sides(wanted: LetterFilter) -> dict[str, Any]:
    return {name: getattr(wanted, name) for name in LetterFilter.__dataclass_fields__}


def _signature(page: dict[str, Any]) -> Any:
    """What the page shows of its letters, in a form that changes when it does."""
    named = st.query_params.get("letter", "")
    ids = {*page["ids"], *([int(named)] if named.isdecimal() and len(named) < 19 else [])}
    rows = data.read(letters.rows_of, tuple(sorted(ids)))
    followed = data.read(letters.outcomes, int(named)) if named.isdecimal() and len(named) < 19 else []
    return [(row.id, row.version) for row in rows], [tuple(outcome) for outcome in followed]


def _thaw() -> None:
    st.session_state.pop(FROZEN, None)
    st.session_state.pop(CURSORS, None)
    st.query_params.pop("before", None)


frame.title("Dead letters")
with frame.outages():
    wanted = filters()
    operation_strip.show()
    page = frozen(wanted)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        causes(wanted)
        head = st.container()
        chosen = letter_list(wanted, page)
        pager(page)
        with head:
            heading(wanted, page, chosen)
    with right:
        letter_id = follow_selection(chosen)
        if letter_id is None:
            st.caption("Choose a letter to see why it failed and what a retry would do.")
        else:
            letter_details.show(letter_id)
    operation_dialog.show_if_asked()
