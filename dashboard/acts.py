"""What a person can do: each is written to the store, and a collector carries it out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from eventwake.clock import now_ms
from eventwake.domain.errors import Conflict
from eventwake.domain.operation import Actor, CommandKind
from eventwake.store import commands
from eventwake.store.commands import Order, Submitted
from eventwake.store.reads import letters
from eventwake.store.reads.letters import LetterFilter
from eventwake.store.session import Store
from eventwake.store.writes import alerts


def submit(store: Store, order: Order) -> Submitted:
    """Freezes and claims the letters of an operation. Raises `Conflict` where none can be had."""
    with store.write() as tx:
        return commands.submit(tx, order, now_ms())


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
) -> list[Submitted]:
    """One operation for each source that has matching letters.

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
        except Conflict as conflict:
            refused.append(str(conflict))
    if not done:
        raise Conflict("; ".join(refused) or "Nothing was done: no letter matches any more")
    return done


def cancel(store: Store, command_id: int, actor: Actor) -> int:
    """Frees the letters that an operation has not begun with; how many."""
    with store.write() as tx:
        return commands.cancel(tx, command_id, actor, now_ms())


def acknowledge(store: Store, alert_id: int, actor: Actor, note: str) -> bool:
    """Says that someone looks after an alert; False where it is over already."""
    with store.write() as tx:
        done = alerts.acknowledge(tx, alert_id, actor, note, now_ms())
        commands.add_audit(
            tx, actor, "acknowledge", f"alert {alert_id}", {"note": note, "done": done}, now_ms()
        )
    return done
