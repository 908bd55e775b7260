"""Dead letters: what a retry would do, how a letter stands, and what an operation covers."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dashboard.viewmodels import units
from eventwake.domain.dead_letter import Known, LetterState
from eventwake.domain.positions import has_passed
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letters import GroupRow as CauseRow
from eventwake.store.reads.letters import LetterDetails, LetterRow, OutcomeRow, Summary

# what the filter on states offers, and which states each stands for
STATE_CHOICES: dict[str, tuple[LetterState, ...]] = {
    "Open": (LetterState.OPEN,),
    "Under way": (LetterState.CLAIMED, LetterState.SENT, LetterState.SETTLED),
    "Unknown": (LetterState.UNKNOWN,),
    "Retried": (LetterState.CONSUMED, LetterState.SUCCEEDED),
    "Came back": (LetterState.CAME_BACK,),
    "Discarded": (LetterState.DISCARDED,),
    "Gone": (LetterState.GONE, LetterState.EXPIRED),
    "All": (),
}
SAYS = {
    LetterState.OPEN: "waits for a decision",
    LetterState.CLAIMED: "an operation has it",
    LetterState.SENT: "sent; the broker has it, nobody is known to have handled it",
    LetterState.SETTLED: "sent and kept by the broker; nobody is known to have handled it",
    LetterState.CONSUMED: "consumed by the group that had given it up",
    LetterState.SUCCEEDED: "consumed, and it caused a further event",
    LetterState.CAME_BACK: "failed again: it is back as a new letter",
    LetterState.UNKNOWN: "it may or may not have been sent or handled: look before you retry",
    LetterState.DISCARDED: "discarded; it can be restored",
    LetterState.EXPIRED: "the broker's retention took it",
    LetterState.GONE: "someone else removed it from the broker",
}
STATE_COLOURS = {
    LetterState.OPEN: "red",
    LetterState.CLAIMED: "blue",
    LetterState.SENT: "blue",
    LetterState.SETTLED: "blue",
    LetterState.CONSUMED: "green",
    LetterState.SUCCEEDED: "green",
    LetterState.CAME_BACK: "red",
    LetterState.UNKNOWN: "orange",
    LetterState.DISCARDED: "grey",
    LetterState.EXPIRED: "grey",
    LetterState.GONE: "grey",
}


class CauseLine(NamedTuple):
    letters: int
    error: str
    where: str
    first: str
    last: str


class LetterLine(NamedTuple):
    """One letter as the list shows it."""

    id: int
    state: str
    failed: str
    event_type: str
    key: str
    group: str
    error: str
    tries: int | None
    origin: str
    stream: str


def cause_lines(causes: Sequence[CauseRow], now_ms: int) -> list[CauseLine]:
    return [
        CauseLine(
            cause.letters,
            f"{cause.error_class}: {cause.message}" if cause.message else cause.error_class,
            cause.frame or "",
            units.age(cause.first_ms, now_ms),
            units.age(cause.last_ms, now_ms),
        )
        for cause in causes
    ]


def letter_lines(letters: Sequence[LetterRow], now_ms: int) -> list[LetterLine]:
    return [
        LetterLine(
            letter.id,
            letter.state.replace("_", " "),
            units.age(letter.failed_ms, now_ms),
            letter.event_type or units.UNKNOWN,
            letter.key or "",
            letter.group_name or units.UNKNOWN,
            f"{letter.error_class}: {letter.error_message}" if letter.error_class else letter.error_message,
            letter.attempts,
            letter.origin_stream or units.UNKNOWN,
            letter.stream,
        )
        for letter in letters
    ]


class Reader(NamedTuple):
    """A group that sees what is sent to the target, and where it stands to this event."""

    group: str
    stands: str


def readers(
    letter: LetterRow, origin_position: str | None, target: str, groups: Sequence[GroupRow]
) -> list[Reader]:
    """Who will see the event again if it is sent to `target`."""
    found = []
    for group in groups:
        if (group.source, group.stream) != (letter.source, target):
            continue
        if target != letter.origin_stream:
            stands = "has not seen it"
        elif group.name == letter.group_name:
            stands = "gave it up"
        else:
            passed = has_passed(group.position, origin_position)
            stands = {
                True: "has had it already",
                False: "has yet to reach it",
                None: "unknown whether it had it",
            }[passed]
        found.append(Reader(group.name, stands))
    return sorted(found, key=lambda reader: (reader.stands != "gave it up", reader.group))


def can(letter: LetterRow, act: str) -> bool:
    """Whether the letter's state allows "retry", "discard" or "restore"."""
    state = LetterState(letter.state)
    return {
        "retry": state in (LetterState.OPEN, LetterState.UNKNOWN),
        "discard": state is LetterState.OPEN,
        "restore": state is LetterState.DISCARDED,
    }[act]


def facts(letter: LetterRow, details: LetterDetails, now_ms: int) -> list[tuple[str, str]]:
    """What is known of a letter, each with how it is known where that is not the letter itself."""
    how: Mapping[str, str] = json.loads(details.how)

    def known(fact: str, text: str) -> str:
        source = how.get(fact, Known.HEADER)
        return text if source == Known.HEADER else f"{text} (by {source})"

    first = details.first_failed_ms
    return [
        ("Came from", known("origin_stream", letter.origin_stream or units.UNKNOWN)
         + (f" @ {details.origin_position}" if details.origin_position else "")),
        ("Given up by", letter.group_name or units.UNKNOWN),
        ("Attempts", units.count(letter.attempts)),
        ("First failed", units.age(first, now_ms) if first else units.UNKNOWN),
        ("Failed", known("failed", units.age(letter.failed_ms, now_ms))),
        ("Lies in", f"{letter.stream} @ {letter.position}"),
        ("Event", f"{letter.event_type or units.UNKNOWN} {letter.event_id or '(no id)'}"),
        ("Key", letter.key or "none"),
        ("Correlation", letter.correlation_id or "none"),
        ("Size", units.size(letter.size)),
        ("Decoded by", details.rule),
    ]  # fmt: skip


def outcome_lines(outcomes: Sequence[OutcomeRow], now_ms: int) -> list[str]:
    """What each group did with the retried event, as it was last looked at."""
    return [f"{o.group_name}: {o.state}, seen {units.age(o.at_ms, now_ms)}" for o in outcomes]


@dataclass(frozen=True, slots=True)
class Preview:
    """What an operation over many letters would do, in words and numbers."""

    letters: int
    sources: tuple[str, ...]
    targets: tuple[tuple[str, int], ...]  # stream -> letters
    without_target: int
    types: tuple[tuple[str, int], ...]
    readers: tuple[str, ...]
    bytes: int
    ages: str


TYPES_NAMED = 8


def preview(summary: Summary, groups: Sequence[GroupRow], target: str | None, now_ms: int) -> Preview:
    """`target` overrides where the letters came from."""
    targets: Counter[str] = Counter()
    for _, origin, number in summary.targets:
        targets[target or origin or ""] += number
    without = targets.pop("", 0)
    sources = tuple(sorted({source for source, _, _ in summary.targets}))
    seen_by = {group.name for group in groups if group.source in sources and group.stream in targets}
    oldest, newest = units.age(summary.oldest_ms, now_ms), units.age(summary.newest_ms, now_ms)
    return Preview(
        summary.letters,
        sources,
        tuple(targets.most_common()),
        without,
        tuple((name or units.UNKNOWN, number) for name, number in summary.types[:TYPES_NAMED]),
        tuple(sorted(seen_by)),
        summary.bytes,
        oldest if oldest == newest else f"from {oldest} to {newest}",
    )
