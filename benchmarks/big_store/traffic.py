"""The shop goes on while pages are measured: services publish, readers read, now and then one gives up."""

import random
import threading
import time
from typing import Any

from benchmarks.big_store import shop
from benchmarks.big_store.shop import READERS, Place
from eventwake.clock import now_ms

TICK_S = 0.2
KEPT = 50_000  # entries a stream, about: the server's memory stays bounded
BEHIND = ("analytics", shop.EMAILS)  # reads less than comes, and acknowledges nothing
BEHIND_READS = 2  # a tick
READS = 2_000  # a tick, of the others


class Traffic:
    """Runs in a thread until it is stopped; `sent` counts the events."""

    def __init__(self, clients: dict[str, Any], events_per_s: int) -> None:
        self.sent = 0
        self._clients = clients
        self._a_tick = round(events_per_s * TICK_S / shop.STEPS_A_TRACE)
        self._rng = random.Random(11)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)

    def __enter__(self) -> "Traffic":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        due = time.monotonic()
        while not self._stop.is_set():
            self._publish()
            self._read()
            due = max(due + TICK_S, time.monotonic())
            self._stop.wait(due - time.monotonic())

    def _publish(self) -> None:
        at_ms = now_ms()
        made = [event for _ in range(self._a_tick) for event in shop.process(self._rng, at_ms)]
        for source, client in self._clients.items():
            with client.pipeline(transaction=False) as pipe:
                for event in made:
                    if event.place.source == source:
                        add = ("XADD", event.place.stream, "MAXLEN", "~", KEPT, "*")
                        pipe.execute_command(*add, *event.fields)
                pipe.execute()
        self.sent += len(made)
        if self._rng.random() < TICK_S:  # one a second
            event = self._rng.choice(made)
            fields = shop.letter(self._rng, event, f"{at_ms}-0", at_ms)
            dead = event.place.stream + shop.DEAD
            self._clients[event.place.source].execute_command("XADD", dead, "*", *fields)

    def _read(self) -> None:
        for source, client in self._clients.items():
            with client.pipeline(transaction=False) as pipe:
                for place, groups in READERS.items():
                    for group in groups if place.source == source else ():
                        pipe.execute_command(*_read_command(place, group))
                pipe.execute()


def _read_command(place: Place, group: str) -> tuple[object, ...]:
    is_behind = (group, place) == BEHIND
    count = ("COUNT", BEHIND_READS) if is_behind else ("COUNT", READS, "NOACK")
    return ("XREADGROUP", "GROUP", group, f"{group}-1", *count, "STREAMS", place.stream, ">")
