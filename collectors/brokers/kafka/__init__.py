"""Apache Kafka: topics, groups of every type and dead-letter topics, watched without joining any group."""

from collections.abc import Callable, Iterator, Sequence

from collectors.brokers.base import (
    KEYS_A_PAGE,
    Batch,
    Broker,
    Capabilities,
    Check,
    Cursor,
    GroupSeen,
    GroupView,
    Looked,
    Server,
    StreamSeen,
)
from collectors.brokers.kafka import checks, reading
from collectors.brokers.kafka.client import KafkaClient
from collectors.brokers.kafka.groups import Groups
from collectors.brokers.kafka.reading import Reading
from collectors.brokers.kafka.settings import read_settings
from eventwake.clock import now_ms
from eventwake.decoding.dead_letters.kafka import KafkaDeadLetters, is_dead_letter_name
from eventwake.domain.dead_letter import DeadLetter
from eventwake.domain.envelope import Record
from eventwake.settings import Source

INTERNAL = "__"  # how the names of topics begin that Kafka and its tools keep for themselves


class Kafka(Broker):
    """One cluster. Letters are shown; they cannot be acted on yet."""

    capabilities = Capabilities("log", groups=True)

    def __init__(self, source: Source) -> None:
        self._settings = read_settings(source)
        self._source = source
        self._client = KafkaClient(self._settings, source.name)
        self._reading = Reading(self._client, committed_only=not self._settings.read_uncommitted)
        self._groups = Groups(self._client, self._reading)
        self._decoder = KafkaDeadLetters(self._settings.dead_letter_fields, source.dead_letter_streams)

    def start(self) -> None:
        self._reading.forget()
        self._client.connect()

    def stop(self) -> None:
        self._client.close()

    @property
    def commands_sent(self) -> int:
        return self._client.asked

    def server(self) -> Server:
        with self._client.translated():
            cluster = self._client.admin.describe_cluster()
        brokers = len(cluster["brokers"])
        version = f"Apache Kafka {self._client.cluster.version}, {brokers} broker{'s' * (brokers != 1)}"
        return Server(version, str(cluster["cluster_id"]))

    def discover(self, wanted: Callable[[str], bool]) -> Iterator[list[str]]:
        with self._client.translated():
            topics = self._client.cluster.topics()
        names = [
            topic.name
            for topic in topics
            if self._settings.internal or not (topic.is_internal or topic.name.startswith(INTERNAL))
        ]
        for start in range(0, len(names), KEYS_A_PAGE):
            yield [name for name in names[start : start + KEYS_A_PAGE] if wanted(name)]

    def holds_dead_letters(self, stream: str) -> bool | None:
        return True if is_dead_letter_name(stream) else None

    def look(self, streams: Sequence[str]) -> Looked:
        return self._reading.look(streams)

    def first_cursor(self, seen: StreamSeen, start: str) -> Cursor:
        return self._reading.first_cursor(seen, start, now_ms())

    def follow(self, seen: StreamSeen, cursor: Cursor, known: Callable[[str], bool]) -> Cursor:
        return reading.follow(seen, cursor)

    def read(self, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
        return self._reading.read(wanted)

    def skip_to_newest(self, seen: StreamSeen, cursor: Cursor) -> Batch:
        return reading.skip_to_newest(seen, cursor)

    def groups(self, streams: Sequence[str]) -> list[GroupSeen]:
        return self._groups.read(streams)

    def views(
        self, stream: str, groups: Sequence[str], positions: Sequence[str]
    ) -> dict[str, list[GroupView]]:
        return self._groups.views(stream, groups, positions)

    def read_letter(self, record: Record, stream: str) -> DeadLetter:
        return self._decoder.decode(record, stream)

    def present(self, stream: str, positions: Sequence[str]) -> set[str]:
        return self._reading.present(stream, positions)

    def checks(self) -> list[Check]:
        names = [name for page in self.discover(self._source.watches) for name in page]
        return list(checks.all_checks(self._client, names, writable=self._source.writable))
