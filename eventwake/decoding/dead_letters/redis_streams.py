"""Dead letters on Redis Streams: there is no standard, so what a field says is told by its name.

The aliases are those seen in the wild; a source's settings can add its own. Some are names that events use
for data of their own as well: those count only where something else shows that the entry is no mere event.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from eventwake.decoding import names
from eventwake.decoding.dead_letters.error_class import leading_class
from eventwake.decoding.envelope import NAMES, normalised, timestamp_ms
from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Record, pairs

T = TypeVar("T")
REPLAY_ID = "eventwake_replay_id"
REPLAY_ID_FIELD = REPLAY_ID.encode()

ALIASES: dict[str, tuple[str, ...]] = {
    "origin_stream": ("original_stream", "source_stream", "stream"),
    "origin_position": ("original_message_id", "original_msg_id", "original_id", "message_id"),
    "group": ("consumer_group", "original_group", "group"),
    "consumer": ("consumer", "consumer_name"),
    "error_class": ("error_type", "error_class", "exception_type", "exception_class"),
    "error_message": ("error", "error_message", "exception", "reason"),
    "stack_trace": ("stack_trace", "stacktrace", "traceback"),
    "attempts": ("retry_count", "delivery_count", "attempt", "attempts", "deliveries", "max_retries"),
    "first_failed": ("first_failed_at", "first_failure_at"),
    "failed": ("failed_at", "moved_at", "dead_lettered_at"),
}
# what an event may say of itself as well: its customer's group, the reason of a cancellation
AMBIGUOUS = frozenset(
    {
        *("stream", "message_id", "group", "consumer", "consumer_name", "error", "exception", "reason"),
        *("attempt", "attempts", "deliveries", "max_retries"),
    }
)
# names that an event also uses for its own time: they tell the failure only where the entry is no envelope
WEAK_TIME = ("ts", "timestamp")
ENVELOPE_NAMES = {*NAMES["event_type"], *NAMES["event_id"]} - {"messageid"}

_ENTRY_ID = re.compile(rb"[0-9]{1,20}-[0-9]{1,20}")
_COUNT = re.compile(rb"[0-9]{1,9}")
_SUFFIX = re.compile(r"(?P<origin>.+)[:._-](?:dlq|dead[_-]?letters?)$", re.IGNORECASE)


class RedisDeadLetters:
    """Decodes the entries of dead-letter streams.

    `more_aliases` are looked at before the known ones; `origins` maps a dead-letter stream to the stream
    that its letters came from, for entries that do not say.
    """

    def __init__(
        self,
        more_aliases: Mapping[str, Sequence[str]] | None = None,
        origins: Mapping[str, str] | None = None,
    ) -> None:
        more = more_aliases or {}
        self._aliases = {fact: (*more.get(fact, ()), *known) for fact, known in ALIASES.items()}
        self._ambiguous = AMBIGUOUS.difference(*more.values())
        self._origins = origins or {}

    def decode(self, record: Record, stream: str) -> DeadLetter:
        """What the entry says of itself; `own_fields` are left away when the event is sent again."""
        facts = _Facts(record, self._aliases, self._ambiguous)
        facts.read("consumer", _text)  # kept nowhere, but no part of the event
        origin_stream, known = self._origin(facts.read("origin_stream", _name), stream)
        facts.how["origin_stream"] = known
        message = facts.read("error_message", _text)
        failed_ms = facts.read("failed", _moment)
        if failed_ms is None:
            failed_ms = facts.read_weak_time()
        if failed_ms is None:
            failed_ms, facts.how["failed"] = record.recorded_ms, Known.BROKER_TIME
        return DeadLetter(
            origin_stream=origin_stream,
            origin_position=facts.read("origin_position", bytes.decode),
            group=facts.read("group", _name),
            error_class=facts.read("error_class", _text) or leading_class(message),
            error_message=message,
            stack_trace=facts.read("stack_trace", _text),
            attempts=facts.read("attempts", _count),
            first_failed_ms=facts.read("first_failed", _moment),
            failed_ms=failed_ms,
            replay_id=facts.replay_id,
            how=facts.how,
            rule=facts.rule(),  # these two after all has been read
            own_fields=facts.own_fields(),
        )

    def _origin(self, said: str | None, stream: str) -> tuple[str | None, Known]:
        """Never the dead-letter stream itself: what is sent there is buried again."""
        named = _SUFFIX.fullmatch(stream)
        for origin, known in (
            (said, Known.HEADER),
            (self._origins.get(stream), Known.SETTINGS),
            (named and named["origin"], Known.STREAM_NAME),
        ):
            if origin and origin != stream:
                return origin, known
        return None, Known.UNKNOWN


class _Facts:
    """Reads facts out of an entry by its fields' names; notes which fields are the dead-lettering's own.

    An entry is the event alone, or the event with facts beside its own fields, or a letter that wraps the
    event. Of the event alone nothing is read. Beside its own fields an ambiguous name is the
    dead-lettering's only where a fact is read from it; in a wrapper every known name is.
    """

    def __init__(
        self, record: Record, aliases: Mapping[str, Sequence[str]], ambiguous: Collection[str]
    ) -> None:
        said = {_decoded(field): value for field, value in pairs(record.fields) if value is not None}
        for alias in aliases["origin_position"]:
            if alias in said and not _ENTRY_ID.fullmatch(said[alias]):  # then it is the event's own id
                del said[alias]
        known = [alias for names in aliases.values() for alias in names if alias in said]
        sure = {alias for alias in known if alias not in ambiguous}
        self._record, self._said = record, said
        self._is_event = not ENVELOPE_NAMES.isdisjoint(map(normalised, said))
        self._aliases = aliases if sure or not self._is_event else {}
        self._used = sure if self._is_event else {*known}
        self.how: dict[str, Known] = {}

    def read(self, fact: str, as_type: Callable[[bytes], T | None]) -> T | None:
        """The first alias that can be read."""
        return self._first(fact, self._aliases.get(fact, ()), as_type)

    def read_weak_time(self) -> int | None:
        return None if self._is_event else self._first("failed", WEAK_TIME, _moment)

    def _first(self, fact: str, names: Sequence[str], as_type: Callable[[bytes], T | None]) -> T | None:
        for name in names:
            value = as_type(self._said[name]) if name in self._said else None
            if value is not None:
                self._used.add(name)
                self.how[fact] = Known.HEADER
                return value
        return None

    @property
    def replay_id(self) -> str | None:
        return _text(self._said.get(REPLAY_ID, b""))

    def rule(self) -> str:
        used = ", ".join(sorted(self._used))
        return f"Redis field names: {used}" if used else "none: no field name is known"

    def own_fields(self) -> tuple[bytes, ...]:
        own = {*self._used, REPLAY_ID}
        return tuple(name for name, _ in pairs(self._record.fields) if _decoded(name) in own)


def _decoded(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _text(raw: bytes) -> str | None:
    return _decoded(raw) or None


def _name(raw: bytes) -> str | None:
    """Of a stream or group, in the form that it is known in everywhere else."""
    return names.text(raw) or None


def _count(raw: bytes) -> int | None:
    return int(raw) if _COUNT.fullmatch(raw) else None


def _moment(raw: bytes) -> int | None:
    return timestamp_ms(_text(raw))
