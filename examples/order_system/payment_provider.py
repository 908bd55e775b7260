"""Stands for the company that moves the money: another machine, which may be slow or down."""

import random
import time

from examples.order_system.faults import Faults

READ_TIMEOUT_S = 5.0


class ProviderTimeout(TimeoutError):
    """The provider did not answer in time; whether it acted is not known."""


class PaymentProvider:
    """Idempotent by key, as real ones are: a request sent again does not move money again."""

    def __init__(self, faults: Faults, rng: random.Random, declines: float) -> None:
        self._faults = faults
        self._rng = rng
        self._declines = declines

    def charge(self, idempotency_key: str) -> str | None:
        """The reason where it declines, else None. Raises `ProviderTimeout`."""
        self._post("/v1/charges", idempotency_key)
        return "insufficient funds" if self._rng.random() < self._declines else None

    def refund(self, idempotency_key: str) -> None:
        """Raises `ProviderTimeout`."""
        self._post("/v1/refunds", idempotency_key)

    def _post(self, path: str, idempotency_key: str) -> None:
        time.sleep(self._faults.value("slow-payment", 0) / 1000)
        self._read_answer(path, idempotency_key)

    def _read_answer(self, path: str, idempotency_key: str) -> None:
        if self._faults.on("payment-down"):
            raise ProviderTimeout(
                f"POST https://api.paygate.example{path}: no response within {READ_TIMEOUT_S} s "
                f"(idempotency key {idempotency_key})"
            )
