"""Time to a stable page, against an empty Streamlit page that is measured in turns with it.

`pages/warm`: a browser that has every file already opens a page over a store of 1 million events and 100
thousand dead letters, while the collectors ingest. The time is from the navigation until the page's script
has ended and nothing visible changes any more; that against the same of an empty page, by the medians; of the
slowest page. The empty page has the same gate, start page and settings, and its own process.

About ten minutes, 2 GB of disk. Run it alone: other work slows a long load more than a short one, and so the
ratio grows with it.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple
from urllib.parse import urlencode

import redis
from playwright.sync_api import Page, sync_playwright

from benchmarks import big_store
from benchmarks.bars import Bar, report
from benchmarks.big_store import shop
from benchmarks.big_store.traffic import Traffic
from dashboard.page_list import PAGES, PATHS
from eventwake.clock import now_ms
from eventwake.settings import CONFIG_VARIABLE, Settings, load
from eventwake.store.reads import letters, rates, sources
from eventwake.store.session import Store
from examples.redis_server import free_port, start_server

ROOT = Path(__file__).resolve().parents[1]
EVENTS, LETTERS = 1_000_000, 100_000
SEGMENT_ROWS = 250_000  # so that a look-up goes through several
EVENTS_PER_S = 500
WARM_UPS = 2
ROUNDS = 7
QUIET_MS = 400
EVERY_MS = 20  # between two looks whether a page is stable
WITHIN_S = 60
SLOWEST_AT_MOST = 3.0
CHROMIUM = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
EMPTY = "empty"


class Case(NamedTuple):
    """A page to measure."""

    name: str
    url: str


def write_settings(path: Path, redis_port: int) -> None:
    def table(head: str, **values: Any) -> str:
        return "\n".join([head, *(f"{name} = {json.dumps(value)}" for name, value in values.items()), ""])

    url = f"sqlite:///{path.with_name('eventwake.db')}"
    tables = [table("[store]", url=url, segment_rows=SEGMENT_ROWS)]
    for place, name in enumerate(shop.SOURCES):
        tables.append(
            table(
                "[[source]]", name=name, kind="redis_streams", writable=True,
                business_keys=["order_id", "user_id"], url=f"redis://127.0.0.1:{redis_port}/{place}",
            )
        )  # fmt: skip
    path.write_text("\n".join([*tables, table("[[saga]]", **shop.SAGA.model_dump())]))


@contextmanager
def running(name: str, folder: Path, *command: str) -> Iterator[subprocess.Popen[bytes]]:
    """One of the programs, until the end of the block."""
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=ROOT, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def stable_ms(page: Page, case: Case) -> float:
    """Opens the page; milliseconds until it was stable."""
    page.goto(case.url, wait_until="commit")
    deadline = time.monotonic() + WITHIN_S
    while (found := page.evaluate("quiet => window.stableAt(quiet)", QUIET_MS)) is None:
        assert time.monotonic() < deadline, f"{case.url} does not become stable"
        page.wait_for_timeout(EVERY_MS)
    if case.name != EMPTY:
        assert page.get_by_role("heading").count(), f"{case.url} shows nothing"
        for fault in ("stException", "stAlertContentError"):
            assert not page.get_by_test_id(fault).count(), f"{case.url} shows an error"
    return float(found)


def cases(store: Store, address: str) -> list[Case]:
    """Every page, and three that hold one thing each."""
    with store.read() as connection:
        open_ones = letters.page(connection, letters.LetterFilter(source="shop"), LETTERS // 100).letters
    chosen = open_ones[-1]
    pages = [Case(page.name, address + path) for page, path in zip(PAGES, PATHS, strict=True)]
    return [
        *pages,
        Case("traces, one trace", f"{address}/traces?{urlencode({'trace': chosen.correlation_id})}"),
        Case("dead_letters, one letter", f"{address}/dead_letters?{urlencode({'letter': chosen.id})}"),
        Case("lag, one group", f"{address}/lag?{urlencode({'group': 'analytics', 'in': 'shop'})}"),
    ]


def chromium_path() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    assert found, "Chromium is missing (Debian: apt-get install chromium)"
    return found


def measure(empty: Case, pages: list[Case]) -> dict[str, list[float]]:
    """Milliseconds of every warm load, each from the empty page, since leaving a full one takes its time."""
    times: dict[str, list[float]] = {case.name: [] for case in (empty, *pages)}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=list(CHROMIUM))
        context = browser.new_context(viewport={"width": 1440, "height": 1000})
        context.add_init_script(path=Path(__file__).with_name("stable.js"))
        page = context.new_page()
        for turn in range(WARM_UPS + ROUNDS):
            for case in pages:
                stable_ms(page, empty)
                for each in (empty, case):
                    took = stable_ms(page, each)
                    if turn >= WARM_UPS:
                        times[each.name].append(took)
        browser.close()
    return times


def known_events(store: Store) -> int:
    with store.read() as connection:
        series = rates.event_series(connection, 0, now_ms() + rates.COARSE_MS, rates.COARSE_MS)
    return sum(point.value for point in series)


def wait_for_collectors(store: Store) -> None:
    deadline = time.monotonic() + WITHIN_S
    while True:
        with store.read() as connection:
            found = {row.name for row in sources.all_sources(connection) if row.state == "up"}
        if found == set(shop.SOURCES):
            return
        assert time.monotonic() < deadline, f"of the sources only {found} are watched"
        time.sleep(0.2)


def run(folder: Path) -> int:
    port = free_port()
    server = start_server(port, folder)
    try:
        write_settings(folder / "eventwake.toml", port)
        os.environ[CONFIG_VARIABLE] = str(folder / "eventwake.toml")
        settings = load()
        clients: dict[str, Any] = {}
        for source in settings.source:
            clients[source.name] = redis.Redis.from_url(source.broker_settings["url"], protocol=2)
            clients[source.name].response_callbacks.clear()
        store = fill(settings, clients)
        return compare(folder, store, clients)
    finally:
        server.kill()
        server.wait()


def fill(settings: Settings, clients: dict[str, Any]) -> Store:
    started = time.perf_counter()
    builder = Store(settings.store.url, durability="normal", create=True)
    big_store.build(settings, builder, clients, EVENTS, LETTERS)
    builder.close()
    store = Store(settings.store.url)
    with store.read() as connection:
        held = letters.count(connection, letters.LetterFilter(()))
    seconds = time.perf_counter() - started
    print(f"{known_events(store):,} events and {held:,} letters in {seconds:.0f} s", flush=True)
    return store


def compare(folder: Path, store: Store, clients: dict[str, Any]) -> int:
    ports = free_port(18_700), free_port(18_800)
    addresses = [f"http://127.0.0.1:{port}" for port in ports]
    with (
        running("collectors", folder, "collectors"),
        running("dashboard", folder, "dashboard", "--port", str(ports[0])),
        running("empty", folder, "benchmarks.empty_page", str(ports[1])),
        Traffic(clients, EVENTS_PER_S) as traffic,
    ):
        for address in addresses:
            wait_for(address)
        wait_for_collectors(store)
        pages = cases(store, addresses[0])
        before, sent, started = known_events(store), traffic.sent, time.monotonic()
        times = measure(Case(EMPTY, addresses[1]), pages)
        seconds = time.monotonic() - started
        read, sent = known_events(store) - before, traffic.sent - sent
    print(f"meanwhile {read / seconds:,.0f} events/s were ingested of {sent / seconds:,.0f} published")
    assert read > sent / 2, "the collectors did not ingest"
    return tell(times)


def tell(times: dict[str, list[float]]) -> int:
    empty = median(times.pop(EMPTY))
    print(f"an empty page: {empty / 1000:.2f} s", flush=True)
    ratios = {name: median(took) / empty for name, took in times.items()}
    for name, ratio in ratios.items():
        print(f"{name}: {median(times[name]) / 1000:.2f} s, {ratio:.2f} times an empty page", flush=True)
    return report([Bar("pages/warm", max(ratios.values()), SLOWEST_AT_MOST, at_most=True)])


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    with tempfile.TemporaryDirectory(prefix="eventwake-bench-") as folder:
        return run(Path(folder))


if __name__ == "__main__":
    sys.exit(main())
