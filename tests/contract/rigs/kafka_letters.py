"""Dead letters on Kafka as the frameworks write them; the whole corpus is in tests/unit/decoding."""

from tests.contract.rigs.base import Letter

EVENT = (b"event_type", b"OrderPlaced", b"correlation_id", b"c-1")

LETTERS = (
    Letter(
        "Spring Kafka, whose numbers are big-endian integers",
        "orders-dlt",
        [
            *EVENT,
            *(b"kafka_dlt-original-topic", b"orders.eu"),
            *(b"kafka_dlt-original-partition", (3).to_bytes(4, "big")),
            *(b"kafka_dlt-original-offset", (20_715).to_bytes(8, "big")),
            *(b"kafka_dlt-original-consumer-group", b"reserving"),
            *(b"kafka_dlt-exception-fqcn", b"java.lang.IllegalStateException"),
            *(b"kafka_dlt-exception-message", b"stock is below zero"),
        ],
        {
            "rule": "Spring Kafka",
            "origin_stream": "orders.eu",
            "origin_partition": 3,
            "origin_position": "3:20715",
            "group": "reserving",
            "error_class": "java.lang.IllegalStateException",
            "error_message": "stock is below zero",
        },
    ),
    Letter(
        "no framework, names as people choose them",
        "orders-dlq",
        [
            *EVENT,
            *(b"original_topic", b"orders.eu", b"original-partition", b"3", b"original_offset", b"7"),
            *(b"error", b"ValueError: no such sku", b"retry_count", b"5"),
            *(b"failed_at", b"2026-03-01T12:00:00Z"),
        ],
        {
            "origin_stream": "orders.eu",
            "origin_position": "3:7",
            "error_class": "ValueError",
            "error_message": "ValueError: no such sku",
            "attempts": 5,
            "failed_ms": 1_772_366_400_000,
        },
    ),
    Letter(
        "the bare event, of which only the topic's name says something",
        "orders.DLT",
        [*EVENT],
        {"origin_stream": "orders", "error_message": None, "attempts": None, "error_class": None},
    ),
    Letter(
        "nonsense where facts should be",
        "orders-dlt",
        [
            *(b"kafka_dlt-original-topic", b"\xff\xfe", b"kafka_dlt-original-partition", b"three"),
            *(b"kafka_dlt-original-offset", b"", b"retry_topic-attempts", b"\xff\xff\xff\xff"),
        ],
        {"origin_stream": "orders", "origin_partition": None, "origin_position": None, "attempts": None},
    ),
)
