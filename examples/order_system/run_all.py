"""Runs every service, each in a child process, and leaves none behind."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.order_system.client import connect, without_password
from examples.order_system.faults import read
from examples.order_system.names import RATE_KEY
from examples.order_system.run_one import SERVICES, stop_on_signals
from examples.order_system.settings import Settings, as_environment

PROJECT = Path(__file__).resolve().parents[2]
LOOK_EVERY_S = 1.0
GRACE_S = 8.0  # a service stops within about a second; a payment under the fault slow-payment later

Children = dict[str, subprocess.Popen[bytes]]


def run_all(settings: Settings) -> int:
    """Until SIGINT or SIGTERM (then 0), or until every service has ended by itself (then 1)."""
    stop = stop_on_signals()
    client = connect(settings.url, name="order-system")
    client.delete(RATE_KEY)
    faults = ", ".join(read(client)) or "none"
    client.close()
    with _children(settings) as running:
        print(
            f"{len(SERVICES)} services run on {without_password(settings.url)} with {settings.rate:g} orders "
            f"per second; faults: {faults}; Ctrl-C stops them",
            flush=True,
        )
        while running and not stop.wait(LOOK_EVERY_S):
            _tell_of_ended(running)
        return 0 if stop.is_set() else 1


@contextmanager
def _children(settings: Settings) -> Iterator[Children]:
    children: Children = {}
    try:
        for name in SERVICES:
            children[name] = _start(name, settings)
        yield children
    finally:
        _stop(children)


def _start(name: str, settings: Settings) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "examples.order_system", "run", name, "--with-parent"]
    environment = {**os.environ, **as_environment(settings)}
    # the pipe is never written to: its end tells the child that this process is gone
    return subprocess.Popen(command, stdin=subprocess.PIPE, cwd=PROJECT, env=environment)


def _tell_of_ended(children: Children) -> None:
    """None is started again: a service that is missing is one of the things to be observed."""
    for name, child in list(children.items()):
        if child.poll() is not None:
            print(
                f"the {name} service (pid {child.pid}) has ended with {child.returncode}; the others go on. "
                f"To start it: python -m examples.order_system run {name}",
                file=sys.stderr,
                flush=True,
            )
            del children[name]


def _stop(children: Children) -> None:
    for child in children.values():
        child.terminate()
    give_up_at = time.monotonic() + GRACE_S
    for child in children.values():
        try:
            child.wait(max(0.0, give_up_at - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
