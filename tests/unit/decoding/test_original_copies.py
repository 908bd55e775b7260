"""A record's own bytes are kept exactly, and damage is noticed and never shown as the event."""

import random
from zlib import crc32

import pytest

from eventwake.decoding import original
from eventwake.domain.envelope import Record
from eventwake.domain.errors import StoreDamaged

RECORDS = [
    Record("5-1", 9, [b"event_type", b"t", b"data", b"{}"]),
    Record("5-1", 9, []),
    Record("5-1", 9, [b"", b"", b"a", None, b"a", b"again", b"\xff\x00", bytes(range(256))]),
    Record("3:42", 9, [b"h", None], b"key", b"value", 3),
    Record("3:42", 9, [], None, b"\x00\x00\x00\x00\x01avro", 3),
    Record("3:42", 9, [], b"", b"", 3),
    Record("3:42", 9, [b"tombstone", b"1"], b"key", None, 3),
    Record("5-1", 9, [b"big", bytes(300_000)] + [b"n", b"v"] * 5_000),
]


@pytest.mark.parametrize("record", RECORDS)
def test_what_was_packed_comes_back_to_the_byte(record: Record) -> None:
    body = original.pack(record)
    back = original.unpack(
        body, crc32(body), position=record.position, recorded_ms=9, partition=record.partition
    )
    assert back == record


def test_any_bytes_come_back() -> None:
    dice = random.Random(15)
    for _ in range(300):
        parts = [
            dice.choice([None, dice.randbytes(dice.randint(0, 40))]) for _ in range(2 * dice.randint(0, 6))
        ]
        record = Record("", 0, parts, *(dice.choice([None, dice.randbytes(5)]) for _ in range(2)))
        body = original.pack(record)
        assert original.unpack(body, crc32(body)) == record


def test_every_single_flipped_bit_is_noticed() -> None:
    body = original.pack(RECORDS[3])
    for bit in range(8 * len(body)):
        damaged = bytearray(body)
        damaged[bit // 8] ^= 1 << bit % 8
        with pytest.raises(StoreDamaged, match="3:42 is damaged"):
            original.unpack(bytes(damaged), crc32(body), position="3:42")


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_a_copy_that_was_cut_is_noticed(cut: int) -> None:
    body = original.pack(RECORDS[0])
    with pytest.raises(StoreDamaged, match="an event is damaged"):
        original.unpack(body[:cut], crc32(body))


class TestCap:
    @pytest.mark.parametrize("limit", [0, 1, 256, 1_000])
    def test_values_are_cut_to_the_limit_and_names_stay_whole(self, limit: int) -> None:
        record = Record(
            "1-0", 1, [b"type", b"t", b"data", b"x" * 5_000, b"more", b"y" * 5_000], None, b"z" * 500
        )
        capped = original.capped(record, limit)
        assert capped.fields[::2] == record.fields[::2]
        assert original.size(capped) <= limit + sum(len(name or b"") for name in record.fields[::2])
        for kept, whole in zip(capped.fields[1::2], record.fields[1::2], strict=True):
            assert (whole or b"").startswith(kept or b"")

    def test_what_fits_is_kept_as_it_is(self) -> None:
        for record in RECORDS:
            assert original.capped(record, 1_000_000) == record

    def test_what_was_empty_is_still_told_from_what_was_cut_to_nothing(self) -> None:
        capped = original.capped(Record("1-0", 1, [b"a", None, b"b", b"xyz"], None, None), 0)
        assert (capped.fields, capped.value) == ([b"a", None, b"b", b""], None)

    def test_the_size_counts_names_values_key_and_payload(self) -> None:
        assert original.size(Record("1-0", 1, [b"ab", b"cde", b"f", None], b"gh", b"i")) == 9
