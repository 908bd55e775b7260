"""Events a second from Redis to the store, against a floor that is measured in turns with it.

`ingest/floor`: the sampler's rate against XRANGE of as many entries plus a bare executemany of the same,
already decoded columns into a table with the same indexes, by the same SQLite settings and in transactions of
as many rows. The floor decodes nothing, counts nothing and keeps no cursor.

`ingest/third_million`: the sampler's rate over the 3rd million events against that over the 1st, over three
full segments, with random ids (UUID 4).

Both take turns, a tenth of a million at a time, since machines are noisy. About five minutes, 3 GB of memory.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import redis
import sqlalchemy as sa

from benchmarks.bars import Bar, report
from collectors.brokers import broker_for
from collectors.sampler import ROWS_A_TRANSACTION, Sampler
from collectors.streams import Streams
from eventwake.clock import now_ms
from eventwake.decoding import original
from eventwake.decoding.envelope import Decoder
from eventwake.domain.envelope import Record
from eventwake.settings import Source
from eventwake.store import schema
from eventwake.store.migrate import migrate
from eventwake.store.session import Store, insert_rows
from eventwake.store.writes import events, sources
from examples.redis_server import free_port, start_server

MILLION = 1_000_000
SEGMENTS = 3
TURN = 100_000
STREAMS = ("orders", "payments", "emails")
FLOOR_STREAM = "floor"
PIPELINED = 5_000
TYPES = ("OrderPlaced", "InventoryReserved", "PaymentCharged", "OrderConfirmed", "EmailSent")


def uuids(number: int) -> list[str]:
    """Random ids as UUID 4 writes them; uuid4() itself would take longer than the server."""
    text = os.urandom(16 * number).hex()
    parts = (text[i : i + 32] for i in range(0, len(text), 32))
    return [f"{p[:8]}-{p[8:12]}-4{p[13:16]}-a{p[17:20]}-{p[20:]}" for p in parts]


def entry(event_type: str) -> dict[str, str]:
    """One event as services write it: about 450 bytes, its ids random."""
    event, correlation, causation, order, user = uuids(5)
    return {
        "event_type": event_type,
        "event_id": event,
        "timestamp": "2026-11-24T12:00:00.000Z",
        "correlation_id": correlation,
        "causation_id": causation,
        "producer": "order-service",
        "data": f'{{"order_id":"{order}","user_id":"{user}","amount_cents":12345,"currency":"EUR",'
        '"items":[{"sku":"PEN-07","quantity":3,"unit_price_cents":4115}]}',
    }


def fill(client: "redis.Redis", stream: str, number: int) -> None:
    for start in range(0, number, PIPELINED):
        with client.pipeline(transaction=False) as pipe:
            for i in range(min(PIPELINED, number - start)):
                pipe.xadd(stream, entry(TYPES[i % len(TYPES)]))  # type: ignore[arg-type]
            pipe.execute()


class Sampling:
    """The collectors' own sampler, run here."""

    def __init__(self, url: str, store: Store) -> None:
        source = Source(
            name="bench", kind="redis_streams", start="earliest", include=STREAMS,
            business_keys=("order_id", "user_id"), max_backlog=SEGMENTS * 2 * MILLION, url=url,
        )  # fmt: skip
        self._store = store
        with store.write() as tx:
            sources.register_source(tx, source.name, source.kind, False, "{}", now_ms())
        broker = broker_for(source)
        broker.start()
        self._streams = Streams(store, broker, source)
        while not self._streams.discover():
            pass
        self._streams.look()
        self._sampler = Sampler(store, broker, source, self._streams, (), MILLION)

    def turn(self, events_wanted: int) -> tuple[int, float]:
        """(events, seconds) of at least so many more events."""
        before = self._read()
        started = perf_counter()
        while self._read() - before < events_wanted and self._sampler.step():
            pass
        return self._read() - before, perf_counter() - started

    def _read(self) -> int:
        parts = [part for watched in self._streams.watched.values() for part in watched.parts.values()]
        return sum(part.cursor.read_count or 0 for part in parts)


class Floor:
    """XRANGE, and an executemany of rows that were decoded before."""

    def __init__(self, client: Any, store: Store) -> None:
        self._client = client
        client.set_response_callback("XRANGE", lambda reply, **_: reply)  # as it comes, not as dicts
        self._store = store
        self._table = schema.event_table("floor", sa.MetaData())
        with store.write() as tx:
            self._table.create(tx)
        self._decoder = Decoder(("order_id", "user_id"))
        self._position = "0-0"

    def turn(self, events_wanted: int) -> tuple[int, float]:
        spent, done = 0.0, 0
        while done < events_wanted:
            started = perf_counter()
            found = self._client.execute_command(
                "XRANGE", FLOOR_STREAM, f"({self._position}", "+", "COUNT", ROWS_A_TRANSACTION
            )
            spent += perf_counter() - started
            rows = [self._row(position.decode(), fields) for position, fields in found]
            self._position = str(rows[-1][events.COLUMNS.index("position")])
            started = perf_counter()
            with self._store.write() as tx:
                insert_rows(tx, self._table, events.COLUMNS, rows)
            spent += perf_counter() - started
            done += len(rows)
        return done, spent

    def _row(self, position: str, fields: list[bytes | None]) -> events.EventRow:
        record = Record(position, int(position.partition("-")[0]), fields)
        envelope, size = self._decoder.decode(record), original.size(record)
        return events.event_row(1, FLOOR_STREAM, 0, record, envelope, original.pack(record), 0, size)


def in_turns(
    sampling: Callable[[int], tuple[int, float]], floor: Callable[[int], tuple[int, float]]
) -> Iterator[tuple[str, int, float]]:
    """The sampler's three million in thirty turns, with a turn of the floor after every third."""
    for turn in range(SEGMENTS * MILLION // TURN):
        yield ("sampler", *sampling(TURN))
        if turn % SEGMENTS == SEGMENTS - 1:
            yield ("floor", *floor(TURN))


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="eventwake-bench-") as folder:
        return run(Path(folder))


def run(folder: Path) -> int:
    port = free_port()
    server = start_server(port, folder)
    try:
        url = f"redis://127.0.0.1:{port}/0"
        client: Any = redis.Redis.from_url(url, protocol=2)
        started = perf_counter()
        for stream in STREAMS:
            fill(client, stream, SEGMENTS * MILLION // len(STREAMS) + TURN // 2)
        fill(client, FLOOR_STREAM, MILLION)
        print(f"filled {client.dbsize()} streams in {perf_counter() - started:.0f} s", flush=True)
        stores = [Store(f"sqlite:///{folder / name}.db", create=True) for name in ("sampled", "floor")]
        for store in stores:
            migrate(store)
        return measure(Sampling(url, stores[0]), Floor(client, stores[1]))
    finally:
        server.kill()
        server.wait()


def measure(sampling: Sampling, floor: Floor) -> int:
    turns: dict[str, list[tuple[int, float]]] = {"sampler": [], "floor": []}
    for who, number, seconds in in_turns(sampling.turn, floor.turn):
        turns[who].append((number, seconds))
        print(f"{who} {number / seconds:,.0f} events/s", flush=True)
    a_million = MILLION // TURN
    first, third = turns["sampler"][:a_million], turns["sampler"][2 * a_million :]
    return report(
        [
            Bar("ingest/floor", rate(turns["sampler"]) / rate(turns["floor"]), 0.5),
            Bar("ingest/third_million", rate(third) / rate(first), 0.9),
        ]
    )


def rate(turns: list[tuple[int, float]]) -> float:
    """Events a second over all of the turns."""
    return sum(number for number, _ in turns) / sum(seconds for _, seconds in turns)


if __name__ == "__main__":
    sys.exit(main())
