"""A saga as its events show it: declared steps, compensations, and where it stands."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class SagaState(StrEnum):
    RUNNING = "running"
    COMPENSATING = "compensating"
    COMPLETED = "completed"
    COMPENSATED = "compensated"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class SagaDefinition:
    """Event types in the order in which a healthy saga shows them, and those that undo it.

    A saga begins with the first of `steps` and is one correlation. It is stuck when nothing of it was seen
    for `stuck_after_s` seconds before one of `completed` or `compensated`.
    """

    name: str
    steps: tuple[str, ...]
    compensations: tuple[str, ...]
    completed: tuple[str, ...]
    compensated: tuple[str, ...]
    stuck_after_s: float

    @property
    def types(self) -> frozenset[str]:
        return frozenset(self.steps + self.compensations + self.completed + self.compensated)


def state_after(definition: SagaDefinition, before: SagaState | None, event_type: str) -> SagaState:
    """The state of a saga once it has shown `event_type`."""
    # 1 an end is an end: a late step does not open it again
    if before in (SagaState.COMPLETED, SagaState.COMPENSATED):
        return before
    # 2 it ends
    if event_type in definition.completed:
        return SagaState.COMPLETED
    if event_type in definition.compensated:
        return SagaState.COMPENSATED
    # 3 it undoes what it did; once undoing, always undoing
    if event_type in definition.compensations or before is SagaState.COMPENSATING:
        return SagaState.COMPENSATING
    return SagaState.RUNNING


@dataclass(frozen=True, slots=True)
class StepSeen:
    """One declared step of one saga, with when it was seen (None: not yet)."""

    event_type: str
    compensation: bool
    seen_ms: int | None


def progress(definition: SagaDefinition, seen: Sequence[tuple[str, int]]) -> list[StepSeen]:
    """The declared steps with the first time that each was seen, compensations after the steps."""
    first: dict[str, int] = {}
    for event_type, at_ms in sorted(seen, key=lambda pair: pair[1]):
        first.setdefault(event_type, at_ms)
    undoing = set(definition.compensations) | set(definition.compensated)
    names = dict.fromkeys(
        definition.steps + definition.completed + definition.compensations + definition.compensated
    )
    return [StepSeen(name, name in undoing, first.get(name)) for name in names]
