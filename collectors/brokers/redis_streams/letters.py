"""Retry, discard and restore: sent before removed, and never sent twice.

Three ways, by what the server allows; `reference` figures and proofs are in ARCHITECTURE.md:
- both streams in one slot: one script adds, marks and removes;
- another slot: a script on the origin's node adds and marks, then the letter is removed;
- no scripts: the journal. The intent holds the origin's last id; what may have been sent is looked for from
  there by its replay id before it is sent again. The event and its mark are one transaction, which fails
  where someone else touched the marks after the look.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha1
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from redis.exceptions import NoScriptError, ResponseError

from collectors.brokers.base import IN_DOUBT, LetterToSend, SendState, Sent
from collectors.brokers.redis_streams.client import RedisClient, Reply
from collectors.brokers.redis_streams.reading import ZERO, StreamHead, parse_id, read_heads, time_in
from eventwake.decoding.dead_letters.redis_streams import REPLAY_ID_FIELD
from eventwake.decoding.names import raw
from eventwake.domain.envelope import Record, pairs, without
from eventwake.domain.errors import BrokerRefused

MARKS_LIVE_MS = 30 * 24 * 3_600_000  # a month: far longer than an operation is left unfinished
LETTERS_A_CALL = 100  # a script blocks the server: 100 letters take 1.3 to 4.6 ms
BYTES_A_CALL = 1_000_000
LOOK_PAGE = 1_000  # entries a read while looking for an event that may have been sent

log = logging.getLogger(__name__)
_HERE = Path(__file__).parent
_ANSWERS = {
    b"sent": SendState.SENT,
    b"already": SendState.ALREADY,
    b"gone": SendState.GONE,
}
LIES_THERE = "one that looks the same lies there: whether it is this one cannot be seen"
NO_LONGER_SEEN = "it was put back before, or that was refused, and it does not lie there now"
NO_STREAM = "the stream it came from does not exist; create it or choose another target"
REFUSALS = {
    b"nostream": NO_STREAM,
    b"empty": "it holds no event, only a reference to one",
    b"toobig": "it has more fields than a script can add",
}


class Script:
    """A Lua script, named by its digest once the server knows it."""

    def __init__(self, path: Path) -> None:
        self._source = path.read_bytes()
        self._digest = sha1(self._source, usedforsecurity=False).hexdigest()

    def run(self, client: RedisClient, keys: Sequence[str], arguments: Sequence[bytes]) -> Reply:
        """Runs it on the first key's node."""
        where, names = raw(keys[0]), [raw(key) for key in keys]
        reply: Reply = None
        for how in (("EVALSHA", self._digest), ("EVAL", self._source)):
            reply = client.pipeline([(where, (*how, len(names), *names, *arguments))])[0]
            if not isinstance(reply, NoScriptError):
                break
        if isinstance(reply, ResponseError):
            raise BrokerRefused(f"the server refused: {reply}")
        return reply


_SEND = Script(_HERE / "send.lua")
_RESTORE = Script(_HERE / "restore.lua")


class _Seen(NamedTuple):
    """What a look through an origin found: replay id -> position, of all that lies up to `until`."""

    positions: dict[bytes, str]
    until: str


class Letters:
    """The commands on one source's dead letters. `alive` is told while a long look goes on."""

    def __init__(self, client: RedisClient, *, scripts: bool, alive: Callable[[], None]) -> None:
        self._client = client
        self._scripts = scripts
        self._alive = alive
        self._marks_tags: dict[int, str] = {}

    def intent(self, origin: str) -> str:
        """The origin's last id now: whatever is sent from here on lies behind it."""
        heads, _ = read_heads(self._client, [origin])
        return heads[origin].seen.last_position if origin in heads else ZERO

    def retry(self, stream: str, letters: Sequence[LetterToSend], marks: str) -> list[Sent]:
        """Sends letters of `stream` to their origins, in calls that are kind to the server."""
        outcomes: list[Sent] = []
        for origin, of_origin in groupby(sorted(letters, key=_by_origin), key=_by_origin):
            for chunk in _chunks(list(of_origin)):
                try:
                    outcomes += self._retry_to(stream, origin, chunk, marks)
                except BrokerRefused as error:  # of these: other calls may have sent theirs
                    outcomes += [_refused(letter, str(error)) for letter in chunk]
        return outcomes

    def discard(self, stream: str, positions: Sequence[str]) -> set[str]:
        """Removes letters; those that were there."""
        key = raw(stream)
        replies = self._client.pipeline([(key, ("XDEL", key, position)) for position in positions])
        for refused in (r for r in replies if isinstance(r, ResponseError)):
            raise BrokerRefused(f"XDEL on {stream} was refused: {refused}")
        return {position for position, removed in zip(positions, replies, strict=True) if removed}

    def restore(self, stream: str, record: Record, token: str, *, after: str) -> str:
        """Puts a letter back byte for byte; its new position. `after` is the stream's last id beforehand."""
        fields = [value or b"" for value in record.fields]
        marks = self._marks_key(stream, "restored")
        if not self._scripts:
            position = None
            while position is None:  # as with a send, each turn in vain is another's success
                position = self._look_and_restore(stream, fields, raw(marks), token, after)
            return position
        arguments = [str(MARKS_LIVE_MS).encode(), token.encode(), *fields]
        answer = _RESTORE.run(self._client, [stream, marks], arguments)
        if answer[0] == b"toobig":
            raise BrokerRefused("the letter has more fields than a script can add")
        return str(answer[1].decode())

    def present(self, stream: str, positions: Sequence[str]) -> set[str]:
        """Those of the positions that still hold a letter."""
        return {*self._entries(stream, positions)}

    def _retry_to(self, stream: str, origin: str, letters: Sequence[LetterToSend], marks: str) -> list[Sent]:
        marks_key = self._marks_key(origin, marks)
        if not self._scripts:
            self._try_removing(stream)
            seen = self._look_for(origin, [letter for letter in letters if letter.may_be_sent])
            return [self._by_journal(stream, origin, letter, marks_key, seen) for letter in letters]
        if self._client.same_slot(origin, stream):
            return self._by_script([origin, marks_key, stream], letters)
        return self._over_slots(stream, [origin, marks_key], letters)

    def _by_script(self, keys: Sequence[str], letters: Sequence[LetterToSend]) -> list[Sent]:
        arguments: list[bytes] = [str(MARKS_LIVE_MS).encode(), REPLAY_ID_FIELD]
        for letter in letters:
            given = b"copy" if letter.fields is None else b"fields"
            values = letter.drop if letter.fields is None else [value or b"" for value in letter.fields]
            arguments += (letter.position.encode(), letter.replay_id.encode(), given)
            arguments += (str(len(values)).encode(), *(value or b"" for value in values))
        answers = _SEND.run(self._client, keys, arguments)
        return [_sent(letter, answer) for letter, answer in zip(letters, answers, strict=True)]

    def _over_slots(self, stream: str, keys: Sequence[str], letters: Sequence[LetterToSend]) -> list[Sent]:
        """The entries are read first and given to the script; they never change, so nothing can slip in."""
        self._try_removing(stream)
        entries = self._entries(stream, [letter.position for letter in letters])
        marked = self._client.pipeline(
            [(raw(keys[0]), ("HGET", raw(keys[1]), letter.replay_id)) for letter in letters]
        )
        for refused in (r for r in marked if isinstance(r, ResponseError)):
            raise BrokerRefused(f"HGET on {keys[1]} was refused: {refused}")
        outcomes, to_send = [], []
        for letter, mark in zip(letters, marked, strict=True):
            if letter.position in entries:
                to_send.append(_with_fields(letter, entries[letter.position]))
            elif isinstance(mark, bytes):
                outcomes.append(_at(letter, SendState.ALREADY, mark))
            else:
                outcomes.append(_gone(letter))
        sent = self._by_script(keys, to_send) if to_send else []
        arrived = {s.letter_id for s in sent if s.state in (SendState.SENT, SendState.ALREADY)}
        self._remove_sent(stream, [letter.position for letter in to_send if letter.letter_id in arrived])
        return outcomes + sent

    def _by_journal(self, stream: str, origin: str, letter: LetterToSend, marks: str, seen: _Seen) -> Sent:
        self._alive()
        sent = None
        while sent is None:  # each turn in vain is another sender's success, so they come to an end
            try:
                sent = self._look_and_send(stream, origin, letter, raw(marks), seen)
            except BrokerRefused as error:  # of this letter: others may have been sent
                return _refused(letter, str(error))
        if sent.state in (SendState.SENT, SendState.ALREADY):
            self._remove_sent(stream, [letter.position])
        return sent

    def _look_and_send(
        self, stream: str, origin: str, letter: LetterToSend, marks: bytes, before: _Seen
    ) -> Sent | None:
        """None: someone else sent meanwhile, so what was seen may be no longer so and is looked at again."""
        with self._client.unless_touched(marks) as carry_out:
            seen = self._look_before(stream, origin, letter, marks, before)
            if isinstance(seen, Sent):
                return seen if carry_out([("HGET", marks, letter.replay_id)]) is not None else None
            event = (raw(origin), "NOMKSTREAM", "*", *seen, REPLAY_ID_FIELD, letter.replay_id)
            replies = carry_out(
                [
                    ("XADD", *event),
                    ("HSET", marks, letter.replay_id, "tried"),
                    ("PEXPIRE", marks, MARKS_LIVE_MS),
                ]
            )
        if replies is None:
            return None
        if isinstance(replies[0], ResponseError) or replies[0] is None:
            return Sent(letter.letter_id, SendState.REFUSED, detail=str(replies[0] or NO_STREAM))
        return _at(letter, SendState.SENT, replies[0])

    def _look_before(
        self, stream: str, origin: str, letter: LetterToSend, marks: bytes, before: _Seen
    ) -> Sent | list[bytes]:
        """The event's fields where it is to be sent, else what became of it."""
        marked = self._client.command(marks, "HGET", marks, letter.replay_id) is not None
        if letter.may_be_sent or marked:
            found = self._find_sent(origin, letter, before, marked=marked)
            if found is not None:
                return found
        entry = self._entries(stream, [letter.position]).get(letter.position)
        if entry is None:
            return Sent(letter.letter_id, SendState.GONE)
        fields = [value or b"" for value in _with_fields(letter, entry).fields or ()]
        return fields or Sent(letter.letter_id, SendState.REFUSED, detail=REFUSALS[b"empty"])

    def _look_and_restore(
        self, stream: str, fields: Sequence[bytes], marks: bytes, token: str, after: str
    ) -> str | None:
        """None: someone else restored meanwhile, perhaps this letter, so it is looked for again.

        A mark says that it was put back. Without one, what looks the same may be this letter, whose mark was
        lost, or another: that is for a person.
        """
        with self._client.unless_touched(marks) as carry_out:
            mark = self._client.command(marks, "HGET", marks, token)
            found = self._look(stream, after, lambda entry: list(entry) == fields)
            if mark or found:
                if carry_out([("HGET", marks, token)]) is None:
                    return None
                if mark and found:
                    return found
                raise BrokerRefused(NO_LONGER_SEEN if mark else LIES_THERE)
            replies = carry_out(
                [
                    ("XADD", raw(stream), "*", *fields),
                    ("HSET", marks, token, "tried"),
                    ("PEXPIRE", marks, MARKS_LIVE_MS),
                ]
            )
        if replies is None:
            return None
        if isinstance(replies[0], ResponseError):
            raise BrokerRefused(f"XADD to {stream} was refused: {replies[0]}")
        return str(replies[0].decode())

    def _try_removing(self, stream: str) -> None:
        """A missing right must show before anything is sent, as the probe in the script does."""
        self.discard(stream, ["0-1"])

    def _remove_sent(self, stream: str, positions: Sequence[str]) -> None:
        """After a send, a refusal must not look as if nothing had been sent."""
        try:
            self.discard(stream, positions)
        except BrokerRefused as error:
            log.warning("sent, but %s could not be removed from %s: %s", ", ".join(positions), stream, error)

    def _find_sent(self, origin: str, letter: LetterToSend, before: _Seen, *, marked: bool) -> Sent | None:
        """The event that an earlier run of this attempt sent, `unknown` where it cannot be looked for."""
        wanted = letter.replay_id.encode()
        found = before.positions.get(wanted)
        if not found:  # what was looked through before is not looked through again
            after = before.until if letter.may_be_sent else letter.intent
            found = self._look(origin, after, lambda fields: _replay_id_in(fields) == wanted)
        if found:
            return _at(letter, SendState.ALREADY, found.encode())
        heads, _ = read_heads(self._client, [origin])
        if origin not in heads or _may_have_lost(heads[origin], letter.intent, marked=marked):
            detail = (
                f"{origin} was trimmed past {letter.intent}, or events behind it were deleted: "
                "whether it was sent cannot be seen any more"
            )
            return Sent(letter.letter_id, SendState.UNKNOWN, detail=detail)
        return None

    def _look_for(self, origin: str, letters: Sequence[LetterToSend]) -> _Seen:
        """One look for all of the letters: each by itself would take as long as all together."""
        seen = _Seen({}, min((letter.intent for letter in letters), key=parse_id, default=ZERO))
        wanted = {letter.replay_id.encode() for letter in letters}
        if wanted:
            for entry_id, fields in self._behind(origin, seen.until):
                seen = seen._replace(until=entry_id)
                if (replay_id := _replay_id_in(fields)) in wanted:
                    seen.positions[replay_id] = entry_id
        return seen

    def _look(self, stream: str, after: str, wanted: Callable[[Sequence[bytes]], bool]) -> str | None:
        entries = self._behind(stream, after)
        return next((entry_id for entry_id, fields in entries if wanted(fields)), None)

    def _behind(self, stream: str, after: str) -> Iterator[tuple[str, Sequence[bytes]]]:
        while True:
            page = self._client.command(
                raw(stream), "XRANGE", raw(stream), f"({after}", "+", "COUNT", LOOK_PAGE
            )
            for entry_id, fields in page:
                yield entry_id.decode(), fields
            if len(page) < LOOK_PAGE:
                return
            after = page[-1][0].decode()
            self._alive()

    def _entries(self, stream: str, positions: Sequence[str]) -> dict[str, list[bytes]]:
        key = raw(stream)
        replies = self._client.pipeline(
            [(key, ("XRANGE", key, position, position)) for position in positions]
        )
        for refused in (r for r in replies if isinstance(r, ResponseError)):
            raise BrokerRefused(f"XRANGE on {stream} was refused: {refused}")
        return {position: reply[0][1] for position, reply in zip(positions, replies, strict=True) if reply}

    def _marks_key(self, beside: str, name: str) -> str:
        """The key of a set of marks, in the same slot as `beside`."""
        slot = self._client.slot(beside)
        if slot is None:
            return f"eventwake:marks:{name}"
        if slot not in self._marks_tags:
            number = 0
            while self._client.slot(f"{{{number}}}") != slot:
                number += 1
            self._marks_tags[slot] = f"{{{number}}}"
        return f"eventwake:marks:{self._marks_tags[slot]}:{name}"


def _with_fields(letter: LetterToSend, entry: Sequence[bytes | None]) -> LetterToSend:
    if letter.fields is not None:
        return letter
    return replace(letter, fields=without(entry, letter.drop))


def _may_have_lost(head: StreamHead, position: str, *, marked: bool) -> bool:
    """Whether an event behind the position may have been there and be gone: trimmed or deleted."""
    after = parse_id(position)
    if head.last <= after:
        return False
    if position == ZERO:
        trimmed = head.seen.added is not None and head.seen.added > head.seen.length
    else:
        trimmed = head.first is None or head.first > after
    if head.max_deleted is None:  # Redis before 7.0 does not say; but what was sent left its mark
        return trimmed or marked
    return trimmed or head.max_deleted > after


def _by_origin(letter: LetterToSend) -> str:
    return letter.origin


def _chunks(letters: Sequence[LetterToSend]) -> Iterator[list[LetterToSend]]:
    """At most `LETTERS_A_CALL` letters and about `BYTES_A_CALL` bytes each."""
    chunk: list[LetterToSend] = []
    room = BYTES_A_CALL
    for letter in letters:
        if chunk and (len(chunk) == LETTERS_A_CALL or room < letter.size):
            yield chunk
            chunk, room = [], BYTES_A_CALL
        chunk.append(letter)
        room -= letter.size
    if chunk:
        yield chunk


def _replay_id_in(fields: Sequence[bytes]) -> bytes | None:
    return next((value for name, value in pairs(fields) if name == REPLAY_ID_FIELD), None)


def _refused(letter: LetterToSend, reason: str) -> Sent:
    """Nothing was sent now; what an earlier run did is not known."""
    if letter.may_be_sent:
        return Sent(letter.letter_id, SendState.UNKNOWN, detail=f"it may have been sent before; {reason}")
    return Sent(letter.letter_id, SendState.REFUSED, detail=reason)


def _sent(letter: LetterToSend, answer: Sequence[bytes]) -> Sent:
    word = answer[0]
    if word in REFUSALS or word == b"error":
        detail = REFUSALS.get(word) or answer[1].decode()
        return Sent(letter.letter_id, SendState.REFUSED, detail=detail)
    state = _ANSWERS[word]
    return _gone(letter) if state is SendState.GONE else _at(letter, state, answer[1])


def _gone(letter: LetterToSend) -> Sent:
    """Neither the letter nor a mark is there; but marks can be lost, and the send with them from sight."""
    if letter.may_be_sent:
        return Sent(letter.letter_id, SendState.UNKNOWN, detail=IN_DOUBT)
    return Sent(letter.letter_id, SendState.GONE)


def _at(letter: LetterToSend, state: SendState, entry_id: bytes) -> Sent:
    return Sent(letter.letter_id, state, entry_id.decode(), sent_ms=time_in(entry_id.decode()))
