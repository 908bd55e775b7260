"""The order service: places orders at a steady rate, and runs the saga of each."""

import json
import time
from typing import Any, cast
from uuid import uuid4

from examples.order_system.envelope import Event, make, to_fields
from examples.order_system.names import INVENTORY, ORDERS, PAYMENTS, RATE_KEY, USERS
from examples.order_system.people import random_items, total_cents
from examples.order_system.saga import OrderSaga
from examples.order_system.service import IDLE_S, Context, Service
from examples.order_system.unit import Unit
from examples.order_system.user import profile_of

CUSTOMERS_KEY = "order-service:customers"  # hash: user id -> profile as JSON, as far as events told
RATE_POLL_S = 1.0
PLACE_AT_MOST_EVERY_S = 0.05  # at a high rate a few orders are placed together, which saves wake-ups
CATCH_UP_S = 1.0  # orders missed for longer (the server was gone) are not made up for
DRIFTED_VERSION = 2


class OrderService(Service):
    streams = (USERS, ORDERS, INVENTORY, PAYMENTS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._saga = OrderSaga(context)
        self.handlers = {
            "UserRegistered": self._on_user_registered,
            "UserAddressChanged": self._on_user_address_changed,
            **self._saga.handlers,
        }
        self._left = context.settings.orders
        self._rate = context.settings.rate
        self._rate_read_at = float("-inf")
        self._placed_until = time.monotonic()

    def _on_user_registered(self, event: Event, unit: Unit) -> None:
        unit.write.hset(CUSTOMERS_KEY, event.data["user_id"], json.dumps(event.data))

    def _on_user_address_changed(self, event: Event, unit: Unit) -> None:
        user_id = event.data["user_id"]
        unit.write.hset(CUSTOMERS_KEY, user_id, json.dumps(profile_of(self.context.redis, user_id)))

    def tick(self) -> float:
        self._saga.time_out_overdue()
        return min(self._place_due_orders(), self._saga.next_deadline_in(), IDLE_S)

    def _place_due_orders(self) -> float:
        """Places what is due; returns the seconds until more may be."""
        now = time.monotonic()
        self._read_rate(now)
        if self._rate == 0 or self._left == 0:
            self._placed_until = now
            return IDLE_S
        interval = 1 / self._rate
        self._placed_until = max(self._placed_until, now - CATCH_UP_S)
        while self._placed_until + interval <= now and self._left != 0:
            customer = cast(list[bytes], self.context.redis.hrandfield(CUSTOMERS_KEY, 1, withvalues=True))
            if not customer:
                return IDLE_S  # nobody has registered yet; the event of it ends the wait
            self._place(json.loads(customer[1]))
            self._placed_until += interval
            self._left = None if self._left is None else self._left - 1
        return max(self._placed_until + interval - now, PLACE_AT_MOST_EVERY_S)

    def _read_rate(self, now: float) -> None:
        if now - self._rate_read_at >= RATE_POLL_S:
            asked = self.context.redis.get(RATE_KEY)
            self._rate = self.context.settings.rate if asked is None else float(asked)
            self._rate_read_at = now

    def _place(self, customer: dict[str, Any]) -> None:
        data, version = self._order_for(customer), 1
        faults, rng = self.context.faults, self.context.rng
        if rng.random() < faults.value("schema-drift", 0):
            data, version = _drifted(data), DRIFTED_VERSION
        rotten = rng.random() < self.context.settings.poison
        asked_to = faults.on("poison")
        with self.context.publisher.unit() as unit:
            if rotten or asked_to:
                unit.publish_raw(ORDERS, _poisoned(to_fields(make("OrderPlaced", data, self.context.group))))
            else:
                unit.publish(ORDERS, "OrderPlaced", data, schema_version=version)
            if asked_to:
                faults.struck(unit.write, "poison")

    def _order_for(self, customer: dict[str, Any]) -> dict[str, Any]:
        items = random_items(self.context.rng)
        return {
            "order_id": str(uuid4()),
            "user_id": customer["user_id"],
            "customer": {"name": customer["name"], "email": customer["email"]},
            "address": customer["address"],
            "items": items,
            "total_cents": total_cents(items),
            "currency": "EUR",
        }


def _drifted(data: dict[str, Any]) -> dict[str, Any]:
    """What a colleague thought nicer: another name for the address, and the total as a decimal string."""
    changed = {**data, "shipping_address": data["address"], "total_cents": f"{data['total_cents'] / 100:.2f}"}
    del changed["address"]
    return changed


def _poisoned(fields: dict[str, str]) -> dict[str, str]:
    """Cut off in the middle, as by a producer with too small a buffer."""
    return {**fields, "data": fields["data"][: len(fields["data"]) // 2]}
