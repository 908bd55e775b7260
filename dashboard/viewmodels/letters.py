"""Dead letters: what a retry would do, how a letter stands, and what an operation covers."""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dashboard.viewmodels import units
from dashboard.viewmodels.text import literal
from eventwake.domain.dead_letter import Known, LetterState
from eventwake.domain.operation import ENDED, FINISHED, CommandKind, CommandState, ItemState
from eventwake.domain.positions import has_passed
from eventwake.store.commands import TAKES
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.letters import GroupRow as CauseRow
from eventwake.store.reads.letters import (
    HistoryRow,
    LetterDetails,
    LetterFilter,
    LetterRow,
    OutcomeRow,
    Summary,
)
from eventwake.store.reads.operations import OperationRow

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
    """A cause as a button that filters by it; both texts are safe for slots that read markdown."""

    label: str
    help: str


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
            f"**{cause.letters:,}** {literal(_error(cause.error_class, cause.message), 90)}"
            f" · last {units.age(cause.last_ms, now_ms)}",
            f"{literal(cause.frame or 'no stack trace')}, first {units.age(cause.first_ms, now_ms)}",
        )
        for cause in causes
    ]


def error_text(letter: LetterRow) -> str:
    """The error as one text, with its class where it has one."""
    return _error(letter.error_class, letter.error_message)


def _error(error_class: str | None, message: str) -> str:
    if error_class and message.startswith(error_class):  # many messages begin with it
        return message
    return ": ".join(filter(None, (error_class, message))) or "(it does not say why)"


class HistoryLine(NamedTuple):
    at: str
    state: str
    operation: int | None
    says: str


def history_lines(history: Sequence[HistoryRow], now_ms: int) -> list[HistoryLine]:
    """What happened to a letter, the newest first."""
    return [
        HistoryLine(units.age(h.at_ms, now_ms), h.state.replace("_", " "), h.command_id, h.detail)
        for h in reversed(history)
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
            error_text(letter),
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


def can(state: str, kind: CommandKind) -> bool:
    """Whether a letter in this state may be retried, discarded or restored."""
    return LetterState(state) in TAKES[kind]


def narrowed(wanted: LetterFilter, kind: CommandKind) -> LetterFilter:
    """The filter without the letters that the operation cannot take."""
    states = wanted.states or tuple(LetterState)
    return replace(wanted, states=tuple(sorted(state for state in states if can(state, kind))))


class Fact(NamedTuple):
    name: str
    text: str


def facts(letter: LetterRow, details: LetterDetails, now_ms: int) -> list[Fact]:
    """What is known of a letter, each with how it is known where that is not the letter itself."""
    how: Mapping[str, str] = json.loads(details.how)

    def known(fact: str, text: str) -> str:
        source = how.get(fact, Known.HEADER)
        return text if source == Known.HEADER else f"{text} (by {source})"

    first = details.first_failed_ms
    return [Fact(*fact) for fact in (
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
        ("A retry leaves away", left_away(details)),
    )]  # fmt: skip


def left_away(details: LetterDetails) -> str:
    """The fields that the dead-lettering added, which a retry leaves away."""
    return ", ".join(json.loads(details.own_fields)) or "nothing"


def outcome_line(outcomes: Sequence[OutcomeRow], now_ms: int) -> str:
    """What each group did with the retried event, as it was last looked at; empty where none was."""
    if not outcomes:
        return ""
    groups = " · ".join(f"{outcome.group_name}: {outcome.state}" for outcome in outcomes)
    return f"{groups}, seen {units.age(max(outcome.at_ms for outcome in outcomes), now_ms)}"


class TargetLine(NamedTuple):
    """Where a retry sends how many letters, and who reads there."""

    source: str
    stream: str
    letters: int
    seen_by: str


@dataclass(frozen=True, slots=True)
class Preview:
    """What an operation over many letters would do, in words and numbers."""

    letters: int
    sources: Mapping[str, int]
    targets: tuple[TargetLine, ...]
    without_target: int
    types: tuple[tuple[str, int], ...]
    bytes: int
    ages: str


TYPES_NAMED = 8


def preview(summary: Summary, groups: Sequence[GroupRow], target: str | None, now_ms: int) -> Preview:
    """`target` overrides where the letters came from."""
    to: Counter[tuple[str, str]] = Counter()
    sources: Counter[str] = Counter()
    for source, origin, number in summary.targets:
        sources[source] += number
        to[source, target or origin or ""] += number
    targets = tuple(
        TargetLine(source, stream, number, _seen_by(source, stream, groups))
        for (source, stream), number in to.most_common()
        if stream
    )
    oldest, newest = units.age(summary.oldest_ms, now_ms), units.age(summary.newest_ms, now_ms)
    return Preview(
        summary.letters,
        sources,
        targets,
        summary.letters - sum(line.letters for line in targets),
        tuple((name or units.UNKNOWN, number) for name, number in summary.types[:TYPES_NAMED]),
        summary.bytes,
        oldest if oldest == newest else f"from {oldest} to {newest}",
    )


def taken(shown: Preview, sources: Collection[str], kind: CommandKind) -> int:
    """How many letters the operation takes from these sources: a retry needs to know whereto."""
    if kind is CommandKind.RETRY:
        return sum(line.letters for line in shown.targets if line.source in sources)
    return sum(number for source, number in shown.sources.items() if source in sources)


def _seen_by(source: str, stream: str, groups: Sequence[GroupRow]) -> str:
    names = [group.name for group in groups if (group.source, group.stream) == (source, stream)]
    return ", ".join(names) or "no group reads it now"


class OperationLine(NamedTuple):
    """One operation: what it is, how far it has come, and what came of it."""

    id: int
    title: str
    done: int
    items: int
    under_way: bool
    says: str


def operation_line(
    operation: OperationRow, progress: Mapping[str, int], outcomes: Mapping[str, int], now_ms: int
) -> OperationLine:
    under_way = CommandState(operation.state) not in FINISHED
    done = sum(number for state, number in progress.items() if ItemState(state) in ENDED)
    at_ms = operation.created_ms if under_way else operation.finished_ms
    reason = f" · “{operation.reason}”" if operation.reason else ""
    begun = "begun" if under_way else operation.state
    followed = operation.kind == CommandKind.RETRY and operation.state == CommandState.DONE
    counts = outcomes if followed else progress
    return OperationLine(
        operation.id,
        f"#{operation.id} {operation.kind.capitalize()} of {number_of_letters(operation.items)} "
        f"by {operation.actor}, {begun} {units.age(at_ms, now_ms)}{reason}",
        done,
        operation.items,
        under_way,
        ", ".join(f"{n:,} {state.replace('_', ' ')}" for state, n in sorted(counts.items())),
    )


def number_of_letters(number: int) -> str:
    return "1 letter" if number == 1 else f"{number:,} letters"
