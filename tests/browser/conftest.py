"""The demo in its own processes, and a real Chromium that watches what a page asks for and complains of."""

import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from examples.redis_server import free_port
from tests import servers

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
STARTS_WITHIN_S = 60


class Demo:
    """The running demo: its address, and its own commands."""

    def __init__(self, data: Path) -> None:
        self.address = f"http://127.0.0.1:{free_port(18600)}"
        self._log = data / "demo.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.demo", "--data", str(data / "kept"), "--port",
                 self.address.rpartition(":")[2]],
                cwd=ROOT, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        deadline = time.monotonic() + STARTS_WITHIN_S
        while "Ctrl-C stops everything" not in self.said():
            assert self._process.poll() is None and time.monotonic() < deadline, self.said()
            time.sleep(0.2)
        found = re.search(r"redis://\S+", self.said())
        assert found
        self._url = found[0]

    def said(self) -> str:
        return self._log.read_text()

    def command(self, *words: str) -> None:
        subprocess.run(
            [sys.executable, "-m", "examples.order_system", *words, "--url", self._url],
            cwd=ROOT, check=True, capture_output=True,
        )  # fmt: skip

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        self._process.wait(timeout=20)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Demo]:
    servers.valkey()
    running = Demo(tmp_path_factory.mktemp("demo"))
    yield running
    running.stop()


@pytest.fixture(scope="module")  # while it runs, nothing else in this process can have an event loop
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=servers.chromium_path(), args=list(CHROMIUM))
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def page(demo: Demo, chromium: Browser) -> Iterator[Page]:
    """A page whose complaints and requests to elsewhere fail the test."""
    yield from watched_page(demo, chromium, "light")


def watched_page(demo: Demo, chromium: Browser, scheme: str) -> Iterator[Page]:
    context = chromium.new_context(
        base_url=demo.address,
        viewport={"width": 1440, "height": 1000},
        color_scheme=scheme,  # type: ignore[arg-type]
        accept_downloads=True,
    )
    page = context.new_page()
    page.set_default_timeout(20_000)
    complaints: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error":
            complaints.append(f"console: {message.text}")

    def on_request(request: Request) -> None:
        parts = urlsplit(request.url)
        if parts.scheme not in ("data", "blob") and parts.hostname != "127.0.0.1":
            complaints.append(f"asked elsewhere: {request.url}")

    page.on("console", on_console)
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    page.on("request", on_request)
    page.on("response", lambda r: complaints.append(f"{r.status}: {r.url}") if r.status >= 400 else None)
    yield page
    context.close()
    assert not complaints
