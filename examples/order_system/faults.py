"""Faults that can be switched while the services run: a Redis hash that each of them polls."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import redis
from redis.client import Pipeline

from examples.order_system.client import as_text
from examples.order_system.settings import above_zero, share

FAULTS_KEY = "order_system:faults"
POLL_EVERY_S = 1.0


class BadFault(ValueError):
    """There is no such fault, or it takes no such value; the message says what there is."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`unit` says what its value is; None: it takes none. `default` is its value where none is given."""

    meaning: str
    unit: str | None = None
    parse: Callable[[str], float] = float
    default: float = 1.0
    lasts: bool = False  # its value is how long it lasts; kept as the time of its end


FAULTS: dict[str, Fault] = {
    "payment-down": Fault("the payment provider does not answer: dead letters, and sagas that time out"),
    "email-down": Fault("the mail server takes no mail: dead letters of the email service"),
    "inventory-short": Fault("every reservation is rejected: orders are cancelled"),
    "analytics-stall": Fault(
        "analytics stops reading, so its lag grows; with a value it recovers by itself",
        "seconds",
        above_zero,
        float("inf"),
        lasts=True,
    ),
    "poison": Fault("the next order's data is not valid JSON: one dead letter in each group that reads it"),
    "schema-drift": Fault(
        "this share of orders comes in a new schema (version 2) that email and analytics fail on",
        "share from 0 to 1",
        share,
        0.2,
    ),
    "duplicates": Fault("this share of all events is published twice", "share from 0 to 1", share, 0.5),
    "slow-payment": Fault("every payment takes longer: lag, then time-outs", "milliseconds", above_zero, 500),
}


def fault_named(name: str) -> Fault:
    """Raises `BadFault` where there is none."""
    if name not in FAULTS:
        raise BadFault(f"no fault is called {name!r}; there are: {', '.join(FAULTS)}")
    return FAULTS[name]


def switch_on(client: redis.Redis, name: str, value: str | None) -> None:
    """Raises `BadFault` for an unknown fault or a value that it does not take."""
    fault = fault_named(name)
    if value is not None and fault.unit is None:
        raise BadFault(f"{name} takes no value")
    try:
        number = fault.default if value is None else fault.parse(value)
    except Exception as error:
        raise BadFault(f"{name} takes {fault.unit}, not {value!r}") from error
    client.hset(FAULTS_KEY, name, str(time.time() + number if fault.lasts else number))


def switch_off(client: redis.Redis, name: str) -> None:
    """Ends one fault, or every fault with the name `all`. Raises `BadFault`."""
    if name == "all":
        client.delete(FAULTS_KEY)
    else:
        fault_named(name)
        client.hdel(FAULTS_KEY, name)


def read(client: redis.Redis) -> dict[str, float]:
    """The faults that are on now, each with its value."""
    stored = {as_text(name): float(value) for name, value in client.hgetall(FAULTS_KEY).items()}
    return {
        name: value
        for name, value in stored.items()
        if name in FAULTS and not (FAULTS[name].lasts and value <= time.time())
    }


class Faults:
    """What a service knows of the faults: at most a second old, and read in one place of its loop."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._on: dict[str, float] = {}
        self._read_at = float("-inf")

    def refresh(self) -> None:
        if time.monotonic() - self._read_at >= POLL_EVERY_S:
            self._on = read(self._client)
            self._read_at = time.monotonic()

    def on(self, name: str) -> bool:
        return name in self._on

    def value(self, name: str, otherwise: float) -> float:
        return self._on.get(name, otherwise)

    def struck(self, pipe: Pipeline, name: str) -> None:
        """A fault that strikes once is over."""
        pipe.hdel(FAULTS_KEY, name)
        self._on.pop(name, None)
