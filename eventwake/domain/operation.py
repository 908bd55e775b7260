"""Commands that a person gives, and operations on dead letters, which are the commonest of them."""

from dataclasses import dataclass
from enum import StrEnum


class CommandKind(StrEnum):
    RETRY = "retry"
    DISCARD = "discard"
    RESTORE = "restore"


class CommandState(StrEnum):
    PLANNED = "planned"
    RUNNING = "running"
    PAUSED = "paused"
    CANCELLING = "cancelling"  # nothing more is begun; what was not begun is being freed
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


FINISHED = frozenset({CommandState.DONE, CommandState.CANCELLED, CommandState.FAILED})


class ItemState(StrEnum):
    """One letter's way through one operation. It only moves forward."""

    WAITING = "waiting"  # frozen with the operation, and not claimed yet
    CLAIMED = "claimed"
    INTENDED = "intended"  # durable before the broker is touched: from here on it may have been sent
    SENT = "sent"
    DONE = "done"
    REFUSED = "refused"  # nothing was done; the letter is open again and the reason is kept
    LOST_RACE = "lost_race"  # another operation had the letter first
    GONE = "gone"  # the broker no longer had it
    UNKNOWN = "unknown"  # a person decides


ENDED = frozenset({ItemState.DONE, ItemState.REFUSED, ItemState.LOST_RACE, ItemState.GONE, ItemState.UNKNOWN})


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a name and from where. Sign-in comes later; until then the name is `local`."""

    name: str = "local"
    origin: str = ""
