"""An operator as `python -m collectors.operator` runs it, in small batches, each settled at once.

It can be armed: at one step, which is a function of the product, it sends itself a signal. It is forked from
a process that has imported everything, so that it is at work within 50 ms and hundreds of steps can be tried.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from functools import reduce, wraps
from importlib import import_module
from multiprocessing import parent_process
from pathlib import Path
from typing import Any, Literal

from collectors import operator
from eventwake.settings import CONFIG_VARIABLE

LETTERS_A_BATCH = 5  # a kill at a random moment then meets more of what lies between batches

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Step:
    """Just before or after a call of the function at `place`, "module:name".

    The `call`-th that has `word` among its arguments, where one is given.
    """

    when: Literal["before", "after"]
    place: str
    call: int = 1
    word: str = ""
    uncommitted: bool = False  # a transaction of the store is open at this step

    def __str__(self) -> str:
        name = {"": self.place.rpartition(":")[2], "_": "EXEC"}.get(self.word, self.word)
        return f"{self.when} {name}" + (f" no. {self.call}" if self.call > 1 else "")


class ArmedOperator:
    """The process; used like one of `subprocess`."""

    def __init__(self, config: Path, source: str, signal_name: str = "", step: Step | None = None) -> None:
        self._process = _forks.Process(target=_run, args=(config, source, signal_name, step))
        self._process.start()
        self.pid: int = self._process.pid

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()

    def wait(self, timeout: float) -> int:
        """Its exit code, negative for a signal. Raises `TimeoutExpired`."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the operator", timeout)
        return self._process.exitcode


def _run(config: Path, source: str, signal_name: str, step: Step | None) -> None:
    os.environ[CONFIG_VARIABLE] = str(config)
    sys.argv[1:] = [source]
    os.dup2(parent_process().sentinel, 0)  # it ends with the test, as it does with the supervisor
    if step:
        _arm(step, signal.Signals[signal_name])
    operator.LETTERS_A_BATCH = LETTERS_A_BATCH
    operator.SETTLE_AFTER_MS = 0
    operator.main()


def _arm(step: Step, number: int) -> None:
    module, _, path = step.place.partition(":")
    *owners, name = path.split(".")
    owner = reduce(getattr, owners, import_module(module))
    real = getattr(owner, name)
    calls = 0

    @wraps(real)
    def armed(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        counts = not step.word or step.word in arguments
        calls += counts
        is_it = counts and calls == step.call
        if is_it and step.when == "before":
            os.kill(os.getpid(), number)
        result = real(*arguments, **named)
        if is_it and step.when == "after":
            os.kill(os.getpid(), number)
        return result

    setattr(owner, name, armed)
