"""The rigs of every registered broker: a name of `collectors.brokers.REGISTRY` -> the ways to run it."""

from tests.contract.rigs import redis_streams
from tests.contract.rigs.base import LogRig

LOG_RIGS: dict[str, tuple[type[LogRig], ...]] = {
    "redis_streams": redis_streams.RIGS,
}
