"""Stands for the mail server: another machine, which may be down or wants to be asked again later."""

from datetime import UTC, datetime, timedelta
from zlib import crc32

from examples.order_system.envelope import Event
from examples.order_system.faults import Faults

GREYLISTED_FOR = timedelta(minutes=1)  # longer than all retries with the usual backoff
CHECKSUMS = 2**32


class MailRefused(ConnectionError):
    """The mail server took no mail; the message is its answer."""


class MailServer:
    """`greylisting` is the share of mails that it refuses as long as the event behind them is young."""

    def __init__(self, faults: Faults, greylisting: float) -> None:
        self._faults = faults
        self._greylisting = greylisting

    def send(self, recipient: str, event: Event) -> None:
        """Raises `MailRefused`."""
        self._say_hello()
        self._name_recipient(recipient, event)

    def _say_hello(self) -> None:
        if self._faults.on("email-down"):
            raise MailRefused("421 4.3.2 mail.example.com: service not available, closing channel")

    def _name_recipient(self, recipient: str, event: Event) -> None:
        # by the event's id, so that each retry is refused too; and one that an operator sends later is not
        unlucky = crc32(event.event_id.encode()) / CHECKSUMS < self._greylisting
        if unlucky and datetime.now(UTC) - datetime.fromisoformat(event.timestamp) < GREYLISTED_FOR:
            raise MailRefused(f"451 4.7.1 <{recipient}>: recipient address rejected: greylisted, try later")
