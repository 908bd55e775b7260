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
        ("total.x", BODY | {"total": MASK}),
        ("card.number.x", BODY | {"card": {"number": MASK, "holder": "Ada"}}),
    ],
)
def test_a_path_leads_through_objects_and_lists(path: str, masked: object) -> None:
    assert masked_body(BODY, path) == masked


@pytest.mark.parametrize("path", ["absent", "card.absent", "items.number", "*.absent", "items.0"])
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


DEEP = b'{"card": 1, "deep": ' + b"[" * 300 + b"]" * 300 + b"}"


def test_what_is_nested_deeper_than_can_be_written_again_is_masked_whole() -> None:
    in_payload, changed = Masker(["card"]).masked(Record("1-0", 1, [], None, DEEP))
    assert (in_payload.value, changed) == (HIDDEN, True)
    in_field, changed = Masker(["data.card"]).masked(Record("1-0", 1, [b"data", DEEP]))
    assert (in_field.fields, changed) == ([b"data", HIDDEN], True)
    in_string, _ = Masker(["data.x.card"]).masked(
        Record("1-0", 1, [b"data", orjson.dumps({"x": DEEP.decode()})])
    )
    assert in_string.fields == [b"data", HIDDEN]
    untouched, changed = Masker(["data.absent"]).masked(Record("1-0", 1, [b"data", DEEP]))
    assert (untouched.fields, changed) == ([b"data", DEEP], False)


def as_string(value: object, times: int = 1) -> str:
    """JSON in a string, so many times over."""
    text = orjson.dumps(value).decode()
    return text if times == 1 else as_string(text, times - 1)


@pytest.mark.parametrize("times", [1, 2, 3])
def test_json_in_a_string_of_json_is_looked_into_and_stays_a_string(times: int) -> None:
    card, masked_card = {"number": "4111", "holder": "Ada"}, {"number": MASK, "holder": "Ada"}
    assert masked_body({"card": as_string(card, times)}, "card.number") == {
        "card": as_string(masked_card, times)
    }
    data = as_string({"card": "4111", "x": 1}, times + 1).encode()
    masked, _ = Masker(["data.card"]).masked(Record("1-0", 1, [b"data", data]))
    assert masked.fields == [b"data", as_string({"card": MASK, "x": 1}, times + 1).encode()]


@pytest.mark.parametrize("value", ["4111", 4111, 41.5, True, '"4111"', "{4111"])
def test_a_value_that_is_none_of_the_structure_that_was_told_is_masked_whole(value: object) -> None:
    assert masked_body({"card": value, "x": 1}, "card.number") == {"card": MASK, "x": 1}
    masked, _ = Masker(["data.card"]).masked(Record("1-0", 1, [b"data", orjson.dumps(value)]))
    assert masked.fields == [b"data", HIDDEN]


def test_null_holds_nothing_to_mask() -> None:
    assert masked_body({"card": None, "x": 1}, "card.number") == {"card": None, "x": 1}


@pytest.mark.parametrize("name", [b"payload", b"data", b"body", b"Event"])
@pytest.mark.parametrize("times", [1, 2])
def test_in_the_event_that_a_letter_wraps_the_path_is_looked_for_as_in_the_event(
    name: bytes, times: int
) -> None:
    event = as_string({"event_type": "x", "data": {"card": "4111", "x": 1}}, times).encode()
    wrapped = Record("1-0", 1, [name, event, b"error", b"boom"])
    masked, changed = Masker(["data.card"]).masked(wrapped)
    hidden = as_string({"event_type": "x", "data": {"card": MASK, "x": 1}}, times).encode()
    assert (masked.fields, changed) == ([name, hidden, b"error", b"boom"], True)


def test_a_path_of_the_fields_is_looked_for_in_what_wraps_them_too() -> None:
    masked, _ = Masker(["email"]).masked(
        Record("1-0", 1, [b"payload", b'{"email":"ada@mail.example","x":1}'])
    )
    assert masked.fields == [b"payload", orjson.dumps({"email": MASK, "x": 1})]


@pytest.mark.parametrize(
    "fields",
    [
        [b"message", b"no such sku", b"error", b"boom"],
        [b"message", b'"no such sku"'],
        [b"note", b'{"email": "x"}'],
        [b"email", None, b"data", b'{"email": "x"}'],
    ],
)
def test_other_fields_are_let_alone(fields: list[bytes | None]) -> None:
    assert Masker(["email"]).masked(Record("1-0", 1, fields)) == (Record("1-0", 1, fields), False)


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
