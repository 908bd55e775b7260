"""What a person can do: each is written to the store, and a collector carries it out."""

from eventwake.clock import now_ms
from eventwake.domain.operation import Actor
from eventwake.store import commands
from eventwake.store.commands import Order, Submitted
from eventwake.store.session import Store
from eventwake.store.writes import alerts


def submit(store: Store, order: Order) -> Submitted:
    """Freezes and claims the letters of an operation. Raises `Conflict` where none can be had."""
    with store.write() as tx:
        return commands.submit(tx, order, now_ms())


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
