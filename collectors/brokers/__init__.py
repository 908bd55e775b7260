"""The brokers Eventwake knows: a package each, loaded on first use. A new one is one line here."""

from importlib import import_module

from collectors.brokers.base import Broker
from eventwake.domain.errors import SettingsError
from eventwake.settings import Source

REGISTRY = {
    "redis_streams": "collectors.brokers.redis_streams:RedisStreams",
}


def broker_for(source: Source) -> Broker:
    """The configured, not yet started broker of a source. Raises `SettingsError`."""
    if source.kind not in REGISTRY:
        raise SettingsError(
            f"source {source.name!r}: kind {source.kind!r} is not known; known are {', '.join(REGISTRY)}"
        )
    module, _, name = REGISTRY[source.kind].partition(":")
    broker: Broker = getattr(import_module(module), name)(source)
    return broker
