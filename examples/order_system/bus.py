"""The loop in which a service consumes its streams: idempotent, and with retries that survive a crash.

Redis delivers at least once. So each group keeps a mark for every event that it has handled, written in the
same MULTI as the effects and the XACK: a crash before it leaves the event pending, to be handled again; a
crash after it leaves nothing to do; and nothing lies in between.
"""

import threading
from typing import cast

import redis

from examples.order_system.dead_letters import Delivery
from examples.order_system.envelope import Entries, parse, text
from examples.order_system.names import DUPLICATES_KEY, processed_mark
from examples.order_system.retries import Retries
from examples.order_system.service import IDLE_S, Handler, Service
from examples.order_system.unit import Unit

BATCH = 20  # entries of each stream a read: a stopping service leaves few of them for the next start
RECONNECT_S = 1.0
STALL_POLL_S = 0.5


class Consumer:
    """Runs one service until it is told to stop."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._context = service.context
        self._retries = Retries(service.context, service.streams)

    def run(self, stop: threading.Event) -> None:
        """Returns when `stop` is set. Where the server is gone, it waits until it is back."""
        self._context.log.info("reads %s", ", ".join(self._service.streams) or "nothing")
        ready = in_trouble = False
        while not stop.is_set():
            try:
                if not ready:
                    self._make_groups()  # also after trouble: the server may have come back empty
                    ready = True
                self._turn(stop)
                if in_trouble:
                    self._context.log.info("Redis is back")
                    in_trouble = False
            except redis.RedisError as error:
                if not in_trouble:
                    self._context.log.warning("Redis: %s; trying every %g s", error, RECONNECT_S)
                ready, in_trouble = False, True
                stop.wait(RECONNECT_S)

    def _turn(self, stop: threading.Event) -> None:
        self._context.faults.refresh()
        if self._service.stalled():
            stop.wait(STALL_POLL_S)
            return
        until_tick = min(self._service.tick(), IDLE_S)  # the faults want to be read too
        if not self._service.streams:
            stop.wait(until_tick)
            return
        for delivery in self._read(min(until_tick, self._retries.next_scan_in())):
            if stop.is_set():
                return
            self._deliver(delivery)
        for delivery in self._retries.due():
            if stop.is_set():
                return
            self._deliver(delivery)

    def _read(self, patience: float) -> list[Delivery]:
        batches = self._context.redis.xreadgroup(
            self._context.group,
            self._context.consumer,
            dict.fromkeys(self._service.streams, ">"),
            count=BATCH,
            block=max(1, int(patience * 1000)),  # 0 would wait for ever
        )
        return [
            Delivery(stream.decode(), entry_id.decode(), fields, times=1)
            for stream, entries in cast(list[tuple[bytes, Entries]], batches)
            for entry_id, fields in entries
        ]

    def _deliver(self, delivery: Delivery) -> None:
        handler = self._service.handlers.get(text(delivery.fields, "event_type") or "")
        if handler is None:
            self._context.redis.xack(delivery.stream, self._context.group, delivery.entry_id)
            return
        while True:
            try:
                self._handle(delivery, handler)
            except redis.WatchError:
                continue  # someone else wrote what the handler had read, so nothing was written: again
            except (redis.ConnectionError, redis.TimeoutError):
                raise  # no fault of the event: it stays pending
            except Exception as error:
                self._retries.failed(delivery, error)
            return

    def _handle(self, delivery: Delivery, handler: Handler) -> None:
        """Handles the event once and for all, or recognises that it was handled before."""
        # an entry without an id can only be delivered twice as the same entry
        identity = text(delivery.fields, "event_id") or f"{delivery.stream}/{delivery.entry_id}"
        mark = processed_mark(self._context.group, identity)
        with self._context.redis.pipeline(transaction=True) as pipe:
            pipe.watch(mark)
            if pipe.exists(mark):
                pipe.multi()
                pipe.hincrby(DUPLICATES_KEY, self._context.group, 1)
            else:
                event = parse(delivery.fields)
                unit = Unit(pipe, self._context.publisher, event.cause)
                handler(event, unit)
                unit.write.set(mark, 1, nx=True, ex=self._context.settings.remember)
            pipe.xack(delivery.stream, self._context.group, delivery.entry_id)
            if delivery.times > 1:
                self._retries.forget(pipe, delivery)
            pipe.execute()

    def _make_groups(self) -> None:
        """From the first entry on: an event may be there before the group that is to read it."""
        for stream in self._service.streams:
            try:
                self._context.redis.xgroup_create(stream, self._context.group, id="0", mkstream=True)
            except redis.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise
