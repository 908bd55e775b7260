"""The analytics service: counts what happens. It publishes nothing."""

from examples.order_system.envelope import Event
from examples.order_system.names import ACCOUNTS, EMAILS, INVENTORY, ORDERS, PAYMENTS, USERS
from examples.order_system.service import Context, Service
from examples.order_system.unit import Unit

COUNTERS_KEY = "analytics-service:counters"  # hash: name -> number
COUNTED = (
    "OrderConfirmed",
    "OrderCancelled",
    "InventoryReserved",
    "InventoryRejected",
    "InventoryReleased",
    "PaymentCharged",
    "PaymentDeclined",
    "PaymentRefunded",
    "UserRegistered",
    "UserAddressChanged",
    "EmailSent",
    "AccountOpened",
    "MoneyDeposited",
    "MoneyWithdrawn",
)


class AnalyticsService(Service):
    streams = (ORDERS, PAYMENTS, INVENTORY, USERS, EMAILS, ACCOUNTS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.handlers = {**dict.fromkeys(COUNTED, self._count), "OrderPlaced": self._on_order_placed}

    def stalled(self) -> bool:
        return self.context.faults.on("analytics-stall")

    def _count(self, event: Event, unit: Unit) -> None:
        unit.write.hincrby(COUNTERS_KEY, event.event_type, 1)

    def _on_order_placed(self, event: Event, unit: Unit) -> None:
        total = int(event.data["total_cents"])
        self._count(event, unit)
        unit.write.hincrby(COUNTERS_KEY, "ordered_cents", total)
