"""What is known of now: a source that does not answer leaves only what was last seen."""

from collections.abc import Sequence
from typing import Any

from eventwake.domain.lag import LagKind, Status
from eventwake.store.reads.groups import GroupRow
from eventwake.store.reads.sources import SourceRow

SILENT_MS = 15_000  # workers report every 2 s, and mark a source that answers as often
NO_ANSWER = "its source does not answer"


def answering(sources: Sequence[SourceRow], now_ms: int) -> set[str]:
    """Sources that answer; of others it is not known what goes on now."""
    return {s.name for s in sources if s.state == "up" and now_ms - s.checked_ms <= SILENT_MS}


def of_now(groups: Sequence[GroupRow], answering: set[str]) -> list[GroupRow]:
    """The groups; those of a source that does not answer with a status and a lag that are unknown."""
    unknown: dict[str, Any] = {
        "status": Status.UNKNOWN, "rule": NO_ANSWER, "lag": None, "lag_kind": LagKind.UNKNOWN,
        "lag_reason": NO_ANSWER, "time_lag_ms": None, "time_lag_kind": LagKind.UNKNOWN,
        "time_lag_reason": NO_ANSWER, "drain_per_s": None, "arrival_per_s": None,
    }  # fmt: skip
    return [g if g.source in answering else g._replace(**unknown) for g in groups]
