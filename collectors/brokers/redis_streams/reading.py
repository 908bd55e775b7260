"""Reads stream heads and entries, and tells trimmed, recreated and rolled-back streams apart.

Only XINFO, XRANGE and TIME are used: nothing that a consumer group would notice. All counting rests on one
invariant of Redis 7 on: at a stream's end, `entries-added` is what we read plus what we missed.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from collectors.brokers.base import Batch, Cursor, Gap, StreamSeen
from collectors.brokers.redis_streams.client import RedisClient, Reply, flat_map
from eventwake.decoding.envelope import LAST_MS
from eventwake.decoding.names import raw
from eventwake.domain.envelope import Record
from eventwake.domain.errors import BrokerRefused

ZERO = "0-0"
COUNTS_BELOW = 2**62
TRIMMED = "trimmed or deleted before it could be read"
TRIMMED_UNCOUNTED = "trimmed before it could be read; Redis before 7.0 does not count"
SKIPPED = "skipped: the collector was too far behind"


class StreamHead(NamedTuple):
    """XINFO STREAM, with the ids as (ms, sequence). `added` and `max_deleted` are None before Redis 7.0."""

    seen: StreamSeen
    first: tuple[int, int] | None
    last: tuple[int, int]
    max_deleted: tuple[int, int] | None
    groups: int


def parse_id(text: str | bytes) -> tuple[int, int]:
    """An entry id as numbers, which sort as Redis sorts."""
    ms, _, sequence = (text.decode() if isinstance(text, bytes) else text).partition("-")
    return int(ms), int(sequence or 0)


def read_heads(client: RedisClient, streams: Sequence[str]) -> tuple[dict[str, StreamHead], dict[str, str]]:
    """XINFO STREAM of each, and why where it was refused; what is no stream any more is in neither."""
    replies = client.pipeline([(raw(s), ("XINFO", "STREAM", raw(s))) for s in streams])
    heads, refused = {}, {}
    for name, reply in zip(streams, replies, strict=True):
        if isinstance(reply, list):
            heads[name] = parse_head(name, reply)
        elif not is_missing(reply):
            refused[name] = str(reply)
    return heads, refused


def is_missing(reply: Reply) -> bool:
    """Whether a refusal only says that the key is not there, or is no stream (any more)."""
    gone = ("no such key", "ERR no such key", "WRONGTYPE", "Operation against a key", "NOGROUP")
    return str(reply).startswith(gone)


def lists(replies: Sequence[Reply], command: str) -> list[list[Reply] | None]:
    """Replies that should be lists; None for what is not there (any more). Raises `BrokerRefused`."""
    for refused in (r for r in replies if isinstance(r, ResponseError) and not is_missing(r)):
        raise BrokerRefused(f"{command} was refused: {refused}")
    return [reply if isinstance(reply, list) else None for reply in replies]


def parse_head(name: str, reply: Sequence[Reply]) -> StreamHead:
    info = flat_map(reply)
    first_entry = info.get("first-entry")
    first = first_entry[0].decode() if first_entry else None
    last = info["last-generated-id"].decode()
    deleted = info.get("max-deleted-entry-id")
    return StreamHead(
        StreamSeen(name, info["length"], _plausible(info.get("entries-added")), first, last),
        parse_id(first) if first else None,
        parse_id(last),
        parse_id(deleted) if deleted is not None else None,
        info["groups"],
    )


def _plausible(added: int | None) -> int | None:
    """Whoever may write may also set it (XSETID): what comes near the end of its numbers counts nothing."""
    return None if added is None or not 0 <= added < COUNTS_BELOW else added


def first_cursor(seen: StreamSeen, start: str, now_ms: int) -> Cursor:
    """Where to begin on first contact."""
    if start == "newest":
        return Cursor(seen.last_position, seen.added)
    removed = None if seen.added is None else seen.added - seen.length
    before_first = _just_before(seen.first_position) if seen.first_position else seen.last_position
    if start == "earliest":
        return Cursor(before_first, removed)
    since = (now_ms - int(start.removesuffix("h")) * 3_600_000, 0)
    if parse_id(before_first) >= since:
        return Cursor(before_first, removed)
    if since > parse_id(seen.last_position):
        return Cursor(seen.last_position, seen.added)
    return Cursor(f"{since[0] - 1}-{2**64 - 1}", None)  # counted from the first time that the end is reached


def _just_before(position: str) -> str:
    """The greatest id below `position`, so that what was trimmed before us does not look like a gap."""
    ms, sequence = parse_id(position)
    if sequence:
        return f"{ms}-{sequence - 1}"
    return f"{ms - 1}-{2**64 - 1}" if ms else ZERO


def follow(seen: StreamSeen, cursor: Cursor, known: Callable[[str], bool]) -> Cursor:
    """The cursor to go on from; a new incarnation where the stream was made anew or went back in time."""
    if not _is_another(seen, cursor):
        return cursor
    anew = cursor._replace(incarnation=cursor.incarnation + 1)
    if _forgot_the_newest(seen, cursor, known):
        return anew._replace(position=seen.last_position, read_count=seen.added)
    if not _went_back(seen, cursor) and seen.first_position and known(seen.first_position):
        return anew._replace(read_count=None)  # it was read before it was noticed, and its ids go on
    return anew._replace(position=ZERO, read_count=0 if seen.added is not None else None)


def _forgot_the_newest(seen: StreamSeen, cursor: Cursor, known: Callable[[str], bool]) -> bool:
    """Whether a fail-over, or a restart from an older snapshot, took the stream back to an earlier moment.

    It then begins with the entry that it began with and has counted no further; of its last entry the store
    may know nothing, as not every event is kept.
    """
    if seen.last_position == ZERO:
        return False
    has_same_beginning = (
        _went_back(seen, cursor)
        and seen.first_position is not None
        and (seen.added is None or cursor.read_count is None or seen.added <= cursor.read_count)
        and known(seen.first_position)
    )
    return has_same_beginning or known(seen.last_position)


def _is_another(seen: StreamSeen, cursor: Cursor) -> bool:
    """Whether this cannot be the stream that the cursor was made in."""
    if _went_back(seen, cursor) or seen.added is None or cursor.read_count is None:
        return _went_back(seen, cursor)
    if seen.first_position is None or parse_id(seen.first_position) <= parse_id(cursor.position):
        return seen.added < cursor.read_count
    return seen.added - seen.length < cursor.read_count  # all that lay up to the cursor was removed


def _went_back(seen: StreamSeen, cursor: Cursor) -> bool:
    return parse_id(seen.last_position) < parse_id(cursor.position)


def read_batches(client: RedisClient, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
    """XRANGE from each cursor, pipelined; a stream that is gone gives no batch."""
    commands = [
        (raw(seen.name), ("XRANGE", raw(seen.name), f"({cursor.position}", "+", "COUNT", count))
        for seen, cursor, count in wanted
    ]
    replies = lists(client.pipeline(commands), "XRANGE")
    return [
        to_batch(seen, cursor, count, reply)
        for (seen, cursor, count), reply in zip(wanted, replies, strict=True)
        if reply is not None
    ]


def to_batch(seen: StreamSeen, cursor: Cursor, count: int, entries: Sequence[Reply]) -> Batch:
    """The entries as records, with what `seen` (looked at before the read) shows to be missing."""
    records = [to_record(entry) for entry in entries]
    end = parse_id(seen.last_position)
    reaches_end = parse_id(cursor.position) <= end
    gap, cursor = _gap_in_front(seen, cursor)
    more = len(records) == count
    position = records[-1].position if records else cursor.position
    read_count = None if cursor.read_count is None else cursor.read_count + len(records)
    if reaches_end and (not more or parse_id(position) >= end):
        if seen.added is not None:
            at_end = seen.added + sum(parse_id(record.position) > end for record in records)
            missed = at_end - read_count if read_count is not None else 0
            if missed > 0:
                earlier = (gap.missed or 0) if gap else 0
                gap = Gap(
                    gap.after_position if gap else cursor.position,
                    seen.last_position,
                    earlier + missed,
                    TRIMMED,
                )
            read_count = at_end
        if parse_id(position) < end:
            position = seen.last_position  # nothing is left between the two
    unread = _unread(seen, read_count) if more else 0
    return Batch(
        seen.name, records, cursor._replace(position=position, read_count=read_count), gap, unread, more
    )


def to_record(entry: Reply) -> Record:
    """One entry of an XRANGE reply. Redis ids begin with the server's time in ms."""
    position = entry[0].decode()
    return Record(position, time_in(position), entry[1] or ())


def time_in(position: str) -> int:
    """The ms of an id. Whoever adds may choose them, up to 64 bits, more than a store or a page can hold."""
    return min(parse_id(position)[0], LAST_MS)


def _gap_in_front(seen: StreamSeen, cursor: Cursor) -> tuple[Gap | None, Cursor]:
    """What was trimmed past the cursor: all that was ever removed, less what had been read."""
    if seen.first_position is None or parse_id(seen.first_position) <= parse_id(cursor.position):
        return None, cursor
    before = seen.first_position
    if seen.added is None:
        just_started = parse_id(cursor.position) == parse_id(_just_before(before)) or cursor.position == ZERO
        return (None if just_started else Gap(cursor.position, before, None, TRIMMED_UNCOUNTED)), cursor
    if cursor.read_count is None:
        return None, cursor
    missed = seen.added - seen.length - cursor.read_count
    if missed <= 0:
        return None, cursor
    return Gap(cursor.position, before, missed, TRIMMED), cursor._replace(
        read_count=cursor.read_count + missed
    )


def _unread(seen: StreamSeen, read_count: int | None) -> int | None:
    if seen.added is None or read_count is None:
        return None
    return max(0, seen.added - read_count)


def skip_to_newest(seen: StreamSeen, cursor: Cursor) -> Batch:
    """Nothing read; the cursor at the stream's end and the events between as a counted gap."""
    missed = None if seen.added is None or cursor.read_count is None else seen.added - cursor.read_count
    end = cursor._replace(position=seen.last_position, read_count=seen.added)
    return Batch(seen.name, [], end, Gap(cursor.position, seen.last_position, missed, SKIPPED), 0)
