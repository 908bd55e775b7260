"""Dead letters for the pages: filtered, paged by keyset, grouped by fingerprint, with their history."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.store import schema
from eventwake.store.reads.letter_filter import LetterFilter as LetterFilter
from eventwake.store.reads.letter_filter import conditions_of, walks
from eventwake.store.segments import hash64

COUNT_AT_MOST = 10_000  # an exact count of millions takes longer than a page may
_OLDER = re.compile(r"(-?[0-9]{1,18})\.([0-9]{1,18})")  # a letter may say that it failed before 1970


class LetterRow(NamedTuple):
    """One letter as a list shows it."""

    id: int
    version: int
    source: str
    stream: str
    position: str
    state: str
    attempt: int
    origin_stream: str | None
    group_name: str | None
    fingerprint: str
    error_class: str
    error_message: str
    event_type: str | None
    event_id: str | None
    key: str | None
    correlation_id: str | None
    attempts: int | None
    failed_ms: int
    size: int
    changed_ms: int


class LetterDetails(NamedTuple):
    """The rest of one letter."""

    rule: str
    how: str
    origin_position: str | None
    first_failed_ms: int | None
    stack_trace: str | None
    own_fields: str
    body: bytes
    checksum: int
    flags: int
    found_ms: int
    command_id: int | None
    came_from: str | None


class GroupRow(NamedTuple):
    """Letters of one fingerprint, as far as they match the filter."""

    fingerprint: str
    error_class: str
    frame: str | None
    message: str
    letters: int
    first_ms: int
    last_ms: int


class HistoryRow(NamedTuple):
    at_ms: int
    state: str
    command_id: int | None
    detail: str


class OutcomeRow(NamedTuple):
    attempt: int
    group_name: str
    state: str
    at_ms: int


class Page(NamedTuple):
    """Letters, newest failure first; `older` continues from here, None at the end."""

    letters: list[LetterRow]
    older: str | None


def page(connection: Connection, wanted: LetterFilter, limit: int, older: str | None = None) -> Page:
    letter = schema.letter.c
    query = _select(LetterRow).order_by(letter.failed_ms.desc(), letter.id.desc()).limit(limit + 1)
    if match := _OLDER.fullmatch(older or ""):
        failed_ms, row_id = int(match[1]), int(match[2])
        same = sa.and_(letter.failed_ms == failed_ms, letter.id < row_id)
        query = query.where(letter.failed_ms <= failed_ms, sa.or_(letter.failed_ms < failed_ms, same))
    rows: list[LetterRow] = []
    for conditions in walks(connection, wanted):
        rows += [LetterRow(*row) for row in connection.execute(query.where(*conditions))]
    rows.sort(key=attrgetter("failed_ms", "id"), reverse=True)
    more = len(rows) > limit
    return Page(rows[:limit], f"{rows[limit - 1].failed_ms}.{rows[limit - 1].id}" if more else None)


def count(connection: Connection, wanted: LetterFilter, at_most: int = COUNT_AT_MOST) -> int:
    """How many letters match; `at_most` + 1 stands for more than that, where the kept counts cannot tell."""
    if _only_counted(wanted):
        return sum(row.letters for row in _groups_from_counts(connection, wanted, None))
    matching = sa.select(schema.letter.c.id).where(*conditions_of(wanted))
    return (
        connection.scalar(sa.select(sa.func.count()).select_from(matching.limit(at_most + 1).subquery())) or 0
    )


def matching(connection: Connection, wanted: LetterFilter, up_to_id: int) -> list[tuple[int, int]]:
    """(id, version) of every letter that matches, none newer to us than `up_to_id`."""
    letter = schema.letter.c
    rows = connection.execute(
        sa.select(letter.id, letter.version)
        .where(*conditions_of(wanted), letter.id <= up_to_id)
        .order_by(letter.id)
    )
    return [(row.id, row.version) for row in rows]


class Summary(NamedTuple):
    """What an operation over matching letters would touch: counts by (source, origin) and by event type."""

    letters: int
    targets: list[tuple[str, str | None, int]]
    types: list[tuple[str | None, int]]
    bytes: int
    oldest_ms: int | None
    newest_ms: int | None


def summary(connection: Connection, wanted: LetterFilter, up_to_id: int) -> Summary:
    """Counts, sizes and ages of the letters that match, none newer to us than `up_to_id`."""
    letter = schema.letter.c
    parts = (letter.source, letter.origin_stream, letter.event_type)
    # once over the letters, whose rows are wide; what is left is small
    rows = connection.execute(
        sa.select(
            *parts,
            sa.func.count().label("letters"),
            sa.func.sum(letter.size).label("bytes"),
            sa.func.min(letter.failed_ms).label("oldest_ms"),
            sa.func.max(letter.failed_ms).label("newest_ms"),
        )
        .where(*conditions_of(wanted), letter.id <= up_to_id)
        .group_by(*parts)
    ).all()
    targets: Counter[tuple[str, str | None]] = Counter()
    types: Counter[str | None] = Counter()
    for row in rows:
        targets[row.source, row.origin_stream] += row.letters
        types[row.event_type] += row.letters
    return Summary(
        sum(row.letters for row in rows),
        [(*target, number) for target, number in targets.most_common()],
        types.most_common(),
        int(sum(row.bytes for row in rows)),
        min((row.oldest_ms for row in rows), default=None),
        max((row.newest_ms for row in rows), default=None),
    )


def newest_id(connection: Connection) -> int:
    """The id of the letter that was taken in last; 0 where there is none."""
    return connection.scalar(sa.select(sa.func.max(schema.letter.c.id))) or 0


def one(connection: Connection, letter_id: int) -> tuple[LetterRow, LetterDetails] | None:
    """One letter whole; None where there is no such letter (any more)."""
    if not 0 < letter_id < 2**63:
        return None
    letter = schema.letter.c
    row = connection.execute(_select(LetterRow).where(letter.id == letter_id)).first()
    details = connection.execute(
        sa.select(*(letter[name] for name in LetterDetails._fields)).where(letter.id == letter_id)
    ).first()
    return (LetterRow(*row), LetterDetails(*details)) if row and details else None


def rows_of(connection: Connection, letter_ids: Sequence[int]) -> list[LetterRow]:
    """Those letters as they are now, in the order of their failure, newest first."""
    letter = schema.letter.c
    query = _select(LetterRow).where(letter.id.in_(letter_ids))
    return [
        LetterRow(*row)
        for row in connection.execute(query.order_by(letter.failed_ms.desc(), letter.id.desc()))
    ]


def groups(connection: Connection, wanted: LetterFilter, limit: int) -> list[GroupRow]:
    """Fingerprints with the most matching letters, out of the counts where the filter allows it."""
    if _only_counted(wanted):
        rows = _groups_from_counts(connection, wanted, limit)
    else:
        letter = schema.letter.c
        matching = (sa.select(letter.fingerprint, letter.failed_ms).where(*conditions_of(wanted))).subquery()
        letters = sa.func.count().label("letters")
        rows = connection.execute(
            sa.select(
                matching.c.fingerprint,
                letters,
                sa.func.min(matching.c.failed_ms),
                sa.func.max(matching.c.failed_ms),
            )
            .group_by(matching.c.fingerprint)
            .order_by(letters.desc())
            .limit(limit)
        ).all()
    prints = _fingerprints(connection, [row[0] for row in rows])
    return [GroupRow(row[0], *_texts(prints.get(row[0])), int(row[1]), row[2], row[3]) for row in rows]


def history(connection: Connection, letter_id: int) -> list[HistoryRow]:
    """What happened to a letter, oldest first."""
    table = schema.letter_history.c
    rows = connection.execute(
        sa.select(*(table[name] for name in HistoryRow._fields))
        .where(table.letter_id == letter_id)
        .order_by(table.id)
    )
    return [HistoryRow(*row) for row in rows]


def outcomes(connection: Connection, letter_id: int) -> list[OutcomeRow]:
    """What each group did with the letter's newest attempt that was sent."""
    table = schema.outcome.c
    newest = sa.select(sa.func.max(table.attempt)).where(table.letter_id == letter_id).scalar_subquery()
    rows = connection.execute(
        sa.select(*(table[name] for name in OutcomeRow._fields))
        .where(table.letter_id == letter_id, table.attempt == newest)
        .order_by(table.group_name)
    )
    return [OutcomeRow(*row) for row in rows]


class Relatives(NamedTuple):
    """The letter that this one is the return of, and the letter that this one came back as."""

    earlier: int | None
    later: int | None


def relatives(connection: Connection, letter_id: int) -> Relatives:
    """How a letter hangs together with others by the replay ids in them."""
    letter, item = schema.letter.c, schema.command_item.c
    came_from = sa.select(letter.came_from).where(letter.id == letter_id).scalar_subquery()
    sent_as = sa.select(item.replay_id).where(item.letter_id == letter_id, item.replay_id.is_not(None))
    return Relatives(
        connection.scalar(sa.select(item.letter_id).where(item.replay_id == came_from).limit(1)),
        connection.scalar(
            sa.select(letter.id).where(letter.came_from.in_(sent_as)).order_by(letter.id.desc()).limit(1)
        ),
    )


def of_trace(connection: Connection, correlation_id: str, event_ids: Sequence[str], limit: int) -> list[Any]:
    """Letters of one correlation, or of these events: (LetterRow, origin position)."""
    letter = schema.letter.c
    hashes = [hash64(event_id) for event_id in event_ids]
    rows = connection.execute(
        _select(LetterRow, letter.origin_position)
        .where(sa.or_(letter.correlation_hash == hash64(correlation_id), letter.event_id_hash.in_(hashes)))
        .order_by(letter.id)
        .limit(limit)
    )
    return [(LetterRow(*row[:-1]), row[-1]) for row in rows]


def sent_copies(connection: Connection, letter_ids: Sequence[int]) -> set[tuple[str, str]]:
    """(stream, position) of the events that retries of these letters put there."""
    item = schema.command_item.c
    rows = connection.execute(
        sa.select(item.target, item.sent_position).where(
            item.letter_id.in_(letter_ids), item.sent_position.is_not(None), item.target.is_not(None)
        )
    )
    return {(row[0], row[1]) for row in rows}


def choices(connection: Connection) -> dict[str, list[str]]:
    """What the filters can be set to: "stream" and "group", by name."""
    letter, stream = schema.letter.c, schema.stream.c
    streams = connection.scalars(
        sa.select(stream.name).where(stream.kind == "dead_letters").distinct().order_by(stream.name)
    )
    names = connection.scalars(sa.select(schema.consumer_group.c.name).distinct())
    recent = sa.select(letter.group_name).order_by(letter.id.desc()).limit(COUNT_AT_MOST).subquery()
    seen = connection.scalars(sa.select(recent.c.group_name).distinct())
    return {"stream": list(streams), "group": sorted({*names, *filter(None, seen)})}


def _select(shape: type[Any], *more: sa.ColumnElement[Any]) -> sa.Select[Any]:
    columns = [
        schema.stream.c.name.label("stream") if name == "stream" else schema.letter.c[name]
        for name in shape._fields
    ]
    return sa.select(*columns, *more).select_from(
        schema.letter.join(schema.stream, schema.stream.c.id == schema.letter.c.stream_id)
    )


def _only_counted(wanted: LetterFilter) -> bool:
    """Whether the kept counts can answer: they know the stream, the fingerprint and the state."""
    counted = LetterFilter(wanted.states, wanted.source, wanted.stream, wanted.fingerprint)
    return counted == replace(wanted, text=wanted.text or None)


def _groups_from_counts(connection: Connection, wanted: LetterFilter, limit: int | None) -> Sequence[Any]:
    table, stream, print_ = schema.letter_count.c, schema.stream.c, schema.fingerprint.c
    letters = sa.func.sum(table.letters).label("letters")
    query = (
        sa.select(table.fingerprint, letters, print_.first_ms, print_.last_ms)
        .join(schema.fingerprint, print_.id == table.fingerprint)
        .join(schema.stream, stream.id == table.stream_id)
        .group_by(table.fingerprint, print_.first_ms, print_.last_ms)
        .having(letters > 0)
        .order_by(letters.desc())
        .limit(limit)
    )
    for column, value in (
        (stream.source, wanted.source), (stream.name, wanted.stream), (table.fingerprint, wanted.fingerprint),
    ):  # fmt: skip
        if value is not None:
            query = query.where(column == value)
    if wanted.states:
        query = query.where(table.state.in_(wanted.states))
    return connection.execute(query).all()


def _fingerprints(connection: Connection, ids: Sequence[str]) -> dict[str, Any]:
    table = schema.fingerprint
    return {row.id: row for row in connection.execute(sa.select(table).where(table.c.id.in_(ids)))}


def _texts(print_: Any) -> tuple[str, str | None, str]:
    return (print_.error_class, print_.frame, print_.message) if print_ else ("", None, "")
