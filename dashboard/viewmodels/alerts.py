"""Alerts: what fires, what fired, and what the rules look at."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from dashboard.viewmodels import units
from eventwake.domain.alert import AlertKind
from eventwake.settings import AlertRule
from eventwake.store.reads.alerts import AlertRow, Subject

ABOVE = {
    AlertKind.LAG: "more than {} events behind",
    AlertKind.TIME_LAG: "events wait for more than {} s",
    AlertKind.DEAD_LETTERS: "more than {} new dead letters within a minute",
    AlertKind.SOURCE_DOWN: "no answer for more than {} s",
}
VALUES = {
    AlertKind.LAG: "{} events",
    AlertKind.TIME_LAG: "{} s",
    AlertKind.DEAD_LETTERS: "{} new",
    AlertKind.SOURCE_DOWN: "{} s",
}


class RuleLine(NamedTuple):
    """A rule with what it looks at now."""

    rule: str
    fires: str
    lasting: str
    matches: str
    looks_at: int
    above: int
    unknown: int


class PastLine(NamedTuple):
    rule: str
    subject: str
    fired: str
    lasted: str
    ended: str
    acknowledged: str
    note: str


class Link(NamedTuple):
    page: str
    label: str
    parameters: dict[str, str]


def rule_lines(rules: Sequence[AlertRule], subjects: Mapping[AlertKind, Sequence[Subject]]) -> list[RuleLine]:
    lines = []
    for rule in rules:
        own = [s for s in subjects.get(rule.kind, ()) if rule.covers(s.source, s.matched)]
        states = Counter(
            "unknown" if s.value is None else "above" if s.value > rule.above else "ok" for s in own
        )
        lines.append(
            RuleLine(
                rule.name,
                ABOVE[rule.kind].format(f"{rule.above:,g}"),
                units.duration(rule.for_s * 1000) if rule.for_s else "at once",
                f"{rule.source} / {rule.match}",
                len(own),
                states["above"],
                states["unknown"],
            )
        )
    return lines


def headline(alert: AlertRow, now_ms: int) -> str:
    """What an alert says now, in one line."""
    kind = AlertKind(alert.kind)
    value = units.UNKNOWN if alert.value is None else VALUES[kind].format(f"{alert.value:,.0f}")
    since = alert.fired_ms if alert.fired_ms is not None else alert.since_ms
    state = "fires" if alert.state == "firing" else "waits to fire"
    return (
        f"{alert.subject}: {value}, limit {alert.above:,g}; {state} since {units.age(since, now_ms)}, "
        f"looked at {units.age(alert.evaluated_ms, now_ms)}"
    )


def past_lines(alerts: Sequence[AlertRow], now_ms: int) -> list[PastLine]:
    return [
        PastLine(
            alert.rule,
            alert.subject,
            units.age(alert.fired_ms, now_ms),
            units.duration((alert.resolved_ms or now_ms) - (alert.fired_ms or alert.since_ms)),
            units.age(alert.resolved_ms, now_ms),
            alert.acknowledged_by or "by nobody",
            alert.note,
        )
        for alert in alerts
    ]


def link(alert: AlertRow) -> Link:
    """Where to look into what an alert is about."""
    kind = AlertKind(alert.kind)
    if kind is AlertKind.DEAD_LETTERS:
        return Link("dead_letters", "Its letters", {"stream": alert.matched})
    if kind is AlertKind.SOURCE_DOWN:
        return Link("overview", "The source", {})
    return Link("lag", "The group", {"group": alert.matched.rpartition("/")[2], "in": alert.source})
