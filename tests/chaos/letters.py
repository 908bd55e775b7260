"""The events that die in these tests, and how they came off."""

from dataclasses import dataclass

Flat = list[bytes]


def event_id_of(fields: Flat) -> str:
    return fields[fields.index(b"event_id") + 1].decode()


def event_fields(event_id: str) -> Flat:
    """An event with a repeated field and every byte there is."""
    return [
        *(b"event_type", b"OrderPlaced", b"event_id", event_id.encode()),
        *(b"correlation_id", b"c-" + event_id.encode()),
        *(b"tag", b"first", b"tag", b"second", b"data", b'{"order_id": "o-1"}', b"raw", bytes(range(256))),
    ]  # fmt: skip


@dataclass(frozen=True)
class Tally:
    """How the letters of a test came off."""

    letters: int
    lost: int
    twice: int

    def __str__(self) -> str:
        return f"{self.letters:,} letters, {self.lost} lost, {self.twice} delivered twice"
