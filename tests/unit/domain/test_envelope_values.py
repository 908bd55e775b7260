"""A record's flat fields keep their order and their repeats."""

import pytest

from eventwake.domain.envelope import Record, pairs, without

FIELDS = [b"a", b"1", b"b", None, b"a", b"2", None, b"3"]


def test_fields_are_pairs_in_the_brokers_order_with_repeats() -> None:
    assert list(pairs(FIELDS)) == [(b"a", b"1"), (b"b", None), (b"a", b"2"), (b"", b"3")]


def test_half_a_pair_is_a_fault_and_not_dropped() -> None:
    with pytest.raises(ValueError, match="shorter"):
        list(pairs([b"a", b"1", b"b"]))


def test_taking_names_away_takes_every_repeat_and_leaves_the_rest_as_it_lay() -> None:
    assert without(FIELDS, {b"a"}) == [b"b", None, b"", b"3"]
    assert without(FIELDS, set()) == [b"a", b"1", b"b", None, b"a", b"2", b"", b"3"]


def test_a_record_without_key_or_value_is_one_of_a_broker_that_has_none() -> None:
    record = Record("1-0", 1, FIELDS)
    assert (record.key, record.value, record.partition) == (None, None, 0)
