"""What every worker process shares: stopping, logging, pauses between tries."""

import gc
import logging
import os
import random
import signal
import threading
from types import FrameType

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(32), 127, *range(128, 160)) if code != 10}


class Stop:
    """Set by SIGTERM, SIGINT, or the end of the supervisor (its pipe to us closes)."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __bool__(self) -> bool:
        return self._event.is_set()

    def set(self) -> None:
        self._event.set()

    def wait(self, seconds: float) -> bool:
        """Sleeps, but not longer than until the stop; whether it has come."""
        return self._event.wait(max(0.0, seconds))

    def listen(self, *, to_parent: bool) -> "Stop":
        """Installs the signal handlers; `to_parent` also watches standard input for its end."""

        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self.set()

        signal.signal(signal.SIGTERM, on_signal)
        signal.signal(signal.SIGINT, on_signal)
        if to_parent:
            threading.Thread(target=self._await_parent, daemon=True).start()
        return self

    def _await_parent(self) -> None:
        while os.read(0, 1024):  # unbuffered: a thread that holds the buffer's lock would break the exit
            pass
        self.set()


class _OneLine(logging.Formatter):
    """Names and errors come from strangers: no control character of theirs reaches a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        return super().format(record).translate(_CONTROL)


def set_up_logging(name: str) -> None:
    """Logs to standard error as `time level name: message`."""
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(f"%(asctime)s %(levelname)-7s {name}: %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.getLogger("alembic").setLevel(logging.WARNING)


def settle_memory() -> None:
    """Called once after the imports: collections then skip what lives for ever, and come seldom."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)  # ingest makes many short-lived tuples and no cycles


def backoff_s(tries: int) -> float:
    """A jittered pause before the next try: 0.5 s at first, doubling up to 30 s."""
    longest: float = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(tries, 10))
    return longest * random.uniform(0.5, 1.0)  # noqa: S311
