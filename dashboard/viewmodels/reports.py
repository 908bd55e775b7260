"""The report on a period: which periods there are, and what the store's rows say of one."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from dashboard.viewmodels import units
from eventwake.domain.dead_letter import LetterState
from eventwake.reports.document import Bars, Cell, Figure, Report, Section
from eventwake.store.reads.alerts import AlertRow
from eventwake.store.reads.groups import GroupRow, WorstRow
from eventwake.store.reads.letters import GroupRow as CauseRow
from eventwake.store.reads.operations import AuditRow, OperationRow
from eventwake.store.reads.rates import COARSE_MS, Flow, Point
from eventwake.store.reads.sources import GapRow, Missed, StreamRow

PERIODS = ("Today", "Yesterday", "This week", "Last week", "This month", "Last month", "Custom")
READ_AT_MOST = 1_000  # rows of one kind; one more that is read says that there are more
ROWS_AT_MOST = 200  # of one table
BARS = 60
DAY = timedelta(days=1)


def period(name: str, today: date) -> tuple[date, date]:
    """The first day of a named period and the day after its last; weeks begin on Monday."""
    week = today - timedelta(days=today.weekday())
    month = today.replace(day=1)
    last_month = (month - DAY).replace(day=1)
    return {
        "Today": (today, today + DAY),
        "Yesterday": (today - DAY, today),
        "This week": (week, week + 7 * DAY),
        "Last week": (week - 7 * DAY, week),
        "This month": (month, (month + timedelta(days=32)).replace(day=1)),
        "Last month": (last_month, month),
    }[name]


def midnight_ms(day: date, zone: tzinfo) -> int:
    return round(datetime.combine(day, time(), zone).timestamp() * 1000)


@dataclass(frozen=True, slots=True)
class Rows:
    """All that the store says of the period [since, until)."""

    since_ms: int
    until_ms: int
    now_ms: int
    known_since_ms: int | None
    streams: Sequence[StreamRow]
    flows: Sequence[Flow]
    series: Sequence[Point]
    letter_flows: Mapping[tuple[int, str], int]
    mended: Mapping[int, int]
    open_by_stream: Mapping[int, int]
    causes: Sequence[CauseRow]
    operations: Sequence[OperationRow]
    outcomes: Mapping[int, Mapping[str, int]]
    audit: Sequence[AuditRow]
    groups: Sequence[GroupRow]
    worst: Sequence[WorstRow]
    alerts: Sequence[AlertRow]
    gaps: Sequence[GapRow]
    missed: Missed
    sagas: Mapping[tuple[str, str], int]


def build(rows: Rows, environment: str, zone: tzinfo) -> Report:
    events = sum(flow.events for flow in rows.flows)
    arrived = _entered(rows, LetterState.OPEN)
    known = [w.time_lag_max_ms for w in rows.worst if w.time_lag_max_ms is not None]
    figures = [
        Figure("Events", units.count(events), units.size(sum(flow.bytes for flow in rows.flows))),
        Figure("Dead letters in", units.count(arrived), units.share(arrived, events) + " of events"),
        Figure("Letters mended", units.count(sum(rows.mended.values())), "consumed after a retry"),
        Figure("Open now", units.count(sum(rows.open_by_stream.values())), "whenever they came"),
        Figure("Longest wait", units.duration(max(known, default=None)), "of any event for its group"),
        Figure("Alerts", units.count(len(rows.alerts), at_most=READ_AT_MOST)),
        Figure("Events never read", _missed(rows.missed), "gaps" if rows.missed.gaps else ""),
    ]
    sections = [
        _volumes(rows, zone), _letters(rows), _causes(rows, zone), _operations(rows, zone), _lag(rows),
        _alerts(rows, zone), _sagas(rows), _gap_section(rows, zone), _audit(rows, zone),
    ]  # fmt: skip
    return Report(
        f"Eventwake report: {environment}",
        f"{units.clock(rows.since_ms, zone)} to {units.clock(rows.until_ms, zone)} ({zone})",
        f"Made {units.clock(rows.now_ms, zone)}",
        figures,
        sections,
        _caveats(rows, zone),
    )


def _caveats(rows: Rows, zone: tzinfo) -> list[str]:
    said = []
    if rows.known_since_ms is None:
        said.append("No event has been read yet.")
    elif rows.known_since_ms > rows.since_ms:
        said.append(f"Nothing is known of the time before {units.clock(rows.known_since_ms, zone)}.")
    if rows.until_ms > rows.now_ms:
        said.append("The period is not over: these are its figures up to now.")
    return said


def _entered(rows: Rows, state: LetterState, stream_id: int | None = None) -> int:
    return sum(
        number
        for (stream, entered), number in rows.letter_flows.items()
        if entered == state and stream_id in (None, stream)
    )


def _names(rows: Rows) -> dict[int, str]:
    return {stream.id: f"{stream.source} / {stream.name}" for stream in rows.streams}


def _volumes(rows: Rows, zone: tzinfo) -> Section:
    names = _names(rows)
    together: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    for flow in rows.flows:
        sums = together[flow.stream_id, flow.event_type]
        for i, number in enumerate((flow.events, flow.bytes, flow.undecodable)):
            sums[i] += number
    seconds = max(
        1.0, (min(rows.until_ms, rows.now_ms) - max(rows.since_ms, rows.known_since_ms or 0)) / 1000
    )
    table = [
        (names.get(stream, "a stream that is gone"), event_type or units.UNKNOWN, sums[0],
         units.rate(sums[0] / seconds), units.size(sums[1]), sums[2])
        for (stream, event_type), sums in sorted(together.items(), key=lambda item: -item[1][0])
    ]  # fmt: skip
    return _cut(
        Section(
            "Volumes", ("Stream", "Event type", "Events", "Mean rate", "Size", "Undecodable"), table,
            empty="No events.", bars=_over_time(rows, zone),
        )
    )  # fmt: skip


def _over_time(rows: Rows, zone: tzinfo) -> Bars | None:
    until = min(rows.until_ms, rows.now_ms)
    since = max(rows.since_ms, rows.known_since_ms or rows.since_ms) // COARSE_MS * COARSE_MS
    if until <= since:
        return None
    width = -(-(until - since) // (BARS * COARSE_MS)) * COARSE_MS  # whole buckets of the rollup
    bars = [0] * (-(-(until - since) // width))
    for point in rows.series:
        place = (max(point.at_ms, since) - since) // width
        if 0 <= place < len(bars):
            bars[place] += point.value
    labels = [units.clock(since + i * width, zone)[:16] for i in range(len(bars))]
    return Bars(labels, bars, f"events in {units.duration(width)}")


def _letters(rows: Rows) -> Section:
    names = _names(rows)
    streams = sorted({stream for stream, _ in rows.letter_flows} | {*rows.open_by_stream, *rows.mended})
    table: list[tuple[Cell, ...]] = [
        (
            names.get(stream, "a stream that is gone"),
            _entered(rows, LetterState.OPEN, stream),
            _entered(rows, LetterState.SENT, stream),
            rows.mended.get(stream, 0),
            _entered(rows, LetterState.CAME_BACK, stream),
            _entered(rows, LetterState.UNKNOWN, stream),
            _entered(rows, LetterState.DISCARDED, stream),
            _entered(rows, LetterState.GONE, stream) + _entered(rows, LetterState.EXPIRED, stream),
            rows.open_by_stream.get(stream, 0),
        )
        for stream in streams
    ]
    columns = ("Dead-letter stream", "In", "Retried", "Mended", "Came back", "Unknown", "Discarded", "Gone",
               "Open now")  # fmt: skip
    note = (
        "How many letters entered each state; one letter can enter several. "
        "Mended: consumed after a retry, and not come back since."
    )
    return Section("Dead letters in and out", columns, table, note, empty="No dead letters.")


def _causes(rows: Rows, zone: tzinfo) -> Section:
    table = [
        (": ".join(filter(None, (c.error_class, c.message))), c.frame or "", c.letters,
         units.clock(c.first_ms, zone), units.clock(c.last_ms, zone))
        for c in rows.causes
    ]  # fmt: skip
    columns = ("Cause", "Where", "Letters", "First", "Last")
    return _cut(Section("Why letters died", columns, table, empty="No letter died."))


def _operations(rows: Rows, zone: tzinfo) -> Section:
    table = [
        (o.id, units.clock(o.created_ms, zone), o.actor, o.kind, o.items, o.state, o.reason,
         ", ".join(f"{n:,} {state.replace('_', ' ')}"
                   for state, n in sorted(rows.outcomes.get(o.id, {}).items())))
        for o in rows.operations
    ]  # fmt: skip
    columns = ("Operation", "When", "Who", "What", "Letters", "State", "Reason", "What became of them")
    return _cut(Section("Who retried and discarded what", columns, table, empty="Nobody did anything."))


def _lag(rows: Rows) -> Section:
    groups = {group.id: group for group in rows.groups}
    table: list[tuple[Cell, ...]] = [
        (groups[w.group_id].name, groups[w.group_id].stream, w.lag_max, units.duration(w.time_lag_max_ms),
         w.pending_max, units.share(w.unknown, w.samples))
        for w in rows.worst
        if w.group_id in groups
    ]  # fmt: skip
    columns = ("Group", "Stream", "Greatest lag (events)", "Longest wait", "Most pending", "Lag unknown")
    return _cut(Section("Lag", columns, table, "The longest waits first.", empty="No group was sampled."))


def _alerts(rows: Rows, zone: tzinfo) -> Section:
    table = [
        (a.rule, a.subject, units.clock(a.fired_ms, zone),
         units.duration((a.resolved_ms or rows.now_ms) - (a.fired_ms or a.since_ms))
         + ("" if a.resolved_ms else " so far"),
         a.acknowledged_by or "nobody", a.note)
        for a in rows.alerts
    ]  # fmt: skip
    columns = ("Rule", "About", "Fired", "Lasted", "Acknowledged by", "Note")
    return _cut(Section("Alerts", columns, table, empty="No alert fired."))


def _sagas(rows: Rows) -> Section:
    table = [(name, state, number) for (name, state), number in sorted(rows.sagas.items())]
    note = "By the state that each has now, of those last seen within the period."
    return Section("Sagas", ("Saga", "State", "Number"), table, note, empty="No declared saga was seen.")


def _missed(missed: Missed) -> str:
    """The sum of the gaps; a lower bound where some could not be counted."""
    if missed.counted == missed.gaps:
        return units.count(missed.events)
    return f"≥ {missed.events:,}" if missed.counted else units.UNKNOWN


def _gap_section(rows: Rows, zone: tzinfo) -> Section:
    table = [
        (f"{g.source} / {g.stream}", units.clock(g.at_ms, zone), g.missed, g.reason, g.after_position)
        for g in rows.gaps
    ]
    columns = ("Stream", "Noticed", "Events", "Why", "After")
    return _cut(Section("Events that were never read", columns, table, empty="No gap is known."))


def _audit(rows: Rows, zone: tzinfo) -> Section:
    table = [(units.clock(a.at_ms, zone), a.actor, a.act, a.object, a.detail) for a in rows.audit]
    return _cut(Section("Audit log", ("When", "Who", "Act", "On", "Detail"), table, empty="No act."))


def _cut(section: Section) -> Section:
    """The section with at most `ROWS_AT_MOST` rows, and a word where there are more."""
    if len(section.rows) <= ROWS_AT_MOST:
        return section
    more = f"The first {ROWS_AT_MOST} of {units.count(len(section.rows), at_most=READ_AT_MOST)} rows."
    note = f"{section.note} {more}".strip()
    return Section(
        section.title, section.columns, section.rows[:ROWS_AT_MOST], note, section.empty, section.bars
    )  # fmt: skip
