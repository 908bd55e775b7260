"""The demo as a visitor runs it: its process, what it prints, and what is left of it."""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis

from eventwake.store.reads.rates import FINE_MS, event_series
from eventwake.store.session import Store
from examples.redis_server import free_port

pytestmark = pytest.mark.server

ROOT = Path(__file__).resolve().parents[2]
STEPS = (
    r"1/4 Server at redis://127\.0\.0\.1:\d+/0 \.\.\. \w+ [\d.]+ answers \(\d+\.\d s\)",
    r"2/4 Order system, 5 orders a second \.\.\. orders are placed \(\d+\.\d s\)",
    r"3/4 Collectors \.\.\. \d+ events in the store \(\d+\.\d s\)",
    r"4/4 Dashboard \.\.\. answers \(\d+\.\d s\)",
)


def wait_until(condition: Callable[[], object], what: str, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)


class Demo:
    """One run; temporary directories are made in `directory`."""

    def __init__(self, directory: Path, *options: str) -> None:
        self.printed = ""
        self.temporary = directory / "temporary"
        self.temporary.mkdir(exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.demo", *options],
            cwd=ROOT,
            env={**os.environ, "TMPDIR": str(self.temporary)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._started: list[psutil.Process] = []

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self.printed += line

    def until_it_runs(self) -> None:
        wait_until(lambda: "Ctrl-C stops everything" in self.printed or self._ended(), "it runs", 45)
        assert not self._ended(), self.printed
        self._started = psutil.Process(self.process.pid).children(recursive=True)

    def _ended(self) -> bool:
        return self.process.poll() is not None

    def end(self, number: int) -> int:
        """Sends the signal; its exit code, once all that it said is here."""
        self.process.send_signal(number)
        return self.ends()

    def ends(self) -> int:
        code = self.process.wait(timeout=15)
        self._reader.join(timeout=10)
        return code

    def left(self) -> list[psutil.Process]:
        """Processes of it that still run."""
        return [p for p in self._started if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]

    def part(self, name: str) -> psutil.Process:
        return next(p for p in self._started if name in p.cmdline() and p.ppid() == self.process.pid)

    def command(self, words: str) -> str:
        """What a printed command answers that contains these words."""
        line = next(line for line in self.printed.splitlines() if words in line)
        return subprocess.run(shlex.split(line), cwd=ROOT, check=True, capture_output=True, text=True).stdout

    def server(self) -> redis.Redis:
        url = re.search(r"redis://\S+", self.printed)
        assert url
        return redis.Redis.from_url(url[0])


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Demo]]:
    """Starts demos; each is ended, whatever the test found."""
    demos = []

    def start(*options: str) -> Demo:
        demos.append(Demo(tmp_path, *options))
        return demos[-1]

    yield start
    for demo in demos:
        if demo.process.poll() is None:
            demo.end(signal.SIGTERM)


def stored_events(directory: Path) -> int:
    store = Store(f"sqlite:///{directory / 'eventwake.db'}")
    with store.read() as connection:
        points = event_series(connection, 0, 1 << 52, FINE_MS)
    store.close()
    return sum(point.value for point in points)


def test_it_shows_a_live_system_that_can_be_broken_and_leaves_nothing_behind(
    run: Callable[..., Demo],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as in_use:
        port = in_use.getsockname()[1]
        demo = run("--port", str(port))
        demo.until_it_runs()

    said = re.search(rf"Port {port} is in use; using (\d+)", demo.printed)
    assert said and f"http://127.0.0.1:{said[1]}\n" in demo.printed
    for step in STEPS:
        assert re.search(step, demo.printed), demo.printed
    (data,) = demo.temporary.iterdir()
    before = stored_events(data)
    wait_until(lambda: stored_events(data) > before, "events flow into the store", 10)
    demo.command("break email-down")
    assert re.search(r"email-down +ON", demo.command(" faults "))

    assert demo.end(signal.SIGINT) == 0
    assert not demo.left()
    assert not list(demo.temporary.iterdir())
    assert "Traceback" not in demo.printed and "nothing is left behind" in demo.printed


def test_named_data_is_kept_and_goes_on_after_a_part_has_died(
    run: Callable[..., Demo], tmp_path: Path
) -> None:
    data = tmp_path / "data"
    options = ("--data", str(data), "--port", str(free_port()))
    first = run(*options)
    first.until_it_runs()
    second = run(*options)
    assert second.ends() == 2 and "another demo runs on" in second.printed

    oldest = first.server().xrange("orders", count=1)
    stored = stored_events(data)
    first.part("collectors").terminate()
    assert first.ends() == 1 and not first.left()
    assert f"collectors has ended with 0; the end of {data}/logs/collectors.log" in first.printed

    again = run(*options)
    again.until_it_runs()
    assert again.server().xrange("orders", count=1) == oldest
    assert stored_events(data) > stored
    assert again.end(signal.SIGTERM) == 0 and not again.left()
    assert (data / "eventwake.db").exists() and not list(again.temporary.iterdir())


def test_a_killed_launcher_leaves_nothing_behind(run: Callable[..., Demo]) -> None:
    demo = run("--port", str(free_port()))
    demo.until_it_runs()
    demo.end(signal.SIGKILL)
    wait_until(lambda: not demo.left(), "every process has ended", 10)
    assert not list(demo.temporary.iterdir())


def test_a_directory_with_other_files_is_left_alone(run: Callable[..., Demo], tmp_path: Path) -> None:
    (tmp_path / "eventwake.toml").write_text("# mine")
    demo = run("--data", str(tmp_path))
    assert demo.ends() == 2 and "holds files that are not the demo's" in demo.printed
    assert (tmp_path / "eventwake.toml").read_text() == "# mine"
