"""What a service is: its name, the streams it reads, and what it does with each type of event."""

import logging
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import redis

from examples.order_system.envelope import Event
from examples.order_system.faults import Faults
from examples.order_system.settings import Settings
from examples.order_system.unit import Publisher, Unit

Handler = Callable[[Event, Unit], None]

IDLE_S = 1.0  # the longest that a service waits for events before it looks at its timers and the faults


@dataclass(frozen=True, slots=True)
class Context:
    """What every service works with. `group` is also the producer of its events."""

    group: str
    redis: redis.Redis
    settings: Settings
    faults: Faults
    publisher: Publisher
    rng: random.Random
    log: logging.Logger

    @property
    def consumer(self) -> str:
        return f"{self.group}-1"


def context_for(name: str, client: redis.Redis, settings: Settings) -> Context:
    group = f"{name}-service"
    faults = Faults(client)
    # chances of their own: contents do not depend on how many events were published in between
    publisher = Publisher(client, group, settings, faults, _chances(settings, f"{name}/duplicates"))
    rng = _chances(settings, name)
    return Context(group, client, settings, faults, publisher, rng, logging.getLogger(group))


def _chances(settings: Settings, purpose: str) -> random.Random:
    return random.Random(None if settings.seed is None else f"{settings.seed}/{purpose}")


class Service:
    """Base of the services.

    `handlers` maps a type of event to what is done with it; other types are passed over. A handler may run
    more than once for an event (it failed, or the process was killed), but what it writes through its unit
    takes effect once.
    """

    streams: tuple[str, ...] = ()

    def __init__(self, context: Context) -> None:
        self.context = context
        self.handlers: Mapping[str, Handler] = {}

    def tick(self) -> float:
        """Does what is due by now; returns how many seconds it can wait for the next call."""
        return IDLE_S

    def stalled(self) -> bool:
        """Whether it reads nothing for now."""
        return False
