"""The saga of an order: reserve, charge, confirm; and undo what was done where one of them fails.

Every answer, and every time-out, moves one order on in one unit of work: its state, its next deadline and
the command or event that follows are written together. An order always ends: a compensation that is not
answered in time is named in the cancellation, and its command still lies in its stream.
"""

import redis

from examples.order_system.envelope import Cause, Data, Event
from examples.order_system.names import INVENTORY_COMMANDS, ORDERS, PAYMENT_COMMANDS
from examples.order_system.people import total_cents
from examples.order_system.saga_state import Saga, SagaStore, Status
from examples.order_system.service import IDLE_S, Context, Handler
from examples.order_system.unit import Unit

COMMAND_ANSWERED_BY = {
    "InventoryReserved": "ReserveInventory",
    "PaymentCharged": "ChargePayment",
    "InventoryReleased": "ReleaseInventory",
    "PaymentRefunded": "RefundPayment",
}


class OrderSaga:
    """Decides what follows; `handlers` are those of the order service."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._store = SagaStore(context.redis, context.settings.remember)
        self.handlers: dict[str, Handler] = {
            "OrderPlaced": self._on_order_placed,
            "InventoryReserved": self._on_reserved,
            "InventoryRejected": self._on_rejected,
            "PaymentCharged": self._on_charged,
            "PaymentDeclined": self._on_declined,
            "InventoryReleased": self._on_compensated,
            "PaymentRefunded": self._on_compensated,
        }

    def _on_order_placed(self, event: Event, unit: Unit) -> None:
        order = event.data
        if self._store.load(unit, order["order_id"]):
            return  # the same order in another event
        saga = Saga(
            status=Status.RESERVING,
            order_id=order["order_id"],
            user_id=order["user_id"],
            customer=order["customer"],
            amount_cents=total_cents(order["items"]),
            last_event_id=event.event_id,
            correlation_id=event.correlation_id,
            awaited=["InventoryReserved"],
        )
        lines = [{"sku": item["sku"], "quantity": item["quantity"]} for item in order["items"]]
        command = {"order_id": saga.order_id, "items": lines}
        self._go_on(unit, saga, INVENTORY_COMMANDS, "ReserveInventory", command, event.cause)

    def _on_reserved(self, event: Event, unit: Unit) -> None:
        saga = self._store.load(unit, event.data["order_id"])
        if saga and saga.status is Status.RESERVING:
            saga.status, saga.awaited = Status.CHARGING, ["PaymentCharged"]
            command = {
                "order_id": saga.order_id,
                "user_id": saga.user_id,
                "amount_cents": saga.amount_cents,
                "currency": "EUR",
            }
            self._go_on(unit, saga, PAYMENT_COMMANDS, "ChargePayment", command, event.cause)

    def _on_rejected(self, event: Event, unit: Unit) -> None:
        saga = self._store.load(unit, event.data["order_id"])
        if saga and saga.status is Status.RESERVING:
            saga.reason, saga.awaited = f"not in stock: {event.data['reason']}", []
            self._end(unit, saga, Status.CANCELLED, event.cause)

    def _on_charged(self, event: Event, unit: Unit) -> None:
        saga = self._store.load(unit, event.data["order_id"])
        if saga is None:
            return
        if saga.status is Status.CHARGING:
            saga.awaited = []
            self._end(unit, saga, Status.CONFIRMED, event.cause)
        elif saga.status in (Status.COMPENSATING, Status.CANCELLED):  # too late: the money goes back
            if not saga.over:
                saga.awaited.append("PaymentRefunded")
            refund = {
                "order_id": saga.order_id,
                "amount_cents": event.data["amount_cents"],
                "reason": saga.reason,
            }
            self._go_on(unit, saga, PAYMENT_COMMANDS, "RefundPayment", refund, event.cause)

    def _on_declined(self, event: Event, unit: Unit) -> None:
        saga = self._store.load(unit, event.data["order_id"])
        if saga and saga.status is Status.CHARGING:
            saga.reason = f"payment declined: {event.data['reason']}"
            self._compensate(unit, saga, event.cause)

    def _on_compensated(self, event: Event, unit: Unit) -> None:
        saga = self._store.load(unit, event.data["order_id"])
        if saga and saga.status is Status.COMPENSATING and event.event_type in saga.awaited:
            saga.awaited.remove(event.event_type)
            if saga.awaited:
                self._store.save(unit, saga, self._context.settings.step_timeout)
            else:
                self._end(unit, saga, Status.CANCELLED, event.cause)

    def time_out_overdue(self) -> None:
        """Moves on every order whose deadline has passed."""
        for order_id in self._store.overdue():
            try:
                with self._context.publisher.unit() as unit:
                    saga = self._store.load(unit, order_id)
                    if saga:
                        self._on_time_out(unit, saga)
                    else:
                        self._store.drop_deadline(unit, order_id)  # someone deleted it
            except redis.WatchError:
                continue  # the answer came just now

    def next_deadline_in(self) -> float:
        return self._store.next_deadline_in(IDLE_S)

    def _on_time_out(self, unit: Unit, saga: Saga) -> None:
        if saga.status is Status.COMPENSATING:
            self._end(unit, saga, Status.CANCELLED, saga.last)
            return
        command = COMMAND_ANSWERED_BY[saga.awaited[0]]
        saga.reason = f"no answer to {command} within {self._context.settings.step_timeout:g} s"
        self._compensate(unit, saga, saga.last)

    def _compensate(self, unit: Unit, saga: Saga, cause: Cause) -> None:
        saga.status, saga.awaited = Status.COMPENSATING, ["InventoryReleased"]
        command = {"order_id": saga.order_id, "reason": saga.reason}
        self._go_on(unit, saga, INVENTORY_COMMANDS, "ReleaseInventory", command, cause)

    def _go_on(self, unit: Unit, saga: Saga, stream: str, command: str, data: Data, cause: Cause) -> None:
        saga.last_event_id = unit.publish(stream, command, data, cause).event_id
        self._store.save(unit, saga, self._context.settings.step_timeout)

    def _end(self, unit: Unit, saga: Saga, status: Status, cause: Cause) -> None:
        saga.status = status
        data: Data = {"order_id": saga.order_id, "user_id": saga.user_id, "customer": saga.customer}
        if status is Status.CONFIRMED:
            data |= {"amount_cents": saga.amount_cents}
            unit.publish(ORDERS, "OrderConfirmed", data, cause)
        else:
            outstanding = [COMMAND_ANSWERED_BY[answer] for answer in saga.awaited]
            data |= {"reason": saga.reason, "uncompensated": outstanding}
            unit.publish(ORDERS, "OrderCancelled", data, cause)
        self._store.save(unit, saga, 0)
