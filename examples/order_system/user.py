"""The user service: registers users, and now and then one of them moves."""

import json
import time
from typing import Any
from uuid import uuid4

import redis

from examples.order_system.client import as_text
from examples.order_system.names import USERS
from examples.order_system.people import random_address, random_person
from examples.order_system.service import Context, Service

PROFILES_KEY = "user-service:profiles"  # hash: user id -> profile as JSON
FIRST_USERS = 10  # registered at once, so that orders can be placed
MOVES = 0.25  # share of the happenings that are moves; the others are registrations


class UnknownUser(LookupError):
    """The user service knows no such user."""


def profile_of(client: redis.Redis, user_id: str) -> dict[str, Any]:
    """Stands for a request to the user service, which a thin notification makes necessary."""
    found = client.hget(PROFILES_KEY, user_id)
    if found is None:
        raise UnknownUser(f"the user service knows no user {user_id}")
    profile: dict[str, Any] = json.loads(found)
    return profile


class UserService(Service):
    """Publishes only. `UserRegistered` carries the whole profile, `UserAddressChanged` nothing but ids."""

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._next_at = time.monotonic()

    def tick(self) -> float:
        now = time.monotonic()
        if now >= self._next_at:
            if self.context.redis.hlen(PROFILES_KEY) < FIRST_USERS:
                for _ in range(FIRST_USERS):
                    self._register()
            elif self.context.rng.random() < MOVES:
                self._move()
            else:
                self._register()
            self._next_at = now + self.context.settings.register_every
        return self._next_at - now

    def _register(self) -> None:
        profile = {"user_id": str(uuid4()), **random_person(self.context.rng)}
        with self.context.publisher.unit() as unit:
            unit.write.hset(PROFILES_KEY, profile["user_id"], json.dumps(profile))
            unit.publish(USERS, "UserRegistered", profile)

    def _move(self) -> None:
        user_id = as_text(self.context.redis.hrandfield(PROFILES_KEY))
        profile = profile_of(self.context.redis, user_id) | {"address": random_address(self.context.rng)}
        with self.context.publisher.unit() as unit:
            unit.write.hset(PROFILES_KEY, user_id, json.dumps(profile))
            unit.publish(USERS, "UserAddressChanged", {"user_id": user_id})
