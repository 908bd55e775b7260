"""A failed row of a queue's table as a dead letter.

Libraries keep the error in different shapes: procrastinate not at all, chancy as Python's traceback, pgqueuer
as JSON with class, message and traceback; tables of one's own mostly as one line of text.
"""

import re
from typing import NamedTuple

import orjson

from eventwake.domain.dead_letter import DeadLetter, Known
from eventwake.domain.envelope import Record, pairs

# what the reader adds to the row's own columns
FAILED_AT, ATTEMPTS, ERROR = b"eventwake_failed_at_ms", b"eventwake_attempts", b"eventwake_error"
OWN_FIELDS = (FAILED_AT, ATTEMPTS, ERROR)

_CLASS = re.compile(r"(?P<name>[A-Za-z_][\w.]{0,200})(?:: ?(?P<message>.*))?", re.DOTALL)
_LEADING_CLASS = re.compile(r"([A-Za-z_][\w.]{0,120}(?:Error|Exception|Timeout|Failure|Fault)): ")
_FRAME = '  File "'


class Failure(NamedTuple):
    error_class: str | None
    message: str | None
    stack_trace: str | None


def workers_of(queue: str) -> str:
    """Whoever works a queue is one group to us; the name tells them from those of other queues."""
    return f"{queue} workers"


def read_failure(text: str | None) -> Failure:
    """What an error's text says, in whichever of the shapes it is kept."""
    if not text:
        return Failure(None, None, None)
    if text.startswith("{"):
        try:
            said = orjson.loads(text)
        except orjson.JSONDecodeError:
            said = None
        if isinstance(said, dict) and isinstance(said.get("exception_type"), str):
            return Failure(said["exception_type"], _text(said, "exception_message"), _text(said, "traceback"))
    if _FRAME in text:
        return _of_traceback(text)
    leading = _LEADING_CLASS.match(text)
    return Failure(leading[1], text[leading.end() :], None) if leading else Failure(None, text, None)


def _of_traceback(text: str) -> Failure:
    """Python prints the class and message last, at a line's beginning; a message may have many lines."""
    after_frames = text[text.rindex(_FRAME) :].splitlines(keepends=True)
    for number, line in enumerate(after_frames):
        if line[:1].strip() and (match := _CLASS.fullmatch("".join(after_frames[number:]).rstrip())):
            return Failure(match["name"], match["message"] or None, text)
    return Failure(None, None, text)


def _text(said: dict[str, object], name: str) -> str | None:
    value = said.get(name)
    return value if isinstance(value, str) and value else None


def read_letter(record: Record, library: str, queue: str) -> DeadLetter:
    """`queue` is the one whose worker gave up, and where a retry puts the job."""
    said = {
        name: value.decode("utf-8", "replace") for name, value in pairs(record.fields) if value is not None
    }
    failure = read_failure(said.get(ERROR))
    failed, attempts = said.get(FAILED_AT), said.get(ATTEMPTS)
    how = {
        "origin_stream": Known.HEADER,
        "group": Known.SETTINGS,
        "attempts": Known.HEADER if attempts else Known.UNKNOWN,
        "failed": Known.BROKER_TIME if failed else Known.FIRST_SIGHT,
        "error_message": Known.HEADER if failure.message or failure.error_class else Known.UNKNOWN,
    }
    keeps_no_error = "; it keeps no error" if library == "procrastinate" else ""
    return DeadLetter(
        rule=f"failed row of {library if library != 'none' else 'a table of your own'}{keeps_no_error}",
        origin_stream=queue,
        origin_position=record.position.rpartition("-")[0],
        group=workers_of(queue),
        error_class=failure.error_class,
        error_message=failure.message,
        stack_trace=failure.stack_trace,
        attempts=int(attempts) if attempts and attempts.isdecimal() else None,
        failed_ms=int(failed) if failed else record.recorded_ms,
        own_fields=tuple(name for name, _ in pairs(record.fields) if name in OWN_FIELDS),
        how=how,
    )
