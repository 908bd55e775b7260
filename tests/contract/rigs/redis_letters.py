"""Dead letters on Redis Streams as people write them, and what each says. There is no standard."""

from tests.contract.rigs.base import Letter, flat_text

EVENT = {"event_type": "OrderPlaced", "event_id": "e-1", "data": '{"order_id": "o-1"}'}
FAILED_AT, FAILED_MS = "2026-03-01T12:00:00Z", 1_772_366_400_000

LETTERS = (
    Letter(
        "all that one can wish for",
        "orders:dlq",
        flat_text(
            EVENT,
            original_stream="orders.eu",
            original_id="7-1",
            consumer_group="mailer",
            error_type="CardDeclined",
            error="no answer from the bank",
            retry_count="3",
            first_failed_at="2026-03-01T11:59:00Z",
            failed_at=FAILED_AT,
        ),
        {
            "origin_stream": "orders.eu",
            "origin_position": "7-1",
            "group": "mailer",
            "error_class": "CardDeclined",
            "error_message": "no answer from the bank",
            "attempts": 3,
            "first_failed_ms": FAILED_MS - 60_000,
            "failed_ms": FAILED_MS,
        },
    ),
    Letter(
        "source_stream, original_message_id, error_message, attempts, moved_at",
        "orders.dlq",
        flat_text(
            {},
            source_stream="orders.eu",
            original_message_id="7-1",
            error_message="ValueError: no such sku",
            attempts="5",
            moved_at=FAILED_AT,
            payload='{"id": 1}',
        ),
        {
            "origin_stream": "orders.eu",
            "origin_position": "7-1",
            "error_class": "ValueError",
            "error_message": "ValueError: no such sku",
            "attempts": 5,
            "failed_ms": FAILED_MS,
        },
    ),
    Letter(
        "stream, message_id, exception, deliveries, ts",
        "orders-dlq",
        flat_text(
            {},
            stream="orders.eu",
            message_id="7-1",
            exception="redis.TimeoutError while reserving",
            deliveries="4",
            ts="1772366400.0",
            body="{}",
        ),
        {
            "origin_stream": "orders.eu",
            "origin_position": "7-1",
            "error_class": "redis.TimeoutError",
            "attempts": 4,
            "failed_ms": FAILED_MS,
        },
    ),
    Letter(
        "original_msg_id, reason, attempt, and a timestamp that is the event's own",
        "orders:dead_letter",
        flat_text(EVENT, original_msg_id="7-1", reason="rejected", attempt="2", timestamp=FAILED_AT),
        {"origin_stream": "orders", "origin_position": "7-1", "error_message": "rejected", "attempts": 2},
    ),
    Letter(
        "max_retries, and an id that is no place in a stream",
        "orders:dead-letter",
        flat_text({}, error="gave up", max_retries="3", message_id="uuid-7", event="{}"),
        {"origin_stream": "orders", "origin_position": None, "error_message": "gave up", "attempts": 3},
    ),
    Letter(
        "the bare event, of which only the stream's name says something",
        "orders:dlq",
        flat_text(EVENT),
        {"origin_stream": "orders", "error_message": None, "attempts": None, "error_class": None},
    ),
    Letter(
        "nonsense where facts should be",
        "orders:dlq",
        [b"original_id", b"\xff\xfe", b"error", b"\xff\x00", b"retry_count", b"9" * 30, b"failed_at", b"x"],
        {"origin_stream": "orders", "origin_position": None, "attempts": None},
    ),
)
