"""A day's history of every group, and the alerts that came of it."""

import random
from collections.abc import Iterator
from typing import Any

from benchmarks.big_store.events import DAY_MS
from collectors.brokers import broker_for
from collectors.lag_sampler import LagSampler
from collectors.streams import Streams
from eventwake.domain.alert import Alert, AlertState
from eventwake.settings import AlertRule, Settings
from eventwake.store.reads import alerts as alert_reads
from eventwake.store.reads.alerts import Subject
from eventwake.store.reads.groups import GroupRow, all_groups
from eventwake.store.session import Store
from eventwake.store.writes import alerts, groups

SAMPLES_A_TRANSACTION = 2_000
OLD_STEP_MS = 60_000  # samples are dropped after some hours, and only their 10-minute history is left
PAST_ALERTS = 300


def write(settings: Settings, store: Store, rng: random.Random, now_ms: int) -> None:
    with store.read() as connection:
        known = all_groups(connection)
    step_ms = round(settings.source[0].groups_s * 1_000)
    recent_ms = round(settings.store.samples_hours * 3_600_000)
    times = [
        *range(now_ms - DAY_MS, now_ms - recent_ms, OLD_STEP_MS),
        *range(now_ms - recent_ms, now_ms - step_ms, step_ms),
    ]
    for group in known:
        rows = list(_samples(group, times, now_ms, rng))
        for start in range(0, len(rows), SAMPLES_A_TRANSACTION):
            with store.write() as tx:
                groups.save_samples(tx, rows[start : start + SAMPLES_A_TRANSACTION])
    _write_alerts(settings.alert, store, known, rng, now_ms)


def _samples(group: GroupRow, times: list[int], now_ms: int, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Behind by a little that changes, over a stream that grew evenly."""
    added = group.end or 0
    lag = 0
    for at_ms in times:
        end = added * (at_ms - now_ms + DAY_MS) // DAY_MS
        lag = max(0, lag + rng.randrange(-12, 12))
        behind_ms = lag * DAY_MS // max(added, 1)
        yield {
            "group_id": group.id,
            "at_ms": at_ms,
            "position": f"{at_ms - behind_ms}-0",
            "committed": max(0, end - lag),
            "end": end,
            "lag_kind": "known",
            "lag": lag,
            "time_lag_ms": behind_ms,
            "pending": min(lag, 10),
            "oldest_pending": f"{at_ms - behind_ms}-0" if lag else None,
        }


def _write_alerts(
    rules: tuple[AlertRule, ...], store: Store, known: list[GroupRow], rng: random.Random, now_ms: int
) -> None:
    """Alerts that fired and are over."""
    for place in range(PAST_ALERTS):
        rule, group = rules[place % 2], rng.choice(known)
        subject = Subject(
            f"{group.source}/{group.stream} · {group.name}", group.source, f"{group.stream}/{group.name}", 1.0
        )
        fired_ms = now_ms - DAY_MS + (DAY_MS - 600_000) * place // PAST_ALERTS
        with store.write() as tx:
            alerts.save(tx, rule, subject, None, Alert(AlertState.FIRING, fired_ms, 5_000.0), fired_ms)
            alert_id = alert_reads.current(tx)[rule.name, subject.name].id
            over_ms = fired_ms + rng.randrange(60_000, 600_000)
            alerts.save(tx, rule, subject, alert_id, Alert(AlertState.RESOLVED, over_ms), over_ms)


def see(settings: Settings, store: Store) -> None:
    """The groups themselves, as the lag sampler sees them."""
    for source in settings.source:
        broker = broker_for(source)
        broker.start()
        streams = Streams(store, broker, source)
        streams.load()
        streams.look()
        LagSampler(store, broker, source, streams).step()
        broker.stop()
