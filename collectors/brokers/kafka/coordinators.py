"""What the coordinators of groups know: positions and members, of every type of group, asked all at once.

Whoever lists a group is its coordinator: that is never out of date, unlike what an admin client remembers.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from kafka import TopicPartition
from kafka.protocol.admin import DescribeGroupsRequest
from kafka.protocol.consumer import OffsetFetchRequest
from kafka.protocol.consumer.metadata import ConsumerProtocolAssignment

from collectors.brokers.kafka.cluster import NO_ERROR, Cluster, Listed, Request
from collectors.brokers.kafka.protocol import (
    ConsumerGroupDescribeRequest,
    DescribeShareGroupOffsetsRequest,
    ShareGroupDescribeRequest,
)

COMMITTING = frozenset({"classic", "consumer"})
ALL_COMMITTING = "classic or consumer"
SHARE = "share"


class Member(NamedTuple):
    name: str
    assigned: frozenset[TopicPartition]


class Place(NamedTuple):
    """The offset that a group takes next in a partition, and its lag where the broker counts it."""

    offset: int
    lag: int | None = None


@dataclass(slots=True)
class Group:
    """One group as its coordinator knows it; without an answer, as it was known before."""

    listed: Listed
    answered: bool = False
    places: dict[TopicPartition, Place] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    @property
    def partitions(self) -> set[TopicPartition]:
        """Where it has a place or a member that reads."""
        return set(self.places).union(*(member.assigned for member in self.members))


Taker = Callable[[Any, dict[str, Group]], None]


def ask(cluster: Cluster, listed: Sequence[Listed], *, members: bool = True) -> list[Group]:
    """The groups with their positions, and their members where they are wanted."""
    groups = {one.name: Group(one) for one in listed}
    requests: list[Request] = []
    takers: list[Taker] = []
    for (coordinator, type_), names in _by_coordinator(listed).items():
        for request, take in _questions(type_, names, members=members):
            requests.append((coordinator, request))
            takers.append(take)
    for take, answer in zip(takers, cluster.ask(requests), strict=True):
        if not isinstance(answer, Exception):
            take(answer, groups)
    return list(groups.values())


def _by_coordinator(listed: Iterable[Listed]) -> dict[tuple[int, str], list[str]]:
    found: dict[tuple[int, str], list[str]] = defaultdict(list)
    for one in listed:
        found[one.coordinator, one.type].append(one.name)
        if one.type in COMMITTING:
            found[one.coordinator, ALL_COMMITTING].append(one.name)
    return found


def _questions(type_: str, names: list[str], *, members: bool) -> Iterator[tuple[Any, Taker]]:
    """What to ask a coordinator about its groups of one type, and who takes the answer."""
    if type_ == ALL_COMMITTING:
        group = OffsetFetchRequest.OffsetFetchRequestGroup
        wanted = [group(group_id=name, topics=None) for name in names]
        # from version 10 on topics have ids in place of names
        yield OffsetFetchRequest(groups=wanted, min_version=8, max_version=9), _take_commits
    elif type_ == SHARE:
        share = DescribeShareGroupOffsetsRequest.DescribeShareGroupOffsetsRequestGroup
        asked = [share(group_id=name, topics=None) for name in names]
        yield DescribeShareGroupOffsetsRequest(groups=asked), _take_share_offsets
    if not members:
        return
    if type_ == "classic":
        yield DescribeGroupsRequest(groups=names), _take_classic_members
    elif type_ == "consumer":
        yield ConsumerGroupDescribeRequest(group_ids=names), _take_members
    elif type_ == SHARE:
        yield ShareGroupDescribeRequest(group_ids=names), _take_members


def _take_commits(answer: Any, groups: dict[str, Group]) -> None:
    for group in answer.groups:
        if group.error_code == NO_ERROR:
            known = groups[group.group_id]
            known.answered = True
            known.places = {
                TopicPartition(topic.name, part.partition_index): Place(part.committed_offset)
                for topic in group.topics
                for part in topic.partitions
                if part.error_code == NO_ERROR and part.committed_offset >= 0
            }


def _take_share_offsets(answer: Any, groups: dict[str, Group]) -> None:
    for group in answer.groups:
        if group.error_code == NO_ERROR:
            known = groups[group.group_id]
            known.answered = True
            known.places = {
                TopicPartition(topic.topic_name, part.partition_index): Place(
                    part.start_offset, None if part.lag is None or part.lag < 0 else part.lag
                )
                for topic in group.topics
                for part in topic.partitions
                if part.error_code == NO_ERROR and part.start_offset >= 0
            }


def _take_members(answer: Any, groups: dict[str, Group]) -> None:
    for group in answer.groups:
        groups[group.group_id].members = [
            Member(
                f"{member.client_id} {member.client_host}",
                frozenset(
                    TopicPartition(topic.topic_name, number)
                    for topic in member.assignment.topic_partitions
                    for number in topic.partitions
                ),
            )
            for member in group.members
        ]


def _take_classic_members(answer: Any, groups: dict[str, Group]) -> None:
    for group in answer.groups:
        groups[group.group_id].members = [
            Member(f"{member.client_id} {member.client_host}", _assigned(member.member_assignment))
            for member in group.members
        ]


def _assigned(raw: bytes | None) -> frozenset[TopicPartition]:
    """Of a member of a classic group, whose client wrote the bytes: they may be anything."""
    try:
        return frozenset(ConsumerProtocolAssignment.decode(raw).partitions()) if raw else frozenset()
    except Exception:
        return frozenset()
