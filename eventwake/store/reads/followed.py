"""Dead letters as the collectors follow them: sent ones to their outcome, open ones until they are gone."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import REVIVABLE, LetterState
from eventwake.domain.operation import ENDED, CommandKind, ItemState
from eventwake.domain.trace import service_name
from eventwake.store import schema, segments

FOLLOWED_MS = 24 * 3_600_000  # a letter that was sent where no group reads: one may still come
FOLLOWED = (LetterState.SENT.value, LetterState.SETTLED.value)
IN_WORK = ("waiting", "pending")  # outcomes of a group that is not done with an event
SEGMENTS_FOR_EFFECTS = 2
EFFECTS_LOOKED_AT = 50  # events caused by one: its consumers' effects are among the first


def sent_letters(
    connection: Connection, source: str, now_ms: int, after_id: int, limit: int
) -> Sequence[Any]:
    """Letters with greater ids whose newest attempt was sent and not yet seen consumed.

    Where no group reads what they were sent to, nothing can be seen, and after `FOLLOWED_MS` they are left.
    Columns: letter_id, attempt, state, target, sent_position, group_name.
    """
    letter, item, command = schema.letter, schema.command_item, schema.command
    group, stream = schema.consumer_group.c, schema.stream.c
    is_read = sa.exists().where(
        stream.source == source,
        stream.name == item.c.target,
        group.stream_id == stream.id,
        group.gone_ms.is_(None),
    )
    return connection.execute(
        sa.select(
            item.c.letter_id,
            item.c.attempt,
            letter.c.state,
            item.c.target,
            item.c.sent_position,
            letter.c.group_name,
        )
        .join(item, (item.c.letter_id == letter.c.id) & (item.c.attempt == letter.c.attempt))
        .join(command, command.c.id == item.c.command_id)
        .where(
            letter.c.state.in_(FOLLOWED),
            letter.c.source == source,
            command.c.kind == CommandKind.RETRY.value,
            item.c.sent_position.is_not(None),
            letter.c.id > after_id,
            (letter.c.changed_ms >= now_ms - FOLLOWED_MS) | is_read,
        )
        .order_by(letter.c.id)
        .limit(limit)
    ).all()


def groups_of_streams(connection: Connection, source: str) -> dict[str, list[str]]:
    """Stream name -> names of its groups that are not gone."""
    group, stream = schema.consumer_group, schema.stream
    rows = connection.execute(
        sa.select(stream.c.name, group.c.name.label("group_name"))
        .join(group, group.c.stream_id == stream.c.id)
        .where(stream.c.source == source, group.c.gone_ms.is_(None))
        .order_by(group.c.name)
    )
    names: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        names[row.name].append(row.group_name)
    return names


def outcomes_of(connection: Connection, letter_ids: Sequence[int]) -> dict[tuple[int, int, str], str]:
    """(letter id, attempt, group) -> what the group was last seen to have done."""
    outcome = schema.outcome.c
    rows = connection.execute(sa.select(schema.outcome).where(outcome.letter_id.in_(letter_ids)))
    return {(row.letter_id, row.attempt, row.group_name): row.state for row in rows}


def effects_of_sent(
    connection: Connection, source: str, since_ms: int, after_id: int, limit: int
) -> tuple[dict[int, str], int]:
    """letter id -> an event that its retried event caused, for letters sent or consumed since then.

    The event must be of the group that had given up, and that group must be done with the retried one. Where
    it is not known who had given up, all groups must be done with it.

    Of those with greater ids at most `limit` are looked at; also the last id looked at, 0 once through all.
    """
    letter, item, outcome = schema.letter, schema.command_item, schema.outcome.c
    states = (*FOLLOWED, LetterState.CONSUMED.value, LetterState.UNKNOWN.value)
    is_in_work = sa.exists().where(
        outcome.letter_id == letter.c.id,
        outcome.attempt == letter.c.attempt,
        outcome.group_name == letter.c.group_name,
        outcome.state.in_(IN_WORK),
    )
    rows = connection.execute(
        sa.select(
            letter.c.id, letter.c.event_id, letter.c.correlation_hash, letter.c.group_name, item.c.sent_ms
        )
        .join(item, (item.c.letter_id == letter.c.id) & (item.c.attempt == letter.c.attempt))
        .where(
            letter.c.state.in_(states),
            letter.c.source == source,
            letter.c.changed_ms >= since_ms,
            letter.c.correlation_hash.is_not(None),
            letter.c.event_id.is_not(None),
            letter.c.group_name.is_not(None) | (letter.c.state == LetterState.CONSUMED.value),
            ~is_in_work,
            item.c.sent_position.is_not(None),
            letter.c.id > after_id,
        )
        .order_by(letter.c.id)
        .limit(limit)
    ).all()
    found = {}
    newest = segments.all_newest_first(connection)[:SEGMENTS_FOR_EFFECTS]
    for row in rows:
        for segment in newest:
            events = segment.table.c
            effects = connection.execute(
                sa.select(events.event_type, events.event_id, events.producer)
                .where(
                    events.correlation_hash == row.correlation_hash,
                    events.causation_id == row.event_id,
                    events.recorded_ms >= row.sent_ms,
                )
                .order_by(events.id)
                .limit(EFFECTS_LOOKED_AT)
            ).all()
            effect = next((e for e in effects if _is_of(e.producer, row.group_name)), None)
            if effect:
                found[row.id] = f"{effect.event_type} {effect.event_id or ''}".strip()
                break
    return found, rows[-1].id if len(rows) == limit else 0


def _is_of(producer: str | None, group: str | None) -> bool:
    """Whether an event's producer is the service that reads as the group; any is where that is not known."""
    return group is None or (producer is not None and service_name(producer) == service_name(group))


def letters_in_stream(connection: Connection, stream_id: int) -> Counter[str]:
    """How many letters of a dead-letter stream are in each state."""
    count = schema.letter_count.c
    rows = connection.execute(
        sa.select(count.state, sa.func.sum(count.letters))
        .where(count.stream_id == stream_id)
        .group_by(count.state)
    )
    return Counter({state: int(letters) for state, letters in rows})


def has_letter_at(connection: Connection, stream_id: int, position: str) -> bool:
    """Whether a dead-letter stream's entry at the position is, or was, a letter of ours."""
    letter = schema.letter.c
    found = sa.select(letter.id).where(letter.stream_id == stream_id, letter.position == position).limit(1)
    return connection.scalar(found) is not None


def open_after(
    connection: Connection, stream_id: int, incarnation: int, after_id: int, limit: int
) -> Sequence[Any]:
    """Open letters of a stream with greater ids: id, position, incarnation, replaced.

    `replaced`: the stream's present incarnation has another letter in the same place.
    """
    letter = schema.letter.c
    replaced = _replaced(stream_id, incarnation).label("replaced")
    return connection.execute(
        sa.select(letter.id, letter.position, letter.incarnation, replaced)
        .where(letter.stream_id == stream_id, letter.state == LetterState.OPEN.value, letter.id > after_id)
        .order_by(letter.id)
        .limit(limit)
    ).all()


def ended_after(
    connection: Connection, stream_id: int, incarnation: int, since_ms: int, after_id: int, limit: int
) -> Sequence[Any]:
    """Letters of a stream with greater ids that came to an end since then, so none of them should lie there:

    id, position, and, where it was sent, target and sent_position. Left out are those that an operation has
    still to do with, and those in whose place the stream's present incarnation has another letter.
    """
    letter, sent, any_item = schema.letter.c, schema.command_item.alias(), schema.command_item.alias().c
    newest_sent = (
        (sent.c.letter_id == letter.id)
        & (sent.c.attempt == letter.attempt)
        & sent.c.sent_position.is_not(None)
    )
    unfinished = sa.exists().where(
        any_item.letter_id == letter.id, any_item.state.not_in([state.value for state in ENDED])
    )
    # what was sent for sure is unknown only because nobody was seen to read it
    was_sent = sent.c.state == ItemState.DONE.value
    return connection.execute(
        sa.select(letter.id, letter.position, sent.c.target, sent.c.sent_position)
        .outerjoin(sent, newest_sent)
        .where(
            letter.stream_id == stream_id,
            letter.state.in_([state.value for state in REVIVABLE])
            | ((letter.state == LetterState.UNKNOWN.value) & was_sent),
            letter.changed_ms >= since_ms,
            letter.id > after_id,
            ~unfinished,
            ~_replaced(stream_id, incarnation),
        )
        .order_by(letter.id)
        .limit(limit)
    ).all()


def _replaced(stream_id: int, incarnation: int) -> sa.Exists:
    """The stream's present incarnation has another letter in the same place."""
    letter, other = schema.letter.c, schema.letter.alias().c
    return sa.exists().where(
        letter.incarnation < incarnation,
        other.stream_id == stream_id,
        other.incarnation == incarnation,
        other.partition == letter.partition,
        other.position == letter.position,
    )


def open_in_gone_streams(connection: Connection, source: str, limit: int) -> list[int]:
    """Ids of open letters whose dead-letter stream the broker no longer has."""
    letter, stream = schema.letter.c, schema.stream.c
    return list(
        connection.scalars(
            sa.select(letter.id)
            .join(schema.stream, stream.id == letter.stream_id)
            .where(
                stream.source == source, stream.gone_ms.is_not(None), letter.state == LetterState.OPEN.value
            )
            .limit(limit)
        )
    )
