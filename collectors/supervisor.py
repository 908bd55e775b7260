"""Starts, watches and restarts the workers; migrates, checkpoints and retains the store.

Each worker is a process with a pipe from here as its standard input: when this process ends, however it
ends, the pipe closes and the workers stop by themselves.
"""

import fcntl
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from collectors.brokers import broker_for
from collectors.process import Stop, backoff_s
from eventwake.clock import now_ms
from eventwake.domain.errors import SettingsError, StoreError, StoreUnavailable
from eventwake.settings import Settings
from eventwake.store import command_items, maintenance
from eventwake.store.migrate import migrate
from eventwake.store.reads.sources import heartbeats
from eventwake.store.session import Store
from eventwake.store.writes import sources

log = logging.getLogger(__name__)

TICK_S = 0.5
WATCHDOG_MS = 60_000  # a worker silent for so long hangs in its client, and is ended
ASLEEP_MS = 5_000  # so long without a write of our own: the store was locked, or the machine slept
STEADY_AFTER_S = 60.0  # a worker that lived so long starts again without a growing pause
STOP_WITHIN_S = 10.0  # the batch that has begun is finished within this
CHECKPOINT_S = 5.0
RETAIN_S = 600.0
LEFT = "its source is not in the settings any more"


@dataclass(slots=True)
class Child:
    """One worker process, and when it may be started (again)."""

    module: str
    source: str
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    tries: int = 0

    @property
    def role(self) -> str:
        return {"collectors.worker": "sampler"}.get(self.module, self.module.removeprefix("collectors."))

    def start(self) -> None:
        command = [sys.executable, "-m", self.module, *([self.source] if self.source else [])]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE)
        self.started = time.monotonic()

    def tend(self) -> None:
        """Starts it where it is due, and notices where it ended."""
        now = time.monotonic()
        if self.process is None:
            if now >= self.start_at:
                self.start()
        elif (code := self.process.poll()) is not None:
            self.tries = 0 if now - self.started > STEADY_AFTER_S else self.tries + 1
            pause = backoff_s(self.tries)
            log.error("%s of %s ended with %d; again in %.1f s", self.role, self.source or "all", code, pause)
            self.process, self.start_at = None, now + pause


class Supervisor:
    """All workers over one store."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = Store(settings.store.url, create=True)
        self._children = [Child("collectors.alerter", "")]
        self._read_only: set[str] = set()  # sources without an operator, until they have something to end
        self._wrote_ms = 0
        self._awake_since_ms = 0  # from then on workers could write, since we could
        for source in settings.source:
            self._children.append(Child("collectors.worker", source.name))
            if source.writable:
                self._children.append(Child("collectors.operator", source.name))
            else:
                self._read_only.add(source.name)

    def run(self, stop: Stop) -> None:
        """Until stopped. Raises `SettingsError` or `StoreError` where it cannot begin."""
        for source in self._settings.source:
            broker_for(source)  # every fault of the settings shows now, not in a worker's log
        with self._sole():
            copy = migrate(self._store)
            if copy:
                log.info("the store was brought up to date; a copy of the old one is %s", copy)
            with self._store.write() as tx:
                sources.forget_sources(tx, [source.name for source in self._settings.source], now_ms())
            upkeep = threading.Thread(target=self._maintain, args=(stop,), name="upkeep")
            upkeep.start()
            try:
                while not stop:
                    self._tend()
                    stop.wait(TICK_S)
            finally:
                stop.set()
                self._stop_children()
                upkeep.join()
                self._store.close()

    def _tend(self) -> None:
        for child in self._children:
            child.tend()
        try:
            with self._store.write() as tx:
                sources.heartbeat(tx, "", "supervisor", "running", now_ms())
            with self._store.read() as connection:
                beats = heartbeats(connection)
                busy = command_items.busy_sources(connection)
        except StoreUnavailable as error:
            log.error("%s", error)
            return
        self._wrote(now_ms())
        self._end_what_hangs(beats)
        for name in self._read_only & busy:  # it became read-only in the midst of an operation
            self._read_only.discard(name)
            self._children.append(Child("collectors.operator", name))

    def _wrote(self, at_ms: int) -> None:
        if at_ms - self._wrote_ms > ASLEEP_MS:
            self._awake_since_ms = at_ms
        self._wrote_ms = at_ms

    def _end_what_hangs(self, beats: Mapping[tuple[str, str], int]) -> None:
        for child in self._children:
            beat = beats.get((child.source, child.role))
            hung = beat is not None and self._wrote_ms - max(beat, self._awake_since_ms) > WATCHDOG_MS
            if child.process and hung and time.monotonic() - child.started > WATCHDOG_MS / 1000:
                log.error(
                    "%s of %s has been silent for %d s: ended", child.role, child.source, WATCHDOG_MS / 1000
                )
                child.process.kill()

    def _stop_children(self) -> None:
        running = [child.process for child in self._children if child.process]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + STOP_WITHIN_S
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _maintain(self, stop: Stop) -> None:
        next_retention = 0.0
        while not stop.wait(CHECKPOINT_S):
            try:
                maintenance.checkpoint(self._store)
                end_commands_of_others(self._store, [source.name for source in self._settings.source], stop)
                if time.monotonic() >= next_retention:
                    maintenance.retain(self._store, self._settings.store, now_ms())
                    maintenance.build_filters(self._store)
                    next_retention = time.monotonic() + RETAIN_S
            except StoreError as error:
                log.error("upkeep of the store: %s", error)
                self._make_room(error)
            except Exception:  # without checkpoints and retention the store would grow without end
                log.exception("upkeep of the store failed; the next is in %.0f s", RETAIN_S)
                next_retention = time.monotonic() + RETAIN_S

    def _make_room(self, error: StoreError) -> None:
        if "SQLITE_FULL" in str(error) and self._store.path and maintenance.drop_ballast(self._store.path):
            log.warning("gave %d MB of ballast back to the disk", maintenance.BALLAST_BYTES // 2**20)

    @contextmanager
    def _sole(self) -> Iterator[None]:
        """Holds the store's lock file: two supervisors would be two checkpointers."""
        path = self._store.path
        if path is None:
            yield
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.with_name(f"{path.name}.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SettingsError(
                    f"other collectors already run over {path}; stop them, or name another store"
                ) from error
            maintenance.keep_ballast(path)
            yield


def end_commands_of_others(store: Store, known: Collection[str], stop: Stop) -> None:
    """Ends what was asked of sources that left the settings: no operator would ever go on with it."""
    with store.read() as connection:
        left = command_items.busy_sources(connection) - {*known}
        of_them = [command for name in sorted(left) for command in command_items.unfinished(connection, name)]
    for command in of_them:
        ended = False
        while not ended and not stop.wait(command_items.PAUSE_S):
            with store.write() as tx:
                command_items.leave(tx, command.id, LEFT, now_ms())
                command_items.close_sent(tx, command.id, LEFT, now_ms())
                ended = command_items.finish_if_ended(tx, command.id, now_ms())
        log.warning("operation %d on %s is ended: %s", command.id, command.source, LEFT)
