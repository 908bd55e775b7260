"""The conventions by which frameworks mark a dead letter on Kafka, one row each.

Kafka's own frameworks go before the brokers whose headers merely crossed a bridge: those may have been on
the event long before it failed here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

Headers = Mapping[str, Sequence[bytes]]  # the values of a name in the record's order; null values left out

DEATHS_AT_MOST = 64  # entries of an x-death header that are looked at


def _nothing_packed(headers: Headers) -> Headers:
    return {}


@dataclass(frozen=True, slots=True)
class Rule:
    """One convention: which header says which fact. Earlier names win.

    Any one of `marks` tells the convention. `own` are further headers that it adds; a `*` at the end stands
    for any ending. `unpack` gives the facts of headers that hold several at once, as headers.
    """

    name: str
    marks: tuple[str, ...]
    facts: Mapping[str, tuple[str, ...]]
    own: tuple[str, ...] = ()
    binary: bool = False  # numbers are big-endian integers, not decimal text
    newest_first: bool = False  # a letter that fails again gets its new headers before the old ones
    keeps_time: bool = False  # the record's timestamp is that of the original
    attempts_off: int = 0  # to be added to what the header counts, to give the attempts made
    is_address: bool = False  # the origin is written as a URI or as queue@machine
    unpack: Callable[[Headers], Headers] = field(default=_nothing_packed)

    def matches(self, headers: Headers) -> bool:
        return any(mark in headers for mark in self.marks)

    def owns(self, name: str) -> bool:
        """Whether the dead-lettering added the header of that name."""
        return any(name in names for names in self.facts.values()) or any(
            name.startswith(own[:-1]) if own.endswith("*") else name == own for own in self.own
        )


def _prefixed(prefix: str, **names: str) -> dict[str, tuple[str, ...]]:
    return {fact: (prefix + name,) for fact, name in names.items()}


def _deaths(headers: Headers) -> Headers:
    """RabbitMQ's list of deaths, which a bridge carries as JSON, newest first: as headers, oldest first."""
    try:
        deaths: Any = orjson.loads(headers["x-death"][-1])
    except (KeyError, orjson.JSONDecodeError):
        return {}
    unpacked: dict[str, list[bytes]] = {}
    for death in reversed(deaths[:DEATHS_AT_MOST] if isinstance(deaths, list) else []):
        for name, value in death.items() if isinstance(death, dict) else ():
            said = value.get("value") if isinstance(value, dict) else value  # an AMQP timestamp is an object
            if isinstance(said, str | int):
                unpacked.setdefault(f"x-death.{name}", []).append(str(said).encode())
    return unpacked


RULES: tuple[Rule, ...] = (
    Rule(
        "Kafka Connect",
        marks=("__connect.errors.topic", "__connect.errors.exception.class.name"),
        facts=_prefixed(
            "__connect.errors.",
            origin_stream="topic",
            origin_partition="partition",
            origin_position="offset",
            group="connector.name",
            error_class="exception.class.name",
            error_message="exception.message",
            stack_trace="exception.stacktrace",
        ),
        own=("__connect.errors.*",),
        keeps_time=True,
    ),
    Rule(
        "Spring Kafka",
        marks=(
            "kafka_dlt-original-topic",
            "kafka_dlt-exception-fqcn",
            "kafka_original-topic",
            "kafka_exception-fqcn",
        ),
        # Its retry topics write the second family of names. They come before the dead-letter topic, so their
        # origin is the older one and their exception the staler one.
        facts={
            "origin_stream": ("kafka_original-topic", "kafka_dlt-original-topic"),
            "origin_partition": ("kafka_original-partition", "kafka_dlt-original-partition"),
            "origin_position": ("kafka_original-offset", "kafka_dlt-original-offset"),
            "group": ("kafka_dlt-original-consumer-group", "kafka_original-consumer-group"),
            # the listener's wrapper is the exception of every letter: what it wraps tells them apart
            "error_class": (
                "kafka_dlt-exception-cause-fqcn",
                "kafka_dlt-exception-fqcn",
                "kafka_dlt-key-exception-fqcn",
                "kafka_exception-cause-fqcn",
                "kafka_exception-fqcn",
                "kafka_key-exception-fqcn",
            ),
            "error_message": (
                "kafka_dlt-exception-message",
                "kafka_dlt-key-exception-message",
                "kafka_exception-message",
                "kafka_key-exception-message",
            ),
            "stack_trace": (
                "kafka_dlt-exception-stacktrace",
                "kafka_dlt-key-exception-stacktrace",
                "kafka_exception-stacktrace",
                "kafka_key-exception-stacktrace",
            ),
            "attempts": ("retry_topic-attempts",),
        },
        own=(
            "kafka_dlt-*",
            "kafka_original-*",
            "kafka_exception-*",
            "kafka_key-exception-*",
            "retry_topic-*",
        ),
        binary=True,
        attempts_off=-1,  # it counts the attempt that the next topic is for
    ),
    Rule(
        "Spring Cloud Stream",
        marks=("x-original-topic", "x-exception-fqcn", "x-exception-message"),
        facts={
            "origin_stream": ("x-original-topic",),
            "origin_partition": ("x-original-partition",),
            "origin_position": ("x-original-offset",),
            "group": ("kafka_dlt-original-consumer-group",),
            "error_class": ("kafka_dlt-exception-cause-fqcn", "x-exception-fqcn"),
            "error_message": ("x-exception-message",),
            "stack_trace": ("x-exception-stacktrace",),
        },
        own=("x-original-*", "x-exception-*"),
        binary=True,
    ),
    Rule(
        "SmallRye Reactive Messaging",
        marks=("dead-letter-exception-class-name", "dead-letter-topic"),
        facts=_prefixed(
            "dead-letter-",
            origin_stream="topic",
            origin_partition="partition",
            origin_position="offset",
            error_class="exception-class-name",
            error_message="reason",
        ),
        own=("dead-letter-cause", "dead-letter-cause-class-name"),
        newest_first=True,
    ),
    Rule(
        "Kafka Streams",
        marks=("__streams.errors.topic", "__streams.errors.exception"),
        facts=_prefixed(
            "__streams.errors.",
            origin_stream="topic",
            origin_partition="partition",
            origin_position="offset",
            error_class="exception",
            error_message="message",
            stack_trace="stacktrace",
        ),
        own=("__streams.errors.*",),
        keeps_time=True,
    ),
    Rule(
        "Kafka share group",
        marks=("__dlq.errors.topic", "__dlq.errors.group"),
        facts=_prefixed(
            "__dlq.errors.",
            origin_stream="topic",
            origin_partition="partition",
            origin_position="offset",
            group="group",
            error_message="message",
            attempts="delivery.count",
        ),
        own=("__dlq.errors.*",),
    ),
    Rule(
        "Karafka Pro",
        marks=("source_consumer_group",),
        facts=_prefixed(
            "source_",
            origin_stream="topic",
            origin_partition="partition",
            origin_position="offset",
            group="consumer_group",
            attempts="attempts",
        ),
        own=("source_trace_id",),
    ),
    Rule(
        "Karafka Pro before 2.5",
        marks=("original_consumer_group",),
        facts=_prefixed(
            "original_",
            origin_stream="topic",
            origin_partition="partition",
            origin_position="offset",
            group="consumer_group",
            attempts="attempts",
        ),
    ),
    Rule(
        "Watermill",
        marks=("topic_poisoned", "reason_poisoned"),
        facts={
            "origin_stream": ("topic_poisoned",),
            "group": ("handler_poisoned", "subscriber_poisoned"),
            "error_message": ("reason_poisoned",),
        },
    ),
    Rule(
        "NServiceBus",
        marks=("NServiceBus.FailedQ",),
        facts={
            "origin_stream": ("NServiceBus.FailedQ",),
            "group": ("NServiceBus.ProcessingEndpoint",),
            "error_class": ("NServiceBus.ExceptionInfo.ExceptionType",),
            "error_message": ("NServiceBus.ExceptionInfo.Message",),
            "stack_trace": ("NServiceBus.ExceptionInfo.StackTrace",),
            "failed": ("NServiceBus.TimeOfFailure",),
        },
        own=("NServiceBus.ExceptionInfo.*",),
        is_address=True,
    ),
    Rule(
        "MassTransit",
        marks=("MT-Reason", "MT-Fault-ExceptionType"),
        facts=_prefixed(
            "MT-Fault-",
            origin_stream="InputAddress",
            group="ConsumerType",
            error_class="ExceptionType",
            error_message="Message",
            stack_trace="StackTrace",
            attempts="RetryCount",
            failed="Timestamp",
        ),
        own=("MT-Reason", "MT-Fault-*"),
        attempts_off=1,  # it counts what followed the first attempt
        is_address=True,
    ),
    Rule(
        "RabbitMQ",
        marks=("x-death", "x-first-death-queue"),
        facts={
            "origin_stream": ("x-first-death-queue", "x-death.queue"),
            "error_message": ("x-last-death-reason", "x-death.reason", "x-first-death-reason"),
            "attempts": ("x-death.count", "x-delivery-count"),
            "first_failed": ("x-death.time",),
            "failed": ("x-death.time",),
        },
        own=("x-death", "x-first-death-*", "x-last-death-*"),
        unpack=_deaths,
    ),
    Rule(
        "Google Pub/Sub",
        marks=("CloudPubSubDeadLetterSourceSubscription",),
        facts=_prefixed("CloudPubSubDeadLetterSource", group="Subscription", attempts="DeliveryCount"),
        own=("CloudPubSubDeadLetterSource*",),
    ),
    Rule(
        "Azure Service Bus",
        marks=("DeadLetterReason", "DeadLetterErrorDescription"),
        facts={
            "error_class": ("DeadLetterReason",),
            "error_message": ("DeadLetterErrorDescription",),
        },
    ),
)

# What people write who have no framework; compared without case, and with _ for - and .
ALIASES: dict[str, tuple[str, ...]] = {
    "origin_stream": ("original_topic", "source_topic", "origin_topic", "dlq_original_topic"),
    "origin_partition": (
        "original_partition",
        "source_partition",
        "origin_partition",
        "dlq_original_partition",
    ),
    "origin_position": ("original_offset", "source_offset", "origin_offset", "dlq_original_offset"),
    "group": ("consumer_group", "original_group", "group_id"),
    "error_class": ("error_type", "error_class", "exception_type", "exception_class", "exception_class_name"),
    "error_message": ("error", "error_message", "exception_message", "exception", "error_reason", "reason"),
    "stack_trace": ("stack_trace", "stacktrace", "traceback", "exception_stacktrace", "error_stacktrace"),
    "attempts": ("retry_count", "attempts", "attempt", "retries", "delivery_count"),
    "first_failed": ("first_failed_at", "first_failure_at"),
    "failed": ("failed_at", "dead_lettered_at", "moved_at", "error_timestamp"),
}
