"""Commands: written by whoever acts, carried out by a collector.

An operation's letters are frozen and claimed in the transaction that submits it, so two people who click at
once cause one operation.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from eventwake.domain.dead_letter import LetterState, replay_id
from eventwake.domain.errors import Conflict
from eventwake.domain.operation import Actor, CommandKind, CommandState, ItemState
from eventwake.store import command_items, locks, schema
from eventwake.store.locks import Lock
from eventwake.store.writes.events import Flag
from eventwake.store.writes.letters import IDS_A_STATEMENT, transition

# which letters each kind of operation may take
TAKES: dict[CommandKind, frozenset[LetterState]] = {
    CommandKind.RETRY: frozenset({LetterState.OPEN, LetterState.UNKNOWN}),
    CommandKind.DISCARD: frozenset({LetterState.OPEN}),
    CommandKind.RESTORE: frozenset({LetterState.DISCARDED}),
}


@dataclass(frozen=True, slots=True)
class Order:
    """What a person asks for. `letters` are (id, version as shown); one that changed since is left out."""

    kind: CommandKind
    source: str
    actor: Actor
    letters: Sequence[tuple[int, int]]
    reason: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of an order: the operation, and the letters that it could not have, each with why."""

    command_id: int
    taken: int
    left_out: Mapping[int, str]


def submit(tx: Connection, order: Order, now_ms: int) -> Submitted:
    """Freezes and claims the letters. Raises `Conflict` where none of them can be had."""
    locks.alone(tx, Lock.LETTERS)
    wanted = dict(order.letters)
    rows = _letters(tx, sorted(wanted))
    takes = TAKES[order.kind]
    left_out = dict.fromkeys(wanted.keys() - rows.keys(), "it is not in the store any more")
    for letter_id, row in rows.items():
        if row.version != wanted[letter_id]:
            left_out[letter_id] = f"it changed since it was shown: it is {row.state} now"
        elif row.state not in takes:
            left_out[letter_id] = f"it is {row.state}"
        elif order.kind is CommandKind.RETRY and not _target(order, row):
            left_out[letter_id] = "it does not say where it came from; choose a target"
        elif order.kind is CommandKind.RESTORE and row.flags & Flag.MASKED:
            left_out[letter_id] = "its copy here is masked, so the letter cannot be put back as it was"
    free = [letter_id for letter_id in sorted(rows) if letter_id not in left_out]
    if not free:
        raise Conflict(_why_none(left_out))
    command_id = _add_command(tx, order, len(free), now_ms)
    more = {"attempt": schema.letter.c.attempt + 1} if order.kind is CommandKind.RETRY else {}
    transition(
        tx, free, LetterState.CLAIMED, now_ms, come_from=takes, command_id=command_id,
        detail=f"{order.kind} asked for by {order.actor.name}", more=more,
    )  # fmt: skip
    tx.execute(sa.insert(schema.command_item), [_item(order, command_id, rows[i], now_ms) for i in free])
    add_audit(
        tx,
        order.actor,
        order.kind,
        f"operation {command_id}",
        {"letters": free[:IDS_A_STATEMENT], "count": len(free), "reason": order.reason, **order.parameters},
        now_ms,
    )
    return Submitted(command_id, len(free), left_out)


def _letters(tx: Connection, letter_ids: Sequence[int]) -> dict[int, Any]:
    table = schema.letter.c
    columns = (
        table.id, table.version, table.state, table.attempt, table.source, table.stream_id,
        table.incarnation, table.position, table.origin_stream, table.flags,
        schema.stream.c.name.label("stream"),
    )  # fmt: skip
    rows = {}
    for start in range(0, len(letter_ids), IDS_A_STATEMENT):
        chunk = letter_ids[start : start + IDS_A_STATEMENT]
        found = tx.execute(
            sa.select(*columns)
            .join(schema.stream, schema.stream.c.id == table.stream_id)
            .where(table.id.in_(chunk))
            .with_for_update(of=schema.letter)
        )
        rows.update({row.id: row for row in found})
    return rows


def _why_none(left_out: Mapping[int, str]) -> str:
    if not left_out:
        return "Nothing was done: no letter was chosen"
    reasons = sorted(set(left_out.values()))
    if len(left_out) == 1:
        return f"Nothing was done: the letter cannot be had, {reasons[0]}"
    return f"Nothing was done: none of the {len(left_out)} letters can be had ({'; '.join(reasons[:3])})"


def _add_command(tx: Connection, order: Order, items: int, now_ms: int) -> int:
    result = tx.execute(
        sa.insert(schema.command).values(
            kind=order.kind.value,
            source=order.source,
            actor=order.actor.name,
            origin=order.actor.origin,
            reason=order.reason,
            parameters=json.dumps(dict(order.parameters)),
            state=CommandState.PLANNED.value,
            items=items,
            created_ms=now_ms,
        )
    )
    command_id: int = result.inserted_primary_key[0]  # type: ignore[index]
    return command_id


def _item(order: Order, command_id: int, row: Any, now_ms: int) -> dict[str, Any]:
    attempt = row.attempt + 1 if order.kind is CommandKind.RETRY else row.attempt
    sends = order.kind is CommandKind.RETRY
    return {
        "command_id": command_id,
        "letter_id": row.id,
        "attempt": attempt,
        "state": ItemState.CLAIMED.value,
        "taken_from": row.state,
        "replay_id": replay_id(row.source, row.stream, row.incarnation, row.position, attempt)
        if sends
        else None,
        "target": _target(order, row) if sends else None,
        "changed_ms": now_ms,
    }


def _target(order: Order, row: Any) -> str | None:
    target: str | None = order.parameters.get("target") or row.origin_stream
    return target


def add_audit(
    tx: Connection, actor: Actor, act: str, on: str, detail: Mapping[str, Any], now_ms: int
) -> None:
    """One row of the audit log, in the transaction of the act or before it."""
    tx.execute(
        sa.insert(schema.audit).values(
            at_ms=now_ms,
            actor=actor.name,
            origin=actor.origin,
            act=act,
            object=on,
            detail=json.dumps(detail, default=str),
        )
    )


def cancel(tx: Connection, command_id: int, actor: Actor, now_ms: int) -> int:
    """Frees the letters that the operation has not begun with; how many. What was begun is finished."""
    freed = command_items.give_back(tx, command_id, command_items.CANCELLED, now_ms)
    command_items.finish_if_ended(tx, command_id, now_ms)
    add_audit(tx, actor, "cancel", f"operation {command_id}", {"freed": freed}, now_ms)
    return freed
