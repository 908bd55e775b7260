"""Event-sourced accounts: an account is the sum of its events, and nothing else is stored of it."""

import json
import time
from uuid import uuid4

import redis

from examples.order_system.client import as_text
from examples.order_system.envelope import Cause, Event
from examples.order_system.names import ACCOUNTS
from examples.order_system.service import IDLE_S, Context
from examples.order_system.unit import Unit

# what happens on a new account, each caused by the one before: its balance is 150 afterwards
FIRST_EVENTS = (("AccountOpened", 100), ("MoneyDeposited", 75), ("MoneyWithdrawn", -25))
PLAN_KEY = "payment-service:account-plan"  # sorted set: what is to happen, as JSON -> Unix time
DUE_A_TURN = 20


class Accounts:
    """Opens an account for each new user. What is to happen later is kept in Redis: a restart goes on."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def on_user_registered(self, event: Event, unit: Unit) -> None:
        account = {"account_id": str(uuid4()), "user_id": event.data["user_id"]}
        self._add(unit, account, 0, event.cause)

    def go_on(self) -> float:
        """Adds the events that are due; returns the seconds until the next is."""
        client = self._context.redis
        for planned in client.zrangebyscore(PLAN_KEY, "-inf", time.time(), start=0, num=DUE_A_TURN):
            try:
                self._carry_out(as_text(planned))
            except redis.WatchError:
                continue  # the plan has changed since: it is looked at again in the next turn
        first = client.zrange(PLAN_KEY, 0, 0, withscores=True)
        return min(IDLE_S, max(0.0, float(first[0][1]) - time.time())) if first else IDLE_S

    def _carry_out(self, planned: str) -> None:
        with self._context.publisher.unit() as unit:
            unit.watch(PLAN_KEY)
            if self._context.redis.zscore(PLAN_KEY, planned) is not None:
                plan = json.loads(planned)
                unit.write.zrem(PLAN_KEY, planned)
                self._add(unit, plan["account"], plan["done"], Cause(*plan["cause"]))

    def _add(self, unit: Unit, account: dict[str, str], done: int, cause: Cause) -> None:
        """Adds the event that follows on `done` events, and plans the one after it."""
        event_type, amount = FIRST_EVENTS[done]
        data = {**account, "amount": amount, "currency": "EUR", "sequence": done + 1}
        event = unit.publish(ACCOUNTS, event_type, data, cause)
        if done + 1 < len(FIRST_EVENTS):
            plan = json.dumps({"account": account, "done": done + 1, "cause": event.cause})
            pause = self._context.settings.account_pause * self._context.rng.uniform(0.5, 1.5)
            unit.write.zadd(PLAN_KEY, {plan: time.time() + pause})
