"""A failed job's error, in the shapes in which libraries keep it."""

import orjson
import pytest

from eventwake.decoding.dead_letters.postgres_queue import Failure, read_failure, read_letter
from eventwake.domain.dead_letter import Known
from eventwake.domain.envelope import Record

TRACE = 'Traceback (most recent call last):\n  File "/srv/shop/jobs.py", line 7, in ship\n    post(order)\n'
HANDLING = "\nDuring handling of the above exception, another exception occurred:\n\n"
CAUSED = f"{TRACE}KeyError: 'sku'\n{HANDLING}{TRACE}"


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        (None, Failure(None, None, None)),
        ("", Failure(None, None, None)),
        ("TimeoutError while it was sent", Failure(None, "TimeoutError while it was sent", None)),
        ("no such sku", Failure(None, "no such sku", None)),
        ("ValueError: no such sku", Failure("ValueError", "no such sku", None)),
        (f"{TRACE}ValueError: no sku\n", Failure("ValueError", "no sku", f"{TRACE}ValueError: no sku\n")),
        (f"{TRACE}shop.Late\n", Failure("shop.Late", None, f"{TRACE}shop.Late\n")),
        (
            f"{TRACE}Late: one\ntwo: three\n",
            Failure("Late", "one\ntwo: three", f"{TRACE}Late: one\ntwo: three\n"),
        ),
        (f"{CAUSED}Late: it\n", Failure("Late", "it", f"{CAUSED}Late: it\n")),
        (TRACE, Failure(None, None, TRACE)),
        ("{broken", Failure(None, "{broken", None)),
        ('{"a": 1}', Failure(None, '{"a": 1}', None)),
        ('{"exception_type": 7}', Failure(None, '{"exception_type": 7}', None)),
        (
            orjson.dumps({"exception_type": "Late", "exception_message": "it", "traceback": TRACE}).decode(),
            Failure("Late", "it", TRACE),
        ),
    ],
)
def test_an_error_says_class_message_and_trace(text: str | None, failure: Failure) -> None:
    assert read_failure(text) == failure


def test_a_bare_row_says_where_it_came_from_and_what_is_not_known() -> None:
    letter = read_letter(Record("17-3", 1_000, [b"status", b"failed"]), "procrastinate", "mails")
    assert (letter.origin_stream, letter.origin_position, letter.group) == ("mails", "17", "mails workers")
    assert (letter.attempts, letter.error_message, letter.failed_ms) == (None, None, 1_000)
    assert letter.how["failed"] is Known.FIRST_SIGHT
    assert letter.how["error_message"] is Known.UNKNOWN
    assert "keeps no error" in letter.rule


def test_hostile_bytes_where_facts_should_be_are_no_facts() -> None:
    fields = [b"eventwake_attempts", b"\xff9", b"eventwake_error", b"\xff\xfe"]
    letter = read_letter(Record("17-3", 1_000, fields), "none", "q")
    assert letter.attempts is None
    assert letter.error_message == "\ufffd\ufffd"
    assert letter.own_fields == (b"eventwake_attempts", b"eventwake_error")
