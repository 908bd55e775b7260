"""The streams of one source that are watched: found, looked at, and followed through deletion and rebirth."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

from collectors.brokers.base import KEYS_A_PAGE, Broker, Cursor, StreamSeen
from eventwake.clock import now_ms
from eventwake.settings import Source
from eventwake.store.reads.events import has_event_at
from eventwake.store.reads.followed import has_letter_at
from eventwake.store.session import Store
from eventwake.store.writes import sources
from eventwake.store.writes.sources import CursorRow

log = logging.getLogger(__name__)

EVENTS, DEAD_LETTERS = "events", "dead_letters"
LOST = "gone with their stream before they could be read"


@dataclass(slots=True)
class Part:
    """One partition: what the last look showed, and how far it has been read."""

    seen: StreamSeen
    cursor: Cursor
    unread: int | None = None

    @property
    def seen_unread(self) -> int:
        """Events that the look showed and that have not been read, as far as they can be counted."""
        if self.seen.added is None or self.cursor.read_count is None:
            return 0
        return max(0, self.seen.added - self.cursor.read_count)


@dataclass(slots=True)
class Watched:
    """One stream. `cursors` are those that an earlier run left; `parts` is empty until the first look."""

    id: int
    name: str
    kind: str
    cursors: dict[int, Cursor] = field(default_factory=dict)
    first_position: str | None = None  # as an earlier run saw it last
    parts: dict[int, Part] = field(default_factory=dict)
    is_young: bool = False  # it was made while we watched
    is_redeclared: bool = False  # the settings, or the broker, say that it is of another kind than it was
    mean_bytes: float = 1_000.0  # of an entry; learned from what is read

    @property
    def unread(self) -> int | None:
        """Events that wait to be read; None where that is not known of every partition."""
        return _sum([part.unread for part in self.parts.values()])

    @property
    def seen_unread(self) -> int:
        return sum(part.seen_unread for part in self.parts.values())

    @property
    def length(self) -> int:
        return sum(part.seen.length for part in self.parts.values())

    @property
    def incarnation(self) -> int:
        return max((part.cursor.incarnation for part in self.parts.values()), default=0)

    @property
    def first_incarnation(self) -> int:
        """The one in which an earlier run left it; of a new stream the present one."""
        return max((cursor.incarnation for cursor in self.cursors.values()), default=self.incarnation)


class Streams:
    """Keeps the list of watched streams in step with the broker and the store."""

    def __init__(self, store: Store, broker: Broker, source: Source) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._pages: Iterator[list[str]] | None = None
        self._has_seen_all = False
        self.watched: dict[str, Watched] = {}
        self.refused: dict[str, str] = {}

    def load(self) -> None:
        """Takes up streams that the store knows, with the cursors that an earlier run left."""
        with self._store.read() as connection:
            rows = sources.known_streams(connection, self._source.name)
        for row in rows:
            if row.name not in self.watched and self._source.watches(row.name):
                cursors = {place.partition: Cursor(*place) for place in row.cursors}
                kind = self._kind(row.name)
                self.watched[row.name] = Watched(
                    row.id, row.name, kind, cursors, row.first_position, is_redeclared=kind != row.kind
                )

    def discover(self) -> bool:
        """Looks through some more of the broker's names, within the scan budget; True once through all."""
        self._pages = self._pages or self._broker.discover(self._source.watches)
        pages = max(1, round(self._source.keys_scanned_per_s * self._source.poll_s / KEYS_A_PAGE))
        found = list(islice(self._pages, pages))
        self._take_in(sorted({name for page in found for name in page} - self.watched.keys()))
        if len(found) == pages:
            return False
        self._pages, self._has_seen_all = None, True
        return True

    def look(self) -> None:
        """Looks at every stream's head, and decides where each is to be read from."""
        looked = self._broker.look(list(self.watched))
        self.refused = looked.refused
        gone = [
            w for name, w in self.watched.items() if name not in looked.heads and name not in looked.refused
        ]
        new, lost = [], [(w, part) for w in gone for part in w.parts.values()]
        for name, heads in looked.heads.items():
            watched = self.watched[name]
            for seen in heads:
                part = watched.parts.get(seen.partition)
                before = part.cursor if part else watched.cursors.get(seen.partition)
                cursor = self._cursor(watched, seen, before)
                is_new = before is None or cursor.incarnation != before.incarnation
                if is_new:
                    new.append((watched, before, cursor))
                    lost += [(watched, part)] if part else []
                watched.parts[seen.partition] = Part(
                    seen, cursor, part.unread if part and not is_new else None
                )
        self._save_look([self.watched[name] for name in looked.heads], new, lost, gone)
        for watched in gone:
            log.info("stream %s is gone", watched.name)
            del self.watched[watched.name]

    def _save_look(
        self,
        seen: Sequence[Watched],
        new: Sequence[tuple[Watched, Cursor | None, Cursor]],
        lost: Sequence[tuple[Watched, Part]],
        gone: Sequence[Watched],
    ) -> None:
        at_ms = now_ms()
        with self._store.write() as tx:
            sources.stream_seen(tx, [_seen_row(watched, at_ms) for watched in seen])
            redeclared = [watched for watched in seen if watched.is_redeclared]
            for watched in redeclared:
                sources.stream_is(tx, watched.id, watched.kind)
            # a start at the newest is at the newest of now, however long until there is a first event
            for watched, before, cursor in new:
                row = CursorRow(*before) if before else None
                sources.save_cursor(tx, watched.id, row, CursorRow(*cursor), at_ms)
            for watched, part in lost:
                if missed := part.seen_unread:
                    places = (part.cursor.position, part.seen.last_position)
                    sources.add_gap(tx, watched.id, part.cursor.incarnation, places, missed, LOST, at_ms)
                    log.warning("stream %s: %d events %s", watched.name, missed, LOST)
            if gone:
                sources.streams_gone(tx, [watched.id for watched in gone], at_ms)
        for watched in redeclared:
            watched.is_redeclared = False

    def _cursor(self, watched: Watched, seen: StreamSeen, before: Cursor | None) -> Cursor:
        if before is None:
            # a dead letter matters however old it is, and of a young stream nothing is old
            everything = watched.kind == DEAD_LETTERS or watched.is_young
            return self._broker.first_cursor(seen, "earliest" if everything else self._source.start)
        if watched.is_redeclared:
            return self._begun_anew(watched, seen, before)
        cursor = self._broker.follow(seen, before, lambda position: self._knows(watched, position))
        if cursor.incarnation != before.incarnation:
            log.warning("stream %s was made anew or went back in time", watched.name)
        return cursor

    def _begun_anew(self, watched: Watched, seen: StreamSeen, before: Cursor) -> Cursor:
        """Dead letters are taken in however old they are; events only from where the stream was left."""
        log.info("stream %s is read as %s from now on", watched.name, watched.kind.replace("_", " "))
        is_dead = watched.kind == DEAD_LETTERS
        cursor = self._broker.first_cursor(seen, "earliest") if is_dead else before
        return cursor._replace(incarnation=before.incarnation + 1)

    def _knows(self, watched: Watched, position: str) -> bool:
        """Of a sampled stream most events are not in the store, so its first one is remembered."""
        firsts = {part.seen.first_position for part in watched.parts.values()} or {watched.first_position}
        if position in firsts:
            return True
        with self._store.read() as connection:
            known = has_letter_at if watched.kind == DEAD_LETTERS else has_event_at
            return known(connection, watched.id, position)

    def _take_in(self, names: list[str]) -> None:
        if not names:
            return
        with self._store.write() as tx:
            sources.add_streams(tx, self._source.name, [(name, self._kind(name)) for name in names], now_ms())
        log.info("%d new streams: %s", len(names), ", ".join(names[:10]))
        self.load()
        for name in names:
            self.watched[name].is_young = self._has_seen_all

    def _kind(self, name: str) -> str:
        return DEAD_LETTERS if is_dead_letter_stream(self._broker, self._source, name) else EVENTS


def is_dead_letter_stream(broker: Broker, source: Source, name: str) -> bool:
    known = broker.holds_dead_letters(name)
    return source.is_dead_letter_stream(name) if known is None else known


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
