"""Alert rules and the state of one alert: pending until it held for long enough, firing, resolved."""

from dataclasses import dataclass, replace
from enum import StrEnum

from eventwake.domain.lag import LagKind


class AlertKind(StrEnum):
    LAG = "lag"  # events behind
    TIME_LAG = "time_lag"  # seconds behind
    DEAD_LETTERS = "dead_letters"  # new dead letters within the last minute
    SOURCE_DOWN = "source_down"  # seconds without an answer


class AlertState(StrEnum):
    OK = "ok"
    PENDING = "pending"
    FIRING = "firing"
    RESOLVED = "resolved"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Alert:
    """One rule on one subject (a group, a dead-letter stream, a source)."""

    state: AlertState
    since_ms: int
    value: float | None = None


def comparable(value: float | None, kind: LagKind, above: float) -> float | None:
    """The value; None where it is a bound that may lie on the other side of `above` than what it bounds."""
    if value is None or (kind is LagKind.AT_LEAST and value <= above):
        return None
    return None if kind is LagKind.AT_MOST and value > above else value


def step(alert: Alert | None, value: float | None, above: float, for_ms: int, now_ms: int) -> Alert:
    """The alert after one more evaluation; `value` None means that it could not be measured."""
    state = alert.state if alert else AlertState.OK
    firing = state is AlertState.FIRING
    # 1 what cannot be measured neither fires nor resolves: a firing alert keeps firing
    if value is None:
        if alert and state in (AlertState.FIRING, AlertState.UNKNOWN):
            return alert
        return Alert(AlertState.UNKNOWN, now_ms)
    # 2 within bounds
    if value <= above:
        if firing and alert:
            return Alert(AlertState.RESOLVED, now_ms, value)
        return Alert(AlertState.OK, alert.since_ms if alert and state is AlertState.OK else now_ms, value)
    # 3 already firing
    if firing and alert:
        return replace(alert, value=value)
    # 4 above for long enough
    since_ms = alert.since_ms if alert and state is AlertState.PENDING else now_ms
    if now_ms - since_ms >= for_ms:
        return Alert(AlertState.FIRING, now_ms, value)
    # 5 above, waiting
    return Alert(AlertState.PENDING, since_ms, value)
