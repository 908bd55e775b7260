"""Requests to a Kafka cluster that kafka-python's admin client does not make as watching needs them.

It asks one broker after the other and fails as a whole where one group or partition fails. Here all brokers
are asked at once, and each answer, group and partition has its own error. This leans on the connection
manager inside the admin client: requirements.txt keeps kafka-python to 3.0.x, and no other file touches that.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from kafka import TopicPartition
from kafka.errors import KafkaError, for_code
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.admin import DescribeConfigsRequest, ListGroupsRequest
from kafka.protocol.consumer import FetchRequest, ListOffsetsRequest
from kafka.protocol.metadata import MetadataRequest

EARLIEST, LATEST = -2, -1  # in place of a time
UNCOMMITTED, COMMITTED = 0, 1  # isolation levels
NO_ERROR, NOT_ALLOWED = 0, 29  # error codes
MOVED = frozenset({5, 6, 9, 74, 75, 76})  # another broker leads now, or will soon
GONE = frozenset({3, 100, 103})  # no such topic, partition or topic id
SILENT = -1  # in place of an error code: nobody leads, or who does is out of reach
FETCH_BY_NAME = 12  # the last version of Fetch that names topics; later ones give their ids
LEARN_WITHIN_MS = 2_000
TOPIC = 2  # a type of DescribeConfigs

Request = tuple[int | None, Any]  # the broker that is asked (None: any) and what


@dataclass(frozen=True, slots=True)
class Topic:
    """What the cluster says of a topic. `leaders` is the leading broker by partition; below 0: none leads."""

    name: str
    id: str
    error: int
    is_internal: bool
    leaders: dict[int, int]

    @property
    def partitions(self) -> list[TopicPartition]:
        return [TopicPartition(self.name, number) for number in sorted(self.leaders)]


class Listed(NamedTuple):
    """A group as its coordinator lists it. `type` is "classic", "consumer", "share" or "streams"."""

    name: str
    type: str
    coordinator: int


@dataclass(slots=True)
class Offsets:
    """Offsets by partition, and the error codes of those that have none."""

    found: dict[TopicPartition, int] = field(default_factory=dict)
    failed: dict[TopicPartition, int] = field(default_factory=dict)


class Wanted(NamedTuple):
    """Where in a partition a fetch begins; `topic_id` is "" where the broker has none."""

    at: TopicPartition
    topic_id: str
    offset: int


class Fetched(NamedTuple):
    """Record batches as they lie there, and (producer id, first offset) of aborted transactions in them."""

    error: int
    data: bytes = b""
    aborted: Sequence[tuple[int, int]] = ()


def _data_before_end(receive: Callable[[Any], tuple[bytes, Any]]) -> Callable[[Any], tuple[bytes, Any]]:
    """kafka-python drops what comes together with a connection's end: mostly, why the broker ended it."""

    def sock_recv(transport: Any) -> tuple[bytes, Any]:
        data, error = receive(transport)
        return (data, None) if data else (data, error)

    return sock_recv


for _transport in (KafkaTCPTransport, KafkaSSLTransport):
    _transport._sock_recv = _data_before_end(_transport._sock_recv)


def try_doors(client: Any) -> None:
    """Connects once to each of the addresses, until one lets us in. Raises why none did.

    The client itself knocks until its time is up and then only says that it was.
    """
    client._manager.run(_try_doors, client._manager)


async def _try_doors(manager: Any) -> None:
    errors = []
    for door in manager.cluster.bootstrap_brokers():
        connection = None
        try:
            connection = manager.get_connection(door.node_id, refresh_metadata_on_err=False)
            await connection
            return
        except (KafkaError, OSError) as error:
            errors.append(error)
        finally:
            if connection is not None:
                connection.close()
                manager.reset_backoff(door.node_id)
    raise errors[0]


class Cluster:
    """Asks through an admin client; remembers which broker leads which partition."""

    def __init__(self, admin: Any) -> None:
        self._manager = admin._manager
        self._leaders: dict[TopicPartition, int] = {}
        self.brokers: set[int] = set()
        self.asked = 0  # requests so far

    @property
    def version(self) -> str:
        return ".".join(map(str, self._manager.broker_version or ()))

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        """Sends all, then awaits each: the answers in the same order, or in place of one its `KafkaError`."""
        self.asked += len(requests)
        return list(self._manager.run(self._all, requests)) if requests else []

    def ask_any(self, request: Any) -> Any:
        """The answer of some broker. Raises `KafkaError`."""
        [answer] = self.ask([(None, request)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _all(self, requests: Sequence[Request]) -> list[Any]:
        sent: list[Any] = []
        for node, request in requests:
            try:
                sent.append(self._manager.send(request, node_id=node))
            except KafkaError as error:
                sent.append(error)
        return [await _outcome(one) for one in sent]

    def topics(self, names: Sequence[str] | None = None) -> list[Topic]:
        """The topics of these names, or all that may be seen. Learns who leads them, and who is up."""
        wanted = None if names is None else [MetadataRequest.MetadataRequestTopic(name=n) for n in names]
        answer = self.ask_any(MetadataRequest(topics=wanted, allow_auto_topic_creation=False))
        self.brokers = {broker.node_id for broker in answer.brokers}
        if self.brokers - {broker.node_id for broker in self._manager.cluster.brokers()}:
            self._manager.run(self._learn_brokers)
        topics = [_topic(seen) for seen in answer.topics]
        if names is None:
            self._leaders.clear()  # of topics that are gone
        for topic in topics:
            self._leaders |= {TopicPartition(topic.name, n): node for n, node in topic.leaders.items()}
        return topics

    async def _learn_brokers(self) -> None:
        """The client looks for brokers that have joined every five minutes only."""
        with suppress(KafkaError):
            await self._manager.wait_for(self._manager.cluster.request_update(), LEARN_WITHIN_MS)

    def groups(self) -> tuple[list[Listed], set[int]]:
        """Every group that may be seen, and the brokers that did not say which they coordinate.

        Raises `KafkaError` where none of them did.
        """
        brokers = sorted(self.brokers)
        answers = self.ask([(broker, ListGroupsRequest(min_version=0)) for broker in brokers])
        listed: list[Listed] = []
        errors: dict[int, Exception] = {}
        for broker, answer in zip(brokers, answers, strict=True):
            if isinstance(answer, Exception) or answer.error_code:
                errors[broker] = answer if isinstance(answer, Exception) else for_code(answer.error_code)()
                continue
            listed += [
                Listed(g.group_id, (getattr(g, "group_type", "") or "classic").lower(), broker)
                for g in answer.groups
            ]
        if errors and len(errors) == len(brokers):
            raise next(iter(errors.values()))
        return listed, set(errors)

    def offsets(self, *asked: tuple[Iterable[TopicPartition], int, int]) -> list[Offsets]:
        """For each (partitions, time, isolation) their offsets: one request a leader, all sent at once."""
        results = [Offsets() for _ in asked]
        left = [set(partitions) for partitions, _, _ in asked]
        for _ in range(2):  # again for partitions whose leader has changed
            self._find_leaders(set[TopicPartition]().union(*left))
            places, requests = [], []
            for i, (_, time, isolation) in enumerate(asked):
                for leader, own in self._by_leader(left[i]).items():
                    places.append((i, own))
                    requests.append((leader, _list_offsets(own, time, isolation)))
            for (i, own), answer in zip(places, self.ask(requests), strict=True):
                for at, error, offset in _offsets_in(own, answer):
                    if error in MOVED:
                        self._leaders.pop(at, None)
                        continue
                    left[i].discard(at)
                    if error == NO_ERROR:
                        results[i].found[at] = offset
                    else:
                        results[i].failed[at] = error
            if not any(at not in self._leaders for partitions in left for at in partitions):
                break
        for result, silent in zip(results, left, strict=True):
            result.failed |= dict.fromkeys(silent, SILENT)
        return results

    def fetch(
        self, wanted: Sequence[Wanted], isolation: int, at_most_bytes: int, of_each: int
    ) -> dict[TopicPartition, Fetched]:
        """The batches from each offset on, as they are there now: one request a leader, all sent at once."""
        self._find_leaders({one.at for one in wanted})
        by_place = {one.at: one for one in wanted}
        by_leader = self._by_leader(by_place)
        requests = [
            (leader, _fetch([by_place[at] for at in partitions], isolation, at_most_bytes, of_each))
            for leader, partitions in by_leader.items()
        ]
        names = {one.topic_id: one.at.topic for one in wanted}
        fetched = dict.fromkeys(by_place, Fetched(SILENT))
        for answer in self.ask(requests):
            if not isinstance(answer, Exception):
                fetched |= dict(_fetched_in(answer, names))
        for at, slice_ in fetched.items():
            if slice_.error in MOVED or slice_.error == SILENT:
                self._leaders.pop(at, None)  # whoever asks next finds the new one
        return fetched

    def compacted(self, topics: Sequence[str]) -> dict[str, bool]:
        """Whether old values of a key are removed, of those topics whose settings may be seen."""
        resource = DescribeConfigsRequest.DescribeConfigsResource
        resources = [
            resource(resource_type=TOPIC, resource_name=name, configuration_keys=["cleanup.policy"])
            for name in topics
        ]
        answer = self.ask_any(DescribeConfigsRequest(resources=resources))
        return {
            result.resource_name: any("compact" in (config.value or "") for config in result.configs)
            for result in answer.results
            if result.error_code == NO_ERROR
        }

    def _find_leaders(self, partitions: Iterable[TopicPartition]) -> None:
        """Asks for those that are not known; some may have none."""
        if unknown := sorted({at.topic for at in partitions if self._leaders.get(at, SILENT) < 0}):
            self.topics(unknown)

    def _by_leader(self, partitions: Iterable[TopicPartition]) -> dict[int, list[TopicPartition]]:
        by_leader: dict[int, list[TopicPartition]] = defaultdict(list)
        for at in partitions:
            if (leader := self._leaders.get(at, SILENT)) >= 0:
                by_leader[leader].append(at)
        return by_leader


async def _outcome(sent: Any) -> Any:
    if isinstance(sent, Exception):
        return sent
    try:
        return await sent
    except (KafkaError, OSError) as error:
        return error


def _topic(seen: Any) -> Topic:
    topic_id = "" if not seen.topic_id or seen.topic_id.int == 0 else str(seen.topic_id)
    leaders = {part.partition_index: part.leader_id for part in seen.partitions}
    return Topic(seen.name, topic_id, seen.error_code, bool(seen.is_internal), leaders)


def by_topic(partitions: Iterable[TopicPartition]) -> Mapping[str, list[TopicPartition]]:
    found: dict[str, list[TopicPartition]] = defaultdict(list)
    for at in partitions:
        found[at.topic].append(at)
    return found


def _list_offsets(partitions: Iterable[TopicPartition], time: int, isolation: int) -> Any:
    topic = ListOffsetsRequest.ListOffsetsTopic
    part = topic.ListOffsetsPartition
    topics = [
        topic(name=name, partitions=[part(partition_index=at.partition, timestamp=time) for at in own])
        for name, own in by_topic(partitions).items()
    ]
    return ListOffsetsRequest(isolation_level=isolation, topics=topics, min_version=2)


def _offsets_in(
    partitions: Sequence[TopicPartition], answer: Any
) -> Iterator[tuple[TopicPartition, int, int]]:
    if isinstance(answer, Exception):
        yield from ((at, SILENT, -1) for at in partitions)
        return
    for topic in answer.topics:
        for part in topic.partitions:
            yield TopicPartition(topic.name, part.partition_index), part.error_code, part.offset


def _fetch(wanted: Sequence[Wanted], isolation: int, at_most_bytes: int, of_each: int) -> Any:
    topic = FetchRequest.FetchTopic
    part = topic.FetchPartition
    by_name: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for one in wanted:
        by_name[one.at.topic, one.topic_id].append(
            part(partition=one.at.partition, fetch_offset=one.offset, partition_max_bytes=of_each)
        )
    by_id = all(one.topic_id for one in wanted)
    topics = [
        topic(topic=name, topic_id=UUID(topic_id) if by_id else None, partitions=parts)
        for (name, topic_id), parts in by_name.items()
    ]
    return FetchRequest(
        max_wait_ms=0,
        min_bytes=1,
        max_bytes=at_most_bytes,
        isolation_level=isolation,
        topics=topics,
        min_version=4,
        max_version=None if by_id else FETCH_BY_NAME,
    )


def _fetched_in(answer: Any, names: Mapping[str, str]) -> Iterator[tuple[TopicPartition, Fetched]]:
    for topic in answer.responses:
        name = topic.topic or names.get(str(topic.topic_id), "")
        for part in topic.partitions:
            aborted = [(one.producer_id, one.first_offset) for one in part.aborted_transactions or ()]
            data = bytes(part.records or b"")
            yield TopicPartition(name, part.partition_index), Fetched(part.error_code, data, aborted)
