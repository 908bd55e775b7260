"""The filter of a segment's ids: what is in it is always found, what is not hardly ever is."""

import random

import numpy as np
import pytest
from numpy.typing import NDArray

from eventwake.store import bloom
from eventwake.store.segments import hash64

EDGES = [0, 1, -1, 2**63 - 1, -(2**63)]


def holds(blocks: list[bytes], key: int) -> bool:
    """As a look-up asks: the one block that the key belongs to."""
    return bloom.may_hold(blocks[bloom.block_of(key, len(blocks))], key)


def hashes(*keys: int) -> NDArray[np.int64]:
    return np.array(keys, dtype=np.int64)


@pytest.mark.parametrize("count", [1, 2, 1_365, 1_366, 20_000])
def test_what_is_in_it_is_always_found(count: int) -> None:
    dice = random.Random(count)
    keys = [hash64(f"order-{dice.random()}") for _ in range(count)] + EDGES
    blocks = bloom.build(hashes(*keys))
    assert all(holds(blocks, key) for key in keys)


def test_what_is_not_in_it_is_looked_for_in_vain_in_less_than_1_of_100_cases() -> None:
    blocks = bloom.build(hashes(*(hash64(f"in-{n}") for n in range(100_000))))
    wrong = sum(holds(blocks, hash64(f"out-{n}")) for n in range(20_000))
    assert wrong < 200


def test_ids_that_count_up_are_as_good_as_any() -> None:
    """Hashes spread what is alike; the filter itself does not lean on luck either."""
    blocks = bloom.build(hashes(*(hash64(str(n)) for n in range(20_000))))
    assert all(holds(blocks, hash64(str(n))) for n in range(0, 20_000, 7))
    assert sum(holds(blocks, hash64(str(n))) for n in range(20_000, 40_000)) < 200


def test_of_nothing_it_has_one_block_that_holds_nothing() -> None:
    blocks = bloom.build(hashes())
    assert [len(block) for block in blocks] == [bloom.BLOCK_BYTES]
    assert not any(holds(blocks, key) for key in EDGES)


def test_repeats_take_room_but_do_no_harm() -> None:
    once, often = bloom.build(hashes(7, -7)), bloom.build(hashes(*[7, -7] * 100))
    assert once == often


def test_it_is_as_large_as_its_keys_need() -> None:
    blocks = bloom.build(hashes(*range(100_000)))
    bits = len(blocks) * bloom.BLOCK_BYTES * 8
    assert bits == pytest.approx(100_000 * bloom.BITS_PER_KEY, rel=0.02)
    assert {len(block) for block in blocks} == {bloom.BLOCK_BYTES}


@pytest.mark.parametrize("key", EDGES)
@pytest.mark.parametrize("blocks", [1, 2, 7, 734])
def test_a_key_of_either_sign_belongs_to_a_block_that_is_there(key: int, blocks: int) -> None:
    assert 0 <= bloom.block_of(key, blocks) < blocks


class TestHashes:
    @pytest.mark.parametrize(
        ("text", "hashed"),
        [
            ("", -5978950695371172670),
            ("order-1042", 2727754594975724899),
            ("Bestellung-ä-🙂", -8782024375066798479),
        ],
    )
    def test_are_kept_in_stores_and_so_never_change(self, text: str, hashed: int) -> None:
        assert hash64(text) == hashed

    def test_fit_a_signed_column_and_use_both_halves_of_it(self) -> None:
        found = [hash64(str(n)) for n in range(10_000)]
        assert all(-(2**63) <= value < 2**63 for value in found)
        assert 4_500 < sum(value < 0 for value in found) < 5_500
        assert len(set(found)) == len(found)
