"""Dead letters on Kafka: every framework has headers of its own, and they tell where a letter came from.

The headers are other people's bytes: what is not of the right length, not UTF-8 or no possible number is
unknown, and nothing raises.
"""

import re
from collections.abc import Mapping, Sequence

from eventwake.decoding.dead_letters.error_class import leading_class
from eventwake.decoding.dead_letters.kafka_rules import ALIASES, RULES, Headers, Rule
from eventwake.decoding.dead_letters.redis_streams import REPLAY_ID_FIELD
from eventwake.decoding.envelope import timestamp_ms
from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Record, pairs

# a letter that failed again keeps its first origin; what the failure says is of the newest one
OF_THE_ORIGIN = frozenset({"origin_stream", "origin_partition", "origin_position", "group", "first_failed"})
WIDTHS = {"origin_partition": (4,), "origin_position": (8,), "attempts": (4, 1)}  # bytes; older Spring has 1
BELOW = {"origin_partition": 2**31, "origin_position": 2**63, "attempts": 10**9}
WRAPPERS = frozenset(
    {
        "org.springframework.kafka.listener.ListenerExecutionFailedException",
        "org.springframework.messaging.MessageHandlingException",
    }
)

_DECIMAL = re.compile(rb"[0-9]{1,19}")
_CAUSE = re.compile(r"^Caused by: (?P<name>[\w.$]{1,300})", re.MULTILINE)
_NSERVICEBUS_TIME = re.compile(r"(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d):(\d{6}) Z")
# What the names of dead-letter topics look like; the first that fits counts.
_PLAIN_NAMES = (
    re.compile(r"dead-letter-topic-(?P<origin>.+)"),  # SmallRye: its channel, most often named as the topic
    re.compile(
        r"(?P<origin>.+?)(?:[._-](?:dlt|dlq|dead[._-]?letters?(?:[._-](?:topic|queue))?))+", re.IGNORECASE
    ),
    re.compile(r"dlq\.(?P<origin>.+)", re.IGNORECASE),  # what Kafka asks of a share group's topic
)
# Spring Cloud Stream's way, which other topics may well be named in too
_NAMES = (re.compile(r"error\.(?P<origin>.+)\.(?P<group>[^.]+)"), *_PLAIN_NAMES)


def is_dead_letter_name(topic: str) -> bool:
    """Whether frameworks name only dead-letter topics like this."""
    return any(names.fullmatch(topic) for names in _PLAIN_NAMES)


class KafkaDeadLetters:
    """Decodes the records of dead-letter topics.

    `more_aliases` (fact -> header names, values as text) are looked at before what is known of frameworks;
    `origins` maps a dead-letter topic to the topic that its letters came from, for letters that do not say.
    """

    def __init__(
        self,
        more_aliases: Mapping[str, Sequence[str]] | None = None,
        origins: Mapping[str, str] | None = None,
    ) -> None:
        self._more = more_aliases or {}
        self._origins = origins or {}

    def decode(self, record: Record, stream: str) -> DeadLetter:
        """What the record says of itself; `own_fields` are left away when the event is sent again."""
        headers = _by_name(record)
        rule = next((rule for rule in RULES if rule.matches(headers)), None)
        facts = _Facts(headers, rule or _by_alias(headers), self._more)
        partition, offset = facts.number("origin_partition"), facts.number("origin_position")
        if partition is None:
            facts.how.pop("origin_position", None)
        message, stack_trace = facts.text("error_message"), facts.text("stack_trace")
        group, error_class = facts.text("group"), facts.error_class(stack_trace)
        attempts, first_failed_ms = facts.number("attempts"), facts.moment("first_failed")
        failed_ms = facts.moment("failed")
        if failed_ms is None:
            # a framework that keeps the original's timestamp leaves nothing that tells when it failed
            keeps_time = rule is not None and rule.keeps_time
            failed_ms = None if keeps_time else record.recorded_ms
            facts.how["failed"] = Known.UNKNOWN if keeps_time else Known.BROKER_TIME
        origin = facts.text("origin_stream")
        if origin is None:
            origin, named_group, known = self._by_name_of(stream)
            facts.how["origin_stream"] = known
            if group is None and named_group is not None:
                group, facts.how["group"] = named_group, known
        return DeadLetter(
            rule=_said_by(rule, facts),
            origin_stream=origin,
            origin_position=None if partition is None or offset is None else f"{partition}:{offset}",
            origin_partition=partition,
            group=group,
            error_class=error_class or leading_class(message) or leading_class(stack_trace),
            error_message=message,
            stack_trace=stack_trace,
            attempts=attempts,
            first_failed_ms=first_failed_ms,
            failed_ms=failed_ms,
            replay_id=_text(headers.get(REPLAY_ID_FIELD.decode(), (b"",))[-1]),
            own_fields=_own_fields(record, rule, facts.used),
            how=facts.how,
        )

    def _by_name_of(self, stream: str) -> tuple[str | None, str | None, Known]:
        """The origin, the group where a name tells it, and how the origin is known."""
        if origin := self._origins.get(stream):
            return origin, None, Known.SETTINGS
        for names in _NAMES:
            if match := names.fullmatch(stream):
                return match["origin"], match.groupdict().get("group"), Known.STREAM_NAME
        return None, None, Known.UNKNOWN


class _Facts:
    """Reads facts out of the headers by a rule; notes which headers were used and how a fact is known."""

    def __init__(self, headers: Headers, rule: Rule, more: Mapping[str, Sequence[str]]) -> None:
        self._headers = {**headers, **rule.unpack(headers)}
        self._rule = rule
        self._more = more
        self.used: set[str] = set()
        self.how: dict[str, Known] = {}

    def text(self, fact: str) -> str | None:
        for name, raw, by_rule in self._values(fact):
            text = _text(raw)
            if text and by_rule and fact == "origin_stream" and self._rule.is_address:
                text = _queue_in(text)
            if text:
                self._know(fact, name)
                return text
        return None

    def error_class(self, stack_trace: str | None) -> str | None:
        """The class of the failure; of a framework's wrapper the stack trace's cause, where it has one."""
        found = self.text("error_class")
        cause = _CAUSE.search(stack_trace or "") if found in WRAPPERS else None
        return cause["name"] if cause else found

    def number(self, fact: str) -> int | None:
        for name, raw, by_rule in self._values(fact):
            binary = by_rule and self._rule.binary
            value = _big_endian(raw, WIDTHS[fact]) if binary else _decimal(raw)
            if value is not None and by_rule and fact == "attempts":
                value += self._rule.attempts_off
            if value is not None and 0 <= value < BELOW[fact]:
                self._know(fact, name)
                return value
        return None

    def moment(self, fact: str) -> int | None:
        """Milliseconds since the epoch."""
        for name, raw, _ in self._values(fact):
            moment = timestamp_ms(_decimal(raw) or _NSERVICEBUS_TIME.sub(r"\1T\2.\3Z", _text(raw) or ""))
            if moment is not None and moment > 0:
                self._know(fact, name)
                return moment
        return None

    def _values(self, fact: str) -> list[tuple[str, bytes, bool]]:
        """The headers that may say it: name, the value that counts, whether by the rule or by a setting."""
        oldest = 0 if fact in OF_THE_ORIGIN else -1
        which = -1 - oldest if self._rule.newest_first else oldest
        return [
            (name, self._headers[name][which], by_rule)
            for names, by_rule in ((self._more, False), (self._rule.facts, True))
            for name in names.get(fact, ())
            if name in self._headers
        ]

    def _know(self, fact: str, name: str) -> None:
        self.used.add(name)
        self.how[fact] = Known.HEADER


def _by_name(record: Record) -> Headers:
    headers: dict[str, list[bytes]] = {}
    for name, value in pairs(record.fields):
        if value is not None:
            headers.setdefault(name.decode("utf-8", "replace"), []).append(value)
    return headers


def _by_alias(headers: Headers) -> Rule:
    """The rule of a letter that no framework marked: whatever headers have a telling name."""
    names = {re.sub("[-.]", "_", name.lower()): name for name in reversed([*headers])}
    return Rule(
        "Kafka header names",
        marks=(),
        facts={
            fact: tuple(names[alias] for alias in aliases if alias in names)
            for fact, aliases in ALIASES.items()
        },
    )


def _said_by(rule: Rule | None, facts: _Facts) -> str:
    if rule is not None:
        return rule.name
    if facts.used:
        return f"Kafka header names: {', '.join(sorted(facts.used))}"
    return "none: no header name is known"


def _own_fields(record: Record, rule: Rule | None, used: set[str]) -> tuple[bytes, ...]:
    def is_own(name: str) -> bool:
        return name in used or name == REPLAY_ID_FIELD.decode() or (rule is not None and rule.owns(name))

    names = dict.fromkeys(name for name, _ in pairs(record.fields))
    return tuple(name for name in names if is_own(name.decode("utf-8", "replace")))


def _text(raw: bytes) -> str | None:
    """None for what is empty or not UTF-8; without NUL, which PostgreSQL's text cannot hold."""
    try:
        return raw.decode().replace("\0", "\ufffd") or None
    except UnicodeDecodeError:
        return None


def _decimal(raw: bytes) -> int | None:
    return int(raw) if _DECIMAL.fullmatch(raw) else None


def _big_endian(raw: bytes, widths: tuple[int, ...]) -> int | None:
    return int.from_bytes(raw, "big", signed=True) if len(raw) in widths else None


def _queue_in(address: str) -> str:
    """`rabbitmq://host/shop/orders?durable=true` and `orders@machine` are both of the queue orders."""
    return address.partition("?")[0].rstrip("/").rpartition("/")[2].partition("@")[0]
