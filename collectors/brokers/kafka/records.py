"""Record batches -> records: what compression, transactions and control records leave of them.

kafka-python takes the name of a header for text and gives up on a whole partition where one is not UTF-8;
here such a name comes as the bytes that it is.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from kafka.errors import CorruptRecordError, UnsupportedCodecError
from kafka.record.default_records import DefaultRecordBatch
from kafka.record.memory_records import MemoryRecords

from eventwake.decoding.envelope import LAST_MS
from eventwake.domain.envelope import Record

DAMAGED = "damaged in the broker's log: its checksum or its layout is wrong"


class Parsed(NamedTuple):
    """Records from an offset on, and where to go on.

    `sparse`: some offsets hold no event that we may see (control records, aborted ones, compacted ones).
    `damaged` is the number of offsets that could not be read.
    """

    records: deque[Record]
    next_offset: int
    sparse: bool
    damaged: int


def position(partition: int, offset: int) -> str:
    return f"{partition}:{offset}"


def offset_of(text: str) -> int:
    return int(text.rpartition(":")[2])


def parse(
    data: bytes, partition: int, first: int, aborted: Sequence[tuple[int, int]], *, committed_only: bool
) -> Parsed:
    """The records from the offset `first` on, of batches that begin there or before; the last may be cut."""
    records: deque[Record] = deque()
    skipping = _Aborted(aborted) if committed_only else None
    next_offset, damaged, sparse = first, 0, False
    for batch in _batches(data):
        try:
            for one in _visible(batch, skipping):
                if one.offset >= next_offset:
                    sparse |= one.offset > next_offset
                    records.append(_record(one, partition))
                    next_offset = one.offset + 1
            end = getattr(batch, "next_offset", next_offset)  # old batches do not tell
            sparse |= end > next_offset
        except UnsupportedCodecError:  # a library is missing: nothing is wrong with the batch
            raise
        except Exception:  # each decompressor has errors of its own
            end = getattr(batch, "next_offset", next_offset + 1)
            damaged += max(0, end - next_offset)
        next_offset = max(next_offset, end)
    return Parsed(records, next_offset, sparse, damaged)


def _batches(data: bytes) -> Iterator[Any]:
    batches = MemoryRecords(data)
    while (batch := batches.next_batch()) is not None:
        if isinstance(batch, DefaultRecordBatch):
            batch.__class__ = _Batch
        yield batch


def _visible(batch: Any, skipping: "_Aborted | None") -> Iterator[Any]:
    if isinstance(batch, DefaultRecordBatch):
        if (skipping is not None and skipping.takes(batch)) or batch.is_control_batch:
            return
        if not batch.validate_crc():
            raise CorruptRecordError("checksum")
    yield from batch


class _Aborted:
    """Which batches belong to transactions that were aborted. Source: Kafka's own consumer."""

    def __init__(self, aborted: Sequence[tuple[int, int]]) -> None:
        self._waiting = deque(sorted(aborted, key=lambda one: one[1]))
        self._producers: set[int] = set()

    def takes(self, batch: Any) -> bool:
        while self._waiting and self._waiting[0][1] <= batch.last_offset:
            self._producers.add(self._waiting.popleft()[0])
        if batch.producer_id not in self._producers:
            return False
        if batch.is_control_batch:  # it ends the transaction
            self._producers.discard(batch.producer_id)
            return True
        return bool(batch.is_transactional)


class _Batch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python has no types
    """A batch whose headers may have names of any bytes."""

    __slots__ = ()

    def _read_msg(self, **options: Any) -> Any:
        try:
            return super()._read_msg(**options)
        except UnicodeDecodeError:
            self._buffer = _Lenient(self._buffer)  # type: ignore[misc, has-type]
            return super()._read_msg(**options)


class _Lenient(bytearray):
    """Decodes what is not UTF-8 so that encoding it gives the same bytes."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, *_: Any, **__: Any) -> str:
        return super().decode("utf-8", "surrogateescape")


def _record(one: Any, partition: int) -> Record:
    """Headers are the record's fields; a null value (a tombstone) stays None."""
    fields: list[bytes | None] = []
    for name, value in one.headers or ():
        fields += (name.encode("utf-8", "surrogateescape"), value)
    return Record(
        position(partition, one.offset),
        min(max(0, one.timestamp or 0), LAST_MS),
        fields,
        one.key,
        one.value,
        partition,
    )
