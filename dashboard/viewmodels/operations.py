"""Operations under way: how far they are, and why one does not move."""

from collections.abc import Mapping, Sequence

from dashboard.viewmodels.freshness import SILENT_MS
from eventwake.domain.operation import ItemState
from eventwake.store.reads.operations import OperationRow
from eventwake.store.reads.sources import WorkerRow

OPERATOR = "operator"
WELL = ("running", "starting")


def with_waiting(operation: OperationRow, progress: Mapping[str, int]) -> dict[str, int]:
    """Its letters by state, with those that are frozen and not claimed yet."""
    waiting = operation.items - sum(progress.values())
    return {**progress, ItemState.WAITING.value: waiting} if waiting > 0 else {**progress}


def hindered(source: str, workers: Sequence[WorkerRow], now_ms: int) -> str | None:
    """Why what is asked of the source waits; None where its operator is at work."""
    worker = next((w for w in workers if (w.source, w.role) == (source, OPERATOR)), None)
    if worker is None:
        return f"{source} has no operator yet: what is asked of it waits for one"
    if worker.state not in WELL:
        return f"the operator of {source} is {worker.state}: {worker.detail or 'it does not say why'}"
    if now_ms - worker.heartbeat_ms > SILENT_MS:
        return f"the operator of {source} does not report: what is asked of it waits"
    return None
