"""Consumer groups: lag by the server's own bookkeeping, pending entries, consumers.

From Redis 7.0 on the lag is computed from XINFO STREAM and XINFO GROUPS, as new servers do it. Older ones do
not count what was trimmed or deleted before the group was given it (redis issues 13338, 13473, 13958): their
`entries-read` is too low for ever after, and the lag is then an upper bound. Where there is nothing better,
where the server lost count, and on 6.2, a capped XRANGE counts.
"""

from collections.abc import Sequence
from typing import NamedTuple

from collectors.brokers.base import ConsumerSeen, GroupSeen, GroupView, PendingSeen
from collectors.brokers.redis_streams.client import RedisClient, Reply, flat_map
from collectors.brokers.redis_streams.reading import StreamHead, lists, parse_head, parse_id
from eventwake.decoding.names import raw, text
from eventwake.domain.errors import BrokerRefused
from eventwake.domain.lag import Lag, LagKind

COUNT_AT_MOST = 100  # entries fetched to count a lag that the server's bookkeeping cannot give
PENDING_AT_MOST = 100  # oldest pending entries listed of a group, each sample

FINAL = (LagKind.KNOWN, LagKind.UNKNOWN)  # of a lag by counters: no entries need be fetched to count it
REDIS_BEGAN_MS = 1_230_768_000_000  # 2009: an id of before was never a server's time
MISCOUNTED = "this server does not count for the group what was trimmed before it read on (redis issue 13957)"

_NEVER_DELETED = (0, 0)


class GroupInfo(NamedTuple):
    """One group of XINFO GROUPS; `entries_read` is None on 6.2 and where the server lost count."""

    stream: str
    name: str
    pending: int
    delivered: str
    entries_read: int | None


def counted_lag(
    head: StreamHead, delivered: tuple[int, int], entries_read: int | None, *, counts_reads: bool
) -> Lag | None:
    """The lag by the server's counters; None where they cannot tell. Source: redis/src/t_stream.c.

    `counts_reads`: whether this server's `entries_read` can be relied on.
    """
    seen = head.seen
    if delivered == head.last or seen.added == 0 or seen.length == 0 or head.first is None:
        return Lag.known(0)
    if delivered > head.last:
        return Lag.unknown("the group's position lies beyond the stream's end: was the stream made anew?")
    if delivered <= head.first:
        return Lag.known(seen.length - (delivered == head.first))
    if seen.added is None or head.max_deleted is None or entries_read is None or head.max_deleted > delivered:
        return None
    lag = max(0, seen.added - entries_read)
    if counts_reads or seen.added == seen.length:
        return Lag.known(lag)
    return Lag.at_most(min(lag, seen.length - 1), MISCOUNTED)


def skipped_by(head: StreamHead, info: GroupInfo) -> int | None:
    """Events that were trimmed before the group read them."""
    seen = head.seen
    if seen.added is None or info.entries_read is None or head.max_deleted != _NEVER_DELETED:
        return None
    return max(0, seen.added - seen.length - info.entries_read)


def read_groups(
    client: RedisClient, streams: Sequence[str], now_ms: int, *, counts_reads: bool
) -> list[GroupSeen]:
    """Every group of the streams, in few exchanges whatever their number."""
    infos, by_name = _infos_and_heads(client, streams)
    lags = [
        counted_lag(
            by_name[info.stream], parse_id(info.delivered), info.entries_read, counts_reads=counts_reads
        )
        for info in infos
    ]
    ahead = _entries_ahead(client, infos, lags)
    pending = _pending(client, [info for info in infos if info.pending])
    consumers = _consumers(client, infos)
    groups = []
    for info, lag in zip(infos, lags, strict=True):
        head, place = by_name[info.stream], (info.stream, info.name)
        known = lag if lag is not None and lag.kind in FINAL else _counted(ahead[place], lag)
        entries = pending.get(place, [])
        groups.append(
            GroupSeen(
                stream=info.stream,
                name=info.name,
                position=info.delivered,
                committed=_committed(head, known),
                end=head.seen.added,
                lag=known,
                time_lag=_time_lag(known, ahead.get(place), now_ms),
                pending=info.pending,
                oldest_pending=entries[0].position if entries else None,
                oldest_pending_idle_ms=entries[0].idle_ms if entries else None,
                most_deliveries=max((entry.deliveries for entry in entries), default=None),
                skipped=skipped_by(head, info),
                consumers=consumers[place],
                entries=entries,
                entries_complete=info.pending <= len(entries),
            )
        )
    return groups


def _infos_and_heads(
    client: RedisClient, streams: Sequence[str]
) -> tuple[list[GroupInfo], dict[str, StreamHead]]:
    """The groups, then their streams: a lag can be a little too high, but never below what it is."""
    commands = [(raw(name), ("XINFO", what, raw(name))) for name in streams for what in ("GROUPS", "STREAM")]
    replies = lists(client.pipeline(commands), "XINFO GROUPS")
    infos, heads = [], {}
    for name, groups, stream in zip(streams, replies[::2], replies[1::2], strict=True):
        if groups is None or stream is None:
            continue  # gone since it was looked at
        heads[name] = parse_head(name, stream)
        infos += [_info(name, flat_map(group)) for group in groups]
    return infos, heads


def _info(stream: str, said: dict[str, Reply]) -> GroupInfo:
    return GroupInfo(
        stream,
        text(said["name"]),
        said["pending"],
        said["last-delivered-id"].decode(),
        said.get("entries-read"),
    )


def _entries_ahead(
    client: RedisClient, infos: Sequence[GroupInfo], lags: Sequence[Lag | None]
) -> dict[tuple[str, str], list[int]]:
    """Times (ms) of the first entries that each group has not been given: one, or enough to count."""
    wanted = [
        (info, 1 if lag is not None and lag.kind in FINAL else COUNT_AT_MOST)
        for info, lag in zip(infos, lags, strict=True)
        if lag is None or lag.value
    ]
    commands = [
        (raw(info.stream), ("XRANGE", raw(info.stream), f"({info.delivered}", "+", "COUNT", count))
        for info, count in wanted
    ]
    replies = lists(client.pipeline(commands), "XRANGE")
    return {
        (info.stream, info.name): [parse_id(entry[0])[0] for entry in reply or ()]
        for (info, _), reply in zip(wanted, replies, strict=True)
    }


def _counted(ahead: Sequence[int], bound: Lag | None) -> Lag:
    if len(ahead) < COUNT_AT_MOST:
        return Lag.known(len(ahead))
    return bound or Lag.at_least(COUNT_AT_MOST, "the server lost count; counted up to a cap")


def _time_lag(lag: Lag, ahead: Sequence[int] | None, now_ms: int) -> Lag:
    """The age of the first entry not yet given out: its id is the server's time, if it chose it."""
    if lag.value == 0:
        return Lag.known(0)
    if not ahead:
        return Lag.unknown(lag.reason or "the next entry could not be read")
    if ahead[0] < REDIS_BEGAN_MS:
        return Lag.unknown("the next entry's id carries no time: whoever added it chose the id")
    return Lag.known(max(0, now_ms - ahead[0]))


def _committed(head: StreamHead, lag: Lag) -> int | None:
    """Exact or nothing: a place reckoned from a bound would seem to move back where the bound widens."""
    if head.seen.added is None or lag.value is None or lag.kind is not LagKind.KNOWN:
        return None
    return head.seen.added - lag.value


def _pending(client: RedisClient, infos: Sequence[GroupInfo]) -> dict[tuple[str, str], list[PendingSeen]]:
    commands = [
        (raw(i.stream), ("XPENDING", raw(i.stream), raw(i.name), "-", "+", PENDING_AT_MOST)) for i in infos
    ]
    replies = lists(client.pipeline(commands), "XPENDING")
    return {
        (info.stream, info.name): [to_pending(entry) for entry in reply or ()]
        for info, reply in zip(infos, replies, strict=True)
    }


def to_pending(entry: Reply) -> PendingSeen:
    position, consumer, idle_ms, deliveries = entry
    return PendingSeen(position.decode(), text(consumer), idle_ms, deliveries)


def _consumers(client: RedisClient, infos: Sequence[GroupInfo]) -> dict[tuple[str, str], list[ConsumerSeen]]:
    commands = [(raw(i.stream), ("XINFO", "CONSUMERS", raw(i.stream), raw(i.name))) for i in infos]
    replies = lists(client.pipeline(commands), "XINFO CONSUMERS")
    found: dict[tuple[str, str], list[ConsumerSeen]] = {}
    for info, reply in zip(infos, replies, strict=True):
        said = [flat_map(consumer) for consumer in reply or ()]
        found[info.stream, info.name] = [
            ConsumerSeen(text(c["name"]), c["pending"], c["idle"], c.get("inactive")) for c in said
        ]
    return found


def read_views(
    client: RedisClient, stream: str, groups: Sequence[str], positions: Sequence[str]
) -> dict[str, list[GroupView]]:
    """What each group has done with each entry, exact at this moment.

    A group passes what was trimmed as it passes what it was given, so only of an entry that is still there
    can it be said to have been given.
    """
    reply = client.command(raw(stream), "XINFO", "GROUPS", raw(stream))
    delivered = {text(said["name"]): parse_id(said["last-delivered-id"]) for said in map(flat_map, reply)}
    asked = [
        (group, position)
        for group in groups
        for position in positions
        if group in delivered and parse_id(position) <= delivered[group]
    ]
    key = raw(stream)
    replies = client.pipeline(
        [(key, ("XPENDING", key, raw(group), position, position, 1)) for group, position in asked]
        + [(key, ("XRANGE", key, position, position)) for position in positions]
    )
    for refused in (r for r in replies if not isinstance(r, list)):
        raise BrokerRefused(f"XPENDING or XRANGE on {stream} was refused: {refused}")
    held = {place: bool(reply) for place, reply in zip(asked, replies[: len(asked)], strict=True)}
    there = {position for position, reply in zip(positions, replies[len(asked) :], strict=True) if reply}

    def view(group: str, position: str) -> GroupView:
        if held.get((group, position)):
            return GroupView(group, "pending")
        if position not in there:
            return GroupView(group, "lost")
        return GroupView(group, "consumed" if (group, position) in held else "waiting")

    return {
        position: [view(group, position) for group in groups if group in delivered] for position in positions
    }
