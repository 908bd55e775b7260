"""The demo's processes: each in a group of its own, with a log, and none left behind.

Ctrl-C in a terminal reaches only the launcher, which then stops them in order. Should the launcher itself be
killed, `guard.py` does it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from examples.demo.workspace import Workspace

PROJECT = Path(__file__).resolve().parents[2]
GUARD = Path(__file__).with_name("guard.py")
GRACE_S = 4.0
TAIL_LINES = 15
OWN_SETTINGS = ("EVENTWAKE_", "ORDER_SYSTEM_", "STREAMLIT_")  # the visitor's are not meant for the demo


@dataclass(frozen=True, slots=True)
class Child:
    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def tail(self) -> str:
        """The last lines of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-TAIL_LINES:]
        return "\n".join(f"    {line}" for line in lines)


class Children:
    """Those that were started, in this order."""

    def __init__(self, workspace: Workspace) -> None:
        self._logs = workspace.logs
        self._running: list[Child] = []
        removed = "" if workspace.kept else str(workspace.directory)
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(GUARD), removed],
            stdin=subprocess.PIPE,
            pass_fds=[workspace.lock.fileno()],  # the directory is free again when the last process is gone
            start_new_session=True,
        )

    def start(self, name: str, command: Sequence[str], more: Mapping[str, str]) -> Child:
        """`more`: variables of its environment."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(OWN_SETTINGS)}
        path = self._logs / f"{name}.log"
        with path.open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=PROJECT,
                env={**environment, **more},
                start_new_session=True,
            )
        self._tell_guard(str(process.pid))
        child = Child(name, process, path)
        self._running.append(child)
        return child

    def ended(self) -> Child | None:
        """One that has ended by itself, if any has."""
        return next((child for child in self._running if child.process.poll() is not None), None)

    def stop(self) -> None:
        """The first one last: the others use it, and would tell of an outage."""
        _stop(self._running[1:])
        _stop(self._running[:1])
        self._tell_guard("stopped")
        with contextlib.suppress(BrokenPipeError):
            self._guard.communicate()

    def _tell_guard(self, line: str) -> None:
        assert self._guard.stdin  # noqa: S101
        with contextlib.suppress(BrokenPipeError):
            self._guard.stdin.write(f"{line}\n".encode())
            self._guard.stdin.flush()


def _stop(children: Sequence[Child]) -> None:
    for child in children:
        child.process.terminate()
    give_up_at = time.monotonic() + GRACE_S
    for child in children:
        try:
            child.process.wait(max(0.0, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            os.killpg(child.process.pid, signal.SIGKILL)
            child.process.wait()
