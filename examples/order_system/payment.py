"""The payment service: charges and refunds orders, and keeps the accounts."""

from examples.order_system.accounts import Accounts
from examples.order_system.envelope import Event
from examples.order_system.names import PAYMENT_COMMANDS, PAYMENTS, USERS
from examples.order_system.payment_provider import PaymentProvider
from examples.order_system.service import Context, Service
from examples.order_system.unit import Unit

CHARGED, DECLINED, REFUNDED = b"charged", b"declined", b"refunded"


class NoSuchCharge(LookupError):
    """A refund was asked for that has no charge."""


def payment_key(order_id: str) -> str:
    return f"payment-service:payment:{order_id}"


class PaymentService(Service):
    """One payment an order, whatever number of commands ask for it."""

    streams = (PAYMENT_COMMANDS, USERS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._provider = PaymentProvider(context.faults, context.rng, context.settings.declines)
        self._accounts = Accounts(context)
        self.handlers = {
            "ChargePayment": self._on_charge,
            "RefundPayment": self._on_refund,
            "UserRegistered": self._accounts.on_user_registered,
        }

    def tick(self) -> float:
        return self._accounts.go_on()

    def _on_charge(self, event: Event, unit: Unit) -> None:
        order_id = event.data["order_id"]
        if self._state(unit, order_id) is not None:
            return  # the same payment in another command
        declined = self._provider.charge(idempotency_key=f"charge-{order_id}")
        told = {"order_id": order_id, "amount_cents": event.data["amount_cents"]}
        if declined:
            self._answer(unit, DECLINED, "PaymentDeclined", {**told, "reason": declined})
        else:
            self._answer(unit, CHARGED, "PaymentCharged", {**told, "currency": event.data["currency"]})

    def _on_refund(self, event: Event, unit: Unit) -> None:
        order_id = event.data["order_id"]
        state = self._state(unit, order_id)
        if state == REFUNDED:
            return
        if state != CHARGED:
            raise NoSuchCharge(f"order {order_id} was never charged")
        self._provider.refund(idempotency_key=f"refund-{order_id}")
        told = {"order_id": order_id, "amount_cents": event.data["amount_cents"]}
        self._answer(unit, REFUNDED, "PaymentRefunded", {**told, "reason": event.data["reason"]})

    def _state(self, unit: Unit, order_id: str) -> bytes | str | None:
        unit.watch(payment_key(order_id))
        return self.context.redis.get(payment_key(order_id))

    def _answer(self, unit: Unit, state: bytes, event_type: str, data: dict[str, object]) -> None:
        unit.write.set(payment_key(str(data["order_id"])), state, ex=self.context.settings.remember)
        unit.publish(PAYMENTS, event_type, data)
