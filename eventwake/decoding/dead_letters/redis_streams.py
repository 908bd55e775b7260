"""Dead letters on Redis Streams: there is no standard, so what a field says is told by its name.

The aliases are those seen in the wild; a source's settings can add its own.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from eventwake.decoding.envelope import timestamp_ms
from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Record, pairs

T = TypeVar("T")
REPLAY_ID_FIELD = b"eventwake_replay_id"

ALIASES: dict[str, tuple[str, ...]] = {
    "origin_stream": ("original_stream", "source_stream", "stream"),
    "origin_position": ("original_message_id", "original_msg_id", "original_id", "message_id"),
    "group": ("consumer_group", "original_group", "group"),
    "consumer": ("consumer", "consumer_name"),
    "error_class": ("error_type", "error_class", "exception_type", "exception_class"),
    "error_message": ("error", "error_message", "exception", "reason"),
    "stack_trace": ("stack_trace", "stacktrace", "traceback"),
    "attempts": ("retry_count", "attempt", "attempts", "deliveries", "delivery_count", "max_retries"),
    "first_failed": ("first_failed_at", "first_failure_at"),
    "failed": ("failed_at", "moved_at", "dead_lettered_at"),
}
# names that an event also uses for its own time: they tell the failure only where the entry is no envelope
WEAK_TIME = ("ts", "timestamp")
ENVELOPE_NAMES = {"event_type", "event_id", "type", "id"}

_ENTRY_ID = re.compile(r"\d{1,20}-\d{1,20}")
_COUNT = re.compile(r"[0-9]{1,9}")
_LEADING_CLASS = re.compile(r"([A-Za-z_][\w.]{0,120}(?:Error|Exception|Timeout|Failure|Fault))\b")
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
        self._aliases = {fact: (*more.get(fact, ()), *names) for fact, names in ALIASES.items()}
        self._origins = origins or {}

    def decode(self, record: Record, stream: str) -> DeadLetter:
        """What the entry says of itself; `own_fields` are left away when the event is sent again."""
        said = {
            name.decode("utf-8", "replace"): value.decode("utf-8", "replace")
            for name, value in pairs(record.fields)
            if value is not None
        }
        used: set[str] = set()
        how: dict[str, Known] = {}

        def fact(name: str, aliases: Sequence[str], read: Callable[[str], T | None]) -> T | None:
            alias = next((alias for alias in aliases if alias in said), None)
            if alias is None:
                return None
            used.add(alias)
            value = read(said[alias])
            if value is not None:
                how[name] = Known.HEADER
            return value

        def text(name: str) -> str | None:
            return fact(name, self._aliases[name], lambda value: value or None)

        origin_stream = text("origin_stream")
        origin_position = fact("origin_position", self._aliases["origin_position"], _entry_id)
        if origin_position is None:  # then it is the event's own id
            used -= set(self._aliases["origin_position"])
        group, _ = text("group"), text("consumer")
        error_class, message, stack_trace = text("error_class"), text("error_message"), text("stack_trace")
        attempts = fact("attempts", self._aliases["attempts"], _count)
        first_failed_ms = fact("first_failed", self._aliases["first_failed"], timestamp_ms)
        failed_ms = fact("failed", self._aliases["failed"], timestamp_ms)
        if failed_ms is None and not ENVELOPE_NAMES & said.keys():
            failed_ms = fact("failed", WEAK_TIME, timestamp_ms)
        if failed_ms is None:
            failed_ms, how["failed"] = record.recorded_ms, Known.BROKER_TIME
        if origin_stream is None:
            origin_stream, how["origin_stream"] = self._origin_of(stream)
        own = {*used, REPLAY_ID_FIELD.decode()} & said.keys()
        return DeadLetter(
            rule=f"Redis field names: {', '.join(sorted(used))}" if used else "none: no field name is known",
            origin_stream=origin_stream,
            origin_position=origin_position,
            group=group,
            error_class=error_class or _leading_class(message),
            error_message=message,
            stack_trace=stack_trace,
            attempts=attempts,
            first_failed_ms=first_failed_ms,
            failed_ms=failed_ms,
            replay_id=said.get(REPLAY_ID_FIELD.decode()),
            own_fields=tuple(
                name for name, _ in pairs(record.fields) if name.decode("utf-8", "replace") in own
            ),
            how=how,
        )

    def _origin_of(self, stream: str) -> tuple[str | None, Known]:
        if stream in self._origins:
            return self._origins[stream], Known.SETTINGS
        if match := _SUFFIX.fullmatch(stream):
            return match["origin"], Known.STREAM_NAME
        return None, Known.UNKNOWN


def _entry_id(text: str) -> str | None:
    return text if _ENTRY_ID.fullmatch(text) else None


def _count(text: str) -> int | None:
    return int(text) if _COUNT.fullmatch(text) else None


def _leading_class(message: str | None) -> str | None:
    """`ValueError: no such sku` names its class in front."""
    match = _LEADING_CLASS.match(message or "")
    return match[1] if match else None
