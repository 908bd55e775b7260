"""Watches one source; the supervisor starts `python -m collectors.worker SOURCE`.

The composition root of a source: its broker, its jobs, and the loop that runs each when it is due. An outage
ends the loop, which starts again after a pause; other sources are other processes and go on.
"""

import json
import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from collectors.brokers import broker_for
from collectors.brokers.base import Broker
from collectors.follower import Follower
from collectors.lag_sampler import LagSampler
from collectors.process import Stop, backoff_s, set_up_logging, settle_memory
from collectors.sampler import Sampler
from collectors.streams import Streams
from eventwake.clock import now_ms
from eventwake.domain.errors import BrokerError, BrokerUnavailable, Conflict, StoreUnavailable
from eventwake.settings import Settings, Source, load
from eventwake.store.session import Store
from eventwake.store.writes import sources

log = logging.getLogger(__name__)

ROLE = "sampler"
HEARTBEAT_S = 2.0


@dataclass(slots=True)
class Job:
    """Something to do again and again; `run` answers after how many seconds it is due next (0: at once)."""

    run: Callable[[], float]
    due: float = 0.0

    def run_if_due(self) -> None:
        if time.monotonic() >= self.due:
            self.due = time.monotonic() + self.run()


class Budget:
    """So many commands a second: what was spent is earned again before the next job."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._paid_until = 0.0

    def spend(self, commands: int) -> float:
        """Seconds until they are paid for."""
        now = time.monotonic()
        self._paid_until = max(self._paid_until, now) + commands / self._per_s
        return self._paid_until - now


class Worker:
    """One source with everything that watches it."""

    def __init__(self, store: Store, broker: Broker, source: Source, settings: Settings) -> None:
        self._store = store
        self._broker = broker
        self._source = source
        self._settings = settings
        self._down_since_ms: int | None = None

    def run(self, stop: Stop) -> None:
        """Until stopped. A batch that has begun is finished."""
        self._register()
        tries = 0
        while not stop:
            try:
                self._broker.start()
                self._came_up()
                tries = 0
                self._watch(stop)
            except BrokerError as error:
                self._went_down(error)
                stop.wait(backoff_s(tries))
                tries += 1
            except (StoreUnavailable, Conflict) as error:  # nowhere to say so but the log
                log.error("%s; trying again", error)
                stop.wait(backoff_s(tries))
                tries += 1
            finally:
                self._broker.stop()
        self._beat("stopped", "")

    def _watch(self, stop: Stop) -> None:
        source, store, broker = self._source, self._store, self._broker
        streams = Streams(store, broker, source)
        streams.load()
        sampler = Sampler(
            store, broker, source, streams, self._settings.saga, self._settings.store.segment_rows
        )
        lag_sampler = LagSampler(store, broker, source, streams)
        follower = Follower(store, broker, source, streams)

        def discover() -> float:
            return source.discovery_s if streams.discover() else source.poll_s

        def look() -> float:
            streams.look()
            if broker.capabilities.groups:
                lag_sampler.step()
            follower.step()
            return source.groups_s

        def sample() -> float:
            return 0.0 if sampler.step() else source.poll_s

        def beat() -> float:
            self._beat("running", _says(streams))
            return HEARTBEAT_S

        budget = Budget(source.reads_per_s)

        def within_budget(run: Callable[[], float]) -> Job:
            def run_and_pay() -> float:
                before = broker.commands_sent
                due = run()
                return max(due, budget.spend(broker.commands_sent - before))

            return Job(run_and_pay)

        jobs = [within_budget(discover), within_budget(look), within_budget(sample)]
        beats = Job(beat)
        broker.alive = beats.run_if_due
        while not stop:
            for job in jobs:
                beats.run_if_due()  # between any two: each may take long
                job.run_if_due()
            stop.wait(min(job.due for job in (*jobs, beats)) - time.monotonic())

    def _register(self) -> None:
        capabilities = json.dumps(asdict(self._broker.capabilities))
        with self._store.write() as tx:
            sources.register_source(
                tx, self._source.name, self._source.kind, self._source.writable, capabilities, now_ms()
            )
        self._beat("starting", "")

    def _came_up(self) -> None:
        server = self._broker.server()
        log.info("watching %s", server.version)
        with self._store.write() as tx:
            sources.source_state(
                tx, self._source.name, "up", now_ms(), server=server.version, identity=server.identity
            )

    def _went_down(self, error: BrokerError) -> None:
        state = "down" if isinstance(error, BrokerUnavailable) else "refused"
        log.warning("%s; trying again", error)
        try:
            with self._store.write() as tx:
                sources.source_state(tx, self._source.name, state, now_ms(), detail=str(error))
        except StoreUnavailable as store_error:
            log.error("%s", store_error)
        self._beat("waiting", str(error))

    def _beat(self, state: str, detail: str) -> None:
        try:
            with self._store.write() as tx:
                sources.heartbeat(tx, self._source.name, ROLE, state, now_ms(), detail)
                if state == "running":
                    sources.source_state(tx, self._source.name, "up", now_ms(), detail=detail)
        except StoreUnavailable as error:
            log.error("%s", error)


def _says(streams: Streams) -> str:
    """What the worker has to say of its own work; nothing where all is well."""
    said = []
    behind = sum(watched.unread or 0 for watched in streams.watched.values())
    if behind:
        said.append(f"catching up, {behind:,} events behind")
    if streams.refused:
        name, reason = next(iter(streams.refused.items()))
        said.append(f"{len(streams.refused)} streams cannot be read, such as {name}: {reason}")
    return "; ".join(said)


def main() -> None:
    name = sys.argv[1]
    set_up_logging(name)
    settings = load()
    source = settings.source_named(name)
    store = Store(settings.store.url, durability=settings.store.durability)
    broker = broker_for(source)
    settle_memory()
    Worker(store, broker, source, settings).run(Stop().listen(to_parent=True))


if __name__ == "__main__":
    main()
