"""Commands: written by whoever acts, carried out by a collector.

An operation's letters are frozen when it is asked for. Few are claimed in the same transaction, so two people
who click at once cause one operation; many are claimed chunk by chunk, each a transaction that lets others
write in between, by whoever asked and then by the operator.
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
from eventwake.store.command_items import CHUNK
from eventwake.store.frozen import FROZEN, freeze, thaw
from eventwake.store.locks import Lock
from eventwake.store.writes.events import Flag
from eventwake.store.writes.letters import IDS_A_STATEMENT, transition

# which letters each kind of operation may take
TAKES: dict[CommandKind, frozenset[LetterState]] = {
    CommandKind.RETRY: frozenset({LetterState.OPEN, LetterState.UNKNOWN}),
    CommandKind.DISCARD: frozenset({LetterState.OPEN, LetterState.UNKNOWN}),
    CommandKind.RESTORE: frozenset({LetterState.DISCARDED}),
}
NO_TARGET = "it does not say where it came from; choose a target"
MASKED = {
    CommandKind.DISCARD: "its copy here is masked, so it could not be restored; a retry works",
    CommandKind.RESTORE: "its copy here is masked, so the letter cannot be put back as it was",
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
    """Freezes and claims the letters at once. Raises `Conflict` where none of them can be had.

    More than `CHUNK` letters would hold the store's lock for long: `plan` those, and `go_on` with them.
    """
    locks.alone(tx, Lock.LETTERS)
    _require_writable(tx, order.source)
    wanted = dict(order.letters)
    rows = _letters(tx, sorted(wanted))
    left_out = _left_out(order, wanted, rows)
    free = [rows[letter_id] for letter_id in sorted(rows) if letter_id not in left_out]
    if not free:
        raise Conflict(_why_none(left_out))
    command_id = _add_command(tx, order, len(free), order.parameters, now_ms)
    _claim(tx, order, command_id, free, now_ms)
    _audit_order(tx, order, command_id, [row.id for row in free], now_ms)
    return Submitted(command_id, len(free), left_out)


def plan(tx: Connection, order: Order, now_ms: int) -> int:
    """Freezes the letters, however many, to be claimed by `go_on`; the operation's id."""
    _require_writable(tx, order.source)
    if not order.letters:
        raise Conflict(_why_none({}))
    parameters = {**order.parameters, FROZEN: freeze(order.letters)}
    command_id = _add_command(tx, order, len(order.letters), parameters, now_ms)
    _audit_order(tx, order, command_id, sorted(letter_id for letter_id, _ in order.letters), now_ms)
    return command_id


def go_on(tx: Connection, command_id: int, now_ms: int) -> bool:
    """Claims the next chunk of letters, or frees it where the operation was cancelled; whether there is more.

    Several may do so at once: each chunk is one transaction, and begins where the last one ended.
    """
    locks.alone(tx, Lock.LETTERS)
    row = tx.execute(
        sa.select(schema.command).where(schema.command.c.id == command_id).with_for_update()
    ).one()
    if row.state == CommandState.CANCELLING.value:
        freed = command_items.give_back(tx, command_id, command_items.CANCELLED, now_ms)
        command_items.finish_if_ended(tx, command_id, now_ms)
        return freed == CHUNK
    parameters: dict[str, Any] = json.loads(row.parameters)
    frozen = parameters.pop(FROZEN, None)
    if frozen is None:
        return False
    order = Order(CommandKind(row.kind), row.source, Actor(row.actor, row.origin), (), row.reason, parameters)
    if _claim_behind(tx, order, command_id, frozen, now_ms):
        return True
    command_items.drop_frozen(tx, command_id)
    return False


def _claim_behind(tx: Connection, order: Order, command_id: int, frozen: str, now_ms: int) -> bool:
    """Claims the letters behind those that have an item already; whether there were any."""
    item = schema.command_item.c
    after = tx.scalar(sa.select(sa.func.max(item.letter_id)).where(item.command_id == command_id)) or 0
    while wanted := dict(thaw(frozen, after, CHUNK)):
        rows = _letters(tx, sorted(wanted))
        left_out = _left_out(order, wanted, rows)
        _claim(tx, order, command_id, [rows[i] for i in sorted(rows) if i not in left_out], now_ms)
        ended = [
            {
                **_item(order, command_id, rows[i], now_ms),
                "state": _lost(order, wanted[i], rows[i]),
                "detail": why,
            }
            for i, why in sorted(left_out.items())
            if i in rows
        ]
        if ended:
            tx.execute(sa.insert(schema.command_item), ended)
        if rows:
            return True
        after = max(wanted)  # retention has dropped all of these
    return False


def _lost(order: Order, version: int, row: Any) -> str:
    """How the item of a letter ends that was left out: someone else went first, or it cannot be taken."""
    changed = row.version != version or row.state not in TAKES[order.kind]
    return (ItemState.LOST_RACE if changed else ItemState.REFUSED).value


def _require_writable(tx: Connection, source: str) -> None:
    table = schema.source.c
    row = tx.execute(sa.select(table.writable, table.state).where(table.name == source)).first()
    if row is None or row.state == "removed":
        raise Conflict(f"Nothing was done: {source} is not in the settings any more")
    if not row.writable:
        raise Conflict(f"Nothing was done: {source} is read-only, its settings do not say writable = true")


def _left_out(order: Order, wanted: Mapping[int, int], rows: Mapping[int, Any]) -> dict[int, str]:
    """The letters that cannot be had, each with why."""
    left_out = dict.fromkeys(wanted.keys() - rows.keys(), "it is not in the store any more")
    for letter_id, row in rows.items():
        if row.version != wanted[letter_id]:
            left_out[letter_id] = f"it changed since it was shown: it is {row.state} now"
        elif row.state not in TAKES[order.kind]:
            left_out[letter_id] = f"it is {row.state}"
        elif order.kind is CommandKind.RETRY and not _target(order, row):
            left_out[letter_id] = NO_TARGET
        elif order.kind in MASKED and row.flags & Flag.MASKED:
            left_out[letter_id] = MASKED[order.kind]
    return left_out


def _claim(tx: Connection, order: Order, command_id: int, rows: Sequence[Any], now_ms: int) -> None:
    if not rows:
        return
    more = {"attempt": schema.letter.c.attempt + 1} if order.kind is CommandKind.RETRY else {}
    transition(
        tx, [row.id for row in rows], LetterState.CLAIMED, now_ms, come_from=TAKES[order.kind],
        command_id=command_id, detail=f"{order.kind} asked for by {order.actor.name}", more=more,
    )  # fmt: skip
    tx.execute(sa.insert(schema.command_item), [_item(order, command_id, row, now_ms) for row in rows])


def _audit_order(
    tx: Connection, order: Order, command_id: int, letter_ids: Sequence[int], now_ms: int
) -> None:
    add_audit(
        tx,
        order.actor,
        order.kind,
        f"operation {command_id}",
        {
            "letters": letter_ids[:IDS_A_STATEMENT],
            "count": len(letter_ids),
            "reason": order.reason,
            **order.parameters,
        },
        now_ms,
    )


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
        ).all()
        rows.update({row.id: row for row in found})
    return rows


def _why_none(left_out: Mapping[int, str]) -> str:
    if not left_out:
        return "Nothing was done: no letter was chosen"
    reasons = sorted(set(left_out.values()))
    if len(left_out) == 1:
        return f"Nothing was done: the letter cannot be had, {reasons[0]}"
    return f"Nothing was done: none of the {len(left_out)} letters can be had ({'; '.join(reasons[:3])})"


def _add_command(tx: Connection, order: Order, items: int, parameters: Mapping[str, Any], now_ms: int) -> int:
    result = tx.execute(
        sa.insert(schema.command).values(
            kind=order.kind.value,
            source=order.source,
            actor=order.actor.name,
            origin=order.actor.origin,
            reason=order.reason,
            parameters=json.dumps(dict(parameters)),
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
    """Frees the letters that the operation has not begun with; how many. What was begun is finished.

    From now on none of them is begun with; the first `CHUNK` are free at once, `go_on` frees the others.
    """
    locks.alone(tx, Lock.LETTERS)
    freed = command_items.not_begun(tx, command_id)
    command_items.stop(tx, command_id)
    command_items.give_back(tx, command_id, command_items.CANCELLED, now_ms)
    command_items.finish_if_ended(tx, command_id, now_ms)
    add_audit(tx, actor, "cancel", f"operation {command_id}", {"freed": freed}, now_ms)
    return freed
