"""Runs one service in this process."""

import logging
import os
import signal
import sys
import threading
from types import FrameType

from examples.order_system.analytics import AnalyticsService
from examples.order_system.bus import Consumer
from examples.order_system.client import connect
from examples.order_system.email import EmailService
from examples.order_system.inventory import InventoryService
from examples.order_system.order import OrderService
from examples.order_system.payment import PaymentService
from examples.order_system.service import Service, context_for
from examples.order_system.settings import Settings
from examples.order_system.user import UserService

SERVICES: dict[str, type[Service]] = {
    "user": UserService,
    "order": OrderService,
    "inventory": InventoryService,
    "payment": PaymentService,
    "email": EmailService,
    "analytics": AnalyticsService,
}


def run_one(name: str, settings: Settings, with_parent: bool) -> int:
    """Runs until SIGINT or SIGTERM; with `with_parent` also until standard input ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s: %(message)s", datefmt="%H:%M:%S")
    stop = stop_on_signals()
    if with_parent:
        threading.Thread(target=_stop_at_end_of_input, args=(stop,), daemon=True).start()
    client = connect(settings.url, name=f"{name}-service-1")
    Consumer(SERVICES[name](context_for(name, client, settings))).run(stop)
    return 0


def stop_on_signals() -> threading.Event:
    """An event that is set by SIGINT and SIGTERM."""
    stop = threading.Event()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGINT, ask_to_stop)
    signal.signal(signal.SIGTERM, ask_to_stop)
    return stop


def _stop_at_end_of_input(stop: threading.Event) -> None:
    """The parent holds the other end and never writes: it ends with the parent, even by kill -9."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    stop.set()
