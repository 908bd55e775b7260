"""A shop as its streams show it: orders that go through three sources, who reads what, and what fails."""

import json
import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from heapq import heappop, heappush
from typing import NamedTuple

from benchmarks.ingest import uuids
from eventwake.settings import Saga


class Place(NamedTuple):
    source: str
    stream: str


class Step(NamedTuple):
    """One event of a process; `cause` is the step that led to it, `after_ms` how long after that."""

    place: Place
    event_type: str
    producer: str
    cause: int | None
    after_ms: int


class Event(NamedTuple):
    at_ms: int
    place: Place
    event_type: str
    correlation_id: str
    fields: list[bytes]


ORDERS, INVENTORY = Place("shop", "orders"), Place("shop", "inventory")
PAYMENTS, EMAILS = Place("shop", "payments"), Place("shop", "emails")
INVOICES, LEDGER = Place("billing", "invoices"), Place("billing", "ledger")
SHIPMENTS, TRACKING = Place("logistics", "shipments"), Place("logistics", "tracking")

READERS: dict[Place, tuple[str, ...]] = {
    ORDERS: ("inventory-service", "email-service", "invoice-service", "analytics"),
    INVENTORY: ("payment-service", "analytics"),
    PAYMENTS: ("order-service", "analytics"),
    EMAILS: ("mail-gateway", "analytics"),
    INVOICES: ("ledger-service", "archive"),
    LEDGER: ("archive",),
    SHIPMENTS: ("carrier-gateway", "archive"),
    TRACKING: ("email-service", "archive"),
}
SOURCES = tuple(dict.fromkeys(place.source for place in READERS))
DEAD = ":dlq"

_PLACED = (
    Step(ORDERS, "OrderPlaced", "web-shop", None, 0),
    Step(INVENTORY, "InventoryReserved", "inventory-service", 0, 120),
)
_CONFIRMED = (
    *_PLACED,
    Step(PAYMENTS, "PaymentCharged", "payment-service", 1, 800),
    Step(ORDERS, "OrderConfirmed", "order-service", 2, 60),
    Step(INVOICES, "InvoiceIssued", "invoice-service", 3, 400),
    Step(EMAILS, "ConfirmationSent", "email-service", 3, 900),
    Step(SHIPMENTS, "ShipmentPlanned", "shipping-service", 3, 700),
    Step(LEDGER, "EntryBooked", "ledger-service", 4, 300),
    Step(SHIPMENTS, "ShipmentPicked", "warehouse-service", 6, 9_000),
    Step(TRACKING, "ParcelHandedOver", "carrier-gateway", 8, 4_000),
    Step(TRACKING, "ParcelDelivered", "carrier-gateway", 9, 20_000),
)
_CANCELLED = (
    *_PLACED,
    Step(PAYMENTS, "PaymentDeclined", "payment-service", 1, 1_500),
    Step(INVENTORY, "InventoryReleased", "inventory-service", 2, 90),
    Step(ORDERS, "OrderCancelled", "order-service", 3, 50),
    Step(EMAILS, "CancellationSent", "email-service", 4, 800),
)
_RETURNED = (
    *_CONFIRMED,
    Step(TRACKING, "ReturnRegistered", "carrier-gateway", 10, 8_000),
    Step(PAYMENTS, "PaymentRefunded", "payment-service", 11, 2_000),
    Step(LEDGER, "EntryReversed", "ledger-service", 12, 300),
)
PROCESSES = (_CONFIRMED, _CANCELLED, _RETURNED, _PLACED)
WEIGHTS = (0.85, 0.09, 0.055, 0.005)  # the last kind stops half way: a stuck saga
STEPS_A_TRACE = sum(weight * len(steps) for weight, steps in zip(WEIGHTS, PROCESSES, strict=True))
SAGA = Saga(
    name="order",
    steps=("OrderPlaced", "InventoryReserved", "PaymentCharged"),
    completed=("OrderConfirmed",),
    compensations=("InventoryReleased", "PaymentRefunded"),
    compensated=("OrderCancelled",),
)

_FAULTS = (  # error class, message, innermost own frame
    ("SMTPServerBusy", "450 4.2.0 greylisted, try again in {n} s", "mail/send.py:deliver"),
    ("SMTPRecipientsRefused", "550 no such user: customer-{n}@example.org", "mail/send.py:deliver"),
    ("ConnectionRefusedError", "[Errno 111] connect to 10.0.3.{n}:5432", "store/pool.py:acquire"),
    ("TimeoutError", "no answer from the provider within {n} ms", "payment/provider.py:charge"),
    ("CardDeclined", "the issuer declined: code {n}", "payment/provider.py:charge"),
    ("ValidationError", "quantity must be positive, got -{n}", "order/model.py:checked"),
    ("KeyError", "'sku-{n}'", "inventory/stock.py:reserve"),
    ("JSONDecodeError", "Expecting ',' delimiter: line 1 column {n}", "bus/decode.py:body"),
    ("DeadlockDetected", "process {n} waits for ShareLock", "store/unit.py:commit"),
    ("RateLimited", "429 from carrier: retry after {n} s", "carrier/client.py:book"),
)
VARIANTS = ("", "_again", "_all")  # of each fault's function, so that there are thirty causes


def process(rng: random.Random, started_ms: int) -> list[Event]:
    """One order's events, oldest cause first."""
    steps = rng.choices(PROCESSES, WEIGHTS)[0]
    correlation, order, user, *ids = uuids(3 + len(steps))
    times: list[int] = []
    found = []
    for step, event_id in zip(steps, ids, strict=True):
        before = started_ms if step.cause is None else times[step.cause]
        times.append(before + round(step.after_ms * rng.uniform(0.5, 1.8)))
        data = {
            "order_id": order,
            "user_id": user,
            "amount_cents": rng.randrange(500, 50_000),
            "currency": "EUR",
            "items": [{"sku": f"PEN-{rng.randrange(100):02}", "quantity": 3, "unit_price_cents": 4_115}],
        }
        fields = {
            "event_type": step.event_type,
            "event_id": event_id,
            "timestamp": iso(times[-1]),
            "correlation_id": correlation,
            "producer": step.producer,
            "data": json.dumps(data, separators=(",", ":")),
        }
        if step.cause is not None:
            fields["causation_id"] = ids[step.cause]
        found.append(Event(times[-1], step.place, step.event_type, correlation, flat(fields)))
    return found


def life(rng: random.Random, since_ms: int, until_ms: int, number: int) -> Iterator[Event]:
    """About so many events in the order of their times, evenly over [since, until)."""
    traces = round(number / STEPS_A_TRACE)
    waiting: list[tuple[int, int, Event]] = []
    made = 0
    for i in range(traces):
        started_ms = since_ms + (until_ms - since_ms) * i // traces
        while waiting and waiting[0][0] <= started_ms:
            yield heappop(waiting)[2]
        for event in process(rng, started_ms):
            made += 1
            heappush(waiting, (event.at_ms, made, event))
    while waiting and waiting[0][0] < until_ms:
        yield heappop(waiting)[2]


def letter(rng: random.Random, event: Event, position: str, failed_ms: int) -> list[bytes]:
    """What a reader that gives an event up puts into the dead-letter stream; few causes make the most."""
    kind = min(int(rng.expovariate(0.35)), len(_FAULTS) - 1)
    error_class, message, frame = _FAULTS[kind]
    variant = VARIANTS[min(int(rng.expovariate(1.2)), len(VARIANTS) - 1)]
    text = message.format(n=rng.randrange(1, 250))
    file, _, function = frame.partition(":")
    trace = "".join(
        f'  File "/srv/app/{path}", line {rng.randrange(20, 400)}, in {name}\n    {name}(event)\n'
        for path, name in (("bus/consumer.py", "handle"), (file, function + variant))
    )
    told = {
        "original_stream": event.place.stream,
        "original_id": position,
        "consumer_group": READERS[event.place][0],
        "error_type": error_class,
        "error": text,
        "stack_trace": f"Traceback (most recent call last):\n{trace}{error_class}: {text}\n",
        "retry_count": str(rng.randrange(1, 6)),
        "first_failed_at": iso(event.at_ms),
        "failed_at": iso(failed_ms),
    }
    return [*event.fields, *flat(told)]


def flat(fields: dict[str, str]) -> list[bytes]:
    return [part.encode() for pair in fields.items() for part in pair]


def iso(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="milliseconds")


def streams_of(source: str) -> Sequence[str]:
    return [place.stream for place in READERS if place.source == source]
