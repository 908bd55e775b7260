"""`python -m eventwake init URL`: looks at a broker and writes settings that watch it, read-only."""

import argparse
import os
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import orjson

from collectors.brokers import broker_for, kind_of
from collectors.brokers.base import Broker, StreamSeen
from collectors.streams import is_dead_letter_stream
from eventwake.domain.envelope import Record, pairs
from eventwake.domain.errors import EventwakeError
from eventwake.settings import CONFIG_VARIABLE, DEFAULT_FILE, Source, load

LOOKS_FOR_S = 15.0  # how long names are looked through in a great key space
STREAMS_SHOWN = 40
RECORDS_A_STREAM = 20
STREAMS_SAMPLED = 50
KEYS_SUGGESTED = 5
BY_NAME = "by its name"
NOT_KEYS = {
    *("event_id", "correlation_id", "causation_id", "message_id", "trace_id", "span_id", "request_id"),
    *("original_id", "original_message_id", "schema_id"),
}
_PASSWORD = re.compile(r"(?<=://)(?P<user>[^:@/]*):(?P<password>[^@]*)@")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,40}(?:_id|Id)")


@dataclass(slots=True)
class Survey:
    """What a first look at a broker showed."""

    server: str
    heads: dict[str, Sequence[StreamSeen]]  # of each partition
    groups: dict[str, list[str]]
    whole: bool  # False: there are more names than were looked through
    dead_letters: dict[str, str] = field(default_factory=dict)  # stream -> why it looks like one
    keys: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="such as redis://user:password@host:6379/0")
    parser.add_argument("--name", default="main", help="what the source is called (default: main)")
    parser.add_argument("--output", type=Path, default=Path(DEFAULT_FILE), help=f"default: {DEFAULT_FILE}")
    parser.add_argument("--force", action="store_true", help="overwrite the file")
    options = parser.parse_args()
    try:
        return _init(options.url, options.name, options.output, force=options.force)
    except EventwakeError as error:
        print(f"init: {error}", file=sys.stderr)
        return 1


def _init(url: str, name: str, output: Path, *, force: bool) -> int:
    if output.exists() and not force:
        print(f"init: {output} is there already; --force overwrites it", file=sys.stderr)
        return 1
    variable = f"EVENTWAKE_{re.sub(r'[^A-Z0-9]', '_', name.upper())}_PASSWORD"
    hidden, password = without_password(url, variable)
    if password is not None:
        os.environ[variable] = password
    source = Source(name=name, kind=kind_of(url), url=hidden)
    found = survey(source)
    for line in _report(found):
        print(line)
    output.write_text(to_toml(source, hidden, found), encoding="utf-8")
    os.environ[CONFIG_VARIABLE] = str(output)
    load()  # what was written must be what can be read
    print(f"\nWrote {output}. It watches read-only; writable = true lets the dashboard retry and discard.")
    if password is not None:
        print(f"The password is not in it: set {variable} to it, as it stood in the URL.")
    print("Next: python -m eventwake doctor, then python -m collectors and python -m dashboard")
    return 0


def without_password(url: str, variable: str) -> tuple[str, str | None]:
    """The URL with `${variable}` in place of its password, and the password."""
    match = _PASSWORD.search(url)
    if not match or not match["password"]:
        return url, None
    hidden = f"{url[: match.start()]}{match['user']}:${{{variable}}}@{url[match.end() :]}"
    return hidden, match["password"]


def survey(source: Source) -> Survey:
    """Looks at the broker: names within a budget, heads, groups, and a few events of each stream."""
    broker = broker_for(source)
    try:
        broker.start()
        names, whole = _names(broker)
        heads = {name: seen for name, seen in broker.look(names).heads.items() if seen}
        groups: dict[str, list[str]] = {}
        if broker.capabilities.groups:
            for group in broker.groups(names):
                groups.setdefault(group.stream, []).append(group.name)
        found = Survey(broker.server().version, heads, groups, whole)
        _look_into(broker, source, found)
        return found
    finally:
        broker.stop()


def _names(broker: Broker) -> tuple[list[str], bool]:
    """The streams' names, and whether these are all."""
    until = monotonic() + LOOKS_FOR_S
    names: set[str] = set()
    for page in broker.discover(lambda _name: True):
        names.update(page)
        if monotonic() > until:
            return sorted(names), False
    return sorted(names), True


def _look_into(broker: Broker, source: Source, found: Survey) -> None:
    """Reads the first events of some streams: which look dead-lettered, and which ids they share."""
    keys: Counter[str] = Counter()
    for name in found.heads:
        if is_dead_letter_stream(broker, source, name):
            found.dead_letters[name] = BY_NAME
    sampled = list(found.heads.values())[:STREAMS_SAMPLED]
    wanted = [
        (seen, broker.first_cursor(seen, "earliest"), max(1, RECORDS_A_STREAM // len(heads)))
        for heads in sampled
        for seen in heads
    ]
    records: dict[str, list[Record]] = {}
    for batch in broker.read(wanted):
        records.setdefault(batch.stream, []).extend(batch.records)
    for name, own in records.items():
        if not own:
            continue
        failed = [broker.read_letter(record, name) for record in own]
        if name not in found.dead_letters and all(f.error_message and f.group for f in failed):
            found.dead_letters[name] = "its entries name an error and a group that gave up"
        keys.update({key for record in own for key in _ids_of(record)})
    found.keys = [key for key, streams in keys.most_common(KEYS_SUGGESTED) if streams > 1]


def _ids_of(record: Record) -> Iterator[str]:
    """Names of business ids in the fields and in the first level of JSON payloads."""
    for name, value in [*pairs(record.fields), (b"", record.value)]:
        names = [name.decode("utf-8", "replace")]
        if value and value.lstrip()[:1] == b"{":
            try:
                names += orjson.loads(value)
            except orjson.JSONDecodeError:
                continue
        yield from (n for n in names if _KEY.fullmatch(n) and n not in NOT_KEYS)


def _report(found: Survey) -> Iterator[str]:
    yield f"{found.server}: {len(found.heads)} streams"
    if not found.whole:
        yield "  There are more keys than init looks through; the collectors will find the rest."
    for name, heads in list(found.heads.items())[:STREAMS_SHOWN]:
        length = sum(seen.length for seen in heads)
        groups = ", ".join(found.groups.get(name, ())) or "no group"
        dead = f"  <- dead letters, {found.dead_letters[name]}" if name in found.dead_letters else ""
        yield f"  {_shown(name)}: {length:,} events, {_shown(groups)}{dead}"
    if len(found.heads) > STREAMS_SHOWN:
        yield f"  and {len(found.heads) - STREAMS_SHOWN:,} more"
    if found.keys:
        yield f"Business keys that several streams share: {', '.join(found.keys)}"


def _shown(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text)


def to_toml(source: Source, url: str, found: Survey) -> str:
    """The settings file: what was found, with the next decisions as comments."""
    by_content = [name for name, why in found.dead_letters.items() if why != BY_NAME]
    return "\n".join(
        [
            "# Written by `python -m eventwake init`. Every setting: eventwake.example.toml",
            "",
            "[environment]",
            'name = "local"      # shown on every page; call production so',
            'colour = "grey"     # grey, green, blue, violet, yellow, orange, red',
            "",
            "[store]",
            'url = "sqlite:///eventwake.db"',
            "",
            "[[source]]",
            f"name = {_toml(source.name)}",
            f"kind = {_toml(source.kind)}",
            f"url = {_toml(url)}",
            "writable = false    # true lets the dashboard retry, discard and restore dead letters",
            'start = "24h"       # on first contact: "newest", "earliest", or so many hours back',
            f"business_keys = {_toml_list(found.keys)}    # fields that join events without a correlation id",
            *_dead_letter_lines(by_content),
            "",
            "# A saga that the Traces page should follow:",
            "# [[saga]]",
            '# name = "order"',
            '# steps = ["OrderPlaced", "PaymentCharged"]',
            '# completed = ["OrderConfirmed"]',
            '# compensated = ["OrderCancelled"]',
            "",
        ]
    )


def _dead_letter_lines(streams: Sequence[str]) -> list[str]:
    if not streams:
        return []
    return [
        "",
        "# Their entries look like dead letters. Name the stream that each came from, or leave it empty.",
        "[source.dead_letter_streams]",
        *(f'{_toml(stream)} = ""' for stream in streams),
    ]


def _toml(text: str) -> str:
    """A TOML basic string; JSON's escapes are a part of TOML's."""
    return orjson.dumps(text).decode().replace("\x7f", "\\u007f")


def _toml_list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_toml, texts))}]"
