"""Follows what became of dead letters: sent ones in the groups that see them again, open ones that vanish.

Only reads the broker; what it finds goes into the store.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from collectors.brokers.base import Broker, GroupView
from collectors.streams import DEAD_LETTERS, Streams, Watched
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.errors import BrokerRefused
from eventwake.settings import Source
from eventwake.store.reads import followed as reads
from eventwake.store.session import Store
from eventwake.store.writes import letters as writes

log = logging.getLogger(__name__)

SENT_A_STEP = 500  # sent letters looked after in one step
PRESENT_A_STEP = 500  # open letters whose presence is tried in one step, and only where some must be gone
EFFECTS_WITHIN_MS = 300_000  # how long after it was consumed an event is looked for that it caused


class Follower:
    """Looks after the letters of one source."""

    def __init__(self, store: Store, broker: Broker, source: Source, streams: Streams) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._streams = streams
        self._tried: dict[int, int] = {}  # stream id -> the last letter whose presence was tried
        self._followed = 0  # the last sent letter that was looked after: each has its turn
        self._traced = 0  # the last letter of which an effect was looked for

    def step(self) -> None:
        """Updates the outcomes of sent letters, and finds letters that someone else removed."""
        self._follow_sent()
        for watched in self._streams.watched.values():
            if watched.kind == DEAD_LETTERS and watched.unread == 0:
                self._find_gone(watched)
        self._letters_of_gone_streams()

    def _follow_sent(self) -> None:
        with self._store.read() as connection:
            sent = reads.sent_letters(connection, self._source.name, self._followed, SENT_A_STEP)
            groups = reads.groups_of_streams(connection, self._source.name)
        self._followed = sent[-1].letter_id if len(sent) == SENT_A_STEP else 0
        by_origin: dict[str, list[Any]] = defaultdict(list)
        for row in sent:
            by_origin[row.target].append(row)
        for origin, rows in by_origin.items():
            positions = [row.sent_position for row in rows]
            try:
                views = self._broker.views(origin, groups.get(origin, []), positions)
            except BrokerRefused as error:
                log.warning("cannot see what became of letters sent to %s: %s", origin, error)
                continue
            self._save_views(rows, views)
        self._find_effects()

    def _save_views(self, rows: Sequence[Any], views: dict[str, list[GroupView]]) -> None:
        at_ms = now_ms()
        outcomes, consumed = [], defaultdict(list)
        for row in rows:
            seen = {view.group: view.state for view in views.get(row.sent_position, ())}
            outcomes += [
                {
                    "letter_id": row.letter_id,
                    "attempt": row.attempt,
                    "group_name": group,
                    "state": state,
                    "at_ms": at_ms,
                }
                for group, state in seen.items()
            ]
            # the group that had given up decides; where it is not known, all of them do
            deciding = {row.group_name} if row.group_name in seen else set(seen)
            if deciding and all(seen[group] == "consumed" for group in deciding):
                consumed[f"consumed by {', '.join(sorted(deciding))}"].append(row.letter_id)
        with self._store.write() as tx:
            writes.save_outcomes(tx, outcomes)
            for detail, letter_ids in consumed.items():
                writes.transition(tx, letter_ids, LetterState.CONSUMED, at_ms, detail=detail)

    def _find_effects(self) -> None:
        """An event that the retried one caused, seen after it was sent, is the best evidence there is."""
        at_ms = now_ms()
        with self._store.read() as connection:
            caused, self._traced = reads.effects_of_sent(
                connection, self._source.name, at_ms - EFFECTS_WITHIN_MS, self._traced, SENT_A_STEP
            )
        if caused:
            with self._store.write() as tx:
                for letter_id, effect in caused.items():
                    writes.transition(
                        tx, [letter_id], LetterState.SUCCEEDED, at_ms, detail=f"it caused {effect}"
                    )

    def _find_gone(self, watched: Watched) -> None:
        """Tries the open letters of a stream that holds fewer entries than we have letters of it."""
        with self._store.read() as connection:
            count = reads.open_in_stream(connection, watched.id)
            if count <= watched.length:
                return
            tried = self._tried.get(watched.id, 0)
            rows = reads.open_after(connection, watched.id, watched.incarnation, tried, PRESENT_A_STEP)
        self._tried[watched.id] = rows[-1].id if rows else 0
        there = self._broker.present(watched.name, [row.position for row in rows])
        gone = [row for row in rows if row.replaced or row.position not in there]
        older = [row.id for row in gone if row.incarnation < watched.incarnation]
        self._gone(older, "its stream was made anew or went back in time")
        self._gone(
            [row.id for row in gone if row.id not in older], "someone else trimmed, deleted or moved it"
        )

    def _letters_of_gone_streams(self) -> None:
        with self._store.read() as connection:
            orphans = reads.open_in_gone_streams(connection, self._source.name, PRESENT_A_STEP)
        self._gone(orphans, "its stream was deleted")

    def _gone(self, letter_ids: Sequence[int], detail: str) -> None:
        if letter_ids:
            with self._store.write() as tx:
                writes.transition(
                    tx, letter_ids, LetterState.GONE, now_ms(), come_from={LetterState.OPEN}, detail=detail
                )
