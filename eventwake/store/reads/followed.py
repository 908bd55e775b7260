"""Dead letters as the collectors follow them: sent ones to their outcome, open ones until they are gone."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import CommandKind
from eventwake.store import schema, segments

FOLLOWED = (LetterState.SENT.value, LetterState.SETTLED.value)
SEGMENTS_FOR_EFFECTS = 2


def sent_letters(connection: Connection, source: str, after_id: int, limit: int) -> Sequence[Any]:
    """Letters with greater ids whose newest attempt was sent and not yet seen consumed.

    Columns: letter_id, attempt, target, sent_position, group_name.
    """
    letter, item, command = schema.letter, schema.command_item, schema.command
    return connection.execute(
        sa.select(item.c.letter_id, item.c.attempt, item.c.target, item.c.sent_position, letter.c.group_name)
        .join(item, (item.c.letter_id == letter.c.id) & (item.c.attempt == letter.c.attempt))
        .join(command, command.c.id == item.c.command_id)
        .where(
            letter.c.state.in_(FOLLOWED),
            letter.c.source == source,
            command.c.kind == CommandKind.RETRY.value,
            item.c.sent_position.is_not(None),
            letter.c.id > after_id,
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


def effects_of_sent(
    connection: Connection, source: str, since_ms: int, after_id: int, limit: int
) -> tuple[dict[int, str], int]:
    """letter id -> an event that its retried event caused, for letters sent or consumed since then.

    Of those with greater ids at most `limit` are looked at; also the last id looked at, 0 once through all.
    """
    letter, item = schema.letter, schema.command_item
    states = (*FOLLOWED, LetterState.CONSUMED.value)
    rows = connection.execute(
        sa.select(letter.c.id, letter.c.event_id, letter.c.correlation_hash, item.c.sent_ms)
        .join(item, (item.c.letter_id == letter.c.id) & (item.c.attempt == letter.c.attempt))
        .where(
            letter.c.state.in_(states),
            letter.c.source == source,
            letter.c.changed_ms >= since_ms,
            letter.c.correlation_hash.is_not(None),
            letter.c.event_id.is_not(None),
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
            effect = connection.execute(
                sa.select(events.event_type, events.event_id)
                .where(
                    events.correlation_hash == row.correlation_hash,
                    events.causation_id == row.event_id,
                    events.recorded_ms >= row.sent_ms,
                )
                .limit(1)
            ).first()
            if effect:
                found[row.id] = f"{effect.event_type} {effect.event_id or ''}".strip()
                break
    return found, rows[-1].id if len(rows) == limit else 0


def open_in_stream(connection: Connection, stream_id: int) -> int:
    """How many letters of a dead-letter stream are open."""
    count = schema.letter_count.c
    total = connection.scalar(
        sa.select(sa.func.sum(count.letters)).where(
            count.stream_id == stream_id, count.state == LetterState.OPEN.value
        )
    )
    return int(total or 0)


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
    letter, other = schema.letter.c, schema.letter.alias().c
    replaced = sa.exists().where(
        letter.incarnation < incarnation,
        other.stream_id == stream_id,
        other.incarnation == incarnation,
        other.partition == letter.partition,
        other.position == letter.position,
    )
    return connection.execute(
        sa.select(letter.id, letter.position, letter.incarnation, replaced.label("replaced"))
        .where(letter.stream_id == stream_id, letter.state == LetterState.OPEN.value, letter.id > after_id)
        .order_by(letter.id)
        .limit(limit)
    ).all()


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
