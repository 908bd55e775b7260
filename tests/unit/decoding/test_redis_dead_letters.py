"""Dead letters on Redis Streams as people write them: one JSON file each, with what must be read out of it.

`fields` are the entry's fields in order, bytes that are no text as base64; of `says` every other fact must be
unknown, and `how` says of each fact how it is known.
"""

import json
import random
from base64 import b64decode
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from eventwake.decoding.dead_letters.redis_streams import ALIASES, AMBIGUOUS, RedisDeadLetters
from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Record, pairs, without

CORPUS = sorted((Path(__file__).parent / "corpus" / "redis_streams").glob("*.json"))
FACTS = {
    "origin_stream", "origin_position", "origin_partition", "group", "error_class", "error_message",
    "stack_trace", "attempts", "first_failed_ms", "failed_ms", "replay_id",
}  # fmt: skip
EVENT = [b"event_type", b"OrderPlaced", b"event_id", b"e1", b"data", b"{}"]


def example(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def raw(value: str | dict[str, str]) -> bytes:
    return value.encode() if isinstance(value, str) else b64decode(value["base64"])


def record(letter: dict[str, Any]) -> Record:
    return Record("9-0", letter["recorded_ms"], [raw(part) for pair in letter["fields"] for part in pair])


def decoded(letter: dict[str, Any]) -> DeadLetter:
    return RedisDeadLetters(**letter.get("settings", {})).decode(record(letter), letter["stream"])


def of(*fields: bytes, stream: str = "orders:dlq") -> DeadLetter:
    return RedisDeadLetters().decode(Record("9-0", 5, [*fields]), stream)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
class TestCorpus:
    def test_the_facts_are_read_and_no_other_is_made_up(self, path: Path) -> None:
        letter = example(path)
        read = {fact: value for fact, value in asdict(decoded(letter)).items() if fact in FACTS}
        assert read == dict.fromkeys(FACTS) | letter["says"]

    def test_the_rule_names_the_fields_that_it_rests_on(self, path: Path) -> None:
        letter = example(path)
        assert decoded(letter).rule == letter["rule"]

    def test_each_fact_says_how_it_is_known(self, path: Path) -> None:
        letter = example(path)
        assert decoded(letter).how == letter["how"]

    def test_a_retry_leaves_away_what_the_dead_lettering_added_and_nothing_else(self, path: Path) -> None:
        letter = example(path)
        own = [name.decode() for name in decoded(letter).own_fields]
        assert own == letter["own_fields"]
        sent_again = without(record(letter).fields, set(decoded(letter).own_fields))
        assert list(pairs(sent_again)) == [
            (name.encode(), raw(value))
            for name, value in letter["fields"]
            if name not in letter["own_fields"]
        ]


def test_the_corpus_is_there() -> None:
    assert len(CORPUS) >= 23


@pytest.mark.parametrize(
    ("fact", "alias"), [(fact, alias) for fact, names in ALIASES.items() for alias in names]
)
def test_every_alias_is_read_and_is_the_dead_letterings_own(fact: str, alias: str) -> None:
    value = {
        "origin_position": b"7-1",
        "attempts": b"3",
        "first_failed": b"1772366400",
        "failed": b"1772366400",
    }
    field = (alias.encode(), value.get(fact, b"said"))
    letters = [of(b"payload", b"{}", *field)]
    if alias in AMBIGUOUS:
        assert of(*EVENT, *field).own_fields == ()
    else:
        letters.append(of(*EVENT, *field))
    for letter in letters:
        assert letter.how[fact] is Known.HEADER
        assert letter.own_fields == (alias.encode(),)
        assert letter.rule == f"Redis field names: {alias}"


@pytest.mark.parametrize("fact", ["error_message", "group", "origin_stream"])
def test_of_several_aliases_the_first_known_counts_in_whatever_order_they_lie(fact: str) -> None:
    fields = [part for alias in reversed(ALIASES[fact]) for part in (alias.encode(), alias.encode())]
    assert getattr(of(*fields), fact) == ALIASES[fact][0]


@pytest.mark.parametrize("fact", sorted(ALIASES))
def test_beside_a_wrapped_event_no_alias_goes_with_a_retry(fact: str) -> None:
    fields = [part for alias in ALIASES[fact] for part in (alias.encode(), b"1-1")]
    assert of(*fields, b"payload", b"{}").own_fields == tuple(alias.encode() for alias in ALIASES[fact])


@pytest.mark.parametrize("name", ["event_type", "ce-type", "EventName", "id", "event.id"])
def test_an_event_is_known_by_its_type_or_id_however_they_are_spelt(name: str) -> None:
    assert of(name.encode(), b"x", b"reason", b"customer request").own_fields == ()


def test_an_alias_that_cannot_be_read_gives_way_to_the_next() -> None:
    letter = of(b"retry_count", b"many", b"attempts", b"2", b"payload", b"{}")
    assert letter.attempts == 2


def test_what_is_no_entrys_id_is_the_events_own_and_another_name_may_tell_the_place() -> None:
    letter = of(b"original_id", b"uuid-7", b"message_id", b"7-1", b"error", b"x", b"payload", b"{}")
    assert (letter.origin_position, letter.own_fields) == ("7-1", (b"message_id", b"error"))


@pytest.mark.parametrize("joint", [":", ".", "-", "_"])
@pytest.mark.parametrize(
    "suffix", ["dlq", "DLQ", "dead_letter", "dead-letter", "dead_letters", "dead-letters", "deadletter"]
)
def test_a_streams_name_tells_its_origin(joint: str, suffix: str) -> None:
    letter = of(*EVENT, stream=f"shop.orders{joint}{suffix}")
    assert (letter.origin_stream, letter.how["origin_stream"]) == ("shop.orders", Known.STREAM_NAME)


@pytest.mark.parametrize("stream", ["dlq", ":dlq", "orders", "ordersdlq", "dlq:orders", "orders:dlq:1", ""])
def test_a_name_that_does_not_tell_the_origin_leaves_it_unknown(stream: str) -> None:
    letter = of(*EVENT, stream=stream)
    assert (letter.origin_stream, letter.how["origin_stream"]) == (None, Known.UNKNOWN)


@pytest.mark.parametrize(
    ("message", "error_class"),
    [
        ("ValueError: no such sku", "ValueError"),
        ("redis.exceptions.TimeoutError", "redis.exceptions.TimeoutError"),
        ("java.lang.IllegalStateException: no", "java.lang.IllegalStateException"),
        ("ReadTimeout while reserving", "ReadTimeout"),
        ("no ValueError here", None),
        ("ValueErrors happen", None),
        ("Error" * 1_000, None),
        ("x" * 100_000, None),
        ("", None),
    ],
)
def test_a_message_that_begins_with_its_class_tells_it(message: str, error_class: str | None) -> None:
    assert of(b"error", message.encode()).error_class == error_class


def test_a_class_that_is_said_goes_before_one_in_the_message() -> None:
    assert of(b"error", b"ValueError: x", b"error_type", b"CardDeclined").error_class == "CardDeclined"


def test_whatever_lies_there_is_a_letter_and_no_fact_is_known_that_was_not_read() -> None:
    dice = random.Random(16)
    names = [alias.encode() for aliases in ALIASES.values() for alias in aliases] + [
        b"ts",
        b"id",
        b"",
        b"\xff",
    ]
    values = [
        b"",
        b"7-1",
        b"3",
        b"1772366400",
        b"\xff\x00",
        b"9" * 400,
        b"{",
        b"2026-03-01T12:00:00Z",
        b"nan",
    ]
    decoder = RedisDeadLetters()
    for _ in range(3_000):
        fields = [dice.choice(pool) for _ in range(dice.randint(0, 8)) for pool in (names, values)]
        letter = decoder.decode(Record("9-0", 5, fields), dice.choice(["orders:dlq", "x", "\ud800"]))
        assert letter.failed_ms is not None
        said = asdict(letter)
        for fact, known in letter.how.items():
            value = said.get(fact, said.get(f"{fact}_ms", "the consumer is not kept"))
            assert (value is not None) == (known is not Known.UNKNOWN)
