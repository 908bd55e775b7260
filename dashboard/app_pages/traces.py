"""Traces: find an event, and see what came of it across services."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard import data
from dashboard.components import frame, tables, trace_details, waterfall
from dashboard.viewmodels import deliveries as delivered
from dashboard.viewmodels import trace as view
from dashboard.viewmodels import units
from dashboard.viewmodels import waterfall as rows
from dashboard.viewmodels.text import literal, middle
from eventwake.clock import now_ms
from eventwake.domain.saga import SagaState, StepSeen
from eventwake.domain.trace import Node
from eventwake.store.reads import events, groups, letters, rates, sagas, sources
from eventwake.store.reads.events import EventFilter, EventRow

ANY = "Any"
CUSTOM = "Custom"
WINDOWS_MS = {"15 min": 900_000, "1 h": 3_600_000, "6 h": 21_600_000, "24 h": 86_400_000, "All": None}
LISTED = 50
FROZEN = "traces.frozen"
SEARCHED = "searched"  # what led to a trace, in its link: "text" itself may be set by its input field only
LETTERS_AT_MOST = 500
SAMPLES_AT_MOST = 20_000  # of all groups of a trace
AROUND_MS = 300_000  # how long around the trace the groups' samples are looked at
WEEK_MS = 7 * 86_400_000
STATE_COLOURS = {
    SagaState.COMPLETED: "green", SagaState.COMPENSATED: "orange", SagaState.COMPENSATING: "orange"
}  # fmt: skip


def zone() -> ZoneInfo:
    return ZoneInfo(st.context.timezone or "UTC")


def search() -> None:
    """The search, and what it found; a row leads to its trace."""
    frame.title("Traces")
    with frame.outages():
        text, wanted = _asked()
        if text:
            _matching(text, wanted)
        else:
            _newest(wanted)


def _asked() -> tuple[str, EventFilter]:
    columns = st.columns([2.6, 1.4, 1.1, 1.4, 3.1], vertical_alignment="bottom")
    text = columns[0].text_input(
        "Find", key="text", bind="query-params", type="search",
        placeholder="event id, correlation id, business key or stream@position",
    )  # fmt: skip
    now = now_ms() // 60_000 * 60_000
    known = data.read(sources.streams)
    event_type = _choice(columns[1], "Type", "type", data.read(rates.event_types, now - WEEK_MS))
    source = _choice(columns[2], "Source", "source", sorted({stream.source for stream in known}))
    stream = _choice(columns[3], "Stream", "stream", sorted({s.name for s in known if s.kind == "events"}))
    named = [s.id for s in known if s.name == stream and source in (None, s.source)]
    since, until = _window(columns[4])
    return (text or "").strip(), EventFilter(
        source, (named[0] if named else -1) if stream else None, event_type, None, since, until
    )  # fmt: skip


def _choice(
    column: st.delta_generator.DeltaGenerator, label: str, key: str, options: list[str]
) -> str | None:
    chosen = column.selectbox(label, [ANY, *options], key=key, bind="query-params", accept_new_options=True)
    return None if chosen in (ANY, None) else str(chosen)


def _window(column: st.delta_generator.DeltaGenerator) -> tuple[int | None, int | None]:
    """The times to look between, in ms."""
    chosen = column.segmented_control(
        "Recorded", [*WINDOWS_MS, CUSTOM], default="All", key="within", bind="query-params", required=True
    )
    if chosen != CUSTOM:
        length = WINDOWS_MS[chosen or "All"]
        return (now_ms() - length if length else None), None
    left, right = st.columns(2)
    since = left.datetime_input("From", value=None, key="since", bind="query-params", step=60)
    until = right.datetime_input("Until", value=None, key="until", bind="query-params", step=60)
    return _ms(since), _ms(until)


def _ms(moment: datetime | None) -> int | None:
    return round(moment.replace(tzinfo=zone()).timestamp() * 1000) if moment else None


def _matching(text: str, wanted: EventFilter) -> None:
    hits = [event for event in data.read(events.find, text) if _fits(event, wanted)]
    found = view.found(hits, zone())
    if len(found) == 1:
        _open(found[0].link)
    if not found:
        _not_found(text)
        return
    st.caption(f"{len(found):,} traces hold it. Choose one.")
    chosen = tables.show(
        [each.line for each in found],
        {
            "last": "Newest", "first": "Oldest", "events": "Matching events", "types": "Types",
            "key": "Key", "correlation_id": "Correlation id",
        },
        key=f"found.{text}", empty="", select="single-row",
    )  # fmt: skip
    if chosen:
        _open({**found[chosen[0]].link, SEARCHED: text})


def _fits(event: EventRow, wanted: EventFilter) -> bool:
    return (
        wanted.source in (None, event.source)
        and wanted.stream_id in (None, event.stream_id)
        and wanted.event_type in (None, event.event_type)
        and (wanted.since_ms is None or event.recorded_ms >= wanted.since_ms)
        and (wanted.until_ms is None or event.recorded_ms < wanted.until_ms)
    )


def _not_found(text: str) -> None:
    kept = units.duration(data.settings().store.events_days * 86_400_000)
    st.info(f"No event is known by {literal(middle(text, 80))}.", icon=":material/search_off:")
    st.caption(
        "Looked for it as an event id, a correlation id, a business key and a place. Events are kept for "
        f"{kept}; what a source samples, masks or leaves out cannot be found, nor what was trimmed before it "
        "was read."
    )
    dead = data.read(letters.page, letters.LetterFilter(states=(), text=text), 1).letters
    if dead:
        st.page_link(
            "app_pages/dead_letters.py", label="A dead letter is known by it", icon=":material/mail:",
            query_params={"state": "All", "text": text},
        )  # fmt: skip


def _frozen(wanted: EventFilter) -> events.Page:
    """A page of events that stays until another is asked for, so that no row changes under the hand."""
    asked = {name: st.query_params[name] for name in sorted(st.query_params)}
    kept = st.session_state.get(FROZEN)
    if kept is None or kept[0] != asked:
        kept = asked, data.read(events.page, wanted, LISTED, st.query_params.get("before"))
        st.session_state[FROZEN] = kept
    page: events.Page = kept[1]
    return page


def _newest(wanted: EventFilter) -> None:
    """The newest events that fit, a page at a time."""
    page = _frozen(wanted)
    chosen = tables.show(
        view.event_lines(page.events, zone()),
        {
            "at": "Recorded", "event_type": "Type", "stream": "Stream", "producer": "Producer", "key": "Key",
            "event_id": "Event id", "correlation_id": "Correlation id",
        },
        key=f"events.{page.events[0].ref if page.events else ''}.{len(page.events)}",
        empty=_nothing(wanted), select="single-row", shown_rows=16,
    )  # fmt: skip
    if chosen:
        _open(view.link_of(page.events[chosen[0]]))
    with st.container(horizontal=True):
        st.button("Newest", icon=":material/first_page:", key="newest", on_click=_before, args=(None,))
        if page.older:
            st.button(
                "Older", icon=":material/chevron_right:", icon_position="right", key="older",
                on_click=_before, args=(page.older,),
            )  # fmt: skip


def _nothing(wanted: EventFilter) -> str:
    if wanted == EventFilter():
        return "No event has been read yet. Are the collectors running, and does a source have streams?"
    return "No event fits these filters."


def _before(older: str | None) -> None:
    st.session_state.pop(FROZEN, None)
    if older is None:
        st.query_params.pop("before", None)
    else:
        st.query_params["before"] = older


def _open(link: Mapping[str, str]) -> None:
    st.query_params.from_dict(link)
    st.rerun()


def trace(correlation_id: str | None, ref: str | None) -> None:
    """One trace, with what its chosen row holds."""
    found = _events(correlation_id, ref)
    heading = f"Trace {middle(correlation_id, 40)}" if correlation_id else "An event on its own"
    frame.title(literal(heading))
    _back()
    if not found:
        _not_found(correlation_id or ref or "")
        return
    _head(correlation_id, found)
    left, right = st.columns([3, 2], gap="medium")
    young = now_ms() - max(event.recorded_ms for event in found) < view.YOUNG_MS
    chosen = _selected(found, ref)
    with left:
        draw = frame.live(_waterfall) if young else _waterfall
        draw(correlation_id, ref, chosen)
        st.caption(
            "Solid: sure. Hatched: it ended somewhere in there, between two samples of the group. "
            "Dotted: it has not been seen to end."
        )
    with right:
        draw = frame.live(_details) if young else _details
        draw(correlation_id, ref, chosen)


def _selected(found: Sequence[EventRow], ref: str | None) -> str:
    default = ref if ref else found[0].ref
    return st.query_params.get("row", f"e:{default}")


def _events(correlation_id: str | None, ref: str | None) -> list[EventRow]:
    if correlation_id:
        return data.read(events.trace, correlation_id)
    event = data.read(events.by_ref, ref or "")
    return [event] if event else []


def _tree(found: Sequence[EventRow], correlation_id: str | None) -> list[Node]:
    streams = {event.stream_id for event in found}
    readers = [group for group in data.read(groups.all_groups) if group.stream_id in streams]
    ids = tuple(group.id for group in readers)
    times = [event.recorded_ms for event in found]
    since, until = (min(times) - AROUND_MS) // 1000 * 1000, max(times) + AROUND_MS
    samples = data.read(groups.samples_between, ids, since, until, SAMPLES_AT_MOST)
    pending = data.read(groups.pending_of, ids)
    dead = _letters(found, correlation_id)
    copies = data.read(letters.sent_copies, tuple(letter.id for letter, _ in dead))
    return view.build(found, delivered.deliveries(found, readers, samples, pending), dead, copies)


def _letters(
    found: Sequence[EventRow], correlation_id: str | None
) -> list[tuple[letters.LetterRow, str | None]]:
    ids = tuple(event.event_id for event in found if event.event_id)
    return data.read(letters.of_trace, correlation_id or "", ids, LETTERS_AT_MOST)


def _waterfall(correlation_id: str | None, ref: str | None, chosen: str) -> None:
    found = _events(correlation_id, ref)
    shown = rows.rows(_tree(found, correlation_id))
    waterfall.show(rows.drawn(shown, st.query_params.get("row", chosen)), key="waterfall", on_pick=_pick)
    if st.query_params.get("row", chosen) != chosen:
        st.rerun()


def _details(correlation_id: str | None, ref: str | None, chosen: str) -> None:
    found = _events(correlation_id, ref)
    node = view.node_named(_tree(found, correlation_id), chosen)
    if node is not None:
        trace_details.show(node, {event.ref: event for event in found}, zone())


def _pick(row: str) -> None:
    st.query_params["row"] = row


def _back() -> None:
    kept = {"text": st.query_params[SEARCHED]} if SEARCHED in st.query_params else None
    st.page_link("app_pages/traces.py", label="All traces", icon=":material/arrow_back:", query_params=kept)


def _head(correlation_id: str | None, found: Sequence[EventRow]) -> None:
    dead = [letter for letter, _ in _letters(found, correlation_id)]
    st.caption(literal(view.summary(found, dead, len(found) >= events.TRACE_AT_MOST)))
    if not correlation_id:
        return
    declared = {saga.name: saga.definition() for saga in data.settings().saga}
    for saga in data.read(sagas.of_correlation, correlation_id):
        if saga.name in declared:
            _saga(saga, view.steps(declared[saga.name], found))


def _saga(saga: sagas.SagaRow, steps: Sequence[StepSeen]) -> None:
    state = SagaState(saga.state)
    with st.container(horizontal=True, gap="small", vertical_alignment="center"):
        st.markdown(f"**Saga {literal(saga.name)}**", width="content")
        st.badge(state.value, color=STATE_COLOURS.get(state, "blue"))  # type: ignore[arg-type]
        start = saga.started_ms
        for step in steps:
            if step.seen_ms is not None:
                after = f"+{units.duration(max(0, step.seen_ms - start))}"
                st.badge(
                    f"{literal(step.event_type, 40)} {after}",
                    color="orange" if step.compensation else "green",
                    icon=":material/check:",
                )
            elif not step.compensation:
                st.badge(literal(step.event_type, 40), color="grey", icon=":material/circle:")


correlation_id, ref = st.query_params.get("trace"), st.query_params.get("event")
if correlation_id or ref:
    with frame.outages():
        if ref and not correlation_id:
            event = data.read(events.by_ref, ref)
            correlation_id = event.correlation_id if event else None
        trace(correlation_id, ref)
else:
    search()
