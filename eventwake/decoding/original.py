"""How a record's own bytes are kept in the store: one MessagePack value, and back again.

MessagePack keeps any bytes exactly and is read by every language; a checksum goes with it, since a damaged
cell passes the checks of SQLite itself.
"""

from zlib import crc32

import msgpack

from eventwake.domain.envelope import Record
from eventwake.domain.errors import StoreDamaged

_pack = msgpack.Packer(use_bin_type=True).pack


def pack(record: Record) -> bytes:
    """The record's key, value and fields; its place is kept in columns."""
    if record.key is None and record.value is None:
        return bytes(_pack((record.fields,)))
    return bytes(_pack((record.fields, record.key, record.value)))


def unpack(
    body: bytes, checksum: int, *, position: str = "", recorded_ms: int = 0, partition: int = 0
) -> Record:
    """The record again. Raises `StoreDamaged` where the bytes are not those that were kept."""
    if crc32(body) != checksum:
        raise StoreDamaged(f"the stored copy of {position or 'an event'} is damaged: its checksum differs")
    fields, key, value = (*msgpack.unpackb(body, raw=False, use_list=True), None, None)[:3]
    return Record(position, recorded_ms, fields, key, value, partition)


def capped(record: Record, limit: int) -> Record:
    """The record with its longest parts cut so that all of it is about `limit` bytes; names stay whole."""
    room = limit
    fields: list[bytes | None] = []
    for name, value in zip(record.fields[::2], record.fields[1::2], strict=True):
        kept = value[: max(room, 0)] if value is not None else None
        fields += (name, kept)
        room -= len(name or b"") + len(kept or b"")
    value = record.value[: max(room, 0)] if record.value is not None else None
    return record._replace(fields=fields, value=value)


def size(record: Record) -> int:
    """Bytes of the record's key, value, field names and field values."""
    return sum(map(len, filter(None, record.fields))) + len(record.key or b"") + len(record.value or b"")
