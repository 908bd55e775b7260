"""The streams of one source that are watched: found, looked at, and followed through deletion and rebirth."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass

from collectors.brokers.base import KEYS_A_PAGE, Broker, Cursor, StreamSeen
from eventwake.clock import now_ms
from eventwake.settings import Source
from eventwake.store.reads.events import has_event_at
from eventwake.store.session import Store
from eventwake.store.writes import sources

log = logging.getLogger(__name__)

EVENTS, DEAD_LETTERS = "events", "dead_letters"


@dataclass(slots=True)
class Watched:
    """One stream with how far it has been read and what the last look showed."""

    id: int
    name: str
    kind: str
    cursor: Cursor | None = None
    seen: StreamSeen | None = None
    unread: int | None = None
    mean_bytes: float = 1_000.0  # of an entry; learned from what is read


class Streams:
    """Keeps the list of watched streams in step with the broker and the store."""

    def __init__(self, store: Store, broker: Broker, source: Source) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._pages: Iterator[list[str]] | None = None
        self._found: set[str] = set()
        self.watched: dict[str, Watched] = {}
        self.refused: dict[str, str] = {}

    def load(self) -> None:
        """Takes up streams that the store knows, with the cursors that an earlier run left."""
        with self._store.read() as connection:
            rows = sources.known_streams(connection, self._source.name)
        for row in rows:
            if row.name in self.watched or not self._source.watches(row.name):
                continue
            cursor = None
            if row.cursor_position is not None:
                cursor = Cursor(row.cursor_position, row.cursor_read_count, row.cursor_incarnation)
            self.watched[row.name] = Watched(row.id, row.name, self._kind(row.name), cursor)

    def discover(self) -> bool:
        """Looks through some more of the broker's names, within the scan budget; True once through all."""
        self._pages = self._pages or self._broker.discover(self._source.watches)
        pages = max(1, round(self._source.keys_scanned_per_s * self._source.poll_s / KEYS_A_PAGE))
        for _ in range(pages):
            page = next(self._pages, None)
            if page is None:
                self._pages = None
                self._take_in(sorted(self._found - self.watched.keys()))
                self._found = set()
                return True
            self._found.update(page)
        return False

    def look(self) -> None:
        """Looks at every stream's head, and decides where each is to be read from."""
        looked = self._broker.look(list(self.watched))
        self.refused = looked.refused
        gone = [
            w for name, w in self.watched.items() if name not in looked.heads and name not in looked.refused
        ]
        for name, seen in looked.heads.items():
            watched = self.watched[name]
            watched.seen = seen
            watched.cursor = self._cursor(watched, seen)
        at_ms = now_ms()
        rows = [_seen_row(w, at_ms) for w in self.watched.values() if w.seen and w.name in looked.heads]
        with self._store.write() as tx:
            sources.stream_seen(tx, rows)
            if gone:
                sources.streams_gone(tx, [watched.id for watched in gone], at_ms)
        for watched in gone:
            log.info("stream %s is gone", watched.name)
            del self.watched[watched.name]

    def _cursor(self, watched: Watched, seen: StreamSeen) -> Cursor:
        if watched.cursor is None:
            # a dead letter matters however old it is
            start = "earliest" if watched.kind == DEAD_LETTERS else self._source.start
            return self._broker.first_cursor(seen, start)
        cursor = self._broker.follow(seen, watched.cursor, lambda position: self._knows(watched, position))
        if cursor.incarnation != watched.cursor.incarnation:
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
    seen = watched.seen
    if seen is None:
        raise ValueError(f"{watched.name} was not looked at")
    return {
        "id": watched.id,
        "incarnation": watched.cursor.incarnation if watched.cursor else 0,
        "length": seen.length,
        "added": seen.added,
        "first_position": seen.first_position,
        "last_position": seen.last_position,
        "unread": watched.unread,
        "sampled_ms": at_ms,
    }
