"""Heads and records of topics, partition by partition, without joining any group.

A position is "partition:offset". The broker gives whole batches; what of them was not wanted yet is held here
for the next read, so that little is fetched twice.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import sample
from typing import NamedTuple

from kafka import TopicPartition
from kafka.errors import UnsupportedCodecError

from collectors.brokers.base import Batch, Cursor, Gap, Looked, StreamSeen
from collectors.brokers.kafka.client import KafkaClient
from collectors.brokers.kafka.cluster import (
    COMMITTED,
    EARLIEST,
    GONE,
    LATEST,
    NO_ERROR,
    NOT_ALLOWED,
    SILENT,
    UNCOMMITTED,
    Fetched,
    Wanted,
)
from collectors.brokers.kafka.records import DAMAGED, offset_of, parse, position
from eventwake.domain.envelope import Record
from eventwake.domain.errors import BrokerRefused, BrokerUnavailable

TRIMMED = "trimmed: the topic's retention or someone else deleted them before they could be read"
SKIPPED = "skipped: too far behind"
FETCH_BYTES = 8_000_000  # of one answer
PARTITION_BYTES = 1_000_000  # of one partition in it; a greater batch comes alone
HELD_BYTES = 64_000_000  # of all partitions together; beyond it everything held is fetched again when wanted


class _Asked(NamedTuple):
    """One partition to be read. `first` is the offset to go on from, past what was trimmed."""

    seen: StreamSeen
    cursor: Cursor
    at_most: int
    first: int

    @property
    def at(self) -> TopicPartition:
        return TopicPartition(self.seen.name, self.seen.partition)

    def gap(self, damaged: int) -> Gap | None:
        """What was trimmed in front of `first`, and what behind it could not be read."""
        trimmed = self.first - offset_of(self.cursor.position) - 1
        reasons = [reason for missed, reason in ((trimmed, TRIMMED), (damaged, DAMAGED)) if missed]
        if not reasons:
            return None
        before = position(self.at.partition, self.first)
        return Gap(self.cursor.position, before, trimmed + damaged, "; ".join(reasons))


@dataclass(slots=True)
class _Held:
    """Records of a partition from the offset `first` on, after which `next_offset` is to be fetched."""

    identity: str
    first: int
    records: deque[Record]
    next_offset: int
    damaged: int
    size: int  # bytes, as they came

    def goes_on(self, one: _Asked) -> bool:
        """Whether it has what is wanted next."""
        return bool(self.records) and (self.identity, self.first) == (one.seen.identity, one.first)


class Reading:
    """Looks at topics and reads them."""

    def __init__(self, client: KafkaClient, *, committed_only: bool) -> None:
        self._client = client
        self._isolation = COMMITTED if committed_only else UNCOMMITTED
        self._held: dict[TopicPartition, _Held] = {}
        self.sparse: set[TopicPartition] = set()  # some of their offsets hold no event: lag is an upper bound

    def forget(self) -> None:
        """What is held; it is fetched again when it is wanted."""
        self._held.clear()

    def look(self, names: Sequence[str]) -> Looked:
        """Heads of every partition that has a leader, by topic; and topics that were refused."""
        if not names:
            return Looked({}, {})
        refused: dict[str, str] = {}
        with self._client.translated():
            topics = {topic.name: topic for topic in self._client.cluster.topics(names)}
            partitions = [at for topic in topics.values() for at in topic.partitions]
            lows, ends = self._client.cluster.offsets(
                (partitions, EARLIEST, UNCOMMITTED), (partitions, LATEST, self._isolation)
            )
        heads: dict[str, list[StreamSeen]] = {}
        for at in partitions:
            if at in lows.found and at in ends.found:
                seen = _head(at, topics[at.topic].id, lows.found[at], ends.found[at])
                heads.setdefault(at.topic, []).append(seen)
        for name, topic in topics.items():
            if topic.error == NOT_ALLOWED:
                refused[name] = "no permission to describe it"
            elif topic.error not in GONE and name not in heads:
                refused[name] = "no broker that leads it answers"
        return Looked({name: tuple(seen) for name, seen in heads.items()}, refused)

    def first_cursor(self, seen: StreamSeen, start: str, now_ms: int) -> Cursor:
        low, end = bounds(seen)
        if start == "earliest":
            first = low
        elif start == "newest":
            first = end
        else:
            first = self._offset_at(seen, now_ms - int(start.removesuffix("h")) * 3_600_000, end)
        return Cursor(position(seen.partition, first - 1), first, 0, seen.partition, seen.identity)

    def _offset_at(self, seen: StreamSeen, time_ms: int, end: int) -> int:
        """Of the first record of that time or later."""
        at = TopicPartition(seen.name, seen.partition)
        with self._client.translated():
            [offsets] = self._client.cluster.offsets(([at], max(0, time_ms), self._isolation))
        if at not in offsets.found:
            raise BrokerUnavailable(f"{self._client.source}: no broker that leads {seen.name} answers")
        return offsets.found[at] if offsets.found[at] >= 0 else end

    def present(self, topic: str, positions: Sequence[str]) -> set[str]:
        """Those of the positions that the log still reaches; what compaction took is not seen."""
        looked = self.look([topic])
        if topic in looked.refused:
            raise BrokerRefused(f"{self._client.source}: {topic}: {looked.refused[topic]}")
        there = {seen.partition: bounds(seen) for seen in looked.heads.get(topic, ())}
        return {
            place
            for place in positions
            if (partition := int(place.partition(":")[0])) in there
            and there[partition][0] <= offset_of(place) < there[partition][1]
        }

    def read(self, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
        if sum(held.size for held in self._held.values()) > HELD_BYTES:
            self.forget()
        asked = [_asked(seen, cursor, at_most) for seen, cursor, at_most in wanted]
        missing = [one for one in asked if not (one.at in self._held and self._held[one.at].goes_on(one))]
        errors = self._fetch(missing) if missing else {}
        return [self._batch(one, errors.get(one.at)) for one in asked if errors.get(one.at) not in GONE]

    def _fetch(self, missing: Sequence[_Asked]) -> dict[TopicPartition, int]:
        """Fetches what is there now into what is held; the error codes of those that failed."""
        # the broker fills its answer in the order of the request: each is to come first now and then
        wanted = [Wanted(one.at, one.seen.identity, one.first) for one in sample(missing, len(missing))]
        with self._client.translated():
            answers = self._client.cluster.fetch(wanted, self._isolation, FETCH_BYTES, PARTITION_BYTES)
            if all(answer.error == SILENT for answer in answers.values()):
                self._client.cluster.topics([])  # raises where no broker answers at all
        for one in missing:
            self._held.pop(one.at, None)
            if answers[one.at].error == NOT_ALLOWED:
                raise BrokerRefused(f"{self._client.source}: no permission to read {one.seen.name}")
            if answers[one.at].error == NO_ERROR:
                self._hold(one, answers[one.at])
        return {at: answer.error for at, answer in answers.items() if answer.error != NO_ERROR}

    def _hold(self, one: _Asked, answer: Fetched) -> None:
        committed_only = self._isolation == COMMITTED
        try:
            parsed = parse(
                answer.data, one.at.partition, one.first, answer.aborted, committed_only=committed_only
            )
        except UnsupportedCodecError as error:
            raise BrokerRefused(f"{self._client.source}: {one.seen.name} cannot be read: {error}") from error
        if parsed.sparse:
            self.sparse.add(one.at)
        self._held[one.at] = _Held(
            one.seen.identity,
            one.first,
            parsed.records,
            parsed.next_offset,
            parsed.damaged,
            len(answer.data),
        )

    def _batch(self, one: _Asked, error: int | None) -> Batch:
        """What is held of a partition, as far as it is wanted; nothing where it could not be fetched."""
        _, end = bounds(one.seen)
        if error is not None:  # trimmed since the look, or led by another broker: the next look will tell
            return Batch(one.seen.name, [], one.cursor, None, max(0, end - one.first))
        held = self._held[one.at]
        records = [held.records.popleft() for _ in range(min(one.at_most, len(held.records)))]
        held.first = offset_of(records[-1].position) + 1 if records else one.first
        damaged = 0
        if not held.records:
            held.first, damaged = held.next_offset, held.damaged  # past what leaves no record
        place = position(one.at.partition, held.first - 1)
        cursor = one.cursor._replace(position=place, read_count=held.first)
        more = bool(held.records) or one.first < held.first < end
        return Batch(one.seen.name, records, cursor, one.gap(damaged), max(0, end - held.first), more)


def bounds(seen: StreamSeen) -> tuple[int, int]:
    """The first offset that is there, and the one after the last."""
    end = offset_of(seen.last_position) + 1
    return end - seen.length, end


def _asked(seen: StreamSeen, cursor: Cursor, at_most: int) -> _Asked:
    return _Asked(seen, cursor, at_most, max(offset_of(cursor.position) + 1, bounds(seen)[0]))


def _head(at: TopicPartition, topic_id: str, low: int, end: int) -> StreamSeen:
    first = position(at.partition, low) if low < end else None
    last = position(at.partition, end - 1)
    return StreamSeen(at.topic, max(0, end - low), end, first, last, at.partition, topic_id)


def follow(seen: StreamSeen, cursor: Cursor) -> Cursor:
    """A topic with another id was made anew; one that ends before the cursor lost its newest records."""
    low, end = bounds(seen)
    anew = cursor._replace(incarnation=cursor.incarnation + 1, identity=seen.identity)
    if seen.identity != cursor.identity and seen.identity and cursor.identity:
        return anew._replace(position=position(seen.partition, low - 1), read_count=low)
    if end <= offset_of(cursor.position):
        return anew._replace(position=seen.last_position, read_count=end)
    return cursor._replace(identity=seen.identity)


def skip_to_newest(seen: StreamSeen, cursor: Cursor) -> Batch:
    """Nothing read; the cursor at the end, and what lies between as a gap."""
    _, end = bounds(seen)
    missed = end - offset_of(cursor.position) - 1
    gap = Gap(cursor.position, seen.last_position, missed, SKIPPED)
    return Batch(seen.name, [], cursor._replace(position=seen.last_position, read_count=end), gap, 0)
