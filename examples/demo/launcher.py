"""Starts everything, waits until each part works, and stops everything again."""

import contextlib
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from eventwake.store.session import Store
from examples.demo import checks
from examples.demo.children import PROJECT, Child, Children
from examples.demo.workspace import Unusable, Workspace, open_workspace
from examples.order_system.client import connect
from examples.order_system.faults import read
from examples.redis_server import NoServer, find_server, free_port

VALKEY_PORT = 6390
READY_WITHIN_S = 60.0
LOOK_EVERY_S = 0.1
ORDER_SYSTEM = "examples.order_system"
LIFE = (  # something to see at any time, and memory that a night does not fill
    *("--rate=5", "--step-timeout=5", "--backoff=0.3", "--greylisting=0.004"),
    *("--maxlen=50000", "--remember=14400"),
)
THINGS_TO_TRY = (
    ("break email-down", "the mail server takes no mail: letters arrive under Dead letters"),
    ("mend email-down", "then choose a letter there, retry it, and watch it being consumed"),
    ("break analytics-stall 60", "analytics stops reading for a minute: watch Lag grow and shrink"),
    ("break payment-down", "orders time out and are cancelled: follow one under Traces"),
    ("mend all", "everything works again"),
    ("faults", "lists all that can be broken"),
)


class Stopped(Exception):
    """The visitor asked for the end before everything ran."""


class Failed(RuntimeError):
    """A part does not run; the message has the end of its log."""


@dataclass(frozen=True, slots=True)
class Demo:
    workspace: Workspace
    children: Children
    stop: threading.Event
    valkey_url: str
    port: int

    def start(self, name: str, *command: str) -> Child:
        settings = {"EVENTWAKE_CONFIG": str(self.workspace.settings), "PYTHONUNBUFFERED": "1"}
        return self.children.start(name, command, settings)

    def wait(self, step: str, child: Child, ready: Callable[[], str]) -> None:
        """Says the step and how it went. Raises `Stopped` or `Failed`."""
        say(f"{step} ...", end=" ")
        began = time.monotonic()
        while not (seen := ready()):
            self.check()
            if time.monotonic() - began > READY_WITHIN_S:
                say("")
                raise Failed(f"not within {READY_WITHIN_S:.0f} s; the end of {child.log}:\n{child.tail()}")
            self.stop.wait(LOOK_EVERY_S)
        say(f"{seen} ({time.monotonic() - began:.1f} s)")

    def check(self) -> None:
        """Raises `Stopped` where that was asked for, `Failed` where a part has ended."""
        if self.stop.is_set():
            raise Stopped
        if child := self.children.ended():
            code = child.process.returncode
            raise Failed(f"{child.name} has ended with {code}; the end of {child.log}:\n{child.tail()}")


def run(data: Path | None, port: int, stop: threading.Event) -> int:
    """Until `stop` is set (then 0), or until a part ends by itself (then 1)."""
    try:
        server, workspace = find_server(), open_workspace(data)
    except (NoServer, Unusable) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    with _running(workspace, stop, port) as demo:
        began = time.monotonic()
        try:
            _start(demo, server)
            _tell(demo, time.monotonic() - began)
            while not stop.wait(LOOK_EVERY_S):
                demo.check()
        except Stopped:
            return 0
        except Failed as error:
            say(f"\ndemo: {error}", file=sys.stderr)
            return 1
    return 0


@contextlib.contextmanager
def _running(workspace: Workspace, stop: threading.Event, port: int) -> Iterator[Demo]:
    where = workspace.directory
    say(f"Data in {where}, " + ("kept" if workspace.kept else "removed at the end (DATA=dir keeps it)"))
    valkey_url = f"redis://127.0.0.1:{_port(VALKEY_PORT)}/0"
    demo = Demo(workspace, Children(workspace), stop, valkey_url, _port(port))
    try:
        yield demo
    finally:
        say("\nStopping ...", end=" ")
        demo.children.stop()
        say("stopped" + (f"; the data is in {where}" if workspace.kept else "; nothing is left behind"))


def _port(wanted: int) -> int:
    port = free_port(wanted)
    if port != wanted:
        say(f"Port {wanted} is in use; using {port}")
    return port


def _start(demo: Demo, server: str) -> None:
    """All at once behind the server, as each takes a second or two to load; then waits for each in turn."""
    demo.workspace.write_settings(demo.valkey_url, demo.port)
    valkey = demo.start("valkey", server, *_server_options(demo))
    demo.wait(f"1/4 Server at {demo.valkey_url}", valkey, lambda: checks.server_answers(demo.valkey_url))

    store = Store(demo.workspace.store_url)
    ingest = checks.Ingest(store)
    with connect(demo.valkey_url, name="demo") as client:
        before = checks.newest_order(client)
        python = (sys.executable, "-m")
        orders = demo.start("orders", *python, ORDER_SYSTEM, "run", "--url", demo.valkey_url, *LIFE)
        dashboard = demo.start("dashboard", *python, "dashboard", "--port", str(demo.port))
        collectors = demo.start("collectors", *python, "collectors")
        demo.wait("2/4 Order system, 5 orders a second", orders, lambda: checks.order_placed(client, before))
        if faults := read(client):
            say(f"    still broken from last time: {', '.join(faults)}")
    demo.wait("3/4 Collectors", collectors, ingest.seen)
    store.close()
    demo.wait("4/4 Dashboard", dashboard, lambda: checks.dashboard_answers(demo.port))


def _server_options(demo: Demo) -> list[str]:
    port = demo.valkey_url.rpartition(":")[2].removesuffix("/0")
    where = ("--port", port, "--bind", "127.0.0.1", "--dir", str(demo.workspace.valkey), "--save", "")
    return [*where, "--appendonly", "yes" if demo.workspace.kept else "no"]


def _tell(demo: Demo, seconds: float) -> None:
    say(f"\nRunning after {seconds:.1f} s. Open\n\n    http://127.0.0.1:{demo.port}\n")
    say(f"Things to try, in another terminal in {PROJECT}:\n")
    python = Path(sys.executable)
    if python.is_relative_to(PROJECT):
        python = python.relative_to(PROJECT)
    for command, meaning in THINGS_TO_TRY:
        say(f"  # {meaning}")
        say(f"  {shlex.quote(str(python))} -m {ORDER_SYSTEM} {command} --url {demo.valkey_url}")
    say(f"\nLogs are in {demo.workspace.logs}. Ctrl-C stops everything.")


def say(text: str, end: str = "\n", file: TextIO | None = None) -> None:
    """A terminal that is gone must not keep anything from being stopped."""
    with contextlib.suppress(OSError):
        print(text, end=end, flush=True, file=file)
