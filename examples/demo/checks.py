"""What shows that a part of the demo works; each answers what was seen, or "" for not yet."""

import http.client
import json
from typing import Any

import redis

from eventwake.clock import now_ms
from eventwake.domain.errors import StoreError
from eventwake.store.reads.rates import FINE_MS, event_series
from eventwake.store.reads.sources import heartbeats
from eventwake.store.session import Store
from examples.order_system.client import Unreachable, connect
from examples.order_system.names import ORDERS

SOURCE = "shop"  # as eventwake.toml names it


def server_answers(url: str) -> str:
    try:
        client = connect(url, name="demo")
    except Unreachable:
        return ""
    with client:
        answer: Any = client.info("server")
    version = answer.get("valkey_version") or answer["redis_version"]
    return f"{answer.get('server_name', 'redis')} {version} answers"


def newest_order(client: redis.Redis) -> object:
    return client.xrevrange(ORDERS, count=1)


def order_placed(client: redis.Redis, before: object) -> str:
    return "orders are placed" if newest_order(client) != before else ""


class Ingest:
    """What the collectors that are started now put into the store; a kept one holds older events."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._since_ms = now_ms()
        self._before = self._look()[0]

    def seen(self) -> str:
        events, beat = self._look()
        new = events - self._before
        return f"{new} events in the store" if new > 0 and beat >= self._since_ms else ""

    def _look(self) -> tuple[int, int]:
        """Events of the newest buckets, and the sampler's last sign of life (ms)."""
        since = self._since_ms // FINE_MS * FINE_MS
        try:
            with self._store.read() as connection:
                points = event_series(connection, since, now_ms() + FINE_MS, FINE_MS)
                return sum(point.value for point in points), heartbeats(connection).get(
                    (SOURCE, "sampler"), 0
                )
        except StoreError:
            return 0, 0


def dashboard_answers(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/healthz")
        return "answers" if json.loads(connection.getresponse().read()) == {"status": "ok"} else ""
    except (OSError, http.client.HTTPException, ValueError):
        return ""
    finally:
        connection.close()
