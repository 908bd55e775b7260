"""Record -> Envelope: which field says what, by the names that people use for it.

What the fields (or headers) say goes before what the JSON body says. The names of a stream's fields hardly
ever change, so the look-up by name is made once for each set of names and kept.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, NamedTuple

import orjson

from eventwake.domain.envelope import Envelope, Link, Record

LAST_MS = 253_402_300_799_999  # of the year 9999: times of brokers end here, as calendars do
TEXT_AT_MOST = 512  # characters of an id, type or name: longer ones are cut, the original keeps them whole

# normalised name (lower case, no - _ .) -> what it says; earlier names win
NAMES: dict[str, tuple[str, ...]] = {
    "event_type": ("eventtype", "cetype", "type", "messagetype", "detailtype", "eventname"),
    "event_id": ("eventid", "ceid", "messageid", "id"),
    "timestamp": ("timestamp", "cetime", "time", "occurredat", "eventtime", "createdat", "ts"),
    "correlation_id": ("correlationid",),
    "ce_correlation_id": ("cecorrelationid",),
    "conversation_id": ("nservicebusconversationid", "conversationid"),
    "causation_id": ("causationid", "cecausationid", "nservicebusrelatedto", "relatedto"),
    "traceparent": ("traceparent", "cetraceparent"),
    "producer": ("producer", "cesource", "source", "service", "publisher"),
    "key": ("key", "aggregateid", "entityid", "partitionkey"),
    "body": ("data", "payload", "body", "event", "message", "value", "json"),
}
UNMISTAKABLE = frozenset({"correlation_id", "causation_id", "traceparent"})
BODY_NAMES_AT_MOST = 64  # a wider JSON object is data, not an envelope; and hostile ones would fill the cache

# version, trace id (all zeros means none), parent id, flags. Source: W3C Trace Context
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


class _Plan(NamedTuple):
    """Where in the flat fields each fact's value lies (None: no such field)."""

    event_type: int | None
    event_id: int | None
    timestamp: int | None
    correlation_id: int | None
    ce_correlation_id: int | None
    conversation_id: int | None
    causation_id: int | None
    traceparent: int | None
    producer: int | None
    key: int | None
    body: int | None
    others: dict[str, int]


def normalised(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "").replace(".", "")


@lru_cache(maxsize=4096)
def _plan(names: tuple[bytes | None, ...]) -> _Plan:
    texts = [(name or b"").decode("utf-8", "replace") for name in names]
    index: dict[str, int] = {}
    for i, text in enumerate(texts):
        index.setdefault(normalised(text), 2 * i + 1)
    found = {
        fact: next((index[alias] for alias in aliases if alias in index), None)
        for fact, aliases in NAMES.items()
    }
    return _Plan(**found, others={text: 2 * i + 1 for i, text in reversed(list(enumerate(texts)))})


@lru_cache(maxsize=4096)
def _body_names(names: tuple[str, ...]) -> Mapping[str, str]:
    """fact -> the name that a JSON body has for it."""
    index: dict[str, str] = {}
    for name in names:
        index.setdefault(normalised(name), name)
    return {
        fact: next(index[alias] for alias in aliases if alias in index)
        for fact, aliases in NAMES.items()
        if any(alias in index for alias in aliases)
    }


class Decoder:
    """Decodes the records of one source. `business_keys` are names whose first value found is the key."""

    def __init__(self, business_keys: Sequence[str] = ()) -> None:
        self._keys = tuple(business_keys)

    def decode(self, record: Record) -> Envelope:
        """The envelope; a body that should be JSON and is not comes out as `undecodable` with the reason."""
        fields = record.fields
        plan = _plan(tuple(fields[::2]))

        def field(i: int | None) -> str | None:
            raw = fields[i] if i is not None else None
            return None if raw is None else _clean(raw.decode("utf-8", "replace"))

        raw = fields[plan.body] if plan.body is not None else record.value
        body, undecodable = _parsed(raw)
        inside = _FactsOfBody(body, whole=plan.event_type is None and plan.event_id is None)
        correlation, link = _correlation(field, inside, plan)
        key = self._business_key(fields, plan, body) or field(plan.key) or _text(record.key)
        if correlation is None and key is not None:
            correlation, link = key, Link.KEY
        return Envelope(
            field(plan.event_type) or inside.text("event_type"),
            field(plan.event_id) or inside.text("event_id"),
            timestamp_ms(field(plan.timestamp) or inside.raw("timestamp")),
            key,
            field(plan.producer) or inside.text("producer"),
            correlation,
            field(plan.causation_id) or inside.text("causation_id"),
            link,
            undecodable,
        )

    def _business_key(
        self, fields: Sequence[bytes | None], plan: _Plan, body: dict[str, Any] | None
    ) -> str | None:
        for name in self._keys:
            if (i := plan.others.get(name)) is not None and (value := _text(fields[i])):
                return value
            if body is not None:
                value = body.get(name)
                if value is None and isinstance(inner := body.get("data"), dict):
                    value = inner.get(name)
                if (named := _name(value)) is not None:
                    return named
        return None


class _FactsOfBody:
    """What a JSON body says on its top level.

    Where the fields are the envelope, the body is business data, and its `id`, `type` or `time` are not the
    event's; only names that cannot mean anything else are then read (`whole` is False).
    """

    __slots__ = ("_body", "_names")

    def __init__(self, body: dict[str, Any] | None, *, whole: bool) -> None:
        self._body = body
        names = _body_names(tuple(body)) if body and len(body) <= BODY_NAMES_AT_MOST else {}
        self._names = names if whole else {fact: names[fact] for fact in UNMISTAKABLE & names.keys()}

    def raw(self, fact: str) -> Any:
        return self._body[self._names[fact]] if self._body and fact in self._names else None

    def text(self, fact: str) -> str | None:
        return _name(self.raw(fact))


def _correlation(
    field: Callable[[int | None], str | None], inside: _FactsOfBody, plan: _Plan
) -> tuple[str | None, Link]:
    if found := field(plan.correlation_id) or inside.text("correlation_id"):
        return found, Link.FIELD
    if found := field(plan.ce_correlation_id):
        return found, Link.CLOUDEVENTS
    if found := field(plan.conversation_id):
        return found, Link.NSERVICEBUS
    traceparent = field(plan.traceparent) or inside.text("traceparent")
    if traceparent and (match := _TRACEPARENT.fullmatch(traceparent.lower())):
        return match[1], Link.TRACEPARENT
    return None, Link.NONE


def _parsed(raw: bytes | None) -> tuple[dict[str, Any] | None, str | None]:
    """The JSON object in `raw`, or why what looks like one is none. Other kinds of payload are left alone."""
    if not raw or raw[:1] not in b'{[" \t\r\n':
        return None, None
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        return (None, f"not valid JSON: {error}") if raw.lstrip()[:1] in (b"{", b"[") else (None, None)
    return (value if isinstance(value, dict) else None), None


def timestamp_ms(value: Any) -> int | None:
    """ISO 8601 text, or seconds, milliseconds or microseconds since the epoch, as milliseconds."""
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
            return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
        except (ValueError, OverflowError):
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1e17:
        return None
    # ten digits are seconds until the year 2286, thirteen milliseconds, sixteen microseconds
    return round(value * 1000 if value < 1e11 else value if value < 1e14 else value / 1000)


def _name(value: Any) -> str | None:
    """A JSON value as an id or name. True and false are none, nor is a number that is not exact."""
    said = isinstance(value, str | int) and not isinstance(value, bool) and value != ""
    return _clean(str(value)) if said else None


def _text(raw: bytes | None) -> str | None:
    return _clean(raw.decode("utf-8", "replace")) or None if raw is not None else None


def _clean(text: str) -> str:
    """Short enough for an index and without NUL, which PostgreSQL's text cannot hold."""
    if len(text) > TEXT_AT_MOST:
        text = text[:TEXT_AT_MOST]
    return text.replace("\0", "\ufffd") if "\0" in text else text
