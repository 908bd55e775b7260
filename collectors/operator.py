"""Carries out the commands of one source; the supervisor starts `python -m collectors.operator SOURCE`.

Before the broker is touched the intent is durable; after a crash or an outage every letter with an intent is
looked for before it is sent again. `sent` becomes `settled` once the server has kept its identity for a
while; where another answers, the same attempt is run again, which the broker's marks make harmless.
"""

import logging
import sys
import time
from typing import Any

from collectors.brokers import broker_for
from collectors.brokers.base import Broker
from collectors.carry_out import CarryOut
from collectors.process import Stop, backoff_s, set_up_logging, settle_memory
from eventwake.clock import now_ms
from eventwake.domain.errors import BrokerError, BrokerUnavailable, StoreError, StoreUnavailable
from eventwake.domain.operation import CommandKind, CommandState, ItemState
from eventwake.settings import Source, load
from eventwake.store import command_items as items
from eventwake.store import commands
from eventwake.store.command_items import Command
from eventwake.store.session import Store
from eventwake.store.writes import sources

log = logging.getLogger(__name__)

ROLE = "operator"
POLL_S = 0.25  # a click is taken up within this
LETTERS_A_BATCH = 100
SETTLE_AFTER_MS = 5_000
HEARTBEAT_S = 2.0
READ_ONLY = "this source is read-only: set writable = true in its [[source]] table and restart the collectors"
BEGINS_NOTHING = (CommandState.PAUSED, CommandState.CANCELLING)


class Operator:
    """The commands of one source, one batch at a time."""

    def __init__(self, store: Store, broker: Broker, source: Source) -> None:
        self._store = store
        self._source = source
        self._broker = broker
        self._carry_out = CarryOut(store, broker)

    def step(self) -> bool:
        """One batch of the oldest command that has something to do; whether there was any."""
        with self._store.read() as connection:
            open_commands = items.unfinished(connection, self._source.name)
        busy = []
        for command in open_commands:  # each in turn, so that none waits long
            busy.append(self._advance(command))
            self._broker.alive()
        return any(busy)

    def _advance(self, command: Command) -> bool:
        if command.state is CommandState.PLANNED:
            with self._store.write() as tx:
                items.begin(tx, command.id, now_ms())
        moved = self._claim_or_free(command)
        rows, sent = self._next(command)
        if rows:
            {
                CommandKind.RETRY: self._carry_out.retry,
                CommandKind.DISCARD: self._carry_out.discard,
                CommandKind.RESTORE: self._carry_out.restore,
            }[command.kind](command, rows)
        ripe = [row for row in sent if now_ms() - row.changed_ms >= SETTLE_AFTER_MS]
        if ripe:
            self._carry_out.settle(command, ripe)
        if rows or ripe or moved or not sent:
            with self._store.write() as tx:
                items.finish_if_ended(tx, command.id, now_ms())
        return bool(rows or ripe or moved)

    def _claim_or_free(self, command: Command) -> bool:
        """A chunk of what whoever asked left to be claimed or freed; whether there is more."""
        if not self._source.writable:
            with self._store.write() as tx:
                return items.leave(tx, command.id, READ_ONLY, now_ms()) > 0
        if not command.claims and command.state is not CommandState.CANCELLING:
            return False
        with self._store.write() as tx:
            more = commands.go_on(tx, command.id, now_ms())
        if more:
            time.sleep(items.PAUSE_S)
        return more

    def _next(self, command: Command) -> tuple[list[Any], list[Any]]:
        """The next batch, which never mixes what may have been sent with what was not; and what was sent."""
        with self._store.read() as connection:
            rows = items.next_items(connection, command.id, [ItemState.INTENDED], LETTERS_A_BATCH)
            if not rows and command.state not in BEGINS_NOTHING:
                rows = items.next_items(connection, command.id, [ItemState.CLAIMED], LETTERS_A_BATCH)
            sent = items.next_items(connection, command.id, [ItemState.SENT], LETTERS_A_BATCH)
        return rows if self._source.writable else [], sent


def run(store: Store, broker: Broker, source: Source, stop: Stop) -> None:
    """Until stopped: connects, carries commands out, and starts again after an outage."""
    operator = Operator(store, broker, source)
    beats = Beats(store, source)
    broker.alive = beats.alive
    tries = 0
    while not stop:
        try:
            broker.start()
            tries = 0
            while not stop:
                beats.alive()
                if not operator.step():
                    stop.wait(POLL_S)
        except (BrokerError, StoreError) as error:
            state = "waiting" if isinstance(error, BrokerUnavailable | StoreUnavailable) else "refused"
            log.warning("%s; trying again", error)
            beats.say(state, str(error))
            stop.wait(backoff_s(tries))
            tries += 1
        finally:
            broker.stop()
    beats.say("stopped")


class Beats:
    """The operator's signs of life."""

    def __init__(self, store: Store, source: Source) -> None:
        self._store = store
        self._source = source
        self._due = 0.0

    def alive(self) -> None:
        """From within the work, as often as it comes by."""
        if time.monotonic() >= self._due:
            self.say("running")
            self._due = time.monotonic() + HEARTBEAT_S

    def say(self, state: str, detail: str = "") -> None:
        self._due = 0.0
        try:
            with self._store.write() as tx:
                sources.heartbeat(tx, self._source.name, ROLE, state, now_ms(), detail)
        except StoreError as error:
            log.warning("%s", error)


def main() -> None:
    name = sys.argv[1]
    set_up_logging(f"{name} operator")
    settings = load()
    source = settings.source_named(name)
    store = Store(settings.store.url, durability="full")
    broker = broker_for(source)
    settle_memory()
    run(store, broker, source, Stop().listen(to_parent=True))


if __name__ == "__main__":
    main()
