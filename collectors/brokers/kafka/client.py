"""The connection to a Kafka cluster, and its client's errors in our own words."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    AuthorizationError,
    IllegalSaslStateError,
    KafkaConfigurationError,
    KafkaError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)
from kafka.net.compat import KafkaNetClient

from collectors.brokers.kafka.cluster import Cluster, try_doors
from collectors.brokers.kafka.settings import KafkaSettings
from eventwake.domain.errors import BrokerError, BrokerRefused, BrokerUnavailable

# what it has to say of an outage is said by us, and once
logging.getLogger("kafka").setLevel(logging.CRITICAL)

REFUSALS = (
    AuthorizationError,
    IllegalSaslStateError,
    KafkaConfigurationError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
    UnsupportedVersionError,
)
UNTRUSTED = "CERTIFICATE_VERIFY_FAILED"
CLOSED = "socket disconnected"  # what some servers do with a wrong password, without a word
IN_FLIGHT = 100  # more than five at once end in NodeNotReadyError with the client's own limit
RECONNECT_AT_MOST_MS = 2_000  # between two tries to reach a broker that is down while others are up
IDLE_MS = 540_000


class KafkaClient:
    """One admin client over the cluster."""

    def __init__(self, settings: KafkaSettings, source: str) -> None:
        self._settings = settings
        self.source = source
        self._admin: Any = None
        self._cluster: Cluster | None = None
        self._asked_before = 0

    def connect(self) -> None:
        """Connects anew. Raises `BrokerUnavailable` or `BrokerRefused`."""
        self.close()
        timeout_ms = round(self._settings.answer_timeout_s * 1000)
        made: list[KafkaNetClient] = []

        def make(**options: Any) -> KafkaNetClient:
            made.append(KafkaNetClient(**options))
            try_doors(made[0])
            return made[0]

        try:
            with self.translated():
                self._admin = KafkaAdminClient(
                    **self._settings.connection(),
                    request_timeout_ms=timeout_ms,
                    bootstrap_timeout_ms=timeout_ms,
                    max_in_flight_requests_per_connection=IN_FLIGHT,
                    reconnect_backoff_max_ms=RECONNECT_AT_MOST_MS,
                    connections_max_idle_ms=IDLE_MS,
                    kafka_client=make,
                )
                self._cluster = Cluster(self._admin)
                self._cluster.topics([])
        except BrokerError:
            if self._admin is None:
                _let_go(made)
            self.close()
            raise

    def close(self) -> None:
        if self._cluster is not None:
            self._asked_before += self._cluster.asked
        if self._admin is not None:
            with suppress(Exception):  # it is being thrown away
                self._admin.close()
        self._admin = self._cluster = None

    @property
    def cluster(self) -> Cluster:
        if self._cluster is None:
            raise BrokerUnavailable(f"{self.source}: not connected")
        return self._cluster

    @property
    def admin(self) -> Any:
        self.cluster.asked += 1
        return self._admin

    @property
    def asked(self) -> int:
        """Requests so far."""
        return self._asked_before + (self._cluster.asked if self._cluster else 0)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """kafka-python's errors as ours."""
        try:
            yield
        except REFUSALS as error:
            raise BrokerRefused(f"{self.source}: Kafka refuses: {_said(error)}") from error
        except (KafkaError, OSError) as error:
            said = _said(error)
            if UNTRUSTED in said:
                do = "Set tls_ca_file to that of the authority that signed it, or mend the URL's host"
                raise BrokerRefused(
                    f"{self.source}: the broker's certificate is not to be trusted: {said}. {do}"
                ) from error
            hint = ". Are the user, the password and sasl_mechanism right?" if CLOSED in said else ""
            raise BrokerUnavailable(f"{self.source}: Kafka cannot be reached: {said}{hint}") from error


def _let_go(made: list[KafkaNetClient]) -> None:
    """Ends the thread of a client that could not connect: the admin client leaves it running."""
    for client in made:
        with suppress(Exception):
            client.close()


def _said(error: Exception) -> str:
    """The error's name and text, once each: kafka-python repeats the name inside the text."""
    name = type(error).__name__
    text = str(error).replace(f"{name}: ", "").strip()
    return f"{name}: {text}" if text not in ("", name) else name
