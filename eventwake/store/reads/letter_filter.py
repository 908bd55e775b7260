"""Which letters a page is about, as conditions that the indexes can answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import LetterState
from eventwake.store import schema
from eventwake.store.segments import hash64
from eventwake.store.writes.letters import INDEXED_AT_MOST

WALKS_AT_MOST = 64  # of indexes for one page


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Which letters; None leaves a side open. `text` is an event id, correlation id or business key."""

    states: tuple[str, ...] = (LetterState.OPEN.value,)
    source: str | None = None
    stream: str | None = None
    fingerprint: str | None = None
    group_name: str | None = None
    event_type: str | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    text: str | None = None
    ids: tuple[int, ...] | None = None  # just these
    after_id: int | None = None  # just those that were taken in later


def walks(connection: Connection, wanted: LetterFilter) -> list[list[sa.ColumnElement[bool]]]:
    """The filter in parts without a letter in common, each of which one index has in the page's order.

    An index that leads with a state, or with a stream and a state, has no order over several of them.
    """
    if wanted.text or wanted.ids is not None:
        return [conditions_of(wanted)]
    letter = schema.letter.c
    has_own_index = (wanted.fingerprint, wanted.group_name, wanted.event_type) != (None, None, None)
    streams: list[int | None] = [None]
    rest = wanted
    if not has_own_index and (wanted.source, wanted.stream) != (None, None):
        streams, rest = list(connection.scalars(_streams(wanted))), replace(wanted, source=None, stream=None)
    states: Sequence[str | None] = wanted.states or (None,)
    if not wanted.states and (has_own_index or rest is not wanted):
        states = [state.value for state in LetterState]
    if len(streams) * len(states) > WALKS_AT_MOST:
        return [conditions_of(wanted)]
    return [
        [
            *conditions_of(replace(rest, states=(state,) if state else ())),
            *([letter.stream_id == stream] if stream is not None else []),
        ]
        for stream, state in product(streams, states)
    ]


def conditions_of(wanted: LetterFilter) -> list[sa.ColumnElement[bool]]:
    letter = schema.letter.c
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.states:
        # by id where a text is looked for, which few letters have: not through all of a state
        state = letter.state.concat("") if wanted.text else letter.state
        conditions.append(state.in_(wanted.states))
    if (wanted.source, wanted.stream) != (None, None):  # by stream, which indexes have and the source not
        conditions.append(letter.stream_id.in_(_streams(wanted)))
    for column, value in (
        (letter.fingerprint, wanted.fingerprint),
        (letter.group_name, wanted.group_name and wanted.group_name[:INDEXED_AT_MOST]),
        (letter.event_type, wanted.event_type),
    ):
        if value is not None:
            conditions.append(column == value)
    if wanted.since_ms is not None:
        conditions.append(letter.failed_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        conditions.append(letter.failed_ms < wanted.until_ms)
    if wanted.ids is not None:
        conditions.append(letter.id.in_(wanted.ids))
    if wanted.after_id is not None:
        conditions.append(letter.id > wanted.after_id)
    if wanted.text:
        key = hash64(wanted.text)
        hashes = (letter.event_id_hash, letter.correlation_hash, letter.key_hash)
        conditions.append(letter.id.in_(sa.union(*(sa.select(letter.id).where(h == key) for h in hashes))))
    return conditions


def _streams(wanted: LetterFilter) -> sa.Select[tuple[int]]:
    """Ids of the streams with letters that the filter names, by their source or their own name."""
    stream = schema.stream.c
    chosen = sa.select(stream.id).where(sa.exists().where(schema.letter_count.c.stream_id == stream.id))
    for column, value in ((stream.source, wanted.source), (stream.name, wanted.stream)):
        if value is not None:
            chosen = chosen.where(column == value)
    return chosen
