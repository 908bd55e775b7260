"""Redis Streams: Redis 6.2 on and Valkey; single, Sentinel and Cluster; TLS and ACL users."""

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
    LetterToSend,
    Looked,
    Sent,
    Server,
    StreamSeen,
)
from collectors.brokers.redis_streams import checks, groups, reading
from collectors.brokers.redis_streams.client import RedisClient
from collectors.brokers.redis_streams.letters import Letters
from collectors.brokers.redis_streams.settings import read_settings
from eventwake.decoding.dead_letters.redis_streams import RedisDeadLetters
from eventwake.decoding.names import text
from eventwake.domain.dead_letter import DeadLetter
from eventwake.domain.envelope import Record
from eventwake.domain.errors import BrokerRefused
from eventwake.settings import Source


class RedisStreams(Broker):
    """One Redis, watched by reads that no consumer group notices."""

    capabilities = Capabilities("log", groups=True, pending=True, retry=True, discard=True, restore=True)

    def __init__(self, source: Source) -> None:
        self._settings = read_settings(source)
        self._source = source
        self._client = RedisClient(self._settings, source.name)
        self._letters = Letters(
            self._client,
            scripts=self._settings.scripts,
            alive=lambda: self.alive(),  # noqa: PLW0108  # it is set later
        )
        self._decoder = RedisDeadLetters(self._settings.dead_letter_fields, source.dead_letter_streams)
        self._heads: dict[str, reading.StreamHead] = {}
        self._counts_reads = False

    def start(self) -> None:
        self._client.connect()
        self._counts_reads = all(map(checks.counts_reads, checks.server_facts(self._client)))

    def stop(self) -> None:
        self._client.close()

    def server(self) -> Server:
        facts = checks.server_facts(self._client)
        return Server(checks.version_of(facts[0]), " ".join(sorted(f.get("run_id", "") for f in facts)))

    @property
    def commands_sent(self) -> int:
        return self._client.commands_sent

    def discover(self, wanted: Callable[[str], bool]) -> Iterator[list[str]]:
        for node in self._client.primaries():
            cursor = None
            while cursor != b"0":
                cursor, keys = self._client.on_node(
                    node, "SCAN", cursor or b"0", "COUNT", KEYS_A_PAGE, "TYPE", "stream"
                )
                yield [name for name in map(text, keys) if wanted(name)]

    def look(self, streams: Sequence[str]) -> Looked:
        self._heads, refused = reading.read_heads(self._client, streams)
        return Looked({name: [head.seen] for name, head in self._heads.items()}, refused)

    def first_cursor(self, seen: StreamSeen, start: str) -> Cursor:
        return reading.first_cursor(seen, start, self._server_ms())

    def follow(self, seen: StreamSeen, cursor: Cursor, known: Callable[[str], bool]) -> Cursor:
        return reading.follow(seen, cursor, known)

    def read(self, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
        return reading.read_batches(self._client, wanted)

    def skip_to_newest(self, seen: StreamSeen, cursor: Cursor) -> Batch:
        return reading.skip_to_newest(seen, cursor)

    def groups(self, streams: Sequence[str]) -> list[GroupSeen]:
        with_groups = [name for name in streams if name in self._heads and self._heads[name].groups]
        now_ms = self._server_ms()
        return groups.read_groups(self._client, with_groups, now_ms, counts_reads=self._counts_reads)

    def views(
        self, stream: str, group_names: Sequence[str], positions: Sequence[str]
    ) -> dict[str, list[GroupView]]:
        return groups.read_views(self._client, stream, group_names, positions)

    def read_letter(self, record: Record, stream: str) -> DeadLetter:
        return self._decoder.decode(record, stream)

    def present(self, stream: str, positions: Sequence[str]) -> set[str]:
        return self._letters.present(stream, positions)

    def intent(self, origin: str) -> str:
        return self._letters.intent(origin)

    def retry(self, stream: str, letters: Sequence[LetterToSend], marks: str) -> list[Sent]:
        return self._acting().retry(stream, letters, marks)

    def discard(self, stream: str, positions: Sequence[str]) -> set[str]:
        return self._acting().discard(stream, positions)

    def restore(self, stream: str, record: Record, token: str, intent: str) -> str:
        return self._acting().restore(stream, record, token, after=intent)

    def _acting(self) -> Letters:
        if not self._source.writable:
            raise BrokerRefused(f"{self._source.name} is read-only: its settings do not say writable = true")
        return self._letters

    def checks(self) -> list[Check]:
        streams = sorted({name for page in self.discover(self._source.watches) for name in page})
        return list(
            checks.all_checks(
                self._client, streams, writable=self._source.writable, scripts=self._settings.scripts
            )
        )

    def _server_ms(self) -> int:
        seconds, micros = self._client.command(None, "TIME")
        return int(seconds) * 1000 + int(micros) // 1000
