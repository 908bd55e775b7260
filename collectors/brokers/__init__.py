"""The brokers Eventwake knows: a package each, loaded on first use. A new one is one line here."""

from importlib import import_module
from typing import NamedTuple

from collectors.brokers.base import Broker
from eventwake.domain.errors import SettingsError
from eventwake.settings import Source


class Entry(NamedTuple):
    """Where the broker's class is, and the URL schemes (up to a `+`) by which `init` knows it."""

    target: str
    schemes: tuple[str, ...]


REGISTRY = {
    "redis_streams": Entry("collectors.brokers.redis_streams:RedisStreams", ("redis", "rediss", "unix")),
    "postgres_queue": Entry("collectors.brokers.postgres_queue:PostgresQueue", ("postgresql", "postgres")),
    "kafka": Entry("collectors.brokers.kafka:Kafka", ("kafka",)),
}


def kind_of(url: str) -> str:
    """The kind of broker that a URL is of. Raises `SettingsError` where none is."""
    scheme = url.partition("://")[0].partition("+")[0]
    for kind, entry in REGISTRY.items():
        if scheme in entry.schemes:
            return kind
    known = ", ".join(f"{scheme}://" for entry in REGISTRY.values() for scheme in entry.schemes)
    raise SettingsError(f"no broker has URLs that begin like this one; known are {known}")


def broker_for(source: Source) -> Broker:
    """The configured, not yet started broker of a source. Raises `SettingsError`."""
    if source.kind not in REGISTRY:
        raise SettingsError(
            f"source {source.name!r}: kind {source.kind!r} is not known; known are {', '.join(REGISTRY)}"
        )
    module, _, name = REGISTRY[source.kind].target.partition(":")
    broker: Broker = getattr(import_module(module), name)(source)
    return broker
