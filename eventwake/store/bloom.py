"""A Bloom filter in blocks, so that asking it reads one small row instead of the whole filter.

Each hash belongs to one block of 2 KiB and sets six bits there. At 12 bits a key about 0.5 % of the ids that
a segment lacks are looked for in vain. Source: Putze, Sanders, Singler: Cache-, Hash- and Space-Efficient
Bloom Filters (2007), blocked variant.
"""

import numpy as np
from numpy.typing import NDArray

BLOCK_BYTES = 2048
BITS_PER_KEY = 12
PROBES = 6
_BLOCK_BITS = BLOCK_BYTES * 8
_MASK = np.uint64(_BLOCK_BITS - 1)


def build(hashes: NDArray[np.int64]) -> list[bytes]:
    """The filter's blocks over 64-bit hashes (repeats do no harm); at least one block."""
    keys = hashes.view(np.uint64)
    count = max(1, -(-len(keys) * BITS_PER_KEY // _BLOCK_BITS))
    bits = np.zeros(count * _BLOCK_BITS, dtype=bool)
    block = (keys >> np.uint64(32)) % np.uint64(count)
    for probe in range(PROBES):
        bits[block * np.uint64(_BLOCK_BITS) + _probe(keys, probe)] = True
    packed = np.packbits(bits.reshape(count, _BLOCK_BITS), axis=1, bitorder="little")
    return [row.tobytes() for row in packed]


def block_of(key: int, blocks: int) -> int:
    """Which of `blocks` a signed 64-bit hash belongs to."""
    return ((key & 0xFFFF_FFFF_FFFF_FFFF) >> 32) % blocks


def may_hold(block: bytes, key: int) -> bool:
    """Whether the key may be in the set; False is certain."""
    keys = np.array([key], dtype=np.int64).view(np.uint64)
    positions = (int(_probe(keys, probe)[0]) for probe in range(PROBES))
    return all(block[position >> 3] >> (position & 7) & 1 for position in positions)


def _probe(keys: NDArray[np.uint64], probe: int) -> NDArray[np.uint64]:
    first = keys & _MASK
    step = (keys >> np.uint64(14)) & _MASK | np.uint64(1)
    return (first + np.uint64(probe) * step) & _MASK
