"""The keys of a [[source]] table that belong to Redis Streams."""

import re
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, FilePath, ValidationError, field_validator

from eventwake.domain.errors import SettingsError
from eventwake.settings import Source, explain

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
DEFAULT_PORTS = {"sentinel": 26379}
REDIS_PORT = 6379
# no error shows a part of a URL: a special character in a password moves all that comes after it
ENCODE = "percent-encode special characters in its user and password ('/' as %2F)"

_HOST = re.compile(r"(?P<host>\[[0-9a-fA-F:]+\]|[^:,\[\]]+)(?::(?P<port>\d{1,5}))?")


class RedisStreamsSettings(BaseModel):
    """`url` forms: redis://user:password@host:6379/0, rediss:// for TLS, unix:///path,
    redis+sentinel://host:26379,host:26379/service/0 and redis+cluster://host:6379,host:6379.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str
    tls_ca_file: FilePath | None = None
    tls_cert_file: FilePath | None = None
    tls_key_file: FilePath | None = None
    tls_check_hostname: bool = True
    sentinel_username: str | None = None
    sentinel_password: str | None = None
    connect_timeout_s: float = Field(5, gt=0)
    answer_timeout_s: float = Field(10, gt=0)
    scripts: bool = True  # False: this server's rights forbid EVAL; retries then use the slower journal
    dead_letter_fields: dict[str, tuple[str, ...]] = {}

    @field_validator("url")
    @classmethod
    def _known_scheme(cls, url: str) -> str:
        try:
            scheme = urlsplit(url).scheme
        except ValueError:  # whose text shows the URL
            raise ValueError(f"cannot be read; {ENCODE}") from None
        if scheme not in SCHEMES:
            raise ValueError(f"must begin with one of {', '.join(scheme + '://' for scheme in SCHEMES)}")
        return url


class Address:
    """A URL taken apart: `mode` is "single", "sentinel" or "cluster"; `kwargs` are the client's options."""

    def __init__(self, settings: RedisStreamsSettings) -> None:
        parts = urlsplit(settings.url)
        scheme, _, mode = parts.scheme.partition("+")
        self.mode = mode or "single"
        self.path = unquote(parts.path) if scheme == "unix" else None
        self.hosts = [] if self.path else _hosts(parts.netloc.rpartition("@")[2], self.mode)
        segments = [] if self.path else [unquote(s) for s in parts.path.split("/") if s]
        self.service = segments.pop(0) if self.mode == "sentinel" and segments else "mymaster"
        self.kwargs: dict[str, Any] = {
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
        }
        query = dict(parse_qsl(parts.query))
        database = segments[0] if segments else query.get("db", "0")
        if not database.isdigit():
            raise SettingsError(f"the database in a Redis URL must be a number; {ENCODE}")
        if self.mode != "cluster":
            self.kwargs["db"] = int(database)
        if scheme == "rediss":
            self.kwargs |= {
                "ssl": True,
                "ssl_ca_certs": str(settings.tls_ca_file) if settings.tls_ca_file else None,
                "ssl_certfile": str(settings.tls_cert_file) if settings.tls_cert_file else None,
                "ssl_keyfile": str(settings.tls_key_file) if settings.tls_key_file else None,
                "ssl_check_hostname": settings.tls_check_hostname,
            }


def _hosts(netloc: str, mode: str) -> list[tuple[str, int]]:
    default = DEFAULT_PORTS.get(mode, REDIS_PORT)
    hosts = []
    for text in netloc.split(",") if netloc else ["localhost"]:
        match = _HOST.fullmatch(text)
        if not match:
            raise SettingsError(f"a Redis URL must name its servers as host or host:port; {ENCODE}")
        hosts.append((match["host"].strip("[]"), int(match["port"] or default)))
    return hosts


def read_settings(source: Source) -> RedisStreamsSettings:
    """The source's Redis settings. Raises `SettingsError` that names each fault, never a value."""
    try:
        return RedisStreamsSettings(**source.broker_settings)
    except ValidationError as error:
        raise SettingsError(f"source {source.name!r}:\n{explain(error)}") from error
