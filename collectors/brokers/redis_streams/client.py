"""One raw client over a single server, Sentinel or Cluster: bytes out, bytes in.

Replies come as the server sent them: redis-py's own parsing turns an entry into a dict and so loses repeated
fields. RESP2 is pinned because the shapes differ in RESP3. Nothing is ever sent a second time by the client
library: what may have been done is for the caller to find out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from ssl import SSLCertVerificationError, SSLError
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import (
    AskError,
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ClusterDownError,
    MovedError,
    NoPermissionError,
    ReadOnlyError,
    RedisClusterException,
    RedisError,
    ResponseError,
    TryAgainError,
    WatchError,
)
from redis.retry import Retry
from redis.sentinel import MasterNotFoundError, Sentinel

from collectors.brokers.redis_streams.settings import Address, RedisStreamsSettings
from eventwake.domain.errors import BrokerError, BrokerRefused, BrokerUnavailable

Reply = Any  # bytes, int, None, or lists of them, as RESP2 has it
Command = Sequence[Any]
REPLIES_AT_ONCE = 500  # commands in one exchange: bounds the memory of server and client

_NOT_ALLOWED = (AuthenticationError, AuthorizationError, NoPermissionError)
_MOVING = (MovedError, AskError, TryAgainError, ClusterDownError, ReadOnlyError, BusyLoadingError)


class RedisClient:
    """Connections to one Redis; use `command` and `pipeline` with the key that decides the node."""

    def __init__(self, settings: RedisStreamsSettings, name: str) -> None:
        self._address = Address(settings)
        self._settings = settings
        self._name = name
        self._cluster: RedisCluster | None = None
        self._single: redis.Redis | None = None
        self._nodes: dict[tuple[str, int], redis.Redis] = {}
        self.commands_sent = 0

    @property
    def is_cluster(self) -> bool:
        return self._address.mode == "cluster"

    def connect(self) -> None:
        """Opens and tries the connection. Raises `BrokerUnavailable` or `BrokerRefused`."""
        self.close()
        with translated(self._name):
            if self._address.mode == "cluster":
                nodes = [ClusterNode(host, port) for host, port in self._address.hosts]
                self._cluster = RedisCluster(startup_nodes=nodes, retry=_no_retry(), **self._options())
            elif self._address.mode == "sentinel":
                self._single = self._from_sentinel()
            elif self._address.path:
                self._single = _raw(
                    redis.Redis(unix_socket_path=self._address.path, **self._client_options())
                )
            else:
                self._single = self._to(*self._address.hosts[0])
            for client in self.primaries():
                client.execute_command("PING")

    def close(self) -> None:
        """Closes every connection; never raises."""
        for client in (self._cluster, self._single, *self._nodes.values()):
            if client is not None:
                try:
                    client.close()
                except (RedisError, OSError):
                    continue
        self._cluster, self._single, self._nodes = None, None, {}

    def command(self, key: str | bytes | None, *command: Any) -> Reply:
        """One command on the key's node (None: any primary)."""
        self.commands_sent += 1
        with self._node_errors():
            return self._node(key).execute_command(*command)

    def on_node(self, node: redis.Redis, *command: Any) -> Reply:
        """One command on one of `primaries`."""
        self.commands_sent += 1
        with self._node_errors():
            return node.execute_command(*command)

    def pipeline(self, commands: Iterable[tuple[str | bytes, Command]]) -> list[Reply]:
        """Many commands, each with its key, in few exchanges a node; a refused one is its own reply.

        Raises `BrokerUnavailable` where a node is out of reach: some may then have been carried out.
        """
        wanted = list(commands)
        self.commands_sent += len(wanted)
        replies: list[Reply] = [None] * len(wanted)
        by_node: dict[int, tuple[redis.Redis, list[int]]] = {}
        with self._node_errors():
            for i, (key, _) in enumerate(wanted):
                client = self._node(key)
                by_node.setdefault(id(client), (client, []))[1].append(i)
            for client, places in by_node.values():
                for start in range(0, len(places), REPLIES_AT_ONCE):
                    chunk = places[start : start + REPLIES_AT_ONCE]
                    pipe = client.pipeline(transaction=False)
                    for i in chunk:
                        pipe.execute_command(*wanted[i][1])
                    for i, reply in zip(chunk, pipe.execute(raise_on_error=False), strict=True):
                        if isinstance(reply, _MOVING):
                            raise reply
                        replies[i] = reply
        return replies

    @contextmanager
    def unless_touched(self, key: str | bytes) -> Iterator[Callable[[Iterable[Command]], list[Reply] | None]]:
        """What carries commands on the key's node out as one, or answers None: someone touched the key since.

        Each reply may be a refusal: a transaction of Redis rolls nothing back.
        """
        with self._node_errors(), self._node(key).pipeline(transaction=True) as pipe:
            pipe.watch(key)

            def carry_out(commands: Iterable[Command]) -> list[Reply] | None:
                pipe.multi()
                for command in commands:
                    pipe.execute_command(*command)
                try:
                    return list(pipe.execute(raise_on_error=False))
                except WatchError:
                    return None

            yield carry_out

    def primaries(self) -> list[redis.Redis]:
        """A raw client for each primary node."""
        if self._cluster is not None:
            return [self._raw_node(node) for node in self._cluster.get_primaries()]
        if self._single is None:
            raise BrokerUnavailable(f"{self._name}: not connected")
        return [self._single]

    def same_slot(self, *keys: str) -> bool:
        """Whether one script may touch all of the keys."""
        if self._cluster is None:
            return True
        return len({self._cluster.keyslot(key) for key in keys}) == 1

    def slot(self, key: str) -> int | None:
        return None if self._cluster is None else int(self._cluster.keyslot(key))

    @contextmanager
    def _node_errors(self) -> Iterator[None]:
        """Like `translated`; a moved slot also has the cluster's map read again."""
        try:
            with translated(self._name):
                yield
        except BrokerUnavailable as error:
            if self._cluster is not None and isinstance(error.__cause__, _MOVING):
                with translated(self._name):
                    self._cluster.nodes_manager.initialize()
            raise

    def _node(self, key: str | bytes | None) -> redis.Redis:
        if self._cluster is None or key is None:
            return self.primaries()[0]
        return self._raw_node(self._cluster.get_node_from_key(key))

    def _raw_node(self, node: ClusterNode) -> redis.Redis:
        place = (node.host, node.port)
        if place not in self._nodes:
            self._nodes[place] = self._to(*place)
        return self._nodes[place]

    def _to(self, host: str, port: int) -> redis.Redis:
        return _raw(redis.Redis(host=host, port=port, **self._client_options()))

    def _from_sentinel(self) -> redis.Redis:
        tls = {name: value for name, value in self._address.kwargs.items() if name.startswith("ssl")}
        sentinel_options = {
            **tls,
            "username": self._settings.sentinel_username,
            "password": self._settings.sentinel_password,
            **self._timeouts(),
            "retry": _no_retry(),  # the next Sentinel is asked instead
            "protocol": 2,
        }
        sentinel = Sentinel(self._address.hosts, sentinel_kwargs=sentinel_options, **self._options())
        return _raw(sentinel.master_for(self._address.service, retry=_no_retry()))

    def _client_options(self) -> dict[str, Any]:
        return {**self._options(), "retry": _no_retry()}

    def _options(self) -> dict[str, Any]:
        return {**self._address.kwargs, **self._timeouts(), "protocol": 2, "client_name": "eventwake"}

    def _timeouts(self) -> dict[str, float]:
        return {
            "socket_connect_timeout": self._settings.connect_timeout_s,
            "socket_timeout": self._settings.answer_timeout_s,
        }


def _no_retry() -> Retry:
    return Retry(NoBackoff(), 0)


@contextmanager
def translated(name: str) -> Iterator[None]:
    """redis-py's errors as ours."""
    try:
        yield
    except (RedisError, RedisClusterException, OSError) as error:
        raise _as_ours(name, error) from error


def _as_ours(name: str, error: Exception) -> BrokerError:
    for cause in _with_causes(error):  # a cluster's client and a connection each wrap what went wrong
        if isinstance(cause, _NOT_ALLOWED):
            return BrokerRefused(
                f"{name}: the server refused the user or the password, or a right is missing: {cause}"
            )
        if isinstance(cause, SSLCertVerificationError):
            return BrokerRefused(
                f"{name}: the server's certificate is not to be trusted: {cause.verify_message}. Set "
                "tls_ca_file to the certificate of the authority that signed it, or mend the URL's host name"
            )
        if isinstance(cause, SSLError):
            return BrokerUnavailable(
                f"{name}: TLS to the server failed: {error}. Does this port speak TLS, and does the server "
                "ask for a client's certificate (tls_cert_file, tls_key_file)?"
            )
    if isinstance(error, MasterNotFoundError):  # its text shows the client's inside
        return BrokerUnavailable(f"{name}: no Sentinel names a primary of the service in the URL")
    if isinstance(error, _MOVING):
        return BrokerUnavailable(f"{name}: the server is moving or loading its data: {error}")
    if isinstance(error, ResponseError):
        return BrokerRefused(f"{name}: the server refused: {error}")
    return BrokerUnavailable(f"{name}: cannot reach the server: {error}")


def _with_causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def flat_map(reply: Sequence[Reply]) -> dict[str, Reply]:
    """The name-value list of XINFO and its like."""
    return {name.decode(): value for name, value in zip(reply[::2], reply[1::2], strict=True)}


def _raw(client: redis.Redis) -> redis.Redis:
    client.response_callbacks.clear()
    return client
