"""The streams of one source that are watched: found, looked at, and followed through deletion and rebirth."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from collectors.brokers.base import KEYS_A_PAGE, Broker, Cursor, StreamSeen
from eventwake.clock import now_ms
from eventwake.settings import Source
from eventwake.store.reads.events import has_event_at
from eventwake.store.session import Store
from eventwake.store.writes import sources

log = logging.getLogger(__name__)

EVENTS, DEAD_LETTERS = "events", "dead_letters"


@dataclass(slots=True)
class Part:
    """One partition: what the last look showed, and how far it has been read."""

    seen: StreamSeen
    cursor: Cursor
    unread: int | None = None


@dataclass(slots=True)
class Watched:
    """One stream. `cursors` are those that an earlier run left; `parts` is empty until the first look."""

    id: int
    name: str
    kind: str
    cursors: dict[int, Cursor] = field(default_factory=dict)
    parts: dict[int, Part] = field(default_factory=dict)
    mean_bytes: float = 1_000.0  # of an entry; learned from what is read

    @property
    def unread(self) -> int | None:
        """Events that wait to be read; None where that is not known of every partition."""
        return _sum([part.unread for part in self.parts.values()])

    @property
    def length(self) -> int:
        return sum(part.seen.length for part in self.parts.values())

    @property
    def incarnation(self) -> int:
        return max((part.cursor.incarnation for part in self.parts.values()), default=0)


class Streams:
    """Keeps the list of watched streams in step with the broker and the store."""

    def __init__(self, store: Store, broker: Broker, source: Source) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._pages: Iterator[list[str]] | None = None
        self.watched: dict[str, Watched] = {}
        self.refused: dict[str, str] = {}

    def load(self) -> None:
        """Takes up streams that the store knows, with the cursors that an earlier run left."""
        with self._store.read() as connection:
            rows = sources.known_streams(connection, self._source.name)
        for row in rows:
            if row.name not in self.watched and self._source.watches(row.name):
                cursors = {place.partition: Cursor(*place) for place in row.cursors}
                self.watched[row.name] = Watched(row.id, row.name, self._kind(row.name), cursors)

    def discover(self) -> bool:
        """Looks through some more of the broker's names, within the scan budget; True once through all."""
        self._pages = self._pages or self._broker.discover(self._source.watches)
        pages = max(1, round(self._source.keys_scanned_per_s * self._source.poll_s / KEYS_A_PAGE))
        found = list(islice(self._pages, pages))
        self._take_in(sorted({name for page in found for name in page} - self.watched.keys()))
        if len(found) == pages:
            return False
        self._pages = None
        return True

    def look(self) -> None:
        """Looks at every stream's head, and decides where each is to be read from."""
        looked = self._broker.look(list(self.watched))
        self.refused = looked.refused
        gone = [
            w for name, w in self.watched.items() if name not in looked.heads and name not in looked.refused
        ]
        for name, heads in looked.heads.items():
            watched = self.watched[name]
            for seen in heads:
                part = watched.parts.get(seen.partition)
                before = part.cursor if part else watched.cursors.get(seen.partition)
                cursor = self._cursor(watched, seen, before)
                watched.parts[seen.partition] = Part(seen, cursor, part.unread if part else None)
        at_ms = now_ms()
        rows = [_seen_row(self.watched[name], at_ms) for name in looked.heads]
        with self._store.write() as tx:
            sources.stream_seen(tx, rows)
            if gone:
                sources.streams_gone(tx, [watched.id for watched in gone], at_ms)
        for watched in gone:
            log.info("stream %s is gone", watched.name)
            del self.watched[watched.name]

    def _cursor(self, watched: Watched, seen: StreamSeen, before: Cursor | None) -> Cursor:
        if before is None:
            # a dead letter matters however old it is
            start = "earliest" if watched.kind == DEAD_LETTERS else self._source.start
            return self._broker.first_cursor(seen, start)
        cursor = self._broker.follow(seen, before, lambda position: self._knows(watched, position))
        if cursor.incarnation != before.incarnation:
            log.warning("stream %s was made anew or went back in time", watched.name)
        return cursor

    def _knows(self, watched: Watched, position: str) -> bool:
        with self._store.read() as connection:
            return has_event_at(connection, watched.id, position)

    def _take_in(self, names: list[str]) -> None:
        if not names:
            return
        with self._store.write() as tx:
            sources.add_streams(tx, self._source.name, [(name, self._kind(name)) for name in names], now_ms())
        log.info("%d new streams: %s", len(names), ", ".join(names[:10]))
        self.load()

    def _kind(self, name: str) -> str:
        return DEAD_LETTERS if self._source.is_dead_letter_stream(name) else EVENTS


def _seen_row(watched: Watched, at_ms: int) -> dict[str, object]:
    heads = [part.seen for part in watched.parts.values()]
    return {
        "id": watched.id,
        "incarnation": watched.incarnation,
        "length": watched.length,
        "added": _sum([head.added for head in heads]),
        "first_position": next((head.first_position for head in heads), None),
        "last_position": ",".join(head.last_position for head in heads),
        "unread": watched.unread,
        "sampled_ms": at_ms,
    }


def _sum(numbers: Sequence[int | None]) -> int | None:
    """The sum; None where a part is not known."""
    known = [number for number in numbers if number is not None]
    return sum(known) if known and len(known) == len(numbers) else None
