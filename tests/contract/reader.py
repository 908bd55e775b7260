"""Reads a stream through the port as the collectors do: look, follow, read, keep the cursor."""

from collections.abc import Iterable

from collectors.brokers.base import Broker, Cursor, Gap, StreamSeen
from eventwake.domain.envelope import Record


class Reader:
    """One stream's cursors, and everything that was read with them."""

    def __init__(self, broker: Broker, stream: str, start: str = "earliest") -> None:
        self.broker = broker
        self.records: list[Record] = []
        self.gaps: list[Gap] = []
        self.cursors: dict[int, Cursor] = {}
        self._stream = stream
        self._start = start
        self._seen: list[StreamSeen] = []

    def look(self) -> "Reader":
        """Takes the heads of now; `read` goes by them until the next look."""
        self._seen = list(self.broker.look([self._stream]).heads.get(self._stream, ()))
        for seen in self._seen:
            before = self.cursors.get(seen.partition)
            self.cursors[seen.partition] = (
                self.broker.follow(seen, before, lambda position: position in self.positions)
                if before
                else self.broker.first_cursor(seen, self._start)
            )
        return self

    def read(self, at_most: int = 1_000) -> bool:
        """One read of each partition; whether there is more."""
        batches = self.broker.read([(seen, self.cursors[seen.partition], at_most) for seen in self._seen])
        for batch in batches:
            assert batch.stream == self._stream
            assert len(batch.records) <= at_most
            self.records += batch.records
            self.gaps += [batch.gap] if batch.gap else []
            self.cursors[batch.cursor.partition] = batch.cursor
        return any(batch.more for batch in batches)

    def read_all(self, at_most: int = 1_000) -> "Reader":
        self.look()
        while self.read(at_most):
            pass
        return self

    def skip(self) -> None:
        for seen in self._seen:
            batch = self.broker.skip_to_newest(seen, self.cursors[seen.partition])
            self.gaps += [batch.gap] if batch.gap else []
            self.cursors[seen.partition] = batch.cursor

    @property
    def positions(self) -> list[str]:
        return [record.position for record in self.records]

    @property
    def missed(self) -> int | None:
        """How many events the gaps say were missed; None where one can't be counted."""
        return total(gap.missed for gap in self.gaps)

    @property
    def incarnation(self) -> int:
        return max(cursor.incarnation for cursor in self.cursors.values())


def total(parts: Iterable[int | None]) -> int | None:
    known = list(parts)
    return None if None in known else sum(part or 0 for part in known)
