"""The connection to Redis or Valkey."""

from typing import Any
from urllib.parse import urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

SOCKET_TIMEOUT_S = 10.0  # well above the longest blocking read, so that only a dead server runs into it


class Unreachable(RuntimeError):
    """There is no usable server; the message says what to do."""


def connect(url: str, name: str) -> redis.Redis:
    """A client that speaks bytes, once the server has answered.

    The client's own retries are off: it would send an XADD again whose answer was lost, and say nothing.
    Raises `Unreachable`.
    """
    try:
        client = redis.Redis.from_url(
            url,
            protocol=2,
            decode_responses=False,
            client_name=name,
            socket_timeout=SOCKET_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
        )
        client.ping()
    except ValueError as error:
        raise Unreachable(f"{without_password(url)} is no address of a Redis: {error}") from error
    except redis.AuthenticationError as error:
        raise Unreachable(
            f"Redis at {without_password(url)} refuses this user or password: {error}. "
            "Put them into the address: --url redis://user:password@host:port/0, or ORDER_SYSTEM_URL."
        ) from error
    except redis.RedisError as error:
        raise Unreachable(
            f"Cannot use Redis at {without_password(url)}: {error}. "
            "Start one (redis-server or valkey-server), "
            "or say where it is with --url redis://host:port/0 or ORDER_SYSTEM_URL."
        ) from error
    return client


def without_password(url: str) -> str:
    """The address as it may be shown."""
    user_info, at, _ = urlsplit(url).netloc.rpartition("@")
    return url.replace(user_info + at, "", 1) if at else url


def as_text(answer: Any) -> str:
    """A name or id in an answer: this client speaks bytes, while redis-py's types allow for more."""
    text: str = answer.decode()
    return text
