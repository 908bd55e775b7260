"""What each kind of operation does with a batch of letters; a kill between any two steps leaves it whole."""

import json
import logging
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from collectors.brokers.base import IN_DOUBT, Broker, LetterToSend, SendState, Sent
from eventwake.clock import now_ms
from eventwake.decoding import original
from eventwake.domain.dead_letter import LetterState
from eventwake.domain.errors import BrokerRefused, StoreDamaged, StoreError, StoreUnavailable
from eventwake.domain.operation import ItemState
from eventwake.store import command_items as items
from eventwake.store.command_items import Command
from eventwake.store.session import Connection, Store
from eventwake.store.writes import letters

log = logging.getLogger(__name__)

FORGOTTEN = (
    "the server had forgotten it (fail-over or power loss), so it was sent again: a consumer may see it twice"
)
NO_LONGER_THERE = "someone else removed it from the broker before it could be sent"
MAY_BE_DONE = "an earlier try may have done it, and now the broker refuses"
NOT_NOTED = "it was put back, but that could not be noted"


class CarryOut:
    """Carries out the batches of one source's operations."""

    def __init__(self, store: Store, broker: Broker) -> None:
        self._store = store
        self._broker = broker

    def retry(self, command: Command, rows: Sequence[Any]) -> None:
        """Sends letters to where they came from; rows that have an intent may have been sent before."""
        fresh = [row for row in rows if row.state == ItemState.CLAIMED.value]
        try:
            ends = {target: self._broker.intent(target) for target in {row.target for row in fresh}}
        except BrokerRefused as error:
            self._refused(command, [row.letter_id for row in fresh], str(error))
            return
        intents = {row.letter_id: ends[row.target] for row in fresh}
        ours = self._intend(command, rows, intents)
        identity = self._broker.server().identity
        for stream, group in groupby(sorted(ours, key=_by_stream), key=_by_stream):
            of_stream = list(group)
            to_send = [_to_send(row, intents.get(row.letter_id)) for row in of_stream]
            begun_ms = now_ms()
            try:
                sent = self._broker.retry(stream, to_send, _marks_of(command))
            except BrokerRefused as error:
                self._refused_all(command, of_stream, str(error))
                continue
            self._save_sent(command, sent, identity, begun_ms)

    def _intend(self, command: Command, rows: Sequence[Any], intents: Mapping[int, str]) -> list[Any]:
        """Makes the intents durable; the rows that are ours to go on with."""
        with self._store.write() as tx:
            won = items.intend(tx, command.id, intents, now_ms())
        return [row for row in rows if row.letter_id in won or row.letter_id not in intents]

    def _save_sent(self, command: Command, sent: Sequence[Sent], identity: str, begun_ms: int) -> None:
        by_state: dict[SendState, list[Sent]] = {}
        for one in sent:
            by_state.setdefault(one.state, []).append(one)
        there = by_state.get(SendState.SENT, []) + by_state.get(SendState.ALREADY, [])
        # begun_ms: what an event caused must not look older than its sending
        arrived = {s.letter_id: (s.position, begun_ms if s.sent_ms is None else s.sent_ms) for s in there}
        with self._store.write() as tx:
            moved = sorted(items.sent_items(tx, command.id, arrived, identity, now_ms()))
            self._move(tx, command, moved, LetterState.SENT, "sent to its stream")
            letters.find_returns(tx, moved, now_ms())
            for one in by_state.get(SendState.GONE, []):
                self._end(tx, command, one.letter_id, ItemState.GONE, LetterState.GONE, NO_LONGER_THERE)
            for one in by_state.get(SendState.UNKNOWN, []):
                self._end(tx, command, one.letter_id, ItemState.UNKNOWN, LetterState.UNKNOWN, one.detail)
        for one in by_state.get(SendState.REFUSED, []):
            self._refused(command, [one.letter_id], one.detail)

    def settle(self, command: Command, rows: Sequence[Any]) -> None:
        """Closes sent letters that the server has kept; runs the attempt again where another one answers."""
        identity = self._broker.server().identity
        with self._store.write() as tx:
            ends = {row.letter_id: (ItemState.DONE, row.detail) for row in rows if row.identity == identity}
            moved = items.finish_items(tx, command.id, ends, now_ms())
            self._move(tx, command, sorted(moved), LetterState.SETTLED, "the broker has kept it")
        changed = [row for row in rows if row.identity != identity]
        for stream, group in groupby(sorted(changed, key=_by_stream), key=_by_stream):
            again = {row.letter_id: row for row in group}
            to_send = [_to_send(row, None) for row in again.values()]
            try:
                sent = self._broker.retry(stream, to_send, _marks_of(command))
            except BrokerRefused as error:
                self._refused_all(command, list(again.values()), str(error))
                continue
            for one in sent:
                self._save_resent(command, again[one.letter_id], one, identity)

    def _save_resent(self, command: Command, row: Any, sent: Sent, identity: str) -> None:
        with self._store.write() as tx:
            if sent.state in (SendState.SENT, SendState.ALREADY):
                forgotten = sent.state is SendState.SENT
                detail = FORGOTTEN if forgotten else row.detail
                sent_ms = row.sent_ms if sent.sent_ms is None else sent.sent_ms
                arrived = {row.letter_id: (sent.position, sent_ms)}
                moved = items.sent_items(tx, command.id, arrived, identity, now_ms(), detail)
                if forgotten and moved:
                    log.warning("letter %d: %s", row.letter_id, FORGOTTEN)
                    letters.remark(tx, row.letter_id, command.id, FORGOTTEN, now_ms())
            else:
                detail = IN_DOUBT if sent.state is SendState.GONE else sent.detail
                self._end(tx, command, row.letter_id, ItemState.UNKNOWN, LetterState.UNKNOWN, detail)

    def discard(self, command: Command, rows: Sequence[Any]) -> None:
        """Removes letters from the broker; our copy is durable before and stays."""
        whole = [row for row in rows if self._copy_is_whole(command, row)]
        fresh = {row.letter_id: "" for row in whole if row.state == ItemState.CLAIMED.value}
        ours = self._intend(command, whole, fresh)
        for stream, group in groupby(sorted(ours, key=_by_stream), key=_by_stream):
            of_stream = list(group)
            try:
                there = self._broker.discard(stream, [row.position for row in of_stream])
            except BrokerRefused as error:
                self._refused_all(command, of_stream, str(error))
                continue
            # what an earlier run of this item removed is not there either, and what was sent need not be
            done = [
                r.letter_id
                for r in of_stream
                if r.position in there or r.letter_id not in fresh or r.taken_from == LetterState.UNKNOWN
            ]
            gone = [r.letter_id for r in of_stream if r.letter_id not in set(done)]
            with self._store.write() as tx:
                detail = f"discarded: {command.reason}" if command.reason else "discarded"
                ends = dict.fromkeys(done, (ItemState.DONE, ""))
                moved = items.finish_items(tx, command.id, ends, now_ms())
                self._move(tx, command, sorted(moved), LetterState.DISCARDED, detail)
                for letter_id in gone:
                    self._end(tx, command, letter_id, ItemState.GONE, LetterState.GONE, NO_LONGER_THERE)

    def restore(self, command: Command, rows: Sequence[Any]) -> None:
        """Puts discarded letters back into their dead-letter streams, byte for byte."""
        for row in rows:
            self._broker.alive()
            fresh = row.state == ItemState.CLAIMED.value
            intent = self._broker.intent(row.stream) if fresh else row.intent
            if not self._intend(command, [row], {row.letter_id: intent} if fresh else {}):
                continue
            try:
                record = original.unpack(row.body, row.checksum, position=row.position)
                token = f"{command.id}-{row.letter_id}"
                position = self._broker.restore(row.stream, record, token, intent)
            except (BrokerRefused, StoreDamaged) as error:
                self._refused_all(command, [row], str(error))
                continue
            try:
                self._save_restored(command, row, position)
            except (StoreUnavailable, StoreDamaged):
                raise
            except StoreError as error:  # of this letter: others must not wait for it for ever
                log.error("letter %d: %s: %s", row.letter_id, NOT_NOTED, error)
                with self._store.write() as tx:
                    detail = f"{NOT_NOTED}: {error}"
                    self._end(tx, command, row.letter_id, ItemState.UNKNOWN, LetterState.UNKNOWN, detail)

    def _save_restored(self, command: Command, row: Any, position: str) -> None:
        with self._store.write() as tx:
            if items.finish_items(tx, command.id, {row.letter_id: (ItemState.DONE, "")}, now_ms()):
                letters.move_to(tx, row.letter_id, row.stream_incarnation, position)
                self._move(tx, command, [row.letter_id], LetterState.OPEN, "restored to its stream")

    def _copy_is_whole(self, command: Command, row: Any) -> bool:
        """A letter is never removed from the broker while our copy of it is damaged."""
        try:
            original.unpack(row.body, row.checksum, position=row.position)
        except StoreDamaged as error:
            self._refused_all(command, [row], str(error))
            return False
        return True

    def _refused_all(self, command: Command, rows: Sequence[Any], reason: str) -> None:
        """A refusal means that nothing was done now; of what an earlier run began with it tells nothing."""
        self._refused(command, [r.letter_id for r in rows if r.state == ItemState.CLAIMED.value], reason)
        with self._store.write() as tx:
            for row in rows:
                if row.state != ItemState.CLAIMED.value:
                    detail = f"{MAY_BE_DONE}: {reason}"
                    self._end(tx, command, row.letter_id, ItemState.UNKNOWN, LetterState.UNKNOWN, detail)

    def _refused(self, command: Command, letter_ids: Sequence[int], reason: str) -> None:
        with self._store.write() as tx:
            ends = dict.fromkeys(letter_ids, (ItemState.REFUSED, reason))
            moved = items.finish_items(tx, command.id, ends, now_ms())
            items.release(tx, command.id, sorted(moved), now_ms(), reason)

    def _end(
        self, tx: Connection, command: Command, letter_id: int, state: ItemState, to: LetterState, detail: str
    ) -> None:
        if items.finish_items(tx, command.id, {letter_id: (state, detail)}, now_ms()):
            self._move(tx, command, [letter_id], to, detail)

    def _move(
        self, tx: Connection, command: Command, letter_ids: Sequence[int], to: LetterState, detail: str
    ) -> None:
        letters.transition(tx, letter_ids, to, now_ms(), detail=detail, command_id=command.id)


def _by_stream(row: Any) -> str:
    return str(row.stream)


def _to_send(row: Any, intent: str | None) -> LetterToSend:
    """`intent` None: an earlier run wrote one and may have sent the letter."""
    return LetterToSend(
        letter_id=row.letter_id,
        position=row.position,
        replay_id=row.replay_id,
        origin=row.target,
        size=row.size,
        intent=intent if intent is not None else row.intent,
        may_be_sent=intent is None,
        drop=[name.encode("utf-8", "surrogateescape") for name in json.loads(row.own_fields)],
    )


def _marks_of(command: Command) -> str:
    """Marks are kept by the day of the operation, so that old ones expire together."""
    return datetime.fromtimestamp(command.created_ms / 1000, UTC).strftime("%Y-%m-%d")
