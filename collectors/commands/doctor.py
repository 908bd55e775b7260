"""`python -m eventwake doctor`: looks at all that must be well, and says what to do where it is not."""

import argparse
import ipaddress
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from collectors.brokers import broker_for
from collectors.brokers.base import Check
from collectors.streams import is_dead_letter_stream
from eventwake.clock import now_ms
from eventwake.domain.errors import BrokerRefused, EventwakeError
from eventwake.settings import CONFIG_VARIABLE, Settings, Source, config_file, load
from eventwake.store.migrate import require_current
from eventwake.store.reads.sources import heartbeats
from eventwake.store.session import Store, sqlite_version_note

MARKS = {"ok": "ok   ", "warning": "warn ", "fault": "FAULT"}
FREE_AT_LEAST = 2 * 2**30  # bytes: about ten million events
SILENT_MS = 15_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", help="the settings file (default: eventwake.toml)")
    options = parser.parse_args()
    if options.config:
        os.environ[CONFIG_VARIABLE] = options.config
    faults = 0
    for topic, checks in examine():
        print(f"\n{topic}")
        for check in checks:
            faults += check.state == "fault"
            print(f"  {MARKS[check.state]}  {check.name}: {_shown(check.found)}")
            if check.state != "ok" and check.do:
                print(f"         -> {_shown(check.do)}")
    print(f"\n{_count(faults)}" if faults else "\nNo fault found.")
    return 1 if faults else 0


def examine() -> Iterator[tuple[str, Iterator[Check]]]:
    """Every topic with its findings; settings that cannot be read are the only topic."""
    try:
        settings = load()
    except EventwakeError as error:
        do = "mend the file; eventwake.example.toml has every setting"
        yield "Settings", iter([Check("settings", "fault", str(error), do)])
        return
    yield "Settings", _settings(settings)
    yield "Store", _store(settings)
    for source in settings.source:
        yield f"Source {source.name} ({source.kind})", _source(source)


def _settings(settings: Settings) -> Iterator[Check]:
    path = config_file()
    if path.exists():
        yield Check("file", "ok", str(path))
    else:
        do = "write one with: python -m eventwake init URL"
        yield Check("file", "warning", f"{path} does not exist: defaults and the environment are used", do)
    if not settings.source:
        yield Check(
            "sources", "fault", "none is set", "add a [[source]], or run: python -m eventwake init URL"
        )
    host = settings.dashboard.host
    if not _is_loopback(host):
        yield Check(
            "dashboard", "warning", f"it listens on {host}, and there is no sign-in",
            "put a proxy that authenticates in front, or set host = \"127.0.0.1\"",
        )  # fmt: skip


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _store(settings: Settings) -> Iterator[Check]:
    try:
        store = Store(settings.store.url)
    except EventwakeError as error:
        yield Check("address", "fault", str(error))
        return
    if store.path is not None:
        yield from _file(store.path)
        note = sqlite_version_note()
        yield Check("SQLite", "warning" if note else "ok", note or "its version is fine")
        if not store.path.exists():
            yield Check("layout", "ok", "the collectors will make it at their first start")
            return
    try:
        require_current(store)
        with store.read() as connection:
            last = heartbeats(connection).get(("", "supervisor"))
        yield Check("layout", "ok", "as this version wants it")
        yield _collectors(last)
    except EventwakeError as error:
        yield Check("layout", "fault", str(error))
    finally:
        store.close()


def _file(path: Path) -> Iterator[Check]:
    folder = path.parent if path.parent != Path() else Path.cwd()
    if not folder.is_dir():
        yield Check("folder", "fault", f"{folder} does not exist", f"mkdir -p {folder}")
        return
    target = path if path.exists() else folder
    if os.access(target, os.W_OK):
        yield Check("file", "ok", f"{path} can be written")
    else:
        yield Check("file", "fault", f"{target} cannot be written", "give this user the right to")
    free = shutil.disk_usage(folder).free
    yield Check(
        "disk", "ok" if free >= FREE_AT_LEAST else "warning", f"{free / 2**30:.1f} GiB free",
        "make room, or keep events for fewer days (events_days)",
    )  # fmt: skip


def _collectors(last_ms: int | None) -> Check:
    do = "start them with: python -m collectors"
    if last_ms is None:
        return Check("collectors", "warning", "none has ever run over this store", do)
    ago = (now_ms() - last_ms) // 1000
    if ago * 1000 > SILENT_MS:
        return Check("collectors", "warning", f"the last one reported {ago:,} s ago", do)
    return Check("collectors", "ok", f"alive, reported {ago} s ago")


def _source(source: Source) -> Iterator[Check]:
    try:
        broker = broker_for(source)
        try:
            broker.start()
            yield Check("connection", "ok", broker.server().version)
            yield from broker.checks()
            yield _dead_letters(
                [
                    name
                    for page in broker.discover(source.watches)
                    for name in page
                    if is_dead_letter_stream(broker, source, name)
                ]
            )
            acts = "retry, discard and restore may be asked for" if source.writable else "read-only"
            yield Check("writable", "ok", acts)
        finally:
            broker.stop()
    except EventwakeError as error:
        do = "give it what it lacks; README.md lists the rights" if isinstance(error, BrokerRefused) else ""
        yield Check("connection", "fault", str(error), do)


def _dead_letters(names: list[str]) -> Check:
    found = sorted(set(names))
    if found:
        return Check("dead letters", "ok", ", ".join(found[:10]) + (" ..." if len(found) > 10 else ""))
    return Check(
        "dead letters", "warning", "no stream's name looks like one",
        "name yours in dead_letter_patterns or [source.dead_letter_streams], unless there are none yet",
    )  # fmt: skip


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _count(faults: int) -> str:
    return "1 fault to mend." if faults == 1 else f"{faults} faults to mend."
