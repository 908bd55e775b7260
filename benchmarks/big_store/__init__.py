"""A store as it is after a busy day: events, dead letters, operations, groups, sagas and alerts.

Everything is written by the collectors' own writers, and the broker holds what the store says it does: its
streams have had as many events, its groups stand where the history ends, its dead-letter streams hold what
is open.
"""

import random
from typing import Any

from benchmarks.big_store import events, groups, letters, shop
from benchmarks.big_store.events import Writer, Written
from benchmarks.big_store.shop import DEAD, READERS, Place
from collectors.brokers import broker_for
from collectors.streams import DEAD_LETTERS, EVENTS, Streams
from eventwake.clock import now_ms
from eventwake.settings import Settings, Source
from eventwake.store import maintenance
from eventwake.store.migrate import migrate
from eventwake.store.session import Store
from eventwake.store.writes import sources


def build(
    settings: Settings, store: Store, clients: dict[str, Any], number: int, number_of_letters: int
) -> None:
    """`clients` are connections to the sources' servers, which are empty."""
    rng, now = random.Random(7), now_ms()
    migrate(store)
    writer = Writer(settings, store, _register(settings, store, now))
    written = events.write(writer, rng, now, number, number_of_letters)
    for source in settings.source:
        _fill_broker(source.name, clients[source.name], written)
        _take_in(store, source, clients[source.name])
    groups.see(settings, store)
    groups.write(settings, store, rng, now)
    maintenance.retain(store, settings.store, now_ms())
    maintenance.build_filters(store)
    maintenance.checkpoint(store)


def _register(settings: Settings, store: Store, now: int) -> dict[Place, int]:
    """The ids of the streams."""
    ids: dict[Place, int] = {}
    with store.write() as tx:
        for source in settings.source:
            sources.register_source(tx, source.name, source.kind, source.writable, "{}", now)
            names = shop.streams_of(source.name)
            rows = [(name, EVENTS) for name in names] + [(name + DEAD, DEAD_LETTERS) for name in names]
            sources.add_streams(tx, source.name, rows, now)
            ids |= {Place(source.name, row.name): row.id for row in sources.known_streams(tx, source.name)}
    return ids


def _fill_broker(source: str, client: Any, written: Written) -> None:
    """Streams that have been trimmed down to their last event, with groups that have read all of it."""
    for place, names in READERS.items():
        if place.source != source:
            continue
        added, last = written.added[place], f"{written.last_ms[place]}-{written.added[place]}"
        client.execute_command("XADD", place.stream, last, "event_type", "DayEnded")
        client.execute_command("XSETID", place.stream, last, "ENTRIESADDED", added, "MAXDELETEDID", "0-0")
        for name in names:
            client.execute_command("XGROUP", "CREATE", place.stream, name, last, "ENTRIESREAD", added)
    letters.put(client, written.letters[source])


def _take_in(store: Store, source: Source, client: Any) -> None:
    broker = broker_for(source)
    broker.start()
    streams = Streams(store, broker, source)
    streams.load()
    streams.look()
    letters.take_in(store, broker, source, streams)
    letters.act(store, source.name, client)
    broker.stop()
