"""The broker port: what a collector may ask of any broker, and the shapes of the answers.

The contract suite (tests/contract) says what holds for every broker: reading from the returned cursor gives
nothing twice and skips nothing; observing never acknowledges, moves a group or hides a message; a command on
a letter has its effect once; a server that is down raises `BrokerUnavailable`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from eventwake.domain.dead_letter import DeadLetter
from eventwake.domain.envelope import Record
from eventwake.domain.errors import Unsupported
from eventwake.domain.lag import Lag

IN_DOUBT = "the broker has neither the letter nor a mark of the send: it may have been sent before"
KEYS_A_PAGE = 1_000  # names that one page of discovery looks at: in Redis about 0.3 ms of the server


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a broker can do. What it cannot is never answered with a made-up zero."""

    profile: Literal["log", "queue"]
    groups: bool = False
    pending: bool = False
    retry: bool = False
    discard: bool = False
    restore: bool = False


class Server(NamedTuple):
    """`identity` changes when the server restarts or another takes over: it may then have forgotten."""

    version: str
    identity: str


class StreamSeen(NamedTuple):
    """One look at a stream, or at one partition of it.

    `added` counts all events ever added; None where the broker does not count. `identity` changes when the
    stream is deleted and made again; "" where the broker has no such thing.
    """

    name: str
    length: int
    added: int | None
    first_position: str | None
    last_position: str
    partition: int = 0
    identity: str = ""


class Looked(NamedTuple):
    """Heads by stream name, one for each partition, and why a stream was refused."""

    heads: dict[str, Sequence[StreamSeen]]
    refused: dict[str, str]


class Cursor(NamedTuple):
    """Everything up to and with `position` has been read.

    `read_count` is how many events of this incarnation lie up to it, read or missed; None where the broker
    gives nothing to count by.
    """

    position: str
    read_count: int | None
    incarnation: int = 0
    partition: int = 0
    identity: str = ""  # of the stream that it is a place in


class Gap(NamedTuple):
    """Events that were gone before they could be read, or were skipped. `missed` None: not countable."""

    after_position: str
    before_position: str
    missed: int | None
    reason: str


@dataclass(slots=True)
class Batch:
    """What one read of one partition gave. `unread` is how many events wait behind the cursor."""

    stream: str
    records: list[Record]
    cursor: Cursor
    gap: Gap | None = None
    unread: int | None = None
    more: bool = False


class ConsumerSeen(NamedTuple):
    name: str
    pending: int
    idle_ms: int
    inactive_ms: int | None


class PendingSeen(NamedTuple):
    position: str
    consumer: str
    idle_ms: int
    deliveries: int


@dataclass(frozen=True, slots=True)
class GroupSeen:
    """One look at a group on one stream; counts are events since the stream's beginning."""

    stream: str
    name: str
    position: str
    committed: int | None
    end: int | None
    lag: Lag
    time_lag: Lag
    pending: int | None
    oldest_pending: str | None = None
    oldest_pending_idle_ms: int | None = None
    most_deliveries: int | None = None
    skipped: int | None = None
    consumers: Sequence[ConsumerSeen] = ()
    entries: Sequence[PendingSeen] = ()
    entries_complete: bool = True


class SendState(StrEnum):
    SENT = "sent"
    ALREADY = "already"  # an earlier run of this attempt had sent it
    GONE = "gone"  # the broker has neither the letter nor a mark of this attempt
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class LetterToSend:
    """One letter of a retry: where it lies, where it goes, and what is sent.

    `drop` are the fields that the dead-lettering added; `fields` replaces the event's own fields where it
    was edited (None: as it lies in the broker). `intent` is what `Broker.intent` answered before the first
    send of this attempt, and `may_be_sent` says that an earlier run may have sent it.
    """

    letter_id: int
    position: str
    replay_id: str
    origin: str
    size: int
    intent: str
    may_be_sent: bool = False
    drop: Sequence[bytes] = ()
    fields: Sequence[bytes | None] | None = None


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of one letter; `position` is where the sent event lies now.

    `sent_ms` is when it was sent, by the broker's clock; None where that is not known.
    """

    letter_id: int
    state: SendState
    position: str | None = None
    detail: str = ""
    sent_ms: int | None = None


class GroupView(NamedTuple):
    """Whether a group has an event still ahead, holds it pending, or is done with it.

    `lost`: the event is no longer there and the group does not hold it; whether it was ever given it cannot
    be seen now.
    """

    group: str
    state: Literal["waiting", "pending", "consumed", "lost"]


@dataclass(frozen=True, slots=True)
class Check:
    """One finding of doctor: what was looked at, whether it is well, and what to do where it is not."""

    name: str
    state: Literal["ok", "warning", "fault"]
    found: str
    do: str = field(default="")


class Broker(ABC):
    """One watched broker. Made from its settings without I/O; `start` connects, `stop` lets go.

    Every method may raise `BrokerUnavailable` (try again later) or `BrokerRefused` (someone must act).
    """

    capabilities: Capabilities
    # told from within what may take long: whoever watches over the process sees that it does not hang
    alive: Callable[[], None] = staticmethod(lambda: None)

    @abstractmethod
    def start(self) -> None:
        """Connects."""

    @abstractmethod
    def stop(self) -> None:
        """Closes every connection; never raises."""

    @property
    @abstractmethod
    def commands_sent(self) -> int:
        """How many commands the servers were sent so far; whoever watches keeps to the source's budget."""

    @abstractmethod
    def server(self) -> Server:
        """Which server answers."""

    @abstractmethod
    def discover(self, wanted: Callable[[str], bool]) -> Iterator[list[str]]:
        """The names of all streams that `wanted` takes, in pages that each look at about `KEYS_A_PAGE` names.

        Whoever iterates keeps to the source's scan budget. A name may come twice.
        """

    def holds_dead_letters(self, stream: str) -> bool | None:
        """Whether it is a dead-letter stream, where the broker itself knows; None: the settings say."""
        return None

    @abstractmethod
    def look(self, streams: Sequence[str]) -> Looked:
        """The streams' heads; a stream that does not exist is left out."""

    @abstractmethod
    def first_cursor(self, seen: StreamSeen, start: str) -> Cursor:
        """Where to begin on first contact: `start` is "newest", "earliest" or so many hours ("24h")."""

    @abstractmethod
    def follow(self, seen: StreamSeen, cursor: Cursor, known: Callable[[str], bool]) -> Cursor:
        """The cursor to go on from: the same, or that of a new incarnation where the stream was made anew.

        `known` tells whether the event at a position is in the store, to tell a rolled-back stream from a
        new one.
        """

    @abstractmethod
    def read(self, wanted: Sequence[tuple[StreamSeen, Cursor, int]]) -> list[Batch]:
        """The next events of each partition, at most so many, in as few exchanges as the broker allows."""

    @abstractmethod
    def skip_to_newest(self, seen: StreamSeen, cursor: Cursor) -> Batch:
        """An empty batch whose cursor is the stream's end, with what was skipped as its gap."""

    def groups(self, streams: Sequence[str]) -> list[GroupSeen]:
        """Every group of the streams, which `look` has seen before."""
        raise Unsupported(f"{type(self).__name__} has no consumer groups")

    def views(
        self, stream: str, groups: Sequence[str], positions: Sequence[str]
    ) -> dict[str, list[GroupView]]:
        """For each position what each group has done with it."""
        raise Unsupported(f"{type(self).__name__} has no consumer groups")

    @abstractmethod
    def read_letter(self, record: Record, stream: str) -> DeadLetter:
        """What a dead letter says of itself."""

    def present(self, stream: str, positions: Sequence[str]) -> set[str]:
        """Those of the positions that still hold a letter."""
        raise Unsupported(f"{type(self).__name__} cannot look a letter up")

    def intent(self, origin: str) -> str:
        """What must be durable before a send to `origin`, so that a crash can be looked into afterwards."""
        raise Unsupported(f"{type(self).__name__} cannot retry")

    def retry(self, stream: str, letters: Sequence[LetterToSend], marks: str) -> list[Sent]:
        """Sends letters of one dead-letter stream to their origins and removes them, each once.

        `marks` names the operation's set of marks. What may have been sent is looked for first.
        """
        raise Unsupported(f"{type(self).__name__} cannot retry")

    def discard(self, stream: str, positions: Sequence[str]) -> set[str]:
        """Removes letters; those that were there."""
        raise Unsupported(f"{type(self).__name__} cannot remove a letter")

    def restore(self, stream: str, record: Record, token: str, intent: str) -> str:
        """Puts a discarded letter back into its dead-letter stream once for each token; its new position.

        `intent` is what `Broker.intent(stream)` answered before the first try.
        """
        raise Unsupported(f"{type(self).__name__} cannot restore a letter")

    @abstractmethod
    def checks(self) -> list[Check]:
        """What doctor should say about this source."""
