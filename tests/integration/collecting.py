"""The collectors as real processes, and what lies in the store beside what lies in the streams."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson
import sqlalchemy as sa

from eventwake.decoding import original
from eventwake.settings import CONFIG_VARIABLE
from eventwake.store import schema, segments
from eventwake.store.session import Store
from eventwake.store.writes.events import SPANS_MS, Flag

ROOT = Path(__file__).resolve().parents[2]
DEAD = ":dlq"
QUICK = {"kind": "redis_streams", "start": "earliest", "poll_s": 0.2, "groups_s": 0.5, "discovery_s": 0.5}


def wait_until(condition: Callable[[], object], what: str, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.05)


class Entry(NamedTuple):
    """One entry of a stream, in the broker or in the store."""

    stream: str
    position: str
    fields: tuple[bytes, ...]


class Collectors:
    """`python -m collectors` over a store and settings of its own."""

    def __init__(self, directory: Path, *sources: dict[str, Any]) -> None:
        self._config = directory / "eventwake.toml"
        self._log = directory / "collectors.log"
        self.store = Store(f"sqlite:///{directory / 'store.db'}")
        tables = [{"name": f"source-{number}", **QUICK, **keys} for number, keys in enumerate(sources)]
        lines = ["[store]", f"url = {json.dumps(str(self.store.url))}"]
        for table in tables:
            lines += ["[[source]]", *(f"{name} = {json.dumps(value)}" for name, value in table.items())]
        self._config.write_text("\n".join(lines))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "collectors"],
                cwd=ROOT,
                env={**os.environ, CONFIG_VARIABLE: str(self._config)},
                stderr=log,
                start_new_session=True,
            )
        return self.process

    def kill(self) -> None:
        """The supervisor and every worker, at once."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def stop(self, within_s: float = 20.0) -> int:
        assert self.process is not None
        self.process.terminate()
        code = self.process.wait(within_s)
        self.process = None
        return code

    def end(self) -> None:
        self.kill()
        self.store.close()

    @property
    def log(self) -> str:
        return self._log.read_text()

    def rows(self, query: Any) -> list[Any]:
        """No rows while there is no store yet."""
        if self.store.path is None or not self.store.path.exists():
            return []
        with self.store.read() as connection:
            return list(connection.execute(query))

    def is_ready(self) -> bool:
        """Whether the store has been set up."""
        path = self.store.path
        if path is None or not path.exists():
            return False
        with self.store.read() as connection:
            return sa.inspect(connection).has_table("letter")

    def source(self, name: str) -> Any:
        return next(iter(self.rows(sa.select(schema.source).where(schema.source.c.name == name))), None)

    def state(self, name: str) -> str | None:
        row = self.source(name) if self.is_ready() else None
        return row.state if row else None

    def streams(self, source: str = "source-0") -> dict[str, Any]:
        rows = self.rows(sa.select(schema.stream).where(schema.stream.c.source == source))
        return {row.name: row for row in rows}

    def events(self, source: str = "source-0") -> list[Entry]:
        """Every stored event, its bytes as they are kept; more than once what is there more than once."""
        return [Entry(name, row.position, _fields(row)) for name, row in self._events(source)]

    def undecodable(self, source: str = "source-0") -> set[str]:
        return {row.position for _, row in self._events(source) if row.flags & Flag.UNDECODABLE}

    def letters(self, source: str = "source-0") -> list[Entry]:
        letter, stream = schema.letter, schema.stream
        query = sa.select(letter, stream.c.name).join(stream, stream.c.id == letter.c.stream_id)
        return [
            Entry(row.name, row.position, _fields(row))
            for row in self.rows(query.where(letter.c.source == source))
        ]

    def count(self) -> int:
        if not self.is_ready():
            return 0
        with self.store.read() as connection:
            return sum(
                connection.scalar(sa.select(sa.func.count()).select_from(segment.table)) or 0
                for segment in segments.all_newest_first(connection)
            )

    def counted(self) -> dict[int, int]:
        """Events by the rollups of each span."""
        rollup = schema.event_rollup.c
        query = sa.select(rollup.span_ms, sa.func.sum(rollup.events)).group_by(rollup.span_ms)
        return {row[0]: row[1] for row in self.rows(query)}

    def _events(self, source: str) -> Iterator[tuple[str, Any]]:
        if not self.is_ready():
            return
        names = {row.id: name for name, row in self.streams(source).items()}
        with self.store.read() as connection:
            for segment in segments.all_newest_first(connection):
                for row in connection.execute(sa.select(segment.table)):
                    if row.stream_id in names:
                        yield names[row.stream_id], row


def _fields(row: Any) -> tuple[bytes, ...]:
    record = original.unpack(row.body, row.checksum)
    return tuple(part or b"" for part in record.fields)


def lying_in(admin: Any) -> tuple[list[Entry], list[Entry]]:
    """Every event and every dead letter in a server, by an administrator's raw connection."""
    entries = []
    for name in admin.execute_command("KEYS", "*"):
        if admin.execute_command("TYPE", name) == b"stream":
            for position, fields in admin.execute_command("XRANGE", name, "-", "+"):
                entries.append(Entry(name.decode(), position.decode(), tuple(fields)))
    dead = [entry for entry in entries if entry.stream.endswith(DEAD)]
    return [entry for entry in entries if not entry.stream.endswith(DEAD)], dead


def broken(events: list[Entry]) -> set[str]:
    """Positions of those whose data is no JSON."""
    found = set()
    for event in events:
        data = dict(zip(event.fields[::2], event.fields[1::2], strict=True)).get(b"data", b"{}")
        try:
            orjson.loads(data)
        except orjson.JSONDecodeError:
            found.add(event.position)
    return found


def assert_same(stored: list[Entry], lie_there: list[Entry], what: str) -> None:
    """To the last one, and none twice; the message names a few that are not."""
    differ = {
        "missing": Counter(lie_there) - Counter(stored),
        "too many": Counter(stored) - Counter(lie_there),
    }
    told = {word: (len(which), sorted(entry[:2] for entry in which)[:5]) for word, which in differ.items()}
    assert not any(differ.values()), f"{what}: {told}"


def assert_whole(collectors: Collectors, admin: Any) -> None:
    """The store holds what the streams hold, byte for byte, and its counts add up."""
    events, dead = lying_in(admin)
    stored = collectors.events()
    assert_same(stored, events, "events")
    assert_same(collectors.letters(), dead, "dead letters")
    assert collectors.counted() == dict.fromkeys(SPANS_MS, len(events))
    assert collectors.undecodable() == broken(events)
    assert not collectors.rows(sa.select(schema.gap))
    letters = collectors.rows(sa.select(sa.func.sum(schema.letter_count.c.letters)))
    assert (letters[0][0] or 0) == len(dead)
