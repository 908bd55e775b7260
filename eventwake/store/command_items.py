"""How far a command has come with each of its letters.

Written by the operator, the collectors' worker for commands, before and after it touches the broker.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import LetterState
from eventwake.domain.operation import ENDED, FINISHED, Actor, CommandKind, CommandState, ItemState
from eventwake.store import locks, schema
from eventwake.store.frozen import FROZEN
from eventwake.store.locks import Lock
from eventwake.store.writes.letters import IDS_A_STATEMENT, transition

CHUNK = IDS_A_STATEMENT  # letters a transaction: others wait for it no longer than for one of ingest
PAUSE_S = 0.1  # between chunks: as long as those who wait for SQLite's lock sleep before they look again
CANCELLED = "cancelled"  # why an item was given back when a person stopped its operation
MAY_BE_DONE = "it may have been done before"


@dataclass(frozen=True, slots=True)
class Command:
    id: int
    kind: CommandKind
    source: str
    state: CommandState
    actor: Actor
    reason: str
    parameters: Mapping[str, Any]
    items: int
    created_ms: int
    claims: bool  # not all of its letters are claimed yet


_UNDER_WAY = schema.command.c.state.in_([state.value for state in CommandState if state not in FINISHED])


def unfinished(connection: Connection, source: str) -> list[Command]:
    """The source's commands that are not finished, oldest first."""
    table = schema.command
    rows = connection.execute(
        sa.select(table).where(_UNDER_WAY, table.c.source == source).order_by(table.c.id)
    )
    return [command_of(row) for row in rows]


def busy_sources(connection: Connection) -> set[str]:
    """The sources that have commands which are not finished, whether the settings name them or not."""
    return {*connection.scalars(sa.select(schema.command.c.source).where(_UNDER_WAY).distinct())}


def command_of(row: Any) -> Command:
    parameters = json.loads(row.parameters)
    claims = parameters.pop(FROZEN, None) is not None
    return Command(
        row.id,
        CommandKind(row.kind),
        row.source,
        CommandState(row.state),
        Actor(row.actor, row.origin),
        row.reason,
        parameters,
        row.items,
        row.created_ms,
        claims,
    )


def begin(tx: Connection, command_id: int, now_ms: int) -> None:
    table = schema.command
    tx.execute(
        sa.update(table)
        .where(table.c.id == command_id, table.c.state == CommandState.PLANNED.value)
        .values(state=CommandState.RUNNING.value, started_ms=now_ms)
    )


def next_items(connection: Connection, command_id: int, states: Sequence[ItemState], limit: int) -> list[Any]:
    """Items in those states with their letters' columns, in the letters' order."""
    item, letter, stream = schema.command_item, schema.letter, schema.stream
    return list(
        connection.execute(
            sa.select(
                item.c.letter_id, item.c.attempt, item.c.state, item.c.taken_from, item.c.replay_id,
                item.c.intent, item.c.identity, item.c.sent_position, item.c.sent_ms, item.c.changed_ms,
                item.c.detail,
                letter.c.position, letter.c.incarnation, letter.c.stream_id, item.c.target,
                letter.c.own_fields, letter.c.size, letter.c.body, letter.c.checksum, letter.c.group_name,
                stream.c.name.label("stream"), stream.c.incarnation.label("stream_incarnation"),
            )
            .join(letter, letter.c.id == item.c.letter_id)
            .join(stream, stream.c.id == letter.c.stream_id)
            .where(item.c.command_id == command_id, item.c.state.in_([state.value for state in states]))
            .order_by(item.c.letter_id)
            .limit(limit)
        )
    )  # fmt: skip


def intend(tx: Connection, command_id: int, intents: Mapping[int, str], now_ms: int) -> set[int]:
    """Writes, before the broker is touched, that these letters may be sent from now on.

    Those that are ours to send: others were cancelled, or another operator began with them.
    """
    item, command = schema.command_item, schema.command.c
    won = _those_in(tx, command_id, intents, [ItemState.CLAIMED])
    state = tx.scalar(sa.select(command.state).where(command.id == command_id))
    if state == CommandState.CANCELLING.value:  # what is not freed yet will be
        return set()
    if won:
        tx.execute(
            sa.update(item)
            .where(item.c.command_id == command_id, item.c.letter_id == sa.bindparam("letter"))
            .values(state=ItemState.INTENDED.value, intent=sa.bindparam("intended"), changed_ms=now_ms),
            [{"letter": letter_id, "intended": intents[letter_id]} for letter_id in sorted(won)],
        )
    return won


def _those_in(
    tx: Connection, command_id: int, letter_ids: Iterable[int], states: Sequence[ItemState]
) -> set[int]:
    """Items that may move on: an operator that was stopped for long finds its own moved on by another."""
    locks.alone(tx, Lock.LETTERS)
    item, wanted = schema.command_item.c, sorted(letter_ids)
    found: set[int] = set()
    for start in range(0, len(wanted), IDS_A_STATEMENT):
        found.update(
            tx.scalars(
                sa.select(item.letter_id)
                .where(
                    item.command_id == command_id,
                    item.letter_id.in_(wanted[start : start + IDS_A_STATEMENT]),
                    item.state.in_([state.value for state in states]),
                )
                .with_for_update()
            )
        )
    return found


def sent_items(
    tx: Connection,
    command_id: int,
    sent: Mapping[int, tuple[str | None, int]],
    identity: str,
    now_ms: int,
    detail: str = "",
) -> set[int]:
    """The broker took these letters: where each lies, and when it was sent (ms).

    `identity` names the server that took them. Those whose items moved.
    """
    item = schema.command_item
    moved = _those_in(tx, command_id, sent, [ItemState.INTENDED, ItemState.SENT])
    if moved:
        tx.execute(
            sa.update(item)
            .where(item.c.command_id == command_id, item.c.letter_id == sa.bindparam("letter"))
            .values(
                state=ItemState.SENT.value,
                sent_position=sa.bindparam("at_position"),
                identity=identity,
                sent_ms=sa.bindparam("at_ms"),
                changed_ms=now_ms,
                detail=detail,
            ),
            [
                {"letter": letter_id, "at_position": sent[letter_id][0], "at_ms": sent[letter_id][1]}
                for letter_id in sorted(moved)
            ],
        )
    return moved


def finish_items(
    tx: Connection, command_id: int, ends: Mapping[int, tuple[ItemState, str]], now_ms: int
) -> set[int]:
    """The last state of these items, each with what is to be said of it; those that had not ended yet."""
    item = schema.command_item
    moved = _those_in(tx, command_id, ends, [state for state in ItemState if state not in ENDED])
    if moved:
        tx.execute(
            sa.update(item)
            .where(item.c.command_id == command_id, item.c.letter_id == sa.bindparam("letter"))
            .values(state=sa.bindparam("ended"), detail=sa.bindparam("said"), changed_ms=now_ms),
            [
                {"letter": letter_id, "ended": ends[letter_id][0].value, "said": ends[letter_id][1]}
                for letter_id in sorted(moved)
            ],
        )
    return moved


def release(tx: Connection, command_id: int, letter_ids: Sequence[int], now_ms: int, detail: str) -> None:
    """Gives letters back as they were before the operation claimed them."""
    item = schema.command_item
    for start in range(0, len(letter_ids), IDS_A_STATEMENT):
        taken = tx.execute(
            sa.select(item.c.taken_from, item.c.letter_id).where(
                item.c.command_id == command_id,
                item.c.letter_id.in_(letter_ids[start : start + IDS_A_STATEMENT]),
            )
        ).all()
        for state in {row.taken_from for row in taken}:
            ids = [row.letter_id for row in taken if row.taken_from == state]
            transition(
                tx, ids, LetterState(state), now_ms,
                come_from={LetterState.CLAIMED}, detail=detail, command_id=command_id,
            )  # fmt: skip


def finish_if_ended(tx: Connection, command_id: int, now_ms: int) -> bool:
    """Closes the operation once every item has ended; whether it has."""
    item, table = schema.command_item, schema.command
    of_it = item.c.command_id == command_id
    under_way = [state.value for state in ItemState if state not in ENDED]
    command = tx.execute(sa.select(table).where(table.c.id == command_id)).one()
    if command_of(command).claims or _any(tx, of_it, item.c.state.in_(under_way)):
        return False
    rows = tx.execute(sa.select(item.c.state, sa.func.count()).where(of_it).group_by(item.c.state))
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    untouched = command.items - sum(counts.values())
    state = CommandState.DONE if ItemState.DONE.value in counts else CommandState.FAILED
    stopped = command.state == CommandState.CANCELLING.value and untouched > 0
    if stopped or _any(tx, of_it, item.c.detail == CANCELLED):
        state = CommandState.CANCELLED
    summary = _summary(counts) + (f", {untouched:,} untouched" if untouched else "")
    tx.execute(
        sa.update(table)
        .where(table.c.id == command_id, _UNDER_WAY)
        .values(state=state.value, finished_ms=now_ms, detail=summary.removeprefix(", "))
    )
    return True


def _any(tx: Connection, *conditions: sa.ColumnElement[bool]) -> bool:
    return tx.scalar(sa.select(schema.command_item.c.letter_id).where(*conditions).limit(1)) is not None


def not_begun(tx: Connection, command_id: int) -> int:
    """How many letters the operation has not begun with, claimed or not."""
    item, table = schema.command_item.c, schema.command
    rows = tx.execute(
        sa.select(item.state, sa.func.count()).where(item.command_id == command_id).group_by(item.state)
    )
    counts: dict[str, int] = {row[0]: row[1] for row in rows}
    command = tx.execute(sa.select(table).where(table.c.id == command_id)).one()
    unclaimed = command.items - sum(counts.values()) if command_of(command).claims else 0
    return counts.get(ItemState.CLAIMED.value, 0) + unclaimed


def stop(tx: Connection, command_id: int) -> None:
    """Nothing more is claimed or begun with; what is claimed is to be given back."""
    drop_frozen(tx, command_id)
    table = schema.command
    tx.execute(
        sa.update(table)
        .where(table.c.id == command_id, _UNDER_WAY)
        .values(state=CommandState.CANCELLING.value)
    )


def drop_frozen(tx: Connection, command_id: int) -> None:
    """Nothing more is claimed: all is, or nothing more is wanted."""
    table = schema.command
    parameters = json.loads(
        tx.execute(sa.select(table.c.parameters).where(table.c.id == command_id)).scalar_one()
    )
    if parameters.pop(FROZEN, None) is not None:
        tx.execute(sa.update(table).where(table.c.id == command_id).values(parameters=json.dumps(parameters)))


def give_back(tx: Connection, command_id: int, reason: str, now_ms: int) -> int:
    """Ends a chunk of items that the operation has not begun with and frees their letters; how many."""
    locks.alone(tx, Lock.LETTERS)
    ends = dict.fromkeys(_next_ids(tx, command_id, ItemState.CLAIMED), (ItemState.REFUSED, reason))
    moved = finish_items(tx, command_id, ends, now_ms)
    release(tx, command_id, sorted(moved), now_ms, reason)
    return len(moved)


def leave(tx: Connection, command_id: int, reason: str, now_ms: int) -> int:
    """Ends a chunk of items that nobody may go on with; how many. What was begun is for a person."""
    drop_frozen(tx, command_id)
    freed = give_back(tx, command_id, reason, now_ms)
    detail = f"{MAY_BE_DONE}, and cannot be looked into: {reason}"
    ends = dict.fromkeys(_next_ids(tx, command_id, ItemState.INTENDED), (ItemState.UNKNOWN, detail))
    moved = finish_items(tx, command_id, ends, now_ms)
    transition(tx, sorted(moved), LetterState.UNKNOWN, now_ms, detail=detail, command_id=command_id)
    return freed + len(moved)


def close_sent(tx: Connection, command_id: int, reason: str, now_ms: int) -> int:
    """Ends a chunk of items that were sent, without waiting until the broker has kept them; how many."""
    locks.alone(tx, Lock.LETTERS)
    ends = dict.fromkeys(_next_ids(tx, command_id, ItemState.SENT), (ItemState.DONE, reason))
    return len(finish_items(tx, command_id, ends, now_ms))


def _next_ids(tx: Connection, command_id: int, state: ItemState) -> list[int]:
    item = schema.command_item.c
    return list(
        tx.scalars(
            sa.select(item.letter_id)
            .where(item.command_id == command_id, item.state == state.value)
            .order_by(item.letter_id)
            .limit(CHUNK)
        )
    )


def _summary(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number:,} {state.replace('_', ' ')}" for state, number in sorted(counts.items()))
