"""The rigs of every registered broker: a name of `collectors.brokers.REGISTRY` -> the ways to run it."""

from tests.contract.rigs import kafka, postgres_queue, redis_streams
from tests.contract.rigs.base import LogRig
from tests.contract.rigs.queue_base import QueueRig

LOG_RIGS: dict[str, tuple[type[LogRig], ...]] = {
    "redis_streams": redis_streams.RIGS,
    "kafka": kafka.RIGS,
}
QUEUE_RIGS: dict[str, tuple[type[QueueRig], ...]] = {
    "postgres_queue": postgres_queue.RIGS,
}
