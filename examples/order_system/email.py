"""The email service: tells customers what became of their orders and accounts."""

from uuid import uuid4

from examples.order_system.envelope import Data, Event
from examples.order_system.mail_server import MailServer
from examples.order_system.names import EMAILS, ORDERS, USERS
from examples.order_system.service import Context, Service
from examples.order_system.unit import Unit
from examples.order_system.user import profile_of


class EmailService(Service):
    """Most events carry all that a mail needs; a thin notification makes it ask the user service."""

    streams = (ORDERS, USERS)

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._server = MailServer(context.faults, context.settings.greylisting)
        self.handlers = {
            "OrderPlaced": self._on_order_placed,
            "OrderConfirmed": self._on_order_confirmed,
            "OrderCancelled": self._on_order_cancelled,
            "UserRegistered": self._on_user_registered,
            "UserAddressChanged": self._on_user_address_changed,
        }

    def _on_order_placed(self, event: Event, unit: Unit) -> None:
        city = event.data["address"]["city"]
        self._send(event, unit, event.data["customer"], f"We have your order and will send it to {city}")

    def _on_order_confirmed(self, event: Event, unit: Unit) -> None:
        self._send(event, unit, event.data["customer"], "Your order is on its way")

    def _on_order_cancelled(self, event: Event, unit: Unit) -> None:
        self._send(
            event, unit, event.data["customer"], f"We had to cancel your order ({event.data['reason']})"
        )

    def _on_user_registered(self, event: Event, unit: Unit) -> None:
        self._send(event, unit, event.data, "Welcome")

    def _on_user_address_changed(self, event: Event, unit: Unit) -> None:
        profile = profile_of(self.context.redis, event.data["user_id"])
        self._send(event, unit, profile, f"Your new address in {profile['address']['city']}")

    def _send(self, event: Event, unit: Unit, recipient: Data, subject: str) -> None:
        self._server.send(recipient["email"], event)
        data = {"mail_id": str(uuid4()), "to": recipient["email"], "subject": subject}
        about: Data = {name: event.data[name] for name in ("order_id", "user_id") if name in event.data}
        unit.publish(EMAILS, "EmailSent", {**data, **about})
