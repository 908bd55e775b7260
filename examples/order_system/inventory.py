"""The inventory service: reserves what an order asks for, and lets go of it again."""

from examples.order_system.envelope import Event
from examples.order_system.names import INVENTORY, INVENTORY_COMMANDS
from examples.order_system.service import Context, Service
from examples.order_system.unit import Unit

RESERVED, REJECTED, RELEASED = b"reserved", b"rejected", b"released"


def reservation_key(order_id: str) -> str:
    return f"inventory-service:reservation:{order_id}"


class InventoryService(Service):
    """One reservation an order. A release before the reservation (which may be waiting for a retry) stands:
    what comes after it is rejected, so that nothing stays reserved for a cancelled order.
    """

    streams = (INVENTORY_COMMANDS,)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self.handlers = {"ReserveInventory": self._on_reserve, "ReleaseInventory": self._on_release}

    def _on_reserve(self, event: Event, unit: Unit) -> None:
        order_id, items = event.data["order_id"], event.data["items"]
        unit.watch(reservation_key(order_id))
        before = self.context.redis.get(reservation_key(order_id))
        if before in (RESERVED, REJECTED):
            return  # the same reservation in another command
        short = self.context.faults.on("inventory-short")
        if before == RELEASED:
            self._answer(unit, order_id, RELEASED, "InventoryRejected", reason="already released")
        elif short or self.context.rng.random() < self.context.settings.shortages:
            missing = self.context.rng.choice(items)["sku"]
            self._answer(unit, order_id, REJECTED, "InventoryRejected", reason=f"none left of {missing}")
        else:
            self._answer(unit, order_id, RESERVED, "InventoryReserved", items=items)

    def _on_release(self, event: Event, unit: Unit) -> None:
        self._answer(unit, event.data["order_id"], RELEASED, "InventoryReleased", reason=event.data["reason"])

    def _answer(self, unit: Unit, order_id: str, state: bytes, event_type: str, **told: object) -> None:
        unit.write.set(reservation_key(order_id), state, ex=self.context.settings.remember)
        unit.publish(INVENTORY, event_type, {"order_id": order_id, **told})
