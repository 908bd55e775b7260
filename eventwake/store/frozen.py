"""The letters of an operation as they were when it was asked for, in one value of its row.

One row is written at once however many letters there are; they are then claimed chunk by chunk. Each is
(id, version); ids go up, so that what is claimed already is known by the greatest id among the items.
"""

import zlib
from base64 import b64decode, b64encode
from collections.abc import Sequence

import numpy as np

FROZEN = "frozen"  # the name among the command's parameters


def freeze(letters: Sequence[tuple[int, int]]) -> str:
    rows = np.array(sorted(letters), dtype="<i8").reshape(-1, 2)
    rows[:, 0] = np.diff(rows[:, 0], prepend=0)  # neighbours are alike, which packs well
    return b64encode(zlib.compress(rows.T.tobytes(), 1)).decode()


def thaw(frozen: str, after_id: int, at_most: int) -> list[tuple[int, int]]:
    """The next letters behind `after_id`."""
    ids, versions = np.frombuffer(zlib.decompress(b64decode(frozen)), dtype="<i8").reshape(2, -1)
    ids = np.cumsum(ids)
    start = int(np.searchsorted(ids, after_id, side="right"))
    chunk = slice(start, start + at_most)
    return list(zip(ids[chunk].tolist(), versions[chunk].tolist(), strict=True))
