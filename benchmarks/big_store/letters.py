"""Dead letters in the broker and in the store, and what a day of operators has made of the older ones."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks.big_store.events import Letter
from benchmarks.big_store.shop import DEAD
from collectors.brokers.base import Broker
from collectors.streams import Streams
from eventwake.decoding import original
from eventwake.decoding.envelope import Decoder
from eventwake.domain.dead_letter import LetterState as State
from eventwake.domain.envelope import without
from eventwake.domain.operation import Actor, CommandKind, ItemState
from eventwake.settings import Source
from eventwake.store import command_items, commands, maintenance
from eventwake.store.commands import Order
from eventwake.store.reads import letters as reads
from eventwake.store.session import Connection, Store
from eventwake.store.writes import letters as writes
from eventwake.store.writes import sources
from eventwake.store.writes.sources import CursorRow

LETTERS_A_BATCH = 500
PIPELINED = 1_000
FOUND_AFTER_MS = 1_000
ACTED_AFTER_MS = 1_800_000  # operators come half an hour later
# what became of the older letters, one operation after the other; None: no operation had them
ENDS = (
    State.CONSUMED, State.DISCARDED, State.SUCCEEDED, State.CONSUMED, None, State.DISCARDED, State.CAME_BACK,
    State.CONSUMED, State.UNKNOWN,
)  # fmt: skip
ENDED_SHARE = 0.4


def put(client: Any, letters: Sequence[Letter]) -> None:
    """Adds the entries to their streams, at their own times."""
    added: Counter[str] = Counter()
    for start in range(0, len(letters), PIPELINED):
        with client.pipeline(transaction=False) as pipe:
            for letter in letters[start : start + PIPELINED]:
                added[letter.stream] += 1
                entry_id = f"{letter.at_ms}-{added[letter.stream]}"
                pipe.execute_command("XADD", letter.stream, entry_id, *letter.fields)
            pipe.execute()


def take_in(store: Store, broker: Broker, source: Source, streams: Streams) -> None:
    """Reads them as the sampler does, at about the times at which it would have found them."""
    decoder = Decoder(source.business_keys)
    for watched in streams.watched.values():
        if not watched.name.endswith(DEAD):
            continue
        part = watched.parts[0]
        while True:
            (batch,) = broker.read([(part.seen, part.cursor, LETTERS_A_BATCH)])
            if not batch.records:
                break
            new = []
            for record in batch.records:
                letter = broker.read_letter(record, watched.name)
                envelope = decoder.decode(record._replace(fields=without(record.fields, letter.own_fields)))
                body = original.pack(record)
                new.append(writes.NewLetter(record, envelope, letter, body, original.size(record)))
            found_ms = batch.records[-1].recorded_ms + FOUND_AFTER_MS
            with store.write() as tx:
                writes.add(tx, source.name, watched.id, batch.cursor.incarnation, new, found_ms)
                before, after = CursorRow(*part.cursor), CursorRow(*batch.cursor)
                sources.save_cursor(tx, watched.id, before, after, found_ms)
            part.cursor = batch.cursor
        maintenance.checkpoint(store)


def act(store: Store, source: str, client: Any) -> None:
    """Operations on the older letters; those that then lie in the broker no more are deleted there."""
    with store.read() as connection:
        everything = reads.matching(
            connection, reads.LetterFilter(source=source), reads.newest_id(connection)
        )
    older = everything[: int(len(everything) * ENDED_SHARE)]
    for turn, start in enumerate(range(0, len(older), LETTERS_A_BATCH)):
        chosen = older[start : start + LETTERS_A_BATCH]
        ids = [letter_id for letter_id, _ in chosen]
        with store.read() as connection:
            rows = reads.rows_of(connection, ids)
        at_ms = max(row.failed_ms for row in rows) + ACTED_AFTER_MS
        end = ENDS[turn % len(ENDS)]
        with store.write() as tx:
            if end is None:
                gone = State.GONE if turn % 2 else State.EXPIRED
                writes.transition(tx, ids, gone, at_ms, detail="someone else deleted it")
            elif end is State.DISCARDED:
                _discard(tx, source, chosen, at_ms)
            else:
                _retry(tx, source, chosen, end, at_ms)
        with client.pipeline(transaction=False) as pipe:
            for row in rows:
                pipe.execute_command("XDEL", row.stream, row.position)
            pipe.execute()


def _clock(at_ms: int) -> Callable[[], int]:
    """Each call is a second later."""
    ticks: Iterator[int] = iter(range(at_ms, at_ms + 60_000, 1_000))
    return lambda: next(ticks)


def _discard(tx: Connection, source: str, letters: Sequence[tuple[int, int]], at_ms: int) -> None:
    now, ids = _clock(at_ms), [letter_id for letter_id, _ in letters]
    order = Order(CommandKind.DISCARD, source, Actor(), letters, "nobody waits for them")
    command_id = commands.submit(tx, order, now()).command_id
    command_items.begin(tx, command_id, now())
    command_items.intend(tx, command_id, dict.fromkeys(ids, "{}"), now())
    writes.transition(tx, ids, State.DISCARDED, now(), command_id=command_id, detail="removed")
    _finish(tx, command_id, ids, ItemState.DONE, now)


def _retry(tx: Connection, source: str, letters: Sequence[tuple[int, int]], end: State, at_ms: int) -> None:
    now, ids = _clock(at_ms), [letter_id for letter_id, _ in letters]
    command_id = commands.submit(tx, Order(CommandKind.RETRY, source, Actor(), letters), now()).command_id
    command_items.begin(tx, command_id, now())
    command_items.intend(tx, command_id, dict.fromkeys(ids, "{}"), now())
    if end is State.UNKNOWN:
        writes.transition(tx, ids, State.UNKNOWN, now(), command_id=command_id, detail="the server forgot")
        _finish(tx, command_id, ids, ItemState.UNKNOWN, now)
        return
    sent_ms = now()
    sent = {letter_id: (f"{sent_ms}-{place}", sent_ms) for place, letter_id in enumerate(ids)}
    command_items.sent_items(tx, command_id, sent, "a-server", sent_ms)
    writes.transition(tx, ids, State.SENT, sent_ms, command_id=command_id, detail="the broker took it")
    rows = [
        {"letter_id": i, "attempt": 1, "group_name": group, "state": "consumed", "at_ms": sent_ms}
        for i in ids
        for group in ("analytics", "email-service")
    ]
    writes.save_outcomes(tx, rows)
    writes.transition(tx, ids, State.CONSUMED, now(), command_id=command_id, detail="consumed")
    if end is not State.CONSUMED:
        writes.transition(tx, ids, end, now(), command_id=command_id, detail="seen later")
    _finish(tx, command_id, ids, ItemState.DONE, now)


def _finish(
    tx: Connection, command_id: int, ids: Sequence[int], state: ItemState, now: Callable[[], int]
) -> None:
    command_items.finish_items(tx, command_id, dict.fromkeys(ids, (state, "")), now())
    command_items.finish_if_ended(tx, command_id, now())
