"""The keys of a [[source]] table that belong to Kafka."""

from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, ValidationError, field_validator

from eventwake.domain.errors import SettingsError
from eventwake.settings import Source, explain

SCHEMES = ("kafka", "kafka+ssl")
DEFAULT_PORT = 9092


class KafkaSettings(BaseModel):
    """`url`: kafka://host:9092,host:9092 or kafka+ssl://, with user:password@ in front for SASL."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    tls_ca_file: FilePath | None = None
    tls_cert_file: FilePath | None = None
    tls_key_file: FilePath | None = None
    tls_check_hostname: bool = True
    read_uncommitted: bool = False  # True: events of open and aborted transactions are read as well
    internal: bool = False  # True: topics whose names begin with __ are watched as well
    answer_timeout_s: float = Field(10, gt=0)
    dead_letter_fields: dict[str, tuple[str, ...]] = {}

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        if urlsplit(url).scheme not in SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(scheme + '://' for scheme in SCHEMES)}")
        return url

    def connection(self) -> dict[str, Any]:
        """The client's options."""
        parts = urlsplit(self.url)
        hosts = parts.netloc.rpartition("@")[2] or "localhost"
        tls, user = parts.scheme == "kafka+ssl", parts.username
        options: dict[str, Any] = {
            "bootstrap_servers": [_with_port(host) for host in hosts.split(",")],
            "security_protocol": f"{'SASL_' if user else ''}{'SSL' if tls else 'PLAINTEXT'}",
            "client_id": "eventwake",
        }
        if user:
            options |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": unquote(user),
                "sasl_plain_password": unquote(parts.password or ""),
            }
        if tls:
            options |= {
                "ssl_cafile": _text(self.tls_ca_file),
                "ssl_certfile": _text(self.tls_cert_file),
                "ssl_keyfile": _text(self.tls_key_file),
                "ssl_check_hostname": self.tls_check_hostname,
            }
        return options


def _with_port(host: str) -> str:
    return host if host.rpartition(":")[2].isdigit() else f"{host}:{DEFAULT_PORT}"


def _text(path: Any) -> str | None:
    return str(path) if path else None


def read_settings(source: Source) -> KafkaSettings:
    """The source's Kafka settings. Raises `SettingsError` that names each fault, never a value."""
    try:
        return KafkaSettings(**source.broker_settings)
    except ValidationError as error:
        raise SettingsError(f"source {source.name!r}:\n{explain(error)}") from error
