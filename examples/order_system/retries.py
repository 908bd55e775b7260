"""Retries of failed events, and the end of those that fail for good.

A failed event is simply not acknowledged. Redis itself counts its deliveries and knows how long ago the last
one was, so nothing is forgotten when the service is killed. A delivery that ends in a crash counts as one
that failed: an event that kills its consumer ends as a dead letter too, and not in an endless loop.
"""

import time
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

from redis.client import Pipeline

from examples.order_system.client import as_text
from examples.order_system.dead_letters import Delivery, Failure, alert_for, letter_fields
from examples.order_system.envelope import Entries, to_fields, utc_now
from examples.order_system.names import OPS_ALERTS, dead_letters_of
from examples.order_system.service import Context
from examples.order_system.unit import append

SCAN_AT_MOST_EVERY_S = 1.0
PAGE = 500  # pending entries looked at in one call
RETRIES_A_SCAN = 20  # of each stream; then new events have their turn, and timers
DOUBLINGS_AT_MOST = 10


class Retries:
    """Finds what is due for a retry, and decides what becomes of a failure."""

    def __init__(self, context: Context, streams: tuple[str, ...]) -> None:
        self._context = context
        self._streams = streams
        self._scan_every_s = min(SCAN_AT_MOST_EVERY_S, context.settings.backoff / 2)
        self._scanned_at = float("-inf")
        self._failures_key = f"{context.group}:first-failures"  # hash: <stream>/<entry id> -> time

    def next_scan_in(self) -> float:
        return max(0.0, self._scanned_at + self._scan_every_s - time.monotonic())

    def due(self) -> Iterator[Delivery]:
        """Claims what is due, so that its count of deliveries grows. Nothing between two scans."""
        if self.next_scan_in() > 0:
            return
        self._scanned_at = time.monotonic()
        for stream in self._streams:
            for nth, delivery in enumerate(islice(self._due_in(stream), RETRIES_A_SCAN), start=1):
                yield delivery
                if nth == RETRIES_A_SCAN:  # there may be more: they are looked for at once
                    self._scanned_at = float("-inf")

    def _due_in(self, stream: str) -> Iterator[Delivery]:
        for pending in self._pending_in(stream):
            wait_ms = self._wait_ms(pending["times_delivered"])
            if pending["time_since_delivered"] < wait_ms:
                continue
            claimed = self._context.redis.xclaim(
                stream, self._context.group, self._context.consumer, wait_ms, [pending["message_id"]]
            )
            # nothing is claimed where another consumer was first, or the entry was trimmed away
            for entry_id, fields in cast(Entries, claimed):
                yield Delivery(stream, entry_id.decode(), fields, pending["times_delivered"] + 1)

    def _pending_in(self, stream: str) -> Iterator[dict[str, Any]]:
        start = "-"
        while True:
            page = self._context.redis.xpending_range(
                stream, self._context.group, start, "+", PAGE, idle=self._wait_ms(1)
            )
            yield from page
            if len(page) < PAGE:
                return
            start = "(" + as_text(page[-1]["message_id"])

    def _wait_ms(self, deliveries: int) -> int:
        """How long after its `deliveries`-th delivery an event is tried again: backoff * 2^deliveries."""
        return int(self._context.settings.backoff * 1000 * 2 ** min(deliveries, DOUBLINGS_AT_MOST))

    def failed(self, delivery: Delivery, error: Exception) -> None:
        """Leaves the event pending, or dead-letters it after the last retry."""
        context, now = self._context, utc_now()
        key = _key(delivery)
        if delivery.times <= context.settings.retries:
            context.redis.hsetnx(self._failures_key, key, now)
            return
        first = context.redis.hget(self._failures_key, key)
        first_failed_at = as_text(first) if first else now
        self._give_up(delivery, Failure(context.group, context.consumer, error, first_failed_at, now))

    def forget(self, pipe: Pipeline, delivery: Delivery) -> None:
        """The event is over: nobody will ask when it first failed."""
        pipe.hdel(self._failures_key, _key(delivery))

    def _give_up(self, delivery: Delivery, failure: Failure) -> None:
        letter = letter_fields(delivery, failure)
        alert = to_fields(alert_for(delivery, failure))
        maxlen = self._context.settings.maxlen
        with self._context.redis.pipeline(transaction=True) as pipe:
            append(pipe, dead_letters_of(delivery.stream), letter, maxlen)
            pipe.xack(delivery.stream, self._context.group, delivery.entry_id)
            self.forget(pipe, delivery)
            append(pipe, OPS_ALERTS, alert, maxlen)
            pipe.execute()
        self._context.log.warning(
            "gave up %s of %s: %s: %s",
            delivery.entry_id,
            delivery.stream,
            type(failure.error).__name__,
            failure.error,
        )


def _key(delivery: Delivery) -> str:
    return f"{delivery.stream}/{delivery.entry_id}"
