"""Configured values are replaced wherever they lie, and nothing else is."""

import orjson
import pytest

from eventwake.decoding.masking import MASK, Masker
from eventwake.domain.envelope import Record

HIDDEN = MASK.encode()
BODY = {"card": {"number": "4111", "holder": "Ada"}, "items": [{"price": 1}, {"price": 2}], "total": 3}


def masked_body(body: object, *paths: str) -> object:
    """The payload after masking, beside one field that no path names."""
    record, _ = Masker(paths).masked(Record("1-0", 1, [b"type", b"t"], None, orjson.dumps(body)))
    assert record.value is not None
    assert record.fields == [b"type", b"t"]
    return orjson.loads(record.value)


@pytest.mark.parametrize(
    ("path", "masked"),
    [
        ("total", BODY | {"total": MASK}),
        ("card", BODY | {"card": MASK}),
        ("card.number", BODY | {"card": {"number": MASK, "holder": "Ada"}}),
        ("card.*", BODY | {"card": {"number": MASK, "holder": MASK}}),
        ("items.*", BODY | {"items": [MASK, MASK]}),
        ("items.*.price", BODY | {"items": [{"price": MASK}, {"price": MASK}]}),
        ("*", dict.fromkeys(BODY, MASK)),
        ("*.number", BODY | {"card": {"number": MASK, "holder": "Ada"}}),
    ],
)
def test_a_path_leads_through_objects_and_lists(path: str, masked: object) -> None:
    assert masked_body(BODY, path) == masked


@pytest.mark.parametrize(
    "path", ["absent", "card.absent", "total.x", "items.number", "card.number.x", "items.0"]
)
def test_a_path_that_leads_nowhere_changes_nothing(path: str) -> None:
    record = Record("1-0", 1, [b"type", b"t"], b"k", orjson.dumps(BODY))
    assert Masker([path]).masked(record) == (record, False)


def test_the_first_name_may_be_a_field() -> None:
    record = Record("1-0", 1, [b"email", b"ada@mail.example", b"data", b'{"card": {"number": 1}, "x": 2}'])
    masked, changed = Masker(["email", "data.card.number"]).masked(record)
    assert changed
    assert masked.fields == [b"email", HIDDEN, b"data", orjson.dumps({"card": {"number": MASK}, "x": 2})]


def test_every_repeat_of_a_field_is_masked() -> None:
    masked, _ = Masker(["email"]).masked(Record("1-0", 1, [b"email", b"a", b"x", b"y", b"email", b"b"]))
    assert masked.fields == [b"email", HIDDEN, b"x", b"y", b"email", HIDDEN]


def test_a_field_of_that_name_goes_before_the_payload() -> None:
    masked, _ = Masker(["card"]).masked(Record("1-0", 1, [b"card", b"1"], None, b'{"card": 2}'))
    assert (masked.fields, masked.value) == ([b"card", HIDDEN], b'{"card": 2}')


@pytest.mark.parametrize(
    "payload", [b"{", b"card=4111", b"\xff", b'{"card": NaN}', b"[" * 100_000, b'{"card": "\\ud800"}']
)
def test_what_cannot_be_looked_into_is_masked_whole(payload: bytes) -> None:
    """Better too much hidden than a card number that was looked for in vain."""
    in_payload, changed = Masker(["card.number"]).masked(Record("1-0", 1, [], None, payload))
    assert (in_payload.value, changed) == (HIDDEN, True)
    in_field, changed = Masker(["data.card"]).masked(Record("1-0", 1, [b"data", payload]))
    assert (in_field.fields, changed) == ([b"data", HIDDEN], True)


def test_of_a_name_that_an_object_has_twice_no_value_is_left() -> None:
    masked, _ = Masker(["card"]).masked(Record("1-0", 1, [], None, b'{"card": "4111", "card": "4222"}'))
    assert masked.value == orjson.dumps({"card": MASK})


def test_an_empty_value_stays_empty() -> None:
    record = Record("1-0", 1, [b"email", None], None, None)
    assert Masker(["email", "card.number"]).masked(record) == (record, False)


def test_without_paths_the_very_record_comes_back() -> None:
    record = Record("1-0", 1, [b"email", b"a"], None, b"{")
    masked, changed = Masker([]).masked(record)
    assert masked is record
    assert not changed


def test_the_record_that_was_given_is_never_altered() -> None:
    fields: list[bytes | None] = [b"email", b"a"]
    record = Record("1-0", 1, fields, None, b'{"x": 1}')
    Masker(["email", "x"]).masked(record)
    assert (fields, record.value) == ([b"email", b"a"], b'{"x": 1}')
