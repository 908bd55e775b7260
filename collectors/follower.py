"""Follows what became of dead letters: sent ones in the groups that see them again, open ones that vanish,
and those that lie in the broker again though they were done with.

Only reads the broker; what it finds goes into the store.
"""

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from collectors.brokers.base import Broker, GroupView
from collectors.streams import DEAD_LETTERS, Streams, Watched
from eventwake.clock import now_ms
from eventwake.domain.dead_letter import REVIVABLE, LetterState
from eventwake.domain.errors import BrokerRefused
from eventwake.settings import Source
from eventwake.store.reads import followed as reads
from eventwake.store.session import Store
from eventwake.store.writes import letters as writes

log = logging.getLogger(__name__)

SENT_A_STEP = 500  # sent letters looked after in one step
PRESENT_A_STEP = 500  # letters whose presence is tried in one step, and only where the counts do not agree
BACK_WITHIN_MS = 7 * 24 * 3_600_000  # no snapshot that a server is started from is older
EFFECTS_WITHIN_MS = 300_000  # how long after it was consumed an event is looked for that it caused
LIES_AGAIN = "the server forgot what was done, or someone put it back: it lies there again"
LIES_AGAIN_THOUGH_SENT = "it lies there again, but what was sent of it is still in {}: a retry sends it twice"


@dataclass(slots=True)
class _Turn:
    """A way through letters, page by page, to find those that account for a difference of counts.

    In a new incarnation counts may agree by chance, so all are tried once. A difference is a number of
    letters with the stream's incarnation.
    """

    in_vain: tuple[int, int]  # for which all letters were tried last: not tried again
    difference: tuple[int, int] = (0, 0)  # with which this way began
    after: int = 0  # the last letter tried

    def goes_on(self, difference: tuple[int, int]) -> bool:
        """Whether there is anything to try."""
        if not self.after:
            self.difference = difference
        is_wrong = difference[0] > 0 or difference[1] != self.in_vain[1]
        return is_wrong and difference != self.in_vain

    def tried(self, rows: Sequence[Any]) -> None:
        if len(rows) == PRESENT_A_STEP:
            self.after = rows[-1].id
        else:
            self.after, self.in_vain = 0, self.difference


class Follower:
    """Looks after the letters of one source."""

    def __init__(self, store: Store, broker: Broker, source: Source, streams: Streams) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._streams = streams
        self._turns: dict[int, tuple[_Turn, _Turn]] = {}  # stream id -> after gone letters, after those back
        self._followed = 0  # the last sent letter that was looked after: each has its turn
        self._traced = 0  # the last letter of which an effect was looked for

    def step(self) -> None:
        """Finds letters that someone else removed or put back, and updates the outcomes of sent ones."""
        self._forget_turns_of_gone_streams()
        for watched in self._streams.watched.values():
            if watched.kind == DEAD_LETTERS and watched.unread == 0:
                self._compare(watched)
        self._letters_of_gone_streams()
        self._follow_sent()

    def _follow_sent(self) -> None:
        with self._store.read() as connection:
            sent = reads.sent_letters(connection, self._source.name, now_ms(), self._followed, SENT_A_STEP)
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
        with self._store.read() as connection:
            before = reads.outcomes_of(connection, [row.letter_id for row in rows])
        outcomes = []
        moves: dict[tuple[LetterState, str], list[int]] = defaultdict(list)
        for row in rows:
            seen = {
                view.group: self._judged(row, view, before.get((row.letter_id, row.attempt, view.group)))
                for view in views.get(row.sent_position, ())
            }
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
            lost = sorted(group for group in deciding if seen[group] == "lost")
            if lost:
                detail = f"trimmed or deleted before {', '.join(lost)} was seen to read it"
                moves[LetterState.UNKNOWN, detail].append(row.letter_id)
            elif deciding and all(seen[group] == "consumed" for group in deciding):
                detail = f"consumed by {', '.join(sorted(deciding))}"
                moves[LetterState.CONSUMED, detail].append(row.letter_id)
        with self._store.write() as tx:
            writes.save_outcomes(tx, outcomes)
            for (state, detail), letter_ids in moves.items():
                writes.transition(tx, letter_ids, state, at_ms, detail=detail)

    @staticmethod
    def _judged(row: Any, view: GroupView, before: str | None) -> str:
        """What a group did with an event, as far as it was ever seen."""
        if view.state != "lost":
            return view.state
        if before in ("pending", "consumed"):
            return "consumed"  # it was seen to have it, and is rid of it
        if row.state == LetterState.SENT.value:
            return before or "waiting"  # a server that forgot it is sent it again by the operator
        return "lost"

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

    def _forget_turns_of_gone_streams(self) -> None:
        watched = {one.id for one in self._streams.watched.values()}
        for stream_id in self._turns.keys() - watched:
            del self._turns[stream_id]

    def _compare(self, watched: Watched) -> None:
        """Where a stream holds fewer or more entries than there should lie letters in it, tries which."""
        with self._store.read() as connection:
            letters = reads.letters_in_stream(connection, watched.id)
        before = (0, watched.first_incarnation)
        gone, back = self._turns.setdefault(watched.id, (_Turn(before), _Turn(before)))
        lie_there = letters[LetterState.OPEN] + letters[LetterState.CLAIMED]
        missing = lie_there + letters[LetterState.UNKNOWN] - watched.length
        if gone.goes_on((missing, watched.incarnation)):
            self._find_gone(watched, gone)
        too_many = watched.length - watched.seen_unread - lie_there
        # where no letter can be taken out, none comes back
        if self._broker.capabilities.discard and back.goes_on((too_many, watched.incarnation)):
            self._find_back(watched, back)

    def _find_gone(self, watched: Watched, turn: _Turn) -> None:
        with self._store.read() as connection:
            rows = reads.open_after(connection, watched.id, watched.incarnation, turn.after, PRESENT_A_STEP)
        turn.tried(rows)
        there = self._broker.present(watched.name, [row.position for row in rows])
        gone = [row for row in rows if row.replaced or row.position not in there]
        older = [row.id for row in gone if row.incarnation < watched.incarnation]
        self._gone(older, "its stream was made anew or went back in time")
        self._gone(
            [row.id for row in gone if row.id not in older], "someone else trimmed, deleted or moved it"
        )

    def _find_back(self, watched: Watched, turn: _Turn) -> None:
        since_ms = now_ms() - BACK_WITHIN_MS
        with self._store.read() as connection:
            rows = reads.ended_after(
                connection, watched.id, watched.incarnation, since_ms, turn.after, PRESENT_A_STEP
            )
        turn.tried(rows)
        there = self._broker.present(watched.name, [row.position for row in rows])
        back = [row for row in rows if row.position in there]
        still_sent = self._still_sent(back)
        details: dict[str, list[int]] = defaultdict(list)
        for row in back:
            twice = (row.target, row.sent_position) in still_sent
            details[LIES_AGAIN_THOUGH_SENT.format(row.target) if twice else LIES_AGAIN].append(row.id)
        for detail, letter_ids in details.items():
            log.warning("stream %s: %d letters: %s", watched.name, len(letter_ids), detail)
            with self._store.write() as tx:
                writes.transition(
                    tx, letter_ids, LetterState.OPEN, now_ms(),
                    come_from=REVIVABLE | {LetterState.UNKNOWN}, detail=detail,
                )  # fmt: skip

    def _still_sent(self, rows: Sequence[Any]) -> set[tuple[str, str]]:
        """(target, position) of those whose sent event is there, which only a log can tell."""
        by_target: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            if row.sent_position and self._broker.capabilities.profile == "log":
                by_target[row.target].append(row.sent_position)
        found = set()
        for target, positions in by_target.items():
            try:
                found |= {(target, position) for position in self._broker.present(target, positions)}
            except BrokerRefused as error:
                log.warning("cannot see whether what was sent to %s is there: %s", target, error)
        return found

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
