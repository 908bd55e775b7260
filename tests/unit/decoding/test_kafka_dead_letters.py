"""Dead letters on Kafka by the convention of each framework.

`corpus/kafka` holds bytes that were captured from the frameworks themselves (tests/java/dead_letters says
how); those in `HAND_MADE` were written from their documentation and source.
"""

from base64 import b64decode
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson
import pytest

from eventwake.decoding.dead_letters.kafka import KafkaDeadLetters, is_dead_letter_name
from eventwake.decoding.dead_letters.kafka_rules import RULES
from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Record, without

CORPUS = Path(__file__).parent / "corpus" / "kafka"
SENT, DEAD_LETTERED = 1_790_000_000_123, 1_790_000_060_123
EVENT = [b"event_type", b"order.placed", b"correlation_id", b"order-1042"]
ORIGIN = {"origin_stream": "orders", "origin_partition": 3, "origin_position": "3:20715"}
STATE, IO = "java.lang.IllegalStateException", "java.io.IOException"


def record(fields: Iterable[bytes | None], recorded_ms: int = DEAD_LETTERED) -> Record:
    return Record("0:7", recorded_ms, [*fields], b"order-1042", b"{}")


def headers(**said: str) -> list[bytes]:
    """Text headers after the event's own."""
    return [*EVENT, *(part.encode() for pair in said.items() for part in pair)]


def captured(name: str) -> tuple[Record, str]:
    """A letter of the corpus and the topic that it lies in."""
    kept = orjson.loads((CORPUS / f"{name}.json").read_bytes())
    assert kept["from"].startswith("captured from ")
    fields = [part for key, value in kept["headers"] for part in (key.encode(), b64decode(value))]
    return record(fields, kept["timestamp"] or DEAD_LETTERED), kept["stream"]


def decode(fields: Iterable[bytes | None], stream: str = "letters", **settings: Any) -> DeadLetter:
    return KafkaDeadLetters(**settings).decode(record(fields), stream)


def facts(letter: DeadLetter, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(letter, name) for name in names}


CAPTURED: dict[str, dict[str, Any]] = {
    "kafka-connect": {
        "rule": "Kafka Connect",
        **ORIGIN,
        "group": "orders-to-warehouse",
        "error_class": "org.apache.kafka.connect.errors.DataException",
        "error_message": "Converting byte[] to Kafka Connect data failed",
        "failed_ms": None,  # the record keeps the time of the original
    },
    "kafka-streams": {
        "rule": "Kafka Streams",
        "origin_stream": "orders",
        "origin_position": "0:0",
        "error_class": STATE,
        "error_message": "stock is below zero",
        "failed_ms": None,
    },
    "share-group": {
        "rule": "Kafka share group",
        **ORIGIN,
        "group": "reserving",
        "error_message": "Offset delivery count exceeded the threshold.",
        "attempts": 5,
        "failed_ms": DEAD_LETTERED,
    },
    "smallrye": {
        "rule": "SmallRye Reactive Messaging",
        **ORIGIN,
        "error_class": STATE,
        "error_message": "stock is below zero",
        "failed_ms": DEAD_LETTERED,
    },
    "smallrye-twice": {  # it writes the newest headers first
        "rule": "SmallRye Reactive Messaging",
        **ORIGIN,
        "error_class": "java.lang.IllegalArgumentException",
        "error_message": "still below zero",
    },
    "spring-kafka": {
        "rule": "Spring Kafka",
        **ORIGIN,
        "group": "reserving",
        "error_class": STATE,
        "error_message": "Listener failed; stock is below zero",
        "attempts": None,
        "failed_ms": DEAD_LETTERED,
    },
    "spring-kafka-twice": {  # it appends where the letter came from, and replaces what failed
        "rule": "Spring Kafka",
        **ORIGIN,
        "group": "reserving",
        "error_class": STATE,
        "error_message": "Listener failed; still below zero",
    },
    "spring-kafka-retry-topics": {
        "rule": "Spring Kafka",
        **ORIGIN,
        "group": "reserving",
        "error_class": STATE,
        "error_message": "Listener failed; still below zero",
        "attempts": 2,
    },
}

HAND_MADE: dict[str, tuple[list[bytes], dict[str, Any]]] = {
    "Spring Kafka's first retry topics counted in one byte": (
        [*EVENT, b"kafka_original-topic", b"orders", b"retry_topic-attempts", b"\x04"],
        {"rule": "Spring Kafka", "origin_stream": "orders", "attempts": 3},
    ),
    "Spring Kafka could not read the key": (
        [
            *(*EVENT, b"kafka_dlt-original-topic", b"orders"),
            *(b"kafka_dlt-key-exception-fqcn", b"DeserializationException"),
            *(b"kafka_dlt-key-exception-message", b"not Avro"),
        ],
        {"error_class": "DeserializationException", "error_message": "not Avro"},
    ),
    "Spring Cloud Stream": (
        [
            *(*EVENT, b"x-original-topic", b"orders"),
            *(b"x-original-partition", (3).to_bytes(4, "big")),
            *(b"x-original-offset", (20_715).to_bytes(8, "big")),
            *(b"x-original-timestamp", SENT.to_bytes(8, "big")),
            *(b"x-original-timestamp-type", b"CreateTime"),
            *(b"x-exception-fqcn", b"org.springframework.messaging.MessageHandlingException"),
            *(b"x-exception-message", b"error occurred in message handler"),
            *(
                b"x-exception-stacktrace",
                f"a.Wrapper: failed\n\tat a.B.c(B.java:1)\nCaused by: {IO}: x".encode(),
            ),
        ],
        {
            "rule": "Spring Cloud Stream",
            **ORIGIN,
            "error_class": IO,
            "error_message": "error occurred in message handler",
        },
    ),
    "Karafka Pro": (
        headers(
            source_topic="orders",
            source_partition="3",
            source_offset="20715",
            source_consumer_group="reserving",
            source_attempts="4",
            source_trace_id="t-1",
        ),
        {"rule": "Karafka Pro", **ORIGIN, "group": "reserving", "attempts": 4},
    ),
    "Karafka Pro before 2.5": (
        headers(
            original_topic="orders",
            original_partition="3",
            original_offset="20715",
            original_consumer_group="reserving",
            original_attempts="4",
        ),
        {"rule": "Karafka Pro before 2.5", **ORIGIN, "group": "reserving", "attempts": 4},
    ),
    "Watermill": (
        headers(
            reason_poisoned="cannot unmarshal",
            topic_poisoned="orders",
            handler_poisoned="reserve",
            subscriber_poisoned="kafka.Subscriber",
        ),
        {
            "rule": "Watermill",
            "origin_stream": "orders",
            "group": "reserve",
            "error_message": "cannot unmarshal",
        },
    ),
    "NServiceBus, over a bridge": (
        headers(
            **{
                "NServiceBus.FailedQ": "orders@MACHINE",
                "NServiceBus.TimeOfFailure": "2026-03-01 12:00:00:123456 Z",
                "NServiceBus.ExceptionInfo.ExceptionType": "System.InvalidOperationException",
                "NServiceBus.ExceptionInfo.Message": "stock is below zero",
                "NServiceBus.ExceptionInfo.StackTrace": "   at Stock.Reserve()",
            }
        ),
        {
            "rule": "NServiceBus",
            "origin_stream": "orders",
            "error_class": "System.InvalidOperationException",
            "failed_ms": 1_772_366_400_123,
        },
    ),
    "MassTransit, over a bridge": (
        headers(
            **{
                "MT-Reason": "fault",
                "MT-Fault-InputAddress": "rabbitmq://host/shop/orders?durable=true",
                "MT-Fault-ExceptionType": "System.TimeoutException",
                "MT-Fault-Message": "no answer",
                "MT-Fault-RetryCount": "2",
                "MT-Fault-Timestamp": "2026-03-01T12:00:00Z",
                "MT-Fault-StackTrace": "   at Stock.Reserve()",
            }
        ),
        {
            "rule": "MassTransit",
            "origin_stream": "orders",
            "error_class": "System.TimeoutException",
            "attempts": 3,
            "failed_ms": 1_772_366_400_000,
        },
    ),
    "RabbitMQ, over a bridge": (
        headers(
            **{
                "x-death": '[{"queue": "orders", "reason": "rejected", "count": 3, "time": 1772366400}]',
                "x-first-death-queue": "orders",
                "x-first-death-reason": "rejected",
            }
        ),
        {
            "rule": "RabbitMQ",
            "origin_stream": "orders",
            "error_message": "rejected",
            "attempts": 3,
            "failed_ms": 1_772_366_400_000,
        },
    ),
    "Google Pub/Sub, over a bridge": (
        headers(
            CloudPubSubDeadLetterSourceDeliveryCount="5",
            CloudPubSubDeadLetterSourceSubscription="reserving",
            CloudPubSubDeadLetterSourceSubscriptionProject="shop",
            CloudPubSubDeadLetterSourceTopicPublishTime="2026-03-01T11:59:00Z",
        ),
        {"rule": "Google Pub/Sub", "group": "reserving", "attempts": 5, "origin_stream": None},
    ),
    "Azure Service Bus, over a bridge": (
        headers(DeadLetterReason="MaxDeliveryCountExceeded", DeadLetterErrorDescription="tried 10 times"),
        {
            "rule": "Azure Service Bus",
            "error_class": "MaxDeliveryCountExceeded",
            "error_message": "tried 10 times",
        },
    ),
    "Sidekiq's names": (
        headers(
            error_class="Timeout::Error", error_message="no answer", failed_at="1772366400.5", retry_count="4"
        ),
        {"error_class": "Timeout::Error", "attempts": 4, "failed_ms": 1_772_366_400_500},
    ),
    "names as people choose them, in any case": (
        headers(
            **{"Original-Topic": "orders", "ORIGINAL_PARTITION": "3", "original.offset": "20715"},
            **{"Error": "ValueError: no such sku", "attempt": "2", "consumer-group": "reserving"},
        ),
        {**ORIGIN, "group": "reserving", "error_class": "ValueError", "attempts": 2},
    ),
}


class TestConventions:
    @pytest.mark.parametrize("name", CAPTURED)
    def test_what_a_framework_was_seen_to_write_is_read(self, name: str) -> None:
        letter, stream = captured(name)
        said = KafkaDeadLetters().decode(letter, stream)
        assert facts(said, CAPTURED[name]) == CAPTURED[name]

    @pytest.mark.parametrize("name", HAND_MADE)
    def test_what_a_framework_is_said_to_write_is_read(self, name: str) -> None:
        fields, says = HAND_MADE[name]
        assert facts(decode(fields), says) == says

    def test_every_captured_letter_has_its_expectation(self) -> None:
        assert {path.stem for path in CORPUS.glob("*.json")} == {*CAPTURED}

    def test_every_convention_has_a_letter(self) -> None:
        seen = {says.get("rule") for says in [*CAPTURED.values(), *(says for _, says in HAND_MADE.values())]}
        assert {rule.name for rule in RULES} <= seen


class TestOwnFields:
    """What a retry leaves away: the event is to be as it was before it failed."""

    @pytest.mark.parametrize("name", sorted(CAPTURED.keys() - {"share-group"}))
    def test_are_all_that_the_dead_lettering_added(self, name: str) -> None:
        letter, stream = captured(name)
        said = KafkaDeadLetters().decode(letter, stream)
        assert without(letter.fields, said.own_fields) == EVENT

    @pytest.mark.parametrize("name", sorted(HAND_MADE))
    def test_of_what_was_written_by_hand_too(self, name: str) -> None:
        fields, _ = HAND_MADE[name]
        assert without(fields, decode(fields).own_fields) == EVENT

    def test_have_our_replay_id_among_them(self) -> None:
        said = decode([*EVENT, b"eventwake_replay_id", b"abc-1", b"kafka_dlt-original-topic", b"orders"])
        assert said.replay_id == "abc-1"
        assert set(said.own_fields) == {b"eventwake_replay_id", b"kafka_dlt-original-topic"}


class TestOrigin:
    @pytest.mark.parametrize(
        ("stream", "origin", "group"),
        [
            *(("orders-dlt", "orders", None), ("orders.DLT", "orders", None), ("orders_dlq", "orders", None)),
            *(("orders-dlt-dlt", "orders", None), ("orders.dead-letter-topic", "orders", None)),
            ("error.orders.reserving", "orders", "reserving"),
            ("error.shop.orders.reserving", "shop.orders", "reserving"),
            *(("dead-letter-topic-orders", "orders", None), ("dlq.reserving", "reserving", None)),
            ("graveyard", None, None),
        ],
    )
    def test_is_told_by_the_name_of_the_topic_where_no_header_does(
        self, stream: str, origin: str | None, group: str | None
    ) -> None:
        said = decode(EVENT, stream)
        assert (said.origin_stream, said.group) == (origin, group)
        assert said.how["origin_stream"] is (Known.STREAM_NAME if origin else Known.UNKNOWN)

    def test_is_a_topic_that_other_topics_are_never_named_like(self) -> None:
        dead = ("orders-dlt", "orders.DLT", "orders.dlq", "dead-letter-topic-orders", "dlq.reserving")
        assert all(map(is_dead_letter_name, dead))
        assert not any(map(is_dead_letter_name, ("orders", "error.orders.reserving", "dlt", "adult")))

    def test_is_told_by_the_settings_before_the_name(self) -> None:
        said = decode(EVENT, "orders-dlt", origins={"orders-dlt": "orders.eu"})
        assert (said.origin_stream, said.how["origin_stream"]) == ("orders.eu", Known.SETTINGS)

    def test_is_told_by_a_header_before_the_settings(self) -> None:
        said = decode([*EVENT, b"original_topic", b"orders"], "orders-dlt", origins={"orders-dlt": "else"})
        assert (said.origin_stream, said.how["origin_stream"]) == ("orders", Known.HEADER)

    def test_has_no_place_without_a_partition(self) -> None:
        said = decode([*EVENT, b"original_topic", b"orders", b"original_offset", b"7"])
        assert said.origin_position is None
        assert "origin_position" not in said.how


class TestSettings:
    def test_name_headers_that_are_looked_at_first_and_as_text(self) -> None:
        fields = [*EVENT, b"why", b"out of stock", b"kafka_dlt-exception-message", b"Listener failed"]
        said = decode(fields, more_aliases={"error_message": ["why"]})
        assert said.error_message == "out of stock"
        assert b"why" in said.own_fields


class TestHostileHeaders:
    @pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
    @pytest.mark.parametrize(
        "value", [b"", b"\xff\xfe\xff\xfe", b"-1", b"9" * 40, b"\0", b"[" * 10_000, bytes(range(256)), None]
    )
    def test_never_raise_and_what_is_no_number_is_unknown(self, rule: Any, value: bytes | None) -> None:
        names = dict.fromkeys([*rule.marks, *(name for names in rule.facts.values() for name in names)])
        fields = [part for name in names for part in (name.encode(), value)]
        said = decode([*fields, b"\xff", b"\xff"], "orders-dlt")
        assert said.attempts is None or 0 <= said.attempts < 10**9
        assert said.origin_partition is None or 0 <= said.origin_partition < 2**31
        assert "\0" not in (said.error_message or "")

    def test_a_negative_or_short_number_is_unknown(self) -> None:
        fields = [
            *(b"kafka_dlt-original-topic", b"orders", b"kafka_dlt-original-partition", b"\xff\xff\xff\xff"),
            *(b"kafka_dlt-original-offset", b"\x00\x01"),
        ]
        said = decode(fields)
        assert (said.origin_stream, said.origin_partition, said.origin_position) == ("orders", None, None)
        assert set(said.how) == {"origin_stream", "failed"}

    def test_a_header_that_crossed_a_bridge_does_not_hide_the_framework_that_failed_last(self) -> None:
        fields = [*EVENT, b"x-death", b"[]", b"__connect.errors.topic", b"orders"]
        assert decode(fields).rule == "Kafka Connect"
