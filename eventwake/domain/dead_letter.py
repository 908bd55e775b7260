"""A dead letter: its states, which of them may follow which, and the fingerprint that groups it."""

import re
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import blake2b

MESSAGE_READ_AT_MOST = 2_000  # characters of an error message that a fingerprint looks at: time stays bounded


class LetterState(StrEnum):
    OPEN = "open"
    CLAIMED = "claimed"  # an operation has it
    SENT = "sent"  # the broker took it; not yet sure that it will remember
    SETTLED = "settled"  # the broker still has it after a while of unchanged identity
    CONSUMED = "consumed"  # every group that should see it has passed it
    SUCCEEDED = "succeeded"  # a later event was caused by it
    CAME_BACK = "came_back"  # it is a dead letter again
    UNKNOWN = "unknown"  # it may or may not have been sent or handled; a person decides
    DISCARDED = "discarded"
    EXPIRED = "expired"  # the broker's retention took it
    GONE = "gone"  # someone else removed it


NEXT: dict[LetterState, frozenset[LetterState]] = {
    LetterState.OPEN: frozenset({LetterState.CLAIMED, LetterState.EXPIRED, LetterState.GONE}),
    LetterState.CLAIMED: frozenset(
        {LetterState.OPEN, LetterState.SENT, LetterState.DISCARDED, LetterState.UNKNOWN, LetterState.GONE}
    ),
    LetterState.SENT: frozenset(
        {
            LetterState.SETTLED,
            LetterState.CONSUMED,
            LetterState.SUCCEEDED,
            LetterState.CAME_BACK,
            LetterState.UNKNOWN,
        }
    ),
    LetterState.SETTLED: frozenset(
        {
            LetterState.CONSUMED,
            LetterState.SUCCEEDED,
            LetterState.CAME_BACK,
            LetterState.UNKNOWN,
            LetterState.OPEN,
        }
    ),
    LetterState.CONSUMED: frozenset({LetterState.SUCCEEDED, LetterState.CAME_BACK, LetterState.OPEN}),
    LetterState.SUCCEEDED: frozenset({LetterState.CAME_BACK, LetterState.OPEN}),
    LetterState.CAME_BACK: frozenset({LetterState.OPEN}),
    LetterState.UNKNOWN: frozenset(
        {
            LetterState.OPEN,
            LetterState.CLAIMED,
            LetterState.CONSUMED,
            LetterState.SUCCEEDED,
            LetterState.CAME_BACK,
        }
    ),
    LetterState.DISCARDED: frozenset({LetterState.CLAIMED, LetterState.OPEN, LetterState.EXPIRED}),
    LetterState.EXPIRED: frozenset(),
    LetterState.GONE: frozenset({LetterState.OPEN}),
}

# What is over is open again where the letter is found in the broker again: its server went back in time and
# forgot what was done, or someone put the letter back. What is only `sent` the operator sends again itself.
REVIVABLE = frozenset(
    {
        LetterState.SETTLED,
        LetterState.CONSUMED,
        LetterState.SUCCEEDED,
        LetterState.CAME_BACK,
        LetterState.DISCARDED,
        LetterState.GONE,
    }
)


class Known(StrEnum):
    """How a fact about a dead letter is known."""

    HEADER = "header"
    SETTINGS = "settings"
    STREAM_NAME = "stream's name"
    BROKER_TIME = "broker's time"
    FIRST_SIGHT = "our first sight"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """What a decoder read out of one dead-letter record.

    `rule` names the convention that matched; `how` says for each fact how it is known; `own_fields` are the
    names of the fields that the dead-lettering added, which a retry leaves away.
    """

    rule: str
    origin_stream: str | None = None
    origin_position: str | None = None
    origin_partition: int | None = None
    group: str | None = None
    error_class: str | None = None
    error_message: str | None = None
    stack_trace: str | None = None
    attempts: int | None = None
    first_failed_ms: int | None = None
    failed_ms: int | None = None
    replay_id: str | None = None
    own_fields: tuple[bytes, ...] = ()
    how: dict[str, Known] = field(default_factory=dict)


# Each alternative starts with a different character class and none is nested, so the time is linear.
_VARIABLE = re.compile(
    r"""
    (?P<uuid>\b[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}\b)
  | (?P<ulid>\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b)
  | (?P<time>\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?)?)
  | (?P<email>\b[\w.+-]{1,64}@[\w.-]{1,255})
  | (?P<ip>\b\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?\b)
  | (?P<hex>\b0x[0-9a-fA-F]+\b|\b(?=\d{0,127}[a-fA-F])(?=[a-fA-F]{0,127}\d)[0-9a-fA-F]{12,128}\b)
  | (?P<id>\b[A-Za-z]{1,12}(?:[-_]\d[\w-]{0,40}|\d[\w-]{3,40})\b)
  | (?P<num>-?\b\d+(?:[.,]\d+)*)
    """,
    re.VERBOSE,
)
_QUOTED = re.compile(r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"")
_SPACE = re.compile(r"\s+")
_PYTHON_FRAME = re.compile(
    r'^[ \t]*File "(?P<file>[^"\n]{1,300})", line \d+, in (?P<name>[^\n]{1,200})$', re.MULTILINE
)
_JAVA_FRAME = re.compile(r"^[ \t]*at (?P<name>[\w.$<>/]{1,300})\(", re.MULTILINE)
_LIBRARY = ("site-packages", "dist-packages", "/lib/python", "<frozen", "java.", "javax.", "jdk.", "sun.")


def normalise(message: str) -> str:
    """The message with what differs from letter to letter taken out: ids, numbers, times, addresses."""
    text = _SPACE.sub(" ", message[:MESSAGE_READ_AT_MOST]).strip()
    text = _VARIABLE.sub(lambda match: f"<{match.lastgroup}>", text)
    return _QUOTED.sub(lambda m: "<value>" if "<" in m.group() else m.group(), text)


def own_frame(stack_trace: str | None) -> str | None:
    """The innermost frame that is not a library's; None where none is read.

    Line numbers and the folders that differ from machine to machine are left away.
    """
    if not stack_trace:
        return None
    text = stack_trace[: 16 * MESSAGE_READ_AT_MOST]
    python = [f"{m['file']}:{m['name'].strip()}" for m in _PYTHON_FRAME.finditer(text)]
    if python:  # Python prints the innermost frame last
        own = [frame for frame in python if not any(part in frame for part in _LIBRARY)]
        return "/".join((own or python)[-1].split("/")[-2:])
    java = [m["name"] for m in _JAVA_FRAME.finditer(text)]
    own = [frame for frame in java if not frame.startswith(_LIBRARY)]
    return next(iter(own or java), None)


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """What letters of one cause share. `id` is stable over restarts and machines."""

    id: str
    error_class: str
    frame: str | None
    message: str


def fingerprint(letter: DeadLetter) -> Fingerprint:
    """Error class, first frame of our own code and the normalised message, in one short id."""
    error_class = letter.error_class or "(no error class)"
    frame = own_frame(letter.stack_trace)
    message = normalise(letter.error_message or "")
    digest = blake2b("\x1f".join((error_class, frame or "", message)).encode(), digest_size=8)
    return Fingerprint(digest.hexdigest(), error_class, frame, message)


def replay_id(source: str, stream: str, incarnation: int, position: str, attempt: int) -> str:
    """The id that every sent copy of a letter carries: of its place and attempt, so a crash repeats it."""
    place = "\x1f".join((source, stream, str(incarnation), position))
    return f"{blake2b(place.encode(), digest_size=12).hexdigest()}-{attempt}"
