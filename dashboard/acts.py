"""What a person can do: each is written to the store, and a collector carries it out.

Many letters are claimed and freed in chunks, so that nobody waits long for the store; what is not done
`SOON_S` after a click is done by the operator.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from eventwake.clock import now_ms
from eventwake.domain.errors import Conflict, EventwakeError
from eventwake.domain.operation import Actor, CommandKind
from eventwake.store import commands
from eventwake.store.command_items import CHUNK, PAUSE_S
from eventwake.store.commands import Order, Submitted
from eventwake.store.reads import letters
from eventwake.store.reads.letters import LetterFilter
from eventwake.store.session import Store
from eventwake.store.writes import alerts

SOON_S = 1.0


def submit(store: Store, order: Order) -> Submitted:
    """Freezes the letters of an operation and claims them. Raises `Conflict` where none can be had.

    Of more than `CHUNK` letters, those that cannot be had show among the operation's letters.
    """
    with store.write() as tx:
        if len(order.letters) <= CHUNK:
            return commands.submit(tx, order, now_ms())
        command_id = commands.plan(tx, order, now_ms())
    _go_on(store, command_id)
    return Submitted(command_id, len(order.letters), {})


def _go_on(store: Store, command_id: int) -> None:
    ends, more = time.monotonic() + SOON_S, True
    while more and time.monotonic() < ends:
        time.sleep(PAUSE_S)
        with store.write() as tx:
            more = commands.go_on(tx, command_id, now_ms())


def submit_matching(
    store: Store,
    kind: CommandKind,
    wanted: LetterFilter,
    up_to_id: int,
    sources: Sequence[str],
    actor: Actor,
    *,
    reason: str = "",
    target: str | None = None,
    shown: Mapping[int, int] | None = None,
) -> tuple[list[Submitted], list[str]]:
    """One operation for each source that has matching letters, and why other sources have none.

    With `shown` (letter id -> version) only letters that are as they were shown are taken. Raises `Conflict`
    where no source had any.
    """
    done, refused = [], []
    for source in sources:
        # chosen letters are all tried, so that of one that changed is said why it was left out
        own = replace(wanted, source=source, states=wanted.states if shown is None else ())
        with store.read() as connection:
            found = letters.matching(connection, own, up_to_id)
        if shown is not None:
            found = [(letter_id, shown[letter_id]) for letter_id, _ in found if letter_id in shown]
        parameters = {"target": target} if target else {}
        try:
            done.append(submit(store, Order(kind, source, actor, found, reason, parameters)))
        except EventwakeError as error:  # of this source: others may have theirs already
            if not isinstance(error, Conflict) and not done:
                raise
            refused.append((source, str(error)))
    if not done:
        raise Conflict("; ".join(why for _, why in refused) or "Nothing was done: no letter matches any more")
    return done, [f"{source}: {why}" for source, why in refused]


def cancel(store: Store, command_id: int, actor: Actor) -> int:
    """Frees the letters that an operation has not begun with; how many."""
    with store.write() as tx:
        freed = commands.cancel(tx, command_id, actor, now_ms())
    if freed > CHUNK:
        _go_on(store, command_id)
    return freed


def acknowledge(store: Store, alert_id: int, actor: Actor, note: str) -> bool:
    """Says that someone looks after an alert; False where it is over already."""
    with store.write() as tx:
        done = alerts.acknowledge(tx, alert_id, actor, note, now_ms())
        commands.add_audit(
            tx, actor, "acknowledge", f"alert {alert_id}", {"note": note, "done": done}, now_ms()
        )
    return done
