"""Evaluates the alert rules over the store; the supervisor starts `python -m collectors.alerter`."""

import logging
from collections.abc import Sequence

from collectors.process import Stop, set_up_logging, settle_memory
from eventwake.clock import now_ms
from eventwake.domain.alert import AlertState, comparable, step
from eventwake.domain.errors import StoreUnavailable
from eventwake.settings import AlertRule, load
from eventwake.store.reads import alerts as reads
from eventwake.store.session import Store
from eventwake.store.writes import alerts as writes
from eventwake.store.writes import sources

log = logging.getLogger(__name__)

ROLE = "alerter"
EVERY_S = 2.0


def evaluate(store: Store, rules: Sequence[AlertRule], at_ms: int) -> None:
    """One evaluation of every rule over everything that it matches."""
    with store.read() as connection:
        current = reads.current(connection)
        measured = {kind: reads.subjects(connection, kind, at_ms) for kind in {rule.kind for rule in rules}}
    evaluated: set[tuple[str, str]] = set()
    with store.write() as tx:
        for rule in rules:
            for subject in measured[rule.kind]:
                if not rule.covers(subject.source, subject.matched):
                    continue
                row = current.get((rule.name, subject.name))
                before = row.alert if row else None
                value = comparable(subject.value, subject.kind, rule.above)
                after = step(before, value, rule.above, int(rule.for_s * 1000), at_ms)
                evaluated.add((rule.name, subject.name))
                writes.save(tx, rule, subject, row.id if row else None, after, at_ms)
                if after.state is AlertState.FIRING and (before is None or before.state is not after.state):
                    log.warning(
                        "alert: %s: %s is %s, above %s", rule.name, subject.name, after.value, rule.above
                    )
        # what a rule no longer matches, or what is gone, does not fire for ever
        writes.resolve(tx, [row.id for place, row in current.items() if place not in evaluated], at_ms)


def main() -> None:
    set_up_logging("alerter")
    settings = load()
    store = Store(settings.store.url)
    stop = Stop().listen(to_parent=True)
    settle_memory()
    while not stop.wait(EVERY_S):
        try:
            evaluate(store, settings.alert, now_ms())
            with store.write() as tx:
                sources.heartbeat(tx, "", ROLE, "running", now_ms())
        except StoreUnavailable as error:
            log.error("%s; trying again", error)


if __name__ == "__main__":
    main()
