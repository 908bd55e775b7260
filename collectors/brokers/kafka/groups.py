"""Groups of every type: where they are, how far behind, and who reads for them.

Committed positions are read first and log ends second: a lag can be a little too high, never negative.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from time import monotonic
from typing import NamedTuple

from kafka import TopicPartition

from collectors.brokers.base import ConsumerSeen, GroupSeen, GroupView
from collectors.brokers.kafka import coordinators
from collectors.brokers.kafka.client import KafkaClient
from collectors.brokers.kafka.cluster import EARLIEST, GONE, LATEST, UNCOMMITTED, Offsets
from collectors.brokers.kafka.coordinators import SHARE, Group, Place
from collectors.brokers.kafka.reading import Reading
from collectors.brokers.kafka.records import offset_of, position
from eventwake.domain.lag import Lag, total

NO_LEADER = "the broker that leads the partition does not answer"
NO_COORDINATOR = "the group's coordinator does not answer"
NO_COMMIT = "the group has committed nothing for a partition that it reads"
BEYOND = "the committed offset lies beyond the log's end: the topic was made anew or truncated"
SPARSE = "some offsets hold no event: the topic is compacted or written in transactions"
UNCOUNTED = "this server does not count what a share group has done out of order"
BY_SAMPLES = "told by the samples"
CONFIGS_FOR_S = 600.0  # how long the answer whether a topic is compacted is good for


class _Part(NamedTuple):
    """How far one group is in one partition. `lost`: trimmed before it was read."""

    at: TopicPartition
    place: Place | None
    lag: Lag
    end: int | None
    lost: int = 0


class Groups:
    """Reads the groups of one cluster."""

    def __init__(self, client: KafkaClient, reading: Reading) -> None:
        self._client = client
        self._reading = reading
        self._last: dict[str, Group] = {}  # by name, as last seen
        self._compacted: dict[str, bool] = {}
        self._compacted_until = 0.0

    def read(self, topics: Sequence[str]) -> list[GroupSeen]:
        """Every group that has a place in, or reads, one of the topics."""
        wanted = set(topics)
        with self._client.translated():
            cluster = self._client.cluster
            there = {at for topic in cluster.topics(topics) for at in topic.partitions} if topics else set()
            groups = self._groups()
            partitions = {at for group in groups for at in group.partitions if at.topic in wanted} & there
            ends, lows = cluster.offsets(
                (partitions, LATEST, UNCOMMITTED), (partitions, EARLIEST, UNCOMMITTED)
            )
            self._look_for_compaction({at.topic for at in partitions})
        seen = []
        for group in groups:
            own = sorted(at for at in group.partitions & there if ends.failed.get(at) not in GONE)
            for topic in dict.fromkeys(at.topic for at in own):
                parts = [self._judge(group, at, ends, lows) for at in own if at.topic == topic]
                seen.append(_seen(topic, group, parts))
        return seen

    def views(self, topic: str, names: Sequence[str], positions: Sequence[str]) -> dict[str, list[GroupView]]:
        wanted = set(names)
        with self._client.translated():
            listed, _ = self._client.cluster.groups()
            listed = [one for one in listed if _text(one.name) in wanted]
            groups = coordinators.ask(self._client.cluster, listed, members=False)
        reading = [g for g in groups if g.answered and any(at.topic == topic for at in g.places)]
        return {place: [_view(group, topic, place) for group in reading] for place in positions}

    def _groups(self) -> list[Group]:
        """All groups; those whose coordinator is silent as they were last seen."""
        listed, silent = self._client.cluster.groups()
        found = {group.listed.name: group for group in coordinators.ask(self._client.cluster, listed)}
        answering = self._client.cluster.brokers - silent
        for name, last in self._last.items():
            is_answered = found[name].answered if name in found else last.listed.coordinator in answering
            if not is_answered:
                found[name] = replace(last, answered=False)
        self._last = found
        return list(found.values())

    def _look_for_compaction(self, topics: AbstractSet[str]) -> None:
        """Asks now and then; where it may not be known, what was read tells (`Reading.sparse`)."""
        if monotonic() > self._compacted_until:
            self._compacted, self._compacted_until = {}, monotonic() + CONFIGS_FOR_S
        if new := sorted(topics - self._compacted.keys()):
            self._compacted |= dict.fromkeys(new, False) | self._client.cluster.compacted(new)

    def _judge(self, group: Group, at: TopicPartition, ends: Offsets, lows: Offsets) -> _Part:
        place = group.places.get(at) if group.answered else None
        end, low = ends.found.get(at), lows.found.get(at)
        if not group.answered:
            return _Part(at, None, Lag.unknown(NO_COORDINATOR), end)
        if end is None or low is None:
            return _Part(at, place, Lag.unknown(NO_LEADER), None)
        if place is None:
            return _Part(at, None, Lag.known(0) if end == low else Lag.unknown(NO_COMMIT), end)
        lost = max(0, low - place.offset)
        return _Part(at, place, self._lag(group.listed.type == SHARE, at, place, end, low), end, lost)

    def _lag(self, is_share: bool, at: TopicPartition, place: Place, end: int, low: int) -> Lag:
        if place.lag is not None:
            return Lag.known(place.lag)
        if place.offset > end:
            return Lag.unknown(BEYOND)
        ahead = end - max(place.offset, low)
        if ahead and is_share:
            return Lag.at_most(ahead, UNCOUNTED)
        if ahead and (at in self._reading.sparse or self._compacted.get(at.topic)):
            return Lag.at_most(ahead, SPARSE)
        return Lag.known(ahead)


def _seen(topic: str, group: Group, parts: Sequence[_Part]) -> GroupSeen:
    lag = total(part.lag for part in parts)
    if not lag.reason:
        lag = replace(lag, reason=next((part.lag.reason for part in parts if part.lag.reason), ""))
    commits = [part.place.offset for part in parts if part.place is not None]
    ends = [part.end for part in parts if part.end is not None]
    is_whole = len(commits) == len(ends) == len(parts)
    return GroupSeen(
        stream=topic,
        name=_text(group.listed.name),
        position=",".join(
            position(part.at.partition, part.place.offset - 1) for part in parts if part.place is not None
        ),
        committed=sum(commits) if is_whole else None,
        end=sum(ends) if is_whole else None,
        lag=lag,
        time_lag=Lag.known(0) if lag == Lag.known(0) else Lag.unknown(BY_SAMPLES),
        pending=None,
        skipped=sum(part.lost for part in parts),
        consumers=[
            ConsumerSeen(f"{_text(member.name)}: {', '.join(map(str, own))}", 0, 0, None)
            for member in group.members
            if (own := sorted(at.partition for at in member.assigned if at.topic == topic))
        ],
    )


def _view(group: Group, topic: str, place: str) -> GroupView:
    at = TopicPartition(topic, int(place.partition(":")[0]))
    has_passed = at in group.places and group.places[at].offset > offset_of(place)
    return GroupView(_text(group.listed.name), "consumed" if has_passed else "waiting")


def _text(name: str) -> str:
    """A name of any characters, which clients choose, as any database takes it."""
    return name.replace("\0", "\ufffd")
