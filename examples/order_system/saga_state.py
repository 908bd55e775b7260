"""Where each order's saga stands, kept in Redis so that a restart goes on from there."""

import json
import time
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import redis

from examples.order_system.client import as_text
from examples.order_system.envelope import Cause
from examples.order_system.unit import Unit

DEADLINES_KEY = "order-service:saga-deadlines"  # sorted set: order id -> Unix time
OVERDUE_A_TURN = 50


class Status(StrEnum):
    RESERVING = "reserving"
    CHARGING = "charging"
    COMPENSATING = "compensating"
    CONFIRMED = "confirmed"
    CANCELLED = "cancelled"


@dataclass(slots=True)
class Saga:
    """One order on its way. `last_*` is the newest event of it, for a time-out has no cause of its own."""

    status: Status
    order_id: str
    user_id: str
    customer: dict[str, str]
    amount_cents: int
    last_event_id: str
    correlation_id: str
    awaited: list[str]  # types of the answers that it waits for
    reason: str = ""  # why it is cancelled

    @property
    def last(self) -> Cause:
        return Cause(self.last_event_id, self.correlation_id)

    @property
    def over(self) -> bool:
        return self.status in (Status.CONFIRMED, Status.CANCELLED)


def saga_key(order_id: str) -> str:
    return f"order-service:saga:{order_id}"


class SagaStore:
    """`remember_s`: how long an ended saga is kept, for answers that come late."""

    def __init__(self, client: redis.Redis, remember_s: int) -> None:
        self._client = client
        self._remember_s = remember_s

    def load(self, unit: Unit, order_id: str) -> Saga | None:
        """Reads a saga and watches it: what the unit writes fails where someone else goes on with it."""
        unit.watch(saga_key(order_id))
        stored = self._client.hgetall(saga_key(order_id))
        if not stored:
            return None
        values: dict[str, Any] = {as_text(name): json.loads(value) for name, value in stored.items()}
        return Saga(**{**values, "status": Status(values["status"])})

    def save(self, unit: Unit, saga: Saga, deadline_in: float) -> None:
        """With a deadline for the next answer; an ended saga has none and is forgotten in time."""
        key = saga_key(saga.order_id)
        unit.write.hset(key, mapping={name: json.dumps(value) for name, value in asdict(saga).items()})
        if saga.over:
            self.drop_deadline(unit, saga.order_id)
            unit.write.expire(key, self._remember_s)
        else:
            unit.write.zadd(DEADLINES_KEY, {saga.order_id: time.time() + deadline_in})

    def drop_deadline(self, unit: Unit, order_id: str) -> None:
        unit.write.zrem(DEADLINES_KEY, order_id)

    def overdue(self) -> list[str]:
        """Ids of orders whose deadline has passed, the longest overdue first."""
        ids = self._client.zrangebyscore(DEADLINES_KEY, "-inf", time.time(), start=0, num=OVERDUE_A_TURN)
        return [as_text(order_id) for order_id in ids]

    def next_deadline_in(self, otherwise: float) -> float:
        first = self._client.zrange(DEADLINES_KEY, 0, 0, withscores=True)
        return max(0.0, float(first[0][1]) - time.time()) if first else otherwise
